//! `worker.inbox`: what becomes of the events received.

use std::time::Duration;

use serde::Deserialize;

use crate::config::rule::Rule;
use crate::config::schema::Key;
use crate::orders::AmountMismatch;

/// How long events wait and are kept, and what a wrong amount does.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inbox {
    /// How long an event waits for an order that does not exist yet.
    #[serde(with = "humantime_serde")]
    pub wait_for_order: Duration,
    /// What a payment does whose amount or currency differs from its order's.
    pub amount_mismatch: AmountMismatch,
    /// How long bodies of settled events are kept.
    #[serde(with = "humantime_serde")]
    pub keep_bodies: Duration,
    /// How long the keys that recognise a repeated event are kept; not below `keep_bodies`.
    #[serde(with = "humantime_serde")]
    pub keep_keys: Duration,
}

impl Inbox {
    /// The keys of this section.
    pub const KEYS: &[Key] = &[
        Key::value("wait_for_order", Rule::time(Duration::ZERO, days(30))),
        Key::value("amount_mismatch", Rule::Choice(&["apply", "hold"])),
        Key::value("keep_bodies", Rule::time(days(1), days(3_650))),
        Key::value("keep_keys", Rule::time(days(1), days(3_650))),
    ];
}

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}
