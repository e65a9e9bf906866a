//! Runs of jobs that an operator asks for; workers make them.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::Error;
use crate::engine::audit;
use crate::engine::runs::ledger;
use crate::shop::jobs::Job;

/// Asks for a run of this job. Returns its number and its tick.
///
/// # Errors
///
/// [`Error::Refused`] when no worker has ever registered the job.
pub async fn run(tx: &mut PgConnection, job: Job, actor: &str) -> Result<(i64, DateTime<Utc>), Error> {
    let asked = ledger::ask(tx, job.as_str(), None).await?;
    let (run, tick) = asked.ok_or_else(|| {
        let next = "start a worker in mode cron or all: it registers its jobs";
        Error::refused(format!("{job} is not registered: no worker has run it yet"), next)
    })?;
    audit::record(tx, actor, "cron run", job.as_str(), &json!({ "run": run, "tick": tick })).await?;
    Ok((run, tick))
}

/// Writes down a run of what this name stands for in the ledger: its number and its tick.
///
/// # Errors
///
/// [`Error::Refused`] when the ledger does not have the name: the migrations write it.
pub(super) async fn ask(
    tx: &mut PgConnection,
    name: &str,
    request: Option<Value>,
) -> Result<(i64, DateTime<Utc>), Error> {
    let asked = ledger::ask(tx, name, request).await?;
    asked.ok_or_else(|| Error::refused(format!("the ledger has no runs of {name}"), "order-worker migrate"))
}

/// Ends a run where it stands, whatever it is of; what its batches have done stays. Returns the name of its job.
///
/// # Errors
///
/// [`Error::Refused`] when there is none with this number, or it has ended.
pub async fn cancel(tx: &mut PgConnection, run: i64, reason: &str, actor: &str) -> Result<String, Error> {
    let job = ledger::cancel(tx, run, &format!("cancelled by {actor}: {reason}")).await?.ok_or_else(|| {
        let next = "order-worker cron history JOB, order-worker inbox replays, order-worker dead runs";
        Error::refused(format!("run {run} is none, or has ended already"), next)
    })?;
    audit::record(tx, actor, "cron cancel", &job, &json!({ "run": run, "reason": reason })).await?;
    Ok(job)
}
