//! `worker.inbox`: how long the inbox keeps what it has.

use std::time::Duration;

use serde::Deserialize;

use crate::platform::settings::{Key, Rule};

/// How long events and their keys are kept.
#[derive(Clone, Debug, Deserialize)]
pub struct Keep {
    /// How long bodies of settled events are kept.
    #[serde(with = "humantime_serde")]
    pub keep_bodies: Duration,
    /// How long the keys that recognise a repeated event are kept; not below `keep_bodies`.
    #[serde(with = "humantime_serde")]
    pub keep_keys: Duration,
}

impl Keep {
    /// The keys of this part.
    pub const KEYS: &[Key] = &[
        Key::value("keep_bodies", Rule::time(days(1), days(3_650))),
        Key::value("keep_keys", Rule::time(days(1), days(3_650))),
    ];
}

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}
