//! The overview: queues, rates, incidents, workers, jobs.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use strum::VariantNames;

use super::{Answer, Done, View, changed, done, queue};
use crate::engine::queue::{Contents, contents};
use crate::engine::runs::history;
use crate::operations::pauses::Pausable;
use crate::operations::{QUEUES, incidents};
use crate::platform::database::PgPool;
use crate::shop::jobs::Job;
use crate::web::console::change::Change;
use crate::web::console::guard::Refusal;
use crate::web::console::history::Rate;
use crate::web::console::page::{Action, Row, Section};
use crate::web::listing::Cell;

pub async fn show(view: View) -> Answer {
    let pool = view.pool();
    let queues = Section {
        command: "order-worker queue list".into(),
        picture: view.context.history.picture(),
        ..Section::with_buttons("Queues", &contents(pool, &QUEUES).await?, |queue| vec![button(queue)])
    };
    let rates = Section {
        title: "Rates".into(),
        head: vec!["a second", "in the last minute", "in the last hour"],
        rows: view.context.history.rates().into_iter().flatten().map(rate).collect(),
        none: "Counted from the second look on: in ten seconds.",
        ..Section::default()
    };
    let open = incidents::open(pool).await?;
    let open = open
        .into_iter()
        .map(|(kind, open)| vec![Cell::link(format!("/incidents?kind={kind}"), kind), Cell::text(open)].into());
    let incidents = Section {
        title: "Open incidents".into(),
        command: "order-worker incident list".into(),
        head: vec!["kind", "open"],
        rows: open.collect(),
        none: "None is open.",
        ..Section::default()
    };
    let jobs = super::cron::section(&history::list(pool, Job::VARIANTS).await?, |_| Vec::new());
    view.live("Overview", "/", &[queues, rates, incidents, workers(pool).await?, jobs])
}

fn rate(rate: Rate) -> Row {
    vec![Cell::text(rate.name), Cell::text(format!("{:.1}", rate.minute)), Cell::text(format!("{:.1}", rate.hour))]
        .into()
}

fn button(queue: &Contents) -> Action {
    if queue.paused_at.is_some() {
        Action::new("Resume", "/queues/resume", "queue", &queue.queue)
    } else {
        Action::new("Pause", "/queues/pause", "queue", &queue.queue)
    }
}

async fn workers(pool: &PgPool) -> Result<Section, Refusal> {
    let workers: Vec<(String, String, DateTime<Utc>, i64, i32)> =
        sqlx::query_as(include_str!("../sql/workers.sql")).fetch_all(pool).await?;
    let row = |(worker, queue, since, lanes, in_hand): (_, _, _, _, _)| -> Row {
        let lanes = Cell::text(format!("{lanes} of 64"));
        vec![Cell::Text(worker), Cell::Text(queue), Cell::Time(since), lanes, Cell::text(in_hand)].into()
    };
    Ok(Section {
        title: "Workers".into(),
        command: "order-worker doctor".into(),
        head: vec!["worker", "queue", "since", "lanes", "in hand"],
        rows: workers.into_iter().map(row).collect(),
        none: "No worker is alive.",
        ..Section::default()
    })
}

/// A queue, by its name.
#[derive(Deserialize)]
pub struct Which {
    queue: String,
}

pub async fn pause(change: Change<Which>) -> Done {
    let (queue, mut tx) = (Pausable::Queue(queue(&change.form.queue)?), change.begin().await?);
    changed(queue.pause(&mut tx, change.reason()?, &change.actor).await?, "it was paused already")?;
    done(tx, "/").await
}

pub async fn resume(change: Change<Which>) -> Done {
    let (queue, mut tx) = (Pausable::Queue(queue(&change.form.queue)?), change.begin().await?);
    changed(queue.resume(&mut tx, change.reason()?, &change.actor).await?, "it was not paused")?;
    done(tx, "/").await
}
