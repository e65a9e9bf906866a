//! `worker.queue`: how often and how much is taken from the queue in Postgres.

use std::time::Duration;

use serde::Deserialize;

use crate::config::rule::Rule;
use crate::config::schema::Key;

/// The queue, and how each of its uses is drained.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// How often the database is asked for work when nothing announces any; below `lease`.
    #[serde(with = "humantime_serde")]
    pub poll_interval: Duration,
    /// How long a silent worker keeps its lanes.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// Events waiting to change their orders.
    pub inbox: Drain,
    /// Announcements waiting to be published.
    pub dapr: Drain,
    /// Calls waiting for the warehouse.
    pub warehouse: Drain,
}

impl Queue {
    /// The keys of this section.
    pub const KEYS: &[Key] = &[
        Key::value("poll_interval", Rule::time(Duration::from_millis(10), Duration::from_secs(60))),
        Key::value("lease", Rule::time(Duration::from_secs(1), Duration::from_secs(600))),
        Key::section("inbox", Drain::KEYS),
        Key::section("dapr", Drain::KEYS),
        Key::section("warehouse", Drain::KEYS),
    ];
}

/// How one use of the queue is drained.
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
    const KEYS: &[Key] = &[
        Key::value("batch", Rule::whole(1, 10_000)),
        Key::value("concurrency", Rule::whole(1, 256)),
        Key::value("max_attempts", Rule::whole(1, 1_000)),
    ];
}
