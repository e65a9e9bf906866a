//! Jobs and their runs, for people.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::{RunKind, RunState};
use crate::platform::database::PgPool;

/// A job with its last run, for people.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct JobSummary {
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
    pub last_kind: Option<RunKind>,
    /// its beginning,
    pub last_started_at: Option<DateTime<Utc>>,
    /// its end,
    pub last_finished_at: Option<DateTime<Utc>>,
    /// its state,
    pub last_outcome: Option<RunState>,
    /// what it changed,
    pub last_items: Option<i64>,
    /// what went wrong,
    pub last_error: Option<String>,
    /// and what it did not give up, though its time was up.
    pub last_spared: Option<Value>,
    /// Since when it is paused, itself or with its queue.
    pub paused_at: Option<DateTime<Utc>>,
    /// Who paused it.
    pub paused_by: Option<String>,
    /// Why.
    pub pause_reason: Option<String>,
}

/// These jobs.
///
/// # Errors
///
/// The database's.
pub async fn list(pool: &PgPool, names: &[&str]) -> Result<Vec<JobSummary>, sqlx::Error> {
    sqlx::query_as(include_str!("sql/list.sql")).bind(names).fetch_all(pool).await
}

/// A run, for people.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct RunSummary {
    /// `cron_runs.id`.
    pub id: i64,
    /// Its tick.
    pub tick: DateTime<Utc>,
    /// Why it was made.
    pub kind: RunKind,
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
    /// Items that it changed.
    pub items: i64,
    /// In how many transactions.
    pub batches: i32,
    /// Rows that could not be done and were passed over.
    pub passed_over: i64,
    /// Its state.
    pub outcome: RunState,
    /// Why it failed; why its last batch did, of one that goes on; or why a row was passed over.
    pub error: Option<String>,
    /// What it has spared, though its time was up: as the work has written it.
    pub spared: Option<Value>,
}

/// The last `limit` runs of a job, the newest first.
///
/// # Errors
///
/// The database's.
pub async fn list_runs(pool: &PgPool, job: &str, limit: u32) -> Result<Vec<RunSummary>, sqlx::Error> {
    let query = sqlx::query_as(include_str!("sql/history.sql")).bind(job);
    query.bind(i64::from(limit)).bind(None::<i64>).fetch_all(pool).await
}

/// One run of a job.
///
/// # Errors
///
/// The database's, also when there is no such run.
pub async fn run(pool: &PgPool, job: &str, run: i64) -> Result<RunSummary, sqlx::Error> {
    sqlx::query_as(include_str!("sql/history.sql")).bind(job).bind(1_i64).bind(run).fetch_one(pool).await
}

/// The progress of a run, for whoever waits for it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct RunStatus {
    /// Items that it has looked at or changed.
    pub seen: i64,
    /// Whether it has ended.
    pub finished: bool,
    /// Why it failed.
    pub error: Option<String>,
    /// Why it goes nowhere just now, or what it passed over.
    pub problem: Option<String>,
}

/// The progress of a run; none: the run is forgotten.
///
/// # Errors
///
/// The database's.
pub async fn status(pool: &PgPool, run: i64) -> Result<Option<RunStatus>, sqlx::Error> {
    sqlx::query_as(include_str!("sql/status.sql")).bind(run).fetch_optional(pool).await
}
