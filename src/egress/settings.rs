//! `worker.dapr` and `worker.warehouse`: the ways out.

use std::time::Duration;

use serde::Deserialize;

use crate::config::rule::{Rule, optional};
use crate::config::schema::Key;
use crate::config::{GrpcEndpoint, Secret};

/// How long one call may take.
const TIMEOUT: Rule = Rule::time(Duration::from_millis(100), Duration::from_secs(60));

/// Publishing through the Dapr sidecar.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dapr {
    /// The sidecar's gRPC port.
    pub grpc_endpoint: GrpcEndpoint,
    /// The token shown to the sidecar; `None`: none.
    #[serde(deserialize_with = "optional")]
    pub api_token: Option<Secret>,
    /// The pub/sub component that announcements are published to.
    pub pubsub: String,
    /// How long one publish may take.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

impl Dapr {
    /// The keys of this section.
    pub const KEYS: &[Key] = &[
        Key::value("grpc_endpoint", Rule::text::<GrpcEndpoint>(GrpcEndpoint::ALLOWED)),
        Key::value("api_token", Rule::token()),
        Key::value("pubsub", Rule::name()),
        Key::value("timeout", TIMEOUT),
    ];
}

/// Calls to the warehouse, whose address is `external_services.warehouse_service.grpc_endpoint`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warehouse {
    /// How long one call may take.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
}

impl Warehouse {
    /// The keys of this section.
    pub const KEYS: &[Key] = &[Key::value("timeout", TIMEOUT)];
}
