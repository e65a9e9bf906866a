//! `worker.reconcile`: accepting from the streams what Dapr has dropped.

use std::time::Duration;

use crate::platform::settings::{Rule, section};

section! {
    /// When the streams are looked at.
    pub struct Reconcile {
        enabled: bool = Rule::Boolean,
        group: String = Rule::name(),
        stream_prefix: String = Rule::any_text(),
        #[serde(with = "humantime_serde")]
        every: Duration = Rule::time(Duration::from_secs(1), Duration::from_secs(86_400)),
        #[serde(with = "humantime_serde")]
        overlap: Duration = Rule::time(Duration::from_secs(1), Duration::from_secs(7 * 86_400)),
    }
}
