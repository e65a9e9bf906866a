//! Jobs: when they run, what became of their runs.

use std::sync::Arc;

use axum::extract::{Extension, Form, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Redirect;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use strum::VariantNames;

use super::{Answer, Desk, Refusal, Visitor, changed, live, performed, why};
use crate::engine::runs::history::{self, JobSummary};
use crate::operations::bulk::DEAD_ROWS;
use crate::operations::jobs;
use crate::operations::pauses::Pausable;
use crate::operations::replay::REPLAY;
use crate::shop::jobs::{Job, Spared};
use crate::web::console::page::{Action, Cell, Row, Section};

pub async fn list(State(desk): State<Arc<Desk>>, Extension(visitor): Extension<Visitor>, headers: HeaderMap) -> Answer {
    let section = section(history::list(&desk.pool, Job::VARIANTS).await?, true);
    live(&visitor, &headers, "Jobs", "/cron", &[], &[section])
}

/// The jobs; with buttons on their own page.
pub fn section(jobs: Vec<JobSummary>, actions: bool) -> Section {
    let row = |job: JobSummary| {
        let fields = || vec![("job", job.job.clone())];
        let button =
            |label, path: &str, reason| Action { label, path: path.into(), fields: fields(), reason, asks: &[] };
        let pause = if job.paused_at.is_some() {
            button("Resume", "/cron/resume", true)
        } else {
            button("Pause", "/cron/pause", true)
        };
        let registered = job.schedule.is_some();
        let run = || button("Run now", "/cron/run", false);
        let actions = if actions && registered { vec![pause, run()] } else { Vec::new() };
        let state = match (&job.paused_by, job.next_tick, registered) {
            (Some(by), ..) => Cell::text(format!("paused by {by}")),
            (None, Some(tick), _) => Cell::Time(tick),
            (None, None, true) => Cell::text("disabled"),
            (None, None, false) => Cell::text("not registered"),
        };
        let cells = vec![
            Cell::link(format!("/cron/history?job={}", job.job), &job.job),
            Cell::maybe(job.schedule.as_deref()),
            state,
            Cell::when(job.last_tick),
            job.last_outcome.map_or(Cell::Empty, |state| Cell::State(state.to_string())),
            Cell::maybe(job.last_items),
            Cell::maybe(job.last_spared.as_ref().and_then(Spared::describe)),
        ];
        Row { cells, actions }
    };
    Section {
        title: "Jobs".into(),
        command: "order-worker cron list".into(),
        head: vec!["job", "schedule", "next tick", "last tick", "outcome", "items", "spared"],
        rows: jobs.into_iter().map(row).collect(),
        ..Section::default()
    }
}

/// Which job.
#[derive(Deserialize)]
pub struct Asked {
    job: String,
}

fn named(job: &str) -> Result<Job, Refusal> {
    Job::named(job).ok_or_else(|| Refusal(StatusCode::NOT_FOUND, format!("there is no job {job}")))
}

pub async fn history(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Answer {
    let job = named(&asked.job)?;
    let runs = history::list_runs(&desk.pool, job.as_str(), 100).await?;
    let section = Section {
        title: format!("Runs of {job}"),
        command: format!("order-worker cron history {job}"),
        head: vec![
            "run",
            "tick",
            "kind",
            "missed",
            "started",
            "finished",
            "items",
            "batches",
            "passed over",
            "spared",
            "outcome",
            "error",
        ],
        rows: runs
            .into_iter()
            .map(|run| {
                let actions = cancel_button(run.id, run.finished_at);
                let cells = vec![
                    Cell::text(run.id),
                    Cell::Time(run.tick),
                    Cell::text(run.kind),
                    Cell::text(run.missed),
                    Cell::when(run.started_at),
                    Cell::when(run.finished_at),
                    Cell::text(run.items),
                    Cell::text(run.batches),
                    Cell::text(run.passed_over),
                    Cell::maybe(run.spared.as_ref().and_then(Spared::describe)),
                    Cell::State(run.outcome.to_string()),
                    Cell::maybe(run.error),
                ];
                Row { cells, actions }
            })
            .collect(),
        none: "It has not run yet.",
        ..Section::default()
    };
    live(&visitor, &headers, "Jobs", &format!("/cron/history?job={job}"), &[], &[section])
}

/// What the buttons of a pause send.
#[derive(Deserialize)]
pub struct Paused {
    job: String,
    #[serde(default)]
    reason: String,
    csrf: String,
}

/// What the button of a run sends.
#[derive(Deserialize)]
pub struct Which {
    job: String,
    csrf: String,
}

pub async fn pause(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    Form(which): Form<Paused>,
) -> Result<Redirect, Refusal> {
    visitor.may_change(&which.csrf)?;
    let mut tx = desk.pool.begin().await?;
    let paused =
        Pausable::Job(named(&which.job)?.as_str()).pause(&mut tx, why(&which.reason)?, &visitor.actor()).await?;
    changed(paused, "it was paused already")?;
    tx.commit().await?;
    Ok(Redirect::to("/cron"))
}

pub async fn resume(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    Form(which): Form<Paused>,
) -> Result<Redirect, Refusal> {
    visitor.may_change(&which.csrf)?;
    let mut tx = desk.pool.begin().await?;
    let resumed =
        Pausable::Job(named(&which.job)?.as_str()).resume(&mut tx, why(&which.reason)?, &visitor.actor()).await?;
    changed(resumed, "it was not paused")?;
    tx.commit().await?;
    Ok(Redirect::to("/cron"))
}

pub async fn run(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    Form(which): Form<Which>,
) -> Result<Redirect, Refusal> {
    visitor.may_change(&which.csrf)?;
    let job = named(&which.job)?;
    performed(&desk, Some(job)).await?;
    let mut tx = desk.pool.begin().await?;
    jobs::run(&mut tx, job, &visitor.actor()).await?;
    tx.commit().await?;
    Ok(Redirect::to(&format!("/cron/history?job={job}")))
}

/// Ends a run that is under way or waits.
pub fn cancel_button(run: i64, finished_at: Option<DateTime<Utc>>) -> Vec<Action> {
    let fields = vec![("run", run.to_string())];
    let button = Action { label: "Cancel", path: "/cron/cancel".into(), fields, reason: true, asks: &[] };
    if finished_at.is_none() { vec![button] } else { Vec::new() }
}

/// What the button sends.
#[derive(Deserialize)]
pub struct Cancel {
    run: i64,
    #[serde(default)]
    reason: String,
    csrf: String,
}

pub async fn cancel(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    Form(cancel): Form<Cancel>,
) -> Result<Redirect, Refusal> {
    visitor.may_change(&cancel.csrf)?;
    let mut tx = desk.pool.begin().await?;
    let job = jobs::cancel(&mut tx, cancel.run, why(&cancel.reason)?, &visitor.actor()).await?;
    tx.commit().await?;
    Ok(Redirect::to(&match job.as_str() {
        REPLAY => "/replays".to_owned(),
        DEAD_ROWS => "/dead".to_owned(),
        job => format!("/cron/history?job={job}"),
    }))
}
