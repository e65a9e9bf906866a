//! `worker.database`: how the database is used. Which one it is, `data.database` says.

use std::time::Duration;

use crate::platform::settings::{Rule, section};

section! {
    /// The pool and the limits of its sessions.
    pub struct Database {
        // One listens for notifications; reconciliation holds one while what it has found is stored by another.
        max_connections: u32 = Rule::integer(3, 1_000),
        #[serde(with = "humantime_serde")]
        acquire_timeout: Duration = time(100, 60_000),
        #[serde(with = "humantime_serde")]
        statement_timeout: Duration = time(1_000, 600_000),
        #[serde(with = "humantime_serde")]
        lock_timeout: Duration = time(10, 60_000),
        #[serde(with = "humantime_serde")]
        idle_in_transaction_timeout: Duration = time(500, 60_000),
        statement_cache: usize = Rule::integer(0, 10_000),
    }
}

const fn time(min_ms: u64, max_ms: u64) -> Rule {
    Rule::time(Duration::from_millis(min_ms), Duration::from_millis(max_ms))
}
