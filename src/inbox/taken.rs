//! An event of the inbox, taken to be applied.

use sqlx::types::chrono::{DateTime, NaiveDate, Utc};

/// An event in the hands of a transaction.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Taken {
    pub(super) id: i64,
    pub(super) attempts: i32,
    /// An operator said: whatever the amount.
    pub(super) approved: bool,
    pub(super) day: NaiveDate,
    pub(super) age: f64,
    pub(super) topic: String,
    pub(super) event_id: String,
    /// As far as it is legible.
    pub(super) subject: Option<String>,
    pub(super) body: Vec<u8>,
    pub(super) cause: String,
    pub(super) traceparent: Option<String>,
    pub(super) received_at: DateTime<Utc>,
}
