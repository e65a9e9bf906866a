//! Many rows at once: tried again or given up by a run of the queue `cron`, over a selection that is frozen when it is asked for.
//!
//! A row that is no longer to be mended when its batch comes is left as it is: whoever has mended it meanwhile was first.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgConnection;
use sqlx::types::Json;

use super::{Error, letters};
use crate::audit;
use crate::cron::{DEAD_LETTERS, ledger};
use crate::database::PgPool;
use crate::queue::Queue;

/// As many rows as a record of the audit log names.
const NAMED: usize = 1_000;

/// What is done to each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// It is tried again, from its first attempt on.
    Redrive,
    /// It is given up for good: what is parked behind it goes on.
    Skip,
}

impl Verb {
    /// Its name in the command line and in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Redrive => "redrive",
            Self::Skip => "skip",
        }
    }

    /// Whether it is done to a row in this state. One that is only behind another, or about to be sent, need not be redriven.
    #[must_use]
    pub fn is_for(self, state: &str) -> bool {
        self == Self::Skip || ["dead", "waiting"].contains(&state)
    }
}

/// What is asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bulk {
    /// What is done.
    pub verb: Verb,
    /// How many rows were selected.
    pub rows: u64,
    /// Who has asked.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// Whether messages are meant too that are not sent and not dead.
    #[serde(default)]
    pub unsent: bool,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Rows looked at, of those that were selected.
    pub seen: u64,
}

/// A run, for people.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Past {
    /// Its number: `cron_runs.id`.
    pub id: i64,
    /// When it was asked for.
    pub asked_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// What was asked for.
    #[serde(flatten)]
    pub request: Json<Bulk>,
    /// Rows looked at.
    pub seen: i64,
    /// Those of them that were dead still, and are redriven or skipped.
    pub items: i64,
    /// `waiting`, `running`, `succeeded` or `failed`.
    pub outcome: String,
    /// Why it failed.
    pub error: Option<String>,
}

/// Writes down that these rows are to be redriven or skipped; workers do it from then on. `target` says how they were selected, for
/// the audit log. Returns the run's number.
///
/// # Errors
///
/// [`Error::Refused`] when there is none of them to do it to.
pub async fn ask(tx: &mut PgConnection, ids: &[i64], bulk: &Bulk, target: &str) -> Result<i64, Error> {
    let some = sqlx::query_scalar(
        "select exists (select from order_worker.pending where id = any($1) and (state = 'dead' or ($2 and queue in ('dapr', 'warehouse'))))",
    );
    let some: bool = some.bind(ids).bind(bulk.unsent).fetch_one(&mut *tx).await?;
    if !some {
        return Err(nothing(bulk.unsent));
    }
    let request = Some(json!(bulk));
    let (run, _) = ledger::ask(tx, DEAD_LETTERS, request).await?.ok_or(sqlx::Error::RowNotFound)?;
    sqlx::query("insert into order_worker.selected (run, id) select $1, unnest($2::bigint[]) on conflict do nothing")
        .bind(run)
        .bind(ids)
        .execute(&mut *tx)
        .await?;
    let detail = json!({ "run": run, "rows": ids.len(), "ids": &ids[..ids.len().min(NAMED)], "reason": bulk.reason });
    let command = if bulk.unsent { "outbox" } else { "dead" };
    audit::record(tx, &bulk.actor, &format!("{command} {}", bulk.verb.as_str()), target, &detail).await?;
    Ok(run)
}

/// None of the rows that were asked for is there.
pub(crate) fn nothing(unsent: bool) -> Error {
    if unsent {
        return Error::refused("none of these messages is waiting or dead", "order-worker outbox list --state pending");
    }
    let next = "order-worker dead list; what waits and is not dead: order-worker outbox list --state waiting, then outbox skip or redrive; an event: order-worker inbox reject";
    Error::refused("no dead row is selected", next)
}

/// What a batch has done.
#[derive(Debug)]
pub struct Step {
    /// Rows looked at.
    pub seen: usize,
    /// The queues of those that were dead.
    pub changed: Vec<Queue>,
    /// The last one looked at; none: there was none left.
    pub last: Option<i64>,
}

/// Does it to the next `limit` rows of the run behind `after`.
///
/// # Errors
///
/// The database's.
pub async fn batch(
    tx: &mut PgConnection,
    run: i64,
    bulk: &Bulk,
    after: Option<i64>,
    limit: u32,
) -> Result<Step, sqlx::Error> {
    let ids: Vec<i64> =
        sqlx::query_scalar("select id from order_worker.selected where run = $1 and id > $2 order by id limit $3")
            .bind(run)
            .bind(after.unwrap_or(i64::MIN))
            .bind(i64::from(limit))
            .fetch_all(&mut *tx)
            .await?;
    let changed = match bulk.verb {
        Verb::Redrive => letters::redrive(tx, &ids, bulk.unsent).await?,
        Verb::Skip => letters::skip(tx, &ids, &bulk.reason, &bulk.actor, bulk.unsent).await?,
    };
    Ok(Step { seen: ids.len(), changed, last: ids.last().copied() })
}

/// The next row of the run behind `after`.
///
/// # Errors
///
/// The database's.
pub async fn next(tx: &mut PgConnection, run: i64, after: Option<i64>) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar("select min(id) from order_worker.selected where run = $1 and id > $2")
        .bind(run)
        .bind(after.unwrap_or(i64::MIN))
        .fetch_one(tx)
        .await
}

/// The last `limit` runs, the newest first; or the one with this number.
///
/// # Errors
///
/// The database's.
pub async fn runs(pool: &PgPool, id: Option<i64>, limit: u32) -> Result<Vec<Past>, sqlx::Error> {
    sqlx::query_as(include_str!("sql/bulk_runs.sql")).bind(id).bind(i64::from(limit)).fetch_all(pool).await
}
