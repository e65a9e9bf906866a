//! The ledger: what is registered, which runs are to be done, and what became of them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};

use super::{Job, Schedule, due};
use crate::orders::column;
use crate::replay::{Request, Tally};

/// How far a run has come: behind this candidate, by time and then by id. No time: before all times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The candidate's time.
    pub at: Option<DateTime<Utc>>,
    /// Its id; none at the beginning.
    pub id: Option<String>,
}

/// What a run does.
#[derive(Clone, Debug)]
pub enum Task {
    /// A job.
    Job(Job),
    /// A replay, and what it has come to.
    Replay(Box<Request>, Tally),
}

/// A replay's name among the jobs.
pub const REPLAY: &str = "inbox_replay";

impl Task {
    /// Its name in the ledger and in logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Job(job) => job.as_str(),
            Self::Replay(..) => REPLAY,
        }
    }
}

/// A run whose next batch is to be made.
#[derive(Clone, Debug)]
pub struct Run {
    /// `cron_runs.id`.
    pub id: i64,
    /// What it does.
    pub task: Task,
    /// Its tick; ages are counted back from it, so that a run means the same whenever its batches are made.
    pub tick: DateTime<Utc>,
    /// Behind the last batch.
    pub cursor: Cursor,
    /// Its counted failures.
    pub attempts: i32,
}

/// What a run has come to.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Progress {
    pub(super) kind: String,
    pub(super) missed: i32,
    pub(super) items: i64,
    pub(super) batches: i32,
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
        let Some(due) = due(schedule, row.next_tick, row.now) else { continue };
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

/// A run that an operator asks for: its id and its tick. None: the job was never registered.
///
/// # Errors
///
/// The database's.
pub async fn ask(tx: &mut PgConnection, job: Job) -> Result<Option<(i64, DateTime<Utc>)>, sqlx::Error> {
    sqlx::query_as(include_str!("sql/ask.sql")).bind(job.as_str()).fetch_optional(tx).await
}

#[derive(sqlx::FromRow)]
struct RunRow {
    id: i64,
    job: String,
    tick: DateTime<Utc>,
    cursor_at: Option<DateTime<Utc>>,
    cursor_id: Option<String>,
    request: Option<Json<Request>>,
    result: Option<Json<Tally>>,
    attempts: i32,
}

/// The run whose next batch this transaction is to make, of those with these names.
///
/// # Errors
///
/// The database's.
pub(super) async fn take(tx: &mut PgConnection, names: &[&str]) -> Result<Option<Run>, sqlx::Error> {
    let row: Option<RunRow> = sqlx::query_as(include_str!("sql/take.sql")).bind(names).fetch_optional(tx).await?;
    Ok(row.and_then(|row| {
        let task = match row.request {
            Some(Json(request)) => {
                let tally = row.result.map_or_else(|| request.begin(), |Json(tally)| tally);
                Task::Replay(Box::new(request), tally)
            }
            None => Task::Job(Job::named(&row.job)?),
        };
        let cursor = Cursor { at: row.cursor_at, id: row.cursor_id };
        Some(Run { id: row.id, task, tick: row.tick, cursor, attempts: row.attempts })
    }))
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
    /// What a replay has come to.
    pub(super) tally: Option<&'a Tally>,
    /// Why the run is ended before it was through.
    pub(super) stopped: Option<&'a str>,
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
        .bind(place.tally.map(Json))
        .bind(place.stopped)
        .fetch_one(tx)
        .await
}

/// A batch that failed.
#[derive(Debug)]
pub(super) struct Failure<'a> {
    pub(super) wait: std::time::Duration,
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

/// A job with its last run, for people.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Listed {
    /// The job.
    pub job: String,
    /// Its expression; none: no worker has registered it yet.
    pub schedule: Option<String>,
    /// Its time zone.
    pub time_zone: Option<String>,
    /// The first tick without a run; none: disabled.
    pub next_tick: Option<DateTime<Utc>>,
    /// The end of the last run that succeeded.
    pub last_success_at: Option<DateTime<Utc>>,
    /// Of the last run: its tick,
    pub last_tick: Option<DateTime<Utc>>,
    /// its kind,
    pub last_kind: Option<String>,
    /// its beginning,
    pub last_started_at: Option<DateTime<Utc>>,
    /// its end,
    pub last_finished_at: Option<DateTime<Utc>>,
    /// `succeeded`, `failed`, `running` or `waiting`,
    pub last_outcome: Option<String>,
    /// what it changed,
    pub last_items: Option<i64>,
    /// and why it failed.
    pub last_error: Option<String>,
    /// Since when it is paused, itself or with its queue.
    pub paused_at: Option<DateTime<Utc>>,
    /// Who paused it.
    pub paused_by: Option<String>,
    /// Why.
    pub pause_reason: Option<String>,
}

/// Every job.
///
/// # Errors
///
/// The database's.
pub async fn list(pool: &PgPool) -> Result<Vec<Listed>, sqlx::Error> {
    let names = Job::ALL.map(Job::as_str);
    sqlx::query_as(include_str!("sql/list.sql")).bind(names.as_slice()).fetch_all(pool).await
}

/// A run, for people.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Past {
    /// `cron_runs.id`.
    pub id: i64,
    /// Its tick.
    pub tick: DateTime<Utc>,
    /// `scheduled`, `caught_up` or `manual`.
    pub kind: String,
    /// Ticks before it that got no run of their own.
    pub missed: i32,
    /// The first of these.
    pub missed_from: Option<DateTime<Utc>>,
    /// When its first batch began.
    pub started_at: Option<DateTime<Utc>>,
    /// When its last batch was committed.
    pub finished_at: Option<DateTime<Utc>>,
    /// Who made its last batch.
    pub worker: Option<String>,
    /// What it changed.
    pub items: i64,
    /// In how many transactions.
    pub batches: i32,
    /// `succeeded`, `failed`, `running` or `waiting`.
    pub outcome: String,
    /// Why it failed.
    pub error: Option<String>,
}

/// The last `limit` runs of a job, the newest first.
///
/// # Errors
///
/// The database's.
pub async fn history(pool: &PgPool, job: Job, limit: u32) -> Result<Vec<Past>, sqlx::Error> {
    let query = sqlx::query_as(include_str!("sql/history.sql")).bind(job.as_str());
    query.bind(i64::from(limit)).bind(None::<i64>).fetch_all(pool).await
}

/// One run of a job.
///
/// # Errors
///
/// The database's, also when there is no such run.
pub async fn past(pool: &PgPool, job: Job, run: i64) -> Result<Past, sqlx::Error> {
    sqlx::query_as(include_str!("sql/history.sql")).bind(job.as_str()).bind(1_i64).bind(run).fetch_one(pool).await
}

/// Forgets runs that finished longer ago than `keep`.
///
/// # Errors
///
/// The database's.
pub async fn forget(pool: &PgPool, keep: std::time::Duration) -> Result<u64, sqlx::Error> {
    let forgotten = sqlx::query(include_str!("sql/forget.sql")).bind(keep.as_secs_f64()).execute(pool).await?;
    Ok(forgotten.rows_affected())
}
