//! Many rows at once: tried again or given up by a run of the queue `cron`, over a selection that is frozen when it is asked for.
//!
//! A row that somebody has mended before its batch comes is left as it is.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgConnection;
use sqlx::types::Json;

use super::{Error, dead, jobs};
use crate::engine::audit;
use crate::engine::queue::{Fault, Queue, State};
use crate::engine::runs::{self, Cursor, PassedOver, Run, RunState, Work};
use crate::platform::database::PgPool;

/// The name of such a run in the ledger.
pub const DEAD_ROWS: &str = "dead_letters";

/// The most dead rows of one batch.
const BATCH: u32 = 500;

/// As many rows as a record of the audit log names.
const NAMED: usize = 1_000;

/// The change of each row.
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
    pub const fn is_for(self, state: State) -> bool {
        matches!((self, state), (Self::Skip, _) | (Self::Redrive, State::Dead | State::Waiting))
    }
}

/// A request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bulk {
    /// The change.
    pub verb: Verb,
    /// The number of rows that were selected.
    pub rows: u64,
    /// Who has asked.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// Whether messages are meant too that are not sent and not dead.
    #[serde(default)]
    pub unsent: bool,
}

/// The progress of a run.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Rows looked at, of those that were selected.
    pub seen: u64,
}

/// A run, for people.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct BulkRun {
    /// Its number: `cron_runs.id`.
    pub id: i64,
    /// When it was asked for.
    pub asked_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// The request.
    #[serde(flatten)]
    pub request: Json<Bulk>,
    /// Rows looked at.
    pub seen: i64,
    /// Those of them that were dead still, and are redriven or skipped.
    pub items: i64,
    /// Its state.
    pub outcome: RunState,
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
    let (run, _) = jobs::ask(tx, DEAD_ROWS, request).await?;
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

/// The result of a batch.
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
        Verb::Redrive => dead::redrive(tx, &ids, bulk.unsent).await?,
        Verb::Skip => dead::skip(tx, &ids, &bulk.reason, &bulk.actor, bulk.unsent).await?,
    };
    Ok(Step { seen: ids.len(), changed, last: ids.last().copied() })
}

/// The next row of the run behind `after`.
pub async fn next(tx: &mut PgConnection, run: i64, after: Option<i64>) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar("select min(id) from order_worker.selected where run = $1 and id > $2")
        .bind(run)
        .bind(after.unwrap_or(i64::MIN))
        .fetch_one(tx)
        .await
}

/// The last `limit` runs, the newest first; or the one with this number.
pub async fn runs(pool: &PgPool, id: Option<i64>, limit: u32) -> Result<Vec<BulkRun>, sqlx::Error> {
    sqlx::query_as(include_str!("sql/bulk_runs.sql")).bind(id).bind(i64::from(limit)).fetch_all(pool).await
}

/// Bulk changes, as runs of the engine.
#[derive(Clone, Copy, Debug)]
pub struct DeadRows;

/// The request of a run, and its progress.
fn asked(run: &Run) -> Result<(Bulk, Progress), Fault> {
    let progress = run.result.clone().map(runs::read).transpose()?.unwrap_or_default();
    Ok((runs::read(run.request.clone().unwrap_or_default())?, progress))
}

fn after(run: &Run) -> Option<i64> {
    run.cursor.id.as_deref().and_then(|id| id.parse().ok())
}

#[async_trait]
impl Work for DeadRows {
    fn name(&self) -> &'static str {
        DEAD_ROWS
    }

    fn limit(&self, run: &Run) -> Result<u32, Fault> {
        asked(run).map(|_| BATCH)
    }

    async fn batch(&self, tx: &mut PgConnection, run: &Run, limit: u32) -> Result<runs::Step, Fault> {
        let (asked, progress) = asked(run)?;
        let step = batch(tx, run.id, &asked, after(run), limit).await?;
        let seen = progress.seen + step.seen as u64;
        Ok(runs::Step {
            items: step.changed.len(),
            cursor: Cursor { at: None, id: step.last.or(after(run)).map(|id| id.to_string()) },
            last: seen >= asked.rows || step.last.is_none(),
            result: Some(json!(Progress { seen })),
            wakes: step.changed,
            ..runs::Step::default()
        })
    }

    async fn next(&self, tx: &mut PgConnection, run: &Run) -> Result<Option<PassedOver>, Fault> {
        let (_, progress) = asked(run)?;
        Ok(next(tx, run.id, after(run)).await?.map(|id| PassedOver {
            cursor: Cursor { at: None, id: Some(id.to_string()) },
            row: format!("row {id}"),
            result: Some(json!(Progress { seen: progress.seen + 1 })),
            stopped: None,
        }))
    }

    fn log_end(&self, run: &Run, progress: &runs::Progress) {
        let Ok((asked, _)) = asked(run) else { return };
        tracing::info!(
            run = run.id,
            by = asked.actor,
            "Dead rows: {} ended, items={}",
            asked.verb.as_str(),
            progress.items
        );
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn a_request_that_cannot_be_read_is_the_runs_own_fault() {
        let run = |request, result| Run { request, result, ..Run::first(DEAD_ROWS.into(), DateTime::UNIX_EPOCH) };
        let request = json!({ "verb": "skip", "rows": 3, "actor": "ada", "reason": "a test", "of": "a later version" });
        let (bulk, progress) = asked(&run(Some(request), Some(json!({ "seen": 2 })))).unwrap();
        assert_eq!((bulk.rows, progress.seen), (3, 2));
        let fault = asked(&run(Some(json!({ "verb": "burn" })), None)).unwrap_err();
        assert!(!fault.is_environment() && !fault.is_splittable(), "{fault}");
    }
}
