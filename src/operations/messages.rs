//! Announcements and calls of the outbox: what became of them, and sending them again.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{Error, Window};
use crate::engine::audit;
use crate::platform::database::PgPool;

/// A filter for messages. An empty field matches all.
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
    /// `pending`, `sent`, `dead`, `parked` or `skipped`; of those that are not sent also `waiting` or `blocked`.
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
    /// Its outcome, or its state.
    pub state: String,
    /// Attempts so far.
    pub attempts: Option<i32>,
    /// The answer, or why it waits.
    pub reason: Option<String>,
    /// Its cause.
    pub cause: String,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// When it had arrived.
    pub sent_at: Option<DateTime<Utc>>,
    /// Of one that is not sent, the state of its row: `ready`, `waiting` for its next attempt, `blocked` behind one of its order (or of
    /// its reservation), or `dead`.
    pub waits: Option<String>,
    /// When its next attempt is due.
    pub due: Option<DateTime<Utc>>,
    /// The number of rows that wait behind it; in a list alone.
    pub behind: i64,
}

/// A message with all that is known of it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct MessageDetail {
    /// The fields of a list.
    #[sqlx(flatten)]
    pub message: Message,
    /// The trace that it belongs to.
    pub traceparent: Option<String>,
    /// Its body.
    pub body: Value,
}

/// The newest `limit` of the selected messages.
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
pub async fn show(pool: &PgPool, name: &str) -> Result<Vec<MessageDetail>, sqlx::Error> {
    let query = sqlx::query_as(include_str!("sql/message.sql"));
    query.bind(name).bind(name.parse::<i64>().ok()).fetch_all(pool).await
}

/// Announcements that become pending by one statement.
const BATCH: u32 = 1_000;

/// Announcements that are to be sent again: those that were sent, of a window of time.
#[derive(Clone, Debug, Serialize)]
pub struct Resend {
    /// The first moment.
    pub since: DateTime<Utc>,
    /// The first moment behind.
    pub until: DateTime<Utc>,
    /// Of this order only.
    pub order: Option<String>,
    /// On this topic only.
    pub topic: Option<String>,
    /// The one with this number only.
    pub id: Option<i64>,
}

/// Makes them pending again, under their first ids, with the record of it: all in the caller's transaction. `progress` learns how many
/// there are so far. Returns how many there are.
///
/// # Errors
///
/// [`Error::Refused`] when there is none.
pub async fn resend(
    tx: &mut PgConnection,
    which: &Resend,
    reason: Option<&str>,
    actor: &str,
    progress: impl Fn(u64),
) -> Result<u64, Error> {
    let (mut after, mut total) = ((NaiveDate::from_ymd_opt(2000, 1, 1).unwrap_or_default(), 0), 0);
    loop {
        let batch: Vec<(NaiveDate, i64)> = sqlx::query_as(include_str!("sql/resend.sql"))
            .bind(which.since)
            .bind(which.until)
            .bind(&which.order)
            .bind(&which.topic)
            .bind(i64::from(BATCH))
            .bind(after.0)
            .bind(after.1)
            .bind(which.id)
            .fetch_all(&mut *tx)
            .await?;
        total += batch.len() as u64;
        progress(total);
        match batch.last() {
            Some(last) if batch.len() == BATCH as usize => after = *last,
            _ => break,
        }
    }
    if total == 0 {
        let next = "what is pending still is sent by itself: order-worker outbox list";
        return Err(Error::refused("no announcement that was sent is selected", next));
    }
    let detail = json!({ "announcements": total, "which": which, "reason": reason });
    audit::record(tx, actor, "outbox resend", "dapr", &detail).await?;
    Ok(total)
}
