//! Announcements and calls of the outbox: what became of them, and sending them again.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;

use super::Window;
use crate::database::PgPool;

/// Which messages. What is not said does not matter.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// When they were written.
    pub window: Window,
    /// The order.
    pub order: Option<String>,
    /// The topic, or the warehouse's method.
    pub topic: Option<String>,
    /// `dapr` or `warehouse`.
    pub channel: Option<String>,
    /// `pending`, `sent`, `dead`, `parked` or `skipped`.
    pub state: Option<String>,
}

/// A message in a list.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Message {
    /// Its number in the outbox.
    pub id: i64,
    /// The day of its journal.
    pub day: NaiveDate,
    /// Its CloudEvent id, or the warehouse's idempotency key.
    pub event_id: String,
    /// `dapr` or `warehouse`.
    pub channel: String,
    /// Its topic, or the warehouse's method.
    pub topic: String,
    /// The order.
    pub order_id: String,
    /// What became of it.
    pub state: String,
    /// How often it was tried.
    pub attempts: Option<i32>,
    /// What was answered, or why it waits.
    pub reason: Option<String>,
    /// What made it.
    pub cause: String,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// When it had arrived.
    pub sent_at: Option<DateTime<Utc>>,
}

/// A message with all that is known of it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Whole {
    /// What a list shows.
    #[sqlx(flatten)]
    pub message: Message,
    /// The trace that it belongs to.
    pub traceparent: Option<String>,
    /// Its body.
    pub body: Value,
}

/// The newest `limit` of the selected messages.
///
/// # Errors
///
/// The database's.
pub async fn list(pool: &PgPool, selection: &Selection, limit: u32) -> Result<Vec<Message>, sqlx::Error> {
    sqlx::query_as(include_str!("sql/messages.sql"))
        .bind(selection.window.since)
        .bind(selection.window.until)
        .bind(&selection.order)
        .bind(&selection.topic)
        .bind(&selection.channel)
        .bind(&selection.state)
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await
}

/// The message with this id or number.
///
/// # Errors
///
/// The database's.
pub async fn show(pool: &PgPool, name: &str) -> Result<Vec<Whole>, sqlx::Error> {
    let query = sqlx::query_as(include_str!("sql/message.sql"));
    query.bind(name).bind(name.parse::<i64>().ok()).fetch_all(pool).await
}

/// Announcements that are to be sent again: those that were sent, of a window of time.
#[derive(Clone, Debug)]
pub struct Resend {
    /// The first moment.
    pub since: DateTime<Utc>,
    /// The first moment behind.
    pub until: DateTime<Utc>,
    /// Of this order only.
    pub order: Option<String>,
    /// On this topic only.
    pub topic: Option<String>,
}

/// An announcement that is pending again.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Resent {
    /// The day of its journal.
    pub day: NaiveDate,
    /// Its number.
    pub id: i64,
    /// Its topic.
    pub topic: String,
    /// The order.
    pub order_id: String,
    /// Its CloudEvent id, the same as at first.
    pub event_id: String,
}

/// Makes the next `limit` of them pending, behind the last of the batch before.
///
/// # Errors
///
/// The database's.
pub async fn resend(
    tx: &mut PgConnection,
    which: &Resend,
    after: Option<(NaiveDate, i64)>,
    limit: u32,
) -> Result<Vec<Resent>, sqlx::Error> {
    let (day, id) = after.unwrap_or((NaiveDate::MIN, 0));
    sqlx::query_as(include_str!("sql/resend.sql"))
        .bind(which.since)
        .bind(which.until)
        .bind(&which.order)
        .bind(&which.topic)
        .bind(i64::from(limit))
        .bind(day.max(NaiveDate::from_ymd_opt(2000, 1, 1).unwrap_or_default()))
        .bind(id)
        .fetch_all(tx)
        .await
}
