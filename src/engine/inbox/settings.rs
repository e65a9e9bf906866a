//! `worker.inbox`: how long the inbox keeps what it has.

use std::time::Duration;

use crate::platform::settings::{Rule, section};

section! {
    /// How long events and their keys are kept.
    pub struct Keep {
        #[serde(with = "humantime_serde")]
        keep_bodies: Duration = Rule::time(days(1), days(3_650)),
        #[serde(with = "humantime_serde")]
        keep_keys: Duration = Rule::time(days(1), days(3_650)),
    }
}

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}
