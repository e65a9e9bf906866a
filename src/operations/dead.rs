//! Dead rows: given up, until an operator tries them again, edits them or skips them. Messages that wait for something that does not
//! come are tried again or skipped the same way.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

use crate::engine::queue::{Queue, State};
use crate::platform::database::PgPool;

/// A filter for dead rows. An empty field matches all.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Their queue.
    pub queue: Option<Queue>,
    /// The order that they are about, or the reservation.
    pub key: Option<String>,
    /// Words in the reason.
    pub reason: Option<String>,
    /// Their numbers; empty: any.
    pub ids: Vec<i64>,
    /// Whether messages are meant too that are not sent and not dead.
    pub unsent: bool,
}

/// A row.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct DeadRow {
    /// Its queue.
    pub queue: String,
    /// Its number.
    pub id: i64,
    /// Dead; or ready, waiting or blocked.
    pub state: State,
    /// Where it came from, or goes to.
    pub topic: Option<String>,
    /// Its CloudEvent id.
    pub event_id: Option<String>,
    /// The order.
    pub order_id: Option<String>,
    /// Attempts so far.
    pub attempts: i32,
    /// Why it was given up.
    pub reason: Option<String>,
    /// When it came into the queue.
    pub created_at: DateTime<Utc>,
    /// Rows that wait behind it.
    pub parked: i64,
}

/// Dead rows that failed alike.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Group {
    /// Their queue.
    pub queue: String,
    /// Why they were given up, with `#` for what differs.
    pub reason: Option<String>,
    /// The number of rows.
    pub rows: i64,
    /// When the first came.
    pub first: DateTime<Utc>,
    /// When the last came.
    pub last: DateTime<Utc>,
    /// The number of one of them.
    pub example: i64,
}

/// The oldest `limit` of the selected rows.
pub async fn list(pool: &PgPool, selection: &Selection, limit: u32) -> Result<Vec<DeadRow>, sqlx::Error> {
    sqlx::query_as(include_str!("sql/dead.sql"))
        .bind(selection.queue.map(Queue::as_str))
        .bind(&selection.key)
        .bind(&selection.reason)
        .bind(&selection.ids)
        .bind(i64::from(limit))
        .bind(selection.unsent)
        .fetch_all(pool)
        .await
}

/// All dead rows, by queue and reason.
pub async fn groups(pool: &PgPool) -> Result<Vec<Group>, sqlx::Error> {
    sqlx::query_as(include_str!("sql/dead_groups.sql")).fetch_all(pool).await
}

/// Tries these rows again, from their first attempt on: dead ones, and messages that wait where `unsent` says so. Returns the queues of
/// those that are.
pub(super) async fn redrive(tx: &mut PgConnection, ids: &[i64], unsent: bool) -> Result<Vec<Queue>, sqlx::Error> {
    let query = sqlx::query_scalar(include_str!("sql/redrive.sql")).bind(ids).bind(unsent);
    query.fetch_all(tx).await.map(queues)
}

/// Gives these rows up for good: dead ones, and messages that are not sent where `unsent` says so. What waits behind them goes on.
/// Returns the queues of those that were given up.
pub(super) async fn skip(
    tx: &mut PgConnection,
    ids: &[i64],
    reason: &str,
    actor: &str,
    unsent: bool,
) -> Result<Vec<Queue>, sqlx::Error> {
    let query = sqlx::query_scalar(include_str!("sql/skip.sql")).bind(ids).bind(reason).bind(actor).bind(unsent);
    query.fetch_all(tx).await.map(queues)
}

fn queues(names: Vec<String>) -> Vec<Queue> {
    names.iter().filter_map(|name| super::queue(name)).collect()
}
