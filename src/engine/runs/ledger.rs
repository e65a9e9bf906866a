//! The ledger: what is registered, which runs are to be done, and what became of them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;

use super::schedule::first_without_run;
use super::{RunKind, Schedule, due};
use crate::platform::database::{PgPool, column, read_by_name};

/// The place of a run: behind this candidate, by time and then by id. No time: before all times.
#[derive(Clone, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Cursor {
    /// The candidate's time.
    #[sqlx(rename = "cursor_at")]
    pub at: Option<DateTime<Utc>>,
    /// Its id; none at the beginning.
    #[sqlx(rename = "cursor_id")]
    pub id: Option<String>,
}

/// A job as this process would run it.
#[derive(Clone, Debug)]
pub struct Scheduled {
    /// Its name.
    pub name: &'static str,
    /// When it runs.
    pub schedule: Schedule,
    /// Whether it does.
    pub enabled: bool,
}

/// The end of a run: `order_worker.cron_runs.outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::EnumString, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum RunOutcome {
    /// It is done.
    Succeeded,
    /// It was given up; the next tick begins anew.
    Failed,
}

/// The state of a run, for people.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, strum::Display, strum::EnumString, strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum RunState {
    /// No batch of it was made yet.
    Waiting,
    /// Some batches are made.
    Running,
    /// It ended: [`RunOutcome::Succeeded`].
    Succeeded,
    /// It ended: [`RunOutcome::Failed`].
    Failed,
}

read_by_name!(RunOutcome, RunState);

/// A run whose next batch is to be made.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Run {
    /// `cron_runs.id`.
    pub id: i64,
    /// Its job's name.
    pub job: String,
    /// The operator's request, where there is a choice.
    pub request: Option<Value>,
    /// The result so far.
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

/// The progress of a run.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Progress {
    /// Why it was made.
    pub kind: RunKind,
    /// Ticks before it that got no run.
    pub missed: i32,
    /// Items that it has changed.
    pub items: i64,
    /// Its batches.
    pub batches: i32,
    /// Rows that it went on behind.
    pub passed_over: i64,
    /// Its outcome; none while it goes on.
    pub outcome: Option<RunOutcome>,
    /// Why it failed, or what it could not do.
    pub error: Option<String>,
    /// From its first batch on.
    pub seconds: f64,
}

/// The database's clock.
///
/// # Errors
///
/// The database's.
pub async fn now(pool: &PgPool) -> Result<DateTime<Utc>, sqlx::Error> {
    sqlx::query_scalar("select clock_timestamp()").fetch_one(pool).await
}

/// For how long a registration is sure after it was renewed.
const REGISTERED: Duration = Duration::from_secs(30);
/// From one renewal to the next.
pub(super) const RENEWED_EVERY: Duration = Duration::from_secs(10);

/// Writes down which jobs there are and when they run; none for `next_tick` of a job that is disabled. `others_too`: also where
/// another worker is there that runs it otherwise, as the one that was started last does. Returns how many were registered.
///
/// # Errors
///
/// The database's.
pub async fn register(pool: &PgPool, jobs: &[Scheduled], others_too: bool) -> Result<u64, sqlx::Error> {
    let now = now(pool).await?;
    let registered = sqlx::query(include_str!("sql/register.sql"))
        .bind(column(jobs, |job| job.name))
        .bind(column(jobs, |job| job.schedule.expression.to_string()))
        .bind(column(jobs, |job| job.schedule.zone.to_string()))
        .bind(column(jobs, |job| job.enabled.then(|| job.schedule.after(now)).flatten()))
        .bind(REGISTERED.as_secs_f64())
        .bind(others_too)
        .execute(pool)
        .await?;
    Ok(registered.rows_affected())
}

/// Says that a worker is there which runs these jobs, as far as they are registered like that. What is registered otherwise by a worker
/// that is gone would never run: it is registered anew. Returns how many were.
///
/// # Errors
///
/// The database's.
pub(super) async fn renew(pool: &PgPool, jobs: &[Scheduled]) -> Result<u64, sqlx::Error> {
    let abandoned: bool = sqlx::query_scalar(include_str!("sql/renew.sql"))
        .bind(column(jobs, |job| job.name))
        .bind(column(jobs, |job| job.schedule.expression.to_string()))
        .bind(column(jobs, |job| job.schedule.zone.to_string()))
        .bind(column(jobs, |job| job.enabled))
        .bind(REGISTERED.as_secs_f64())
        .fetch_one(pool)
        .await?;
    if abandoned { register(pool, jobs, false).await } else { Ok(0) }
}

/// The same of jobs that no worker has registered yet; the others stay as they are.
///
/// # Errors
///
/// The database's.
pub async fn register_if_missing(pool: &PgPool, jobs: &[Scheduled]) -> Result<(), sqlx::Error> {
    let known: Vec<String> = sqlx::query_scalar("select job from order_worker.cron_jobs").fetch_all(pool).await?;
    let missing: Vec<_> = jobs.iter().filter(|job| !known.iter().any(|name| name == job.name)).cloned().collect();
    if missing.is_empty() { Ok(()) } else { register(pool, &missing, false).await.map(|_| ()) }
}

#[derive(sqlx::FromRow)]
struct DueRow {
    job: String,
    schedule: String,
    time_zone: String,
    next_tick: DateTime<Utc>,
    now: DateTime<Utc>,
    last_tick: Option<DateTime<Utc>>,
}

/// Makes runs of the ticks that have come, of those jobs that are registered as they are here. What a clock has written that was
/// ahead is undone before.
///
/// # Errors
///
/// The database's.
pub(super) async fn schedule(pool: &PgPool, jobs: &[Scheduled]) -> Result<(), sqlx::Error> {
    let names = column(jobs, |job| job.name);
    let premature = sqlx::query(include_str!("sql/premature.sql")).bind(names).execute(pool).await?.rows_affected();
    if premature > 0 {
        tracing::warn!(
            runs = premature,
            "Runs ended that were under way before their tick: the database's clock was ahead"
        );
    }
    let rows: Vec<DueRow> = sqlx::query_as(include_str!("sql/due.sql")).fetch_all(pool).await?;
    for row in rows {
        let same = |job: &&Scheduled| {
            job.name == row.job
                && job.schedule.expression.to_string() == row.schedule
                && job.schedule.zone.to_string() == row.time_zone
        };
        let Some(Scheduled { name, schedule, .. }) = jobs.iter().find(same) else { continue };
        let first = first_without_run(schedule, row.next_tick, row.last_tick, row.now);
        if first != row.next_tick {
            tracing::warn!(
                job = row.job, next_tick = %row.next_tick, first = %first,
                "Job's next tick was written by a clock that was ahead, and is put right"
            );
            let reset = sqlx::query(include_str!("sql/reset.sql"));
            reset.bind(name).bind(row.next_tick).bind(first).execute(pool).await?;
        }
        let Some(due) = due(schedule, first, row.now) else { continue };
        sqlx::query(include_str!("sql/schedule.sql"))
            .bind(name)
            .bind(first)
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
    /// Items that the batch has changed.
    pub(super) items: usize,
    /// Behind its last candidate.
    pub(super) cursor: &'a Cursor,
    /// Whether it was the last.
    pub(super) finished: bool,
    /// The run's result so far, where it counts one.
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
pub(super) struct Failed<'a> {
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
pub(super) async fn fail(pool: &PgPool, run: &Run, worker: &str, failure: &Failed<'_>) -> Result<(), sqlx::Error> {
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
