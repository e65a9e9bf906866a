//! `worker.database`: how the database is used. Which one it is, `data.database` says.

use std::time::Duration;

use serde::Deserialize;

use crate::platform::settings::Key;
use crate::platform::settings::rule::Rule;

/// The pool and the limits of its sessions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// The most connections of this process.
    pub max_connections: u32,
    /// How long a piece of work waits for a free connection.
    #[serde(with = "humantime_serde")]
    pub acquire_timeout: Duration,
    /// Postgres' statement_timeout.
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Duration,
    /// Postgres' lock_timeout; below `statement_timeout`.
    #[serde(with = "humantime_serde")]
    pub lock_timeout: Duration,
    /// Postgres' idle_in_transaction_session_timeout; below `worker.queue.lease`, so that a worker
    /// that fell asleep inside a transaction has lost it before others take its lanes.
    #[serde(with = "humantime_serde")]
    pub idle_in_transaction_timeout: Duration,
    /// Prepared statements kept for each connection; 0 keeps the last one only.
    pub statement_cache: usize,
}

impl Database {
    /// The keys of this section.
    pub const KEYS: &[Key] = &[
        // One listens for notifications; reconciliation holds one while what it has found is stored by another.
        Key::value("max_connections", Rule::integer(3, 1_000)),
        Key::value("acquire_timeout", time(100, 60_000)),
        Key::value("statement_timeout", time(1_000, 600_000)),
        Key::value("lock_timeout", time(10, 60_000)),
        Key::value("idle_in_transaction_timeout", time(500, 60_000)),
        Key::value("statement_cache", Rule::integer(0, 10_000)),
    ];
}

const fn time(min_ms: u64, max_ms: u64) -> Rule {
    Rule::time(Duration::from_millis(min_ms), Duration::from_millis(max_ms))
}
