//! The sections that the worker shares with the order service's API pod.

use serde::Deserialize;

use crate::dapr::broker::settings::Redis;
use crate::platform::settings::rule::{Rule, optional};
use crate::platform::settings::{DatabaseUrl, HttpEndpoint, Key, ListenAddr};
use crate::shop::warehouse::settings::WarehouseService;

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
    const KEYS: &[Key] = &[Key::value("driver", Rule::Choice(&["postgres"])), Key::value("source", DatabaseUrl::RULE)];
}

/// The kinds of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// PostgreSQL.
    Postgres,
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
        Key::section("warehouse_service", WarehouseService::KEYS),
        Key::section("payment_service", &[Key::value("endpoint", Rule::text::<HttpEndpoint>(HttpEndpoint::ALLOWED))]),
    ];
}

/// `external_services.payment_service`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentService {
    /// Where its HTTP server is.
    pub endpoint: HttpEndpoint,
}
