//! What is going on: queues, workers, jobs, incidents.

use std::sync::Arc;

use axum::extract::{Extension, Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Redirect;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{Answer, Desk, Refusal, Visitor, changed, live, why};
use crate::engine::queue::{Contents, Queue, contents};
use crate::engine::runs::history;
use crate::operations::pauses::Pausable;
use crate::operations::{self, QUEUES, incidents};
use crate::shop::jobs::Job;
use crate::web::console::history::Rate;
use crate::web::console::page::{Action, Cell, Row, Section};
use strum::VariantNames;

pub async fn show(State(desk): State<Arc<Desk>>, Extension(visitor): Extension<Visitor>, headers: HeaderMap) -> Answer {
    let queues = contents(&desk.pool, &QUEUES).await?;
    let mut sections = vec![Section {
        title: "Queues".into(),
        command: "order-worker queue list".into(),
        head: vec!["queue", "pending", "oldest", "dead", "parked", "state"],
        rows: queues.into_iter().map(queue).collect(),
        picture: desk.history.picture(),
        ..Section::default()
    }];
    sections.push(Section {
        title: "Rates".into(),
        head: vec!["a second", "in the last minute", "in the last hour"],
        rows: desk.history.rates().into_iter().flatten().map(rate).collect(),
        none: "Counted from the second look on: in ten seconds.",
        ..Section::default()
    });
    let kinds = incidents::open(&desk.pool).await?;
    sections.push(Section {
        title: "Open incidents".into(),
        command: "order-worker incident list".into(),
        head: vec!["kind", "open"],
        rows: kinds
            .into_iter()
            .map(|(kind, open)| vec![Cell::link(format!("/incidents?kind={kind}"), kind), Cell::text(open)].into())
            .collect(),
        none: "None is open.",
        ..Section::default()
    });
    sections.push(workers(&desk).await?);
    sections.push(super::cron::section(history::list(&desk.pool, Job::VARIANTS).await?, false));
    live(&visitor, &headers, "Overview", "/", &[], &sections)
}

fn rate(rate: Rate) -> Row {
    vec![Cell::text(rate.name), Cell::text(format!("{:.1}", rate.minute)), Cell::text(format!("{:.1}", rate.hour))]
        .into()
}

fn queue(queue: Contents) -> Row {
    let name = queue.queue.clone();
    let fields = vec![("queue", name.clone())];
    let action = if queue.paused_at.is_some() {
        Action { label: "Resume", path: "/queues/resume".into(), fields, reason: true, asks: &[] }
    } else {
        Action { label: "Pause", path: "/queues/pause".into(), fields, reason: true, asks: &[] }
    };
    let state = match (queue.paused_at, queue.paused_by) {
        (Some(_), Some(by)) => Cell::text(format!(
            "paused by {by}{}",
            queue.pause_reason.map(|why| format!(": {why}")).unwrap_or_default()
        )),
        _ => Cell::text("runs"),
    };
    let dead = if queue.dead > 0 { Cell::link("/dead", queue.dead) } else { Cell::text(0) };
    let oldest = Cell::text(format!("{:.0} s", queue.oldest_age));
    let cells = vec![Cell::text(name), Cell::text(queue.pending), oldest, dead, Cell::text(queue.parked), state];
    Row { cells, actions: vec![action] }
}

async fn workers(desk: &Desk) -> Result<Section, Refusal> {
    let workers: Vec<(String, String, DateTime<Utc>, i64, i32)> =
        sqlx::query_as(include_str!("../sql/workers.sql")).fetch_all(&desk.pool).await?;
    Ok(Section {
        title: "Workers".into(),
        command: "order-worker doctor".into(),
        head: vec!["worker", "queue", "since", "lanes", "in hand"],
        rows: workers
            .into_iter()
            .map(|(worker, queue, since, lanes, in_hand)| {
                vec![
                    Cell::text(worker),
                    Cell::text(queue),
                    Cell::Time(since),
                    Cell::text(format!("{lanes} of 64")),
                    Cell::text(in_hand),
                ]
                .into()
            })
            .collect(),
        none: "No worker is alive.",
        ..Section::default()
    })
}

/// What the buttons send.
#[derive(Deserialize)]
pub struct Which {
    queue: String,
    #[serde(default)]
    reason: String,
    csrf: String,
}

impl Which {
    fn queue(&self) -> Result<Queue, Refusal> {
        operations::queue(&self.queue)
            .ok_or_else(|| Refusal(StatusCode::NOT_FOUND, format!("there is no queue {}", self.queue)))
    }
}

pub async fn pause(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    Form(which): Form<Which>,
) -> Result<Redirect, Refusal> {
    visitor.may_change(&which.csrf)?;
    let mut tx = desk.pool.begin().await?;
    let paused = Pausable::Queue(which.queue()?).pause(&mut tx, why(&which.reason)?, &visitor.actor()).await?;
    changed(paused, "it was paused already")?;
    tx.commit().await?;
    Ok(Redirect::to("/"))
}

pub async fn resume(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    Form(which): Form<Which>,
) -> Result<Redirect, Refusal> {
    visitor.may_change(&which.csrf)?;
    let mut tx = desk.pool.begin().await?;
    let resumed = Pausable::Queue(which.queue()?).resume(&mut tx, why(&which.reason)?, &visitor.actor()).await?;
    changed(resumed, "it was not paused")?;
    tx.commit().await?;
    Ok(Redirect::to("/"))
}
