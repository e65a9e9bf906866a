//! The sections that the worker shares with the order service's API pod.

use serde::Deserialize;

use super::address::{GrpcEndpoint, HttpEndpoint, ListenAddr, RemoteAddr};
use super::database_url::{self, DatabaseUrl};
use super::rule::{Rule, optional};
use super::schema::Key;
use super::secret::Secret;

/// A year: nothing in the shop's rules lasts longer.
const MINUTES: Rule = Rule::whole(1, 525_600);

/// `server`: the API pod's listeners; the worker opens none of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// The HTTP listener.
    pub http: Listener,
    /// The gRPC listener.
    pub grpc: Listener,
}

impl Server {
    /// The keys of this section.
    pub const KEYS: &[Key] = &[Key::section("http", Listener::KEYS), Key::section("grpc", Listener::KEYS)];
}

/// One listener of the API pod.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Where it listens.
    pub addr: ListenAddr,
}

impl Listener {
    const KEYS: &[Key] = &[Key::value("addr", Rule::text::<ListenAddr>(ListenAddr::ALLOWED))];
}

/// `data`: the stores.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Postgres.
    pub database: Source,
    /// Redis.
    pub redis: Redis,
}

impl Data {
    /// The keys of this section.
    pub const KEYS: &[Key] = &[Key::section("database", Source::KEYS), Key::section("redis", Redis::KEYS)];
}

/// `data.database`: which database. How it is used is `worker.database`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its kind.
    pub driver: Driver,
    /// Where it is; `None` only in a configuration that was read for a command that needs no
    /// database (see [`super::Config::database_url`]).
    #[serde(deserialize_with = "optional")]
    pub source: Option<DatabaseUrl>,
}

impl Source {
    const KEYS: &[Key] =
        &[Key::value("driver", Rule::Choice(&["postgres"])), Key::value("source", Rule::database_url())];
}

/// The kinds of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// PostgreSQL.
    Postgres,
}

/// `data.redis`: the Redis whose status is watched.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// Where it is; `None`: there is none.
    #[serde(deserialize_with = "optional")]
    pub addr: Option<RemoteAddr>,
    /// Whether the connection is encrypted and the server's certificate checked.
    pub tls: bool,
    /// Certificates (PEM) of the CAs that may have signed the server's; empty: those of the public web.
    pub ca_file: String,
    /// The number of its database.
    pub db: u16,
    /// Its user (ACL); empty: the default one.
    pub username: String,
    /// Its password; `None`: it asks for none.
    #[serde(deserialize_with = "optional")]
    pub password: Option<Secret>,
}

impl Redis {
    const KEYS: &[Key] = &[
        Key::value("addr", Rule::optional_text::<RemoteAddr>(RemoteAddr::ALLOWED)),
        Key::value("tls", Rule::YesNo),
        Key::value("ca_file", Rule::path()),
        Key::value("db", Rule::whole(0, 65_535)),
        Key::value("username", Rule::Text { allowed: "any text", check: |_| Ok(()), optional: true }),
        Key::value("password", Rule::password()),
    ];
}

/// `business`: the shop's rules.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Business {
    /// Of orders.
    pub order: Order,
    /// Of payments.
    pub payment: Payment,
    /// Of reservations.
    pub inventory: Inventory,
    /// Of sessions.
    pub session: Idle,
    /// Of carts.
    pub cart: Idle,
}

impl Business {
    /// The keys of this section.
    pub const KEYS: &[Key] = &[
        Key::section(
            "order",
            &[
                Key::value("max_items_per_order", Rule::whole(1, 10_000)),
                Key::value("order_timeout_minutes", MINUTES),
                Key::value("auto_cancel_minutes", MINUTES),
                Key::value("auto_cancel_cod", Rule::YesNo),
            ],
        ),
        Key::section("payment", &[Key::value("timeout_minutes", MINUTES)]),
        Key::section("inventory", &[Key::value("reservation_timeout_minutes", MINUTES)]),
        Key::section("session", &[Key::value("timeout_minutes", MINUTES)]),
        Key::section("cart", &[Key::value("timeout_minutes", MINUTES)]),
    ];
}

/// `business.order`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The most items of one order; the API pod's.
    pub max_items_per_order: u32,
    /// Minutes a customer may take over an order; the API pod's.
    pub order_timeout_minutes: u32,
    /// Minutes after which a pending order is cancelled.
    pub auto_cancel_minutes: u32,
    /// Whether orders are cancelled too that are to be paid on delivery.
    pub auto_cancel_cod: bool,
}

/// `business.payment`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payment {
    /// Minutes a payment may take; the API pod's.
    pub timeout_minutes: u32,
}

/// `business.inventory`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// Minutes after which a reservation is released.
    pub reservation_timeout_minutes: u32,
}

/// `business.session` and `business.cart`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Idle {
    /// Minutes after its last use at which it is deleted.
    pub timeout_minutes: u32,
}

/// `external_services`: the other services of the shop.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalServices {
    /// The warehouse.
    pub warehouse_service: WarehouseService,
    /// The payment service; the API pod's.
    pub payment_service: PaymentService,
}

impl ExternalServices {
    /// The keys of this section.
    pub const KEYS: &[Key] = &[
        Key::section(
            "warehouse_service",
            &[Key::value("grpc_endpoint", Rule::text::<GrpcEndpoint>(GrpcEndpoint::ALLOWED))],
        ),
        Key::section("payment_service", &[Key::value("endpoint", Rule::text::<HttpEndpoint>(HttpEndpoint::ALLOWED))]),
    ];
}

/// `external_services.warehouse_service`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarehouseService {
    /// Where its gRPC server is.
    pub grpc_endpoint: GrpcEndpoint,
}

/// `external_services.payment_service`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentService {
    /// Where its HTTP server is.
    pub endpoint: HttpEndpoint,
}

impl Rule {
    const fn database_url() -> Self {
        Self::Secret {
            allowed: DatabaseUrl::ALLOWED,
            check: |text| DatabaseUrl::try_from(text.to_owned()).map(drop),
            mask: database_url::masked,
        }
    }
}
