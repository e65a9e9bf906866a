//! Settings of a queue.

use serde::Deserialize;

use crate::platform::settings::{Key, Rule};

/// Settings of one queue.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// The most rows taken at once.
    pub batch: u32,
    /// Batches in hand at once.
    pub concurrency: usize,
    /// Failures of a row, while others succeed, after which it is dead.
    pub max_attempts: u16,
}

impl Drain {
    /// The keys of this section.
    pub const KEYS: &[Key] = &[
        Key::value("batch", Rule::whole(1, 10_000)),
        Key::value("concurrency", Rule::whole(1, 256)),
        Key::value("max_attempts", Rule::whole(1, 1_000)),
    ];
}
