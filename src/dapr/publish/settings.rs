//! `worker.dapr`: publishing through the Dapr sidecar.

use std::time::Duration;

use serde::Deserialize;

use crate::platform::settings::rule::{Rule, optional};
use crate::platform::settings::{GrpcEndpoint, Key, Secret};

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
        Key::value("timeout", Rule::CALL_TIMEOUT),
    ];
}
