//! `worker.eventbus`: the gRPC server that the Dapr sidecar calls.

use std::time::Duration;

use crate::platform::settings::rule::optional;
use crate::platform::settings::{ListenAddr, Rule, Secret, section};

section! {
    /// Where it listens, what it subscribes to, how much it takes at once.
    pub struct EventBus {
        addr: ListenAddr = Rule::text::<ListenAddr>(ListenAddr::ALLOWED),
        pubsub: String = Rule::name(),
        dead_letter_topic: String = Rule::name(),
        refunds: bool = Rule::Boolean,
        #[serde(deserialize_with = "optional")]
        app_token: Option<Secret> = Rule::token(),
        max_message_bytes: usize = Rule::integer(65_536, 67_108_864),
        large_messages: usize = Rule::integer(1, 1_024),
        max_streams: u32 = Rule::integer(1, 65_536),
        batch: usize = Rule::integer(1, 10_000),
        #[serde(with = "humantime_serde")]
        accept_timeout: Duration = Rule::time(Duration::from_millis(100), Duration::from_secs(60)),
    }
}
