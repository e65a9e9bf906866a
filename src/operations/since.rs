//! Later events of the orders that a row is about, to be read before it is tried again.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;

/// As many rows as are looked at.
const ROWS: usize = 1_000;

/// Something that has happened.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Since {
    /// The row of the queue.
    #[serde(skip)]
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// What, in words.
    #[serde(rename = "what")]
    pub line: String,
}

/// What has happened to the orders of the first 1,000 of these rows of the queue, in the order of the rows and of time: changes of
/// status, other payments, incidents, returns, later events, and what a person has decided.
pub async fn of(connection: &mut PgConnection, ids: &[i64]) -> Result<Vec<Since>, sqlx::Error> {
    let ids = &ids[..ids.len().min(ROWS)];
    sqlx::query_as(include_str!("sql/since.sql")).bind(ids).fetch_all(connection).await
}
