//! Messages that may have been sent twice, and the audit log.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::platform::database::PgPool;

/// A message that was in hand when its worker died.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Exposed {
    /// Its queue.
    pub queue: String,
    /// Its number.
    pub id: i64,
    /// Its topic, or the warehouse's method; none when its body is no longer kept.
    pub topic: Option<String>,
    /// The order.
    pub order_id: Option<String>,
    /// Its CloudEvent id: by it a consumer knows the repetition.
    pub event_id: Option<String>,
    /// The number of workers that died with it in hand.
    pub times: i64,
    /// When the last of them was found dead.
    pub found_at: DateTime<Utc>,
}

/// A record of the audit log.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Record {
    /// Its number; they rise by one.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who asked.
    pub actor: String,
    /// The role that was logged in at the database.
    pub role: String,
    /// The machine or pod that it came from; none of records from before this was written down.
    pub host: Option<String>,
    /// The action.
    pub action: String,
    /// To what.
    pub target: String,
    /// Its particulars.
    pub detail: Value,
}

/// A record that is not what was written.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Broken {
    /// Its number.
    pub id: i64,
    /// The defect.
    pub wrong: String,
}

/// The newest `limit` exposures.
pub async fn exposed(pool: &PgPool, since: Option<DateTime<Utc>>, limit: u32) -> Result<Vec<Exposed>, sqlx::Error> {
    let query = sqlx::query_as(include_str!("sql/exposure.sql"));
    query.bind(since).bind(i64::from(limit)).fetch_all(pool).await
}

/// The newest `limit` records, of those with numbers below `before`.
pub async fn list(
    pool: &PgPool,
    since: Option<DateTime<Utc>>,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<Record>, sqlx::Error> {
    let query = sqlx::query_as(include_str!("sql/log.sql"));
    query.bind(since).bind(i64::from(limit)).bind(before).fetch_all(pool).await
}

/// Follows the chain of hashes through the whole log. Returns where it is broken; that the last records are missing does not show.
pub async fn verify(pool: &PgPool) -> Result<Vec<Broken>, sqlx::Error> {
    sqlx::query_as(include_str!("sql/verify.sql")).fetch_all(pool).await
}
