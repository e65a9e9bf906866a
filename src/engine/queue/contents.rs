//! Contents of the queues, for gauges and for people.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Queue;
use crate::platform::database::PgPool;

/// Contents of one queue.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Contents {
    /// The queue.
    pub queue: String,
    /// Rows to be done.
    pub pending: i64,
    /// Age of the oldest of them, in seconds.
    pub oldest_age: f64,
    /// Rows given up.
    pub dead: i64,
    /// Rows behind a dead one of their key.
    pub parked: i64,
    /// Since when nothing is taken from it.
    pub paused_at: Option<DateTime<Utc>>,
    /// Who paused it.
    pub paused_by: Option<String>,
    /// Why.
    pub pause_reason: Option<String>,
}

/// Contents of each of these queues. The cost depends on unfinished rows, never on history.
///
/// # Errors
///
/// The database's.
pub async fn contents(pool: &PgPool, queues: &[Queue]) -> Result<Vec<Contents>, sqlx::Error> {
    let names: Vec<&str> = queues.iter().map(|queue| queue.as_str()).collect();
    sqlx::query_as(include_str!("sql/contents.sql")).bind(names).fetch_all(pool).await
}
