//! `worker.dapr`: publishing through the Dapr sidecar.

use std::time::Duration;

use crate::platform::settings::rule::optional;
use crate::platform::settings::{GrpcEndpoint, Rule, Secret, section};

section! {
    /// Publishing through the Dapr sidecar.
    pub struct Dapr {
        grpc_endpoint: GrpcEndpoint = Rule::text::<GrpcEndpoint>(GrpcEndpoint::ALLOWED),
        #[serde(deserialize_with = "optional")]
        api_token: Option<Secret> = Rule::token(),
        pubsub: String = Rule::name(),
        #[serde(with = "humantime_serde")]
        timeout: Duration = Rule::CALL_TIMEOUT,
    }
}
