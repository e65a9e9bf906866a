//! The sections that the worker shares with the order service's API pod.

use serde::Deserialize;

use crate::dapr::broker::settings::Redis;
use crate::platform::settings::rule::optional;
use crate::platform::settings::{DatabaseUrl, HttpEndpoint, ListenAddr, Rule, section};
use crate::shop::warehouse::settings::WarehouseService;

section! {
    /// `server`: the API pod's listeners; the worker opens none of them.
    pub struct Server {
        http: Listener,
        grpc: Listener,
    }
}

section! {
    /// One listener of the API pod.
    pub struct Listener {
        addr: ListenAddr = Rule::text::<ListenAddr>(ListenAddr::ALLOWED),
    }
}

section! {
    /// `data`: the stores.
    pub struct Data {
        database: Source,
        redis: Redis,
    }
}

section! {
    /// `data.database`: which database. How it is used is `worker.database`.
    pub struct Source {
        driver: Driver = Rule::Choice(&["postgres"]),
        /// `None` only in a configuration that was read for a command that needs no database (see [`super::Config::database_url`]).
        #[serde(deserialize_with = "optional")]
        source: Option<DatabaseUrl> = DatabaseUrl::RULE,
    }
}

/// The kinds of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// PostgreSQL.
    Postgres,
}

section! {
    /// `external_services`: the other services of the shop.
    pub struct ExternalServices {
        warehouse_service: WarehouseService,
        payment_service: PaymentService,
    }
}

section! {
    /// `external_services.payment_service`, which the API pod calls.
    pub struct PaymentService {
        endpoint: HttpEndpoint = Rule::text::<HttpEndpoint>(HttpEndpoint::ALLOWED),
    }
}
