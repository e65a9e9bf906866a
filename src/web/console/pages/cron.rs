//! Jobs and their runs.

use axum::extract::Query;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use strum::VariantNames;

use super::{Answer, Done, View, changed, done, refuse_without_worker};
use crate::engine::runs::history::{self, JobSummary};
use crate::operations::bulk::DEAD_ROWS;
use crate::operations::jobs;
use crate::operations::pauses::Pausable;
use crate::operations::replay::REPLAY;
use crate::shop::jobs::Job;
use crate::web::console::change::Change;
use crate::web::console::guard::Refusal;
use crate::web::console::page::{Action, Section};

pub async fn list(view: View) -> Answer {
    let jobs = history::list(view.pool(), Job::VARIANTS).await?;
    view.live("Jobs", "/cron", &[section(&jobs, buttons)])
}

/// The jobs, each with its buttons.
pub fn section(jobs: &[JobSummary], buttons: impl Fn(&JobSummary) -> Vec<Action>) -> Section {
    Section { command: "order-worker cron list".into(), ..Section::with_buttons("Jobs", jobs, buttons) }
}

fn buttons(job: &JobSummary) -> Vec<Action> {
    if job.schedule.is_none() {
        return Vec::new();
    }
    let pause = if job.paused_at.is_some() {
        Action::new("Resume", "/cron/resume", "job", &job.job)
    } else {
        Action::new("Pause", "/cron/pause", "job", &job.job)
    };
    let run = Action { reason: false, ..Action::new("Run now", "/cron/run", "job", &job.job) };
    vec![pause, run]
}

/// A job, by its name.
#[derive(Deserialize)]
pub struct Which {
    job: String,
}

impl Which {
    fn job(&self) -> Result<Job, Refusal> {
        let job = Job::named(&self.job);
        job.ok_or_else(|| Refusal(StatusCode::NOT_FOUND, format!("there is no job {}", self.job)))
    }

    fn pausable(&self) -> Result<Pausable, Refusal> {
        Ok(Pausable::Job(self.job()?.as_str()))
    }
}

pub async fn history(view: View, Query(which): Query<Which>) -> Answer {
    let job = which.job()?;
    let runs = history::list_runs(view.pool(), job.as_str(), 100).await?;
    let section = Section {
        command: format!("order-worker cron history {job}"),
        none: "It has not run yet.",
        ..Section::with_buttons(format!("Runs of {job}"), &runs, |run| cancel_button(run.id, run.finished_at))
    };
    view.live("Jobs", &format!("/cron/history?job={job}"), &[section])
}

pub async fn pause(change: Change<Which>) -> Done {
    let (job, mut tx) = (change.form.pausable()?, change.begin().await?);
    changed(job.pause(&mut tx, change.reason()?, &change.actor).await?, "it was paused already")?;
    done(tx, "/cron").await
}

pub async fn resume(change: Change<Which>) -> Done {
    let (job, mut tx) = (change.form.pausable()?, change.begin().await?);
    changed(job.resume(&mut tx, change.reason()?, &change.actor).await?, "it was not paused")?;
    done(tx, "/cron").await
}

pub async fn run(change: Change<Which>) -> Done {
    let job = change.form.job()?;
    refuse_without_worker(change.pool(), Some(job)).await?;
    let mut tx = change.begin().await?;
    jobs::run(&mut tx, job, &change.actor).await?;
    done(tx, &format!("/cron/history?job={job}")).await
}

/// Ends a run that is under way or waits.
pub fn cancel_button(run: i64, finished_at: Option<DateTime<Utc>>) -> Vec<Action> {
    if finished_at.is_some() {
        return Vec::new();
    }
    vec![Action::new("Cancel", "/cron/cancel", "run", run)]
}

/// A run, by its number.
#[derive(Deserialize)]
pub struct Run {
    run: i64,
}

pub async fn cancel(change: Change<Run>) -> Done {
    let mut tx = change.begin().await?;
    let job = jobs::cancel(&mut tx, change.form.run, change.reason()?, &change.actor).await?;
    let page = match job.as_str() {
        REPLAY => "/replays".to_owned(),
        DEAD_ROWS => "/dead".to_owned(),
        job => format!("/cron/history?job={job}"),
    };
    done(tx, &page).await
}
