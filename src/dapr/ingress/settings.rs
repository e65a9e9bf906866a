//! `worker.eventbus`: the gRPC server that the Dapr sidecar calls.

use std::time::Duration;

use serde::Deserialize;

use crate::platform::settings::Key;
use crate::platform::settings::rule::{Rule, optional};
use crate::platform::settings::{ListenAddr, Secret};

/// Where it listens, what it subscribes to, how much it takes at once.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventBus {
    /// Where it listens; Dapr's app-port.
    pub addr: ListenAddr,
    /// The Dapr pub/sub component of the payment topics.
    pub pubsub: String,
    /// The topic of what Dapr could not deliver.
    pub dead_letter_topic: String,
    /// Whether refunds are taken in as well (`payment.refunded`).
    pub refunds: bool,
    /// The token that Dapr must show; `None`: none is asked for.
    #[serde(deserialize_with = "optional")]
    pub app_token: Option<Secret>,
    /// The largest message taken, in bytes.
    pub max_message_bytes: usize,
    /// How many messages over 64 KiB are in hand at once.
    pub large_messages: usize,
    /// Calls under way at once on one connection (HTTP/2 streams).
    pub max_streams: u32,
    /// The most events stored by one transaction.
    pub batch: usize,
    /// How long an event may wait to be stored before the answer is to try again.
    #[serde(with = "humantime_serde")]
    pub accept_timeout: Duration,
}

impl EventBus {
    /// The keys of this section.
    pub const KEYS: &[Key] = &[
        Key::value("addr", Rule::text::<ListenAddr>(ListenAddr::ALLOWED)),
        Key::value("pubsub", Rule::name()),
        Key::value("dead_letter_topic", Rule::name()),
        Key::value("refunds", Rule::Boolean),
        Key::value("app_token", Rule::token()),
        Key::value("max_message_bytes", Rule::integer(65_536, 67_108_864)),
        Key::value("large_messages", Rule::integer(1, 1_024)),
        Key::value("max_streams", Rule::integer(1, 65_536)),
        Key::value("batch", Rule::integer(1, 10_000)),
        Key::value("accept_timeout", Rule::time(Duration::from_millis(100), Duration::from_secs(60))),
    ];
}
