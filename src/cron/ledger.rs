//! The ledger: what is registered, which runs are to be done, and what became of them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use super::{Job, Schedule, due};
use crate::database::PgPool;
use crate::orders::column;

/// How far a run has come: behind this candidate, by time and then by id. No time: before all times.
#[derive(Clone, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Cursor {
    /// The candidate's time.
    #[sqlx(rename = "cursor_at")]
    pub at: Option<DateTime<Utc>>,
    /// Its id; none at the beginning.
    #[sqlx(rename = "cursor_id")]
    pub id: Option<String>,
}

/// A replay's name among the jobs.
pub const REPLAY: &str = "inbox_replay";
/// The name of what is done to many dead rows.
pub const DEAD_LETTERS: &str = "dead_letters";

/// A run whose next batch is to be made.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Run {
    /// `cron_runs.id`.
    pub id: i64,
    /// Its job's name.
    pub job: String,
    /// What an operator has asked for, where there is a choice.
    pub request: Option<Value>,
    /// What that has come to.
    pub result: Option<Value>,
    /// Its tick; ages are counted back from it, so that a run means the same whenever its batches are made.
    pub tick: DateTime<Utc>,
    /// Behind the last batch.
    #[sqlx(flatten)]
    pub cursor: Cursor,
    /// Its batches so far.
    pub batches: i32,
    /// Rows that it could not do and went on behind.
    pub passed_over: i64,
    /// Its counted failures.
    pub attempts: i32,
}

impl Run {
    /// A run of which nothing is done yet, and which stands in no ledger.
    #[must_use]
    pub fn first(job: String, tick: DateTime<Utc>) -> Self {
        let (request, result, cursor) = (None, None, Cursor::default());
        Self { id: 0, job, request, result, tick, cursor, batches: 0, passed_over: 0, attempts: 0 }
    }
}

/// What a run has come to.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Progress {
    pub(super) kind: String,
    pub(super) missed: i32,
    pub(super) items: i64,
    pub(super) batches: i32,
    pub(super) passed_over: i64,
    /// None while it goes on.
    pub(super) outcome: Option<String>,
    pub(super) error: Option<String>,
    pub(super) seconds: f64,
}

/// The database's clock.
///
/// # Errors
///
/// The database's.
pub async fn now(pool: &PgPool) -> Result<DateTime<Utc>, sqlx::Error> {
    sqlx::query_scalar("select clock_timestamp()").fetch_one(pool).await
}

/// Writes down which jobs there are and when they run; none for `next_tick` of a job that is disabled.
///
/// # Errors
///
/// The database's.
pub async fn register(pool: &PgPool, jobs: &[(Job, Schedule, bool)]) -> Result<(), sqlx::Error> {
    let now = now(pool).await?;
    sqlx::query(include_str!("sql/register.sql"))
        .bind(column(jobs, |(job, ..)| job.as_str()))
        .bind(column(jobs, |(_, schedule, _)| schedule.expression.to_string()))
        .bind(column(jobs, |(_, schedule, _)| schedule.zone.to_string()))
        .bind(column(jobs, |(_, schedule, enabled)| enabled.then(|| schedule.after(now)).flatten()))
        .execute(pool)
        .await?;
    Ok(())
}

/// The same of jobs that no worker has registered yet; the others stay as they are.
///
/// # Errors
///
/// The database's.
pub async fn register_if_missing(pool: &PgPool, jobs: &[(Job, Schedule, bool)]) -> Result<(), sqlx::Error> {
    let known: Vec<String> = sqlx::query_scalar("select job from order_worker.cron_jobs").fetch_all(pool).await?;
    let missing: Vec<_> =
        jobs.iter().filter(|(job, ..)| !known.iter().any(|name| name == job.as_str())).cloned().collect();
    if missing.is_empty() { Ok(()) } else { register(pool, &missing).await }
}

#[derive(sqlx::FromRow)]
struct DueRow {
    job: String,
    schedule: String,
    time_zone: String,
    next_tick: DateTime<Utc>,
    now: DateTime<Utc>,
}

/// Makes runs of the ticks that have come, of those jobs that are registered as they are here.
///
/// # Errors
///
/// The database's.
pub(super) async fn schedule(pool: &PgPool, jobs: &[(Job, Schedule, bool)]) -> Result<(), sqlx::Error> {
    let rows: Vec<DueRow> = sqlx::query_as(include_str!("sql/due.sql")).fetch_all(pool).await?;
    for row in rows {
        let same = |(job, schedule, _): &&(Job, Schedule, bool)| {
            job.as_str() == row.job
                && schedule.expression.to_string() == row.schedule
                && schedule.zone.to_string() == row.time_zone
        };
        let Some((job, schedule, _)) = jobs.iter().find(same) else { continue };
        let Some(due) = due(schedule, row.next_tick, row.now) else {
            // Counted under a clock that was ahead.
            let recount = sqlx::query(include_str!("sql/recount.sql")).bind(&row.job).bind(row.next_tick);
            recount.bind(schedule.after(row.now)).execute(pool).await?;
            continue;
        };
        sqlx::query(include_str!("sql/schedule.sql"))
            .bind(job.as_str())
            .bind(row.next_tick)
            .bind(due.tick)
            .bind(due.kind.as_str())
            .bind(due.missed)
            .bind(due.missed_from)
            .bind(due.next)
            .execute(pool)
            .await?;
    }
    Ok(())
}

/// A run that an operator asks for, of the job with this name: its id and its tick; `request` says what of, where there is a choice.
/// None: the job was never registered.
///
/// # Errors
///
/// The database's.
pub async fn ask(
    tx: &mut PgConnection,
    name: &str,
    request: Option<Value>,
) -> Result<Option<(i64, DateTime<Utc>)>, sqlx::Error> {
    sqlx::query_as(include_str!("sql/ask.sql")).bind(name).bind(request).fetch_optional(tx).await
}

/// Ends a run where it stands, with the words of why; what its batches have done stays. Returns its job; none: it has ended already, or
/// there is none.
///
/// # Errors
///
/// The database's.
pub(crate) async fn cancel(tx: &mut PgConnection, run: i64, why: &str) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(include_str!("sql/cancel.sql")).bind(run).bind(why).fetch_optional(tx).await
}

/// The run whose next batch this transaction is to make, of those with these names.
///
/// # Errors
///
/// The database's.
pub(super) async fn take(tx: &mut PgConnection, names: &[&str]) -> Result<Option<Run>, sqlx::Error> {
    sqlx::query_as(include_str!("sql/take.sql")).bind(names).fetch_optional(tx).await
}

/// Where a run is after a batch.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// What the batch has changed.
    pub(super) items: usize,
    /// Behind its last candidate.
    pub(super) cursor: &'a Cursor,
    /// Whether it was the last.
    pub(super) finished: bool,
    /// What it has come to, where it counts that.
    pub(super) result: Option<Value>,
    /// Why the run is ended before it was through.
    pub(super) stopped: Option<&'a str>,
    /// From the beginning of this batch to that of the next, at the least.
    pub(super) pause: Duration,
    /// Why this is no batch, but a row that is passed over.
    pub(super) passed_over: Option<&'a str>,
}

impl<'a> Place<'a> {
    /// Behind `cursor`, with nothing changed and more to do.
    pub(super) const fn behind(cursor: &'a Cursor) -> Self {
        Self {
            items: 0,
            cursor,
            finished: false,
            result: None,
            stopped: None,
            pause: Duration::ZERO,
            passed_over: None,
        }
    }
}

/// Writes where a run is after a batch, in its transaction.
///
/// # Errors
///
/// The database's.
pub(super) async fn progress(
    tx: &mut PgConnection,
    run: &Run,
    worker: &str,
    place: &Place<'_>,
) -> Result<Progress, sqlx::Error> {
    sqlx::query_as(include_str!("sql/progress.sql"))
        .bind(run.id)
        .bind(worker)
        .bind(i64::try_from(place.items).unwrap_or(i64::MAX))
        .bind(place.cursor.at)
        .bind(&place.cursor.id)
        .bind(place.finished)
        .bind(&place.result)
        .bind(place.stopped)
        .bind(place.pause.as_secs_f64())
        .bind(i32::from(place.passed_over.is_some()))
        .bind(place.passed_over)
        .fetch_one(tx)
        .await
}

/// Lets the run wait before its next batch, in the batch's transaction.
///
/// # Errors
///
/// The database's.
pub(super) async fn wait(tx: &mut PgConnection, run: &Run, pause: Duration) -> Result<(), sqlx::Error> {
    sqlx::query(include_str!("sql/wait.sql")).bind(run.id).bind(pause.as_secs_f64()).execute(tx).await?;
    Ok(())
}

/// A batch that failed.
#[derive(Debug)]
pub(super) struct Failure<'a> {
    pub(super) wait: Duration,
    /// Whether it was the run's own fault: attempts count.
    pub(super) counted: bool,
    pub(super) error: &'a str,
    /// Whether it was the last attempt.
    pub(super) last: bool,
}

/// Lets the run wait for its next attempt, or ends it.
///
/// # Errors
///
/// The database's.
pub(super) async fn fail(pool: &PgPool, run: &Run, worker: &str, failure: &Failure<'_>) -> Result<(), sqlx::Error> {
    sqlx::query(include_str!("sql/fail.sql"))
        .bind(run.id)
        .bind(run.attempts)
        .bind(failure.wait.as_secs_f64())
        .bind(i32::from(failure.counted))
        .bind(failure.error)
        .bind(failure.last)
        .bind(worker)
        .execute(pool)
        .await?;
    Ok(())
}

/// Forgets runs that finished longer ago than `keep`.
///
/// # Errors
///
/// The database's.
pub async fn forget(pool: &PgPool, keep: Duration) -> Result<u64, sqlx::Error> {
    let forgotten = sqlx::query(include_str!("sql/forget.sql")).bind(keep.as_secs_f64()).execute(pool).await?;
    Ok(forgotten.rows_affected())
}
