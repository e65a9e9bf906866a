//! `worker.reconcile`: accepting from the streams what Dapr has dropped.

use std::time::Duration;

use serde::Deserialize;

use crate::platform::settings::Key;
use crate::platform::settings::rule::Rule;

/// When the streams are looked at.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reconcile {
    /// Whether it is done by itself.
    pub enabled: bool,
    /// The consumer group by which Dapr reads: the component's consumerID, or else the app id.
    pub group: String,
    /// What stands before the topic in the name of its stream; empty: nothing.
    pub stream_prefix: String,
    /// From one look to the next.
    #[serde(with = "humantime_serde")]
    pub every: Duration,
    /// How far before what was read a look begins on start, and once in as long.
    #[serde(with = "humantime_serde")]
    pub overlap: Duration,
}

impl Reconcile {
    /// The keys of this section.
    pub const KEYS: &[Key] = &[
        Key::value("enabled", Rule::Boolean),
        Key::value("group", Rule::name()),
        Key::value("stream_prefix", Rule::Text { allowed: "any text", check: |_| Ok(()), optional: true }),
        Key::value("every", Rule::time(Duration::from_secs(1), Duration::from_secs(86_400))),
        Key::value("overlap", Rule::time(Duration::from_secs(1), Duration::from_secs(7 * 86_400))),
    ];
}
