//! The record of a stream that the last look left.

use chrono::{DateTime, Utc};

use super::{Known, Seen};

/// The record of a stream in the database.
#[derive(Clone, Debug, Default, sqlx::FromRow)]
pub struct KnownRow {
    pub(super) last_id: String,
    pub(super) read: Option<i64>,
    pub(super) seen_id: Option<String>,
    pub(super) entries_added: Option<i64>,
    pub(super) run_id: Option<String>,
    pub(super) read_at: Option<DateTime<Utc>>,
    pub(super) lost: Option<String>,
}

impl KnownRow {
    /// Its meaning.
    pub(super) fn known(&self) -> Known {
        let count = |count: Option<i64>| count.and_then(|count| u64::try_from(count).ok());
        let seen =
            |id: &String| Seen { last_id: id.parse().unwrap_or_default(), entries_added: count(self.entries_added) };
        Known {
            last_id: self.last_id.parse().unwrap_or_default(),
            read: count(self.read),
            seen: self.seen_id.as_ref().map(seen),
            run_id: self.run_id.clone(),
            lost: self.lost.clone(),
        }
    }
}
