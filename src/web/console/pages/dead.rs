//! Dead dead_rows: by reason, and a frozen selection of them to be tried again or skipped.

use std::sync::Arc;

use axum::extract::{Extension, Form, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Redirect;
use serde::Deserialize;

use super::cron::cancel_button;
use super::{Answer, Desk, Refusal, Visitor, live, performed, still, why};
use crate::operations;
use crate::operations::bulk::{self, Bulk, Verb};
use crate::operations::dead::{self, DeadRow, Selection};
use crate::web::console::page::{Action, Cell, Row, Section, encoded};

/// The most rows of one selection.
const MOST: u32 = 20_000;
/// Those of them that are shown.
const SHOWN: usize = 200;

pub async fn groups(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
) -> Answer {
    let groups = dead::groups(&desk.pool).await?;
    let section = Section {
        title: "Dead rows by reason".into(),
        command: "order-worker dead list".into(),
        head: vec!["queue", "rows", "first", "last", "reason", ""],
        rows: groups
            .into_iter()
            .map(|group| {
                // Words without what differs: up to the first place that does.
                let words = group
                    .reason
                    .as_deref()
                    .unwrap_or_default()
                    .split('#')
                    .max_by_key(|part| part.len())
                    .unwrap_or_default()
                    .trim()
                    .to_owned();
                let select = format!("/dead/selection?queue={}&because={}", group.queue, encoded(&words));
                vec![
                    Cell::text(group.queue),
                    Cell::text(group.rows),
                    Cell::Time(group.first),
                    Cell::Time(group.last),
                    Cell::maybe(group.reason),
                    Cell::link(select, "Select"),
                ]
                .into()
            })
            .collect(),
        none: "Nothing is dead.",
        ..Section::default()
    };
    let runs = bulk::runs(&desk.pool, None, 20).await?;
    let runs = Section {
        title: "Redriven and skipped, the newest first".into(),
        command: "order-worker dead runs".into(),
        head: vec!["run", "asked", "what", "by", "rows", "done", "outcome", "reason", "error"],
        rows: runs.into_iter().map(run).collect(),
        none: "Nothing was redriven or skipped yet.",
        ..Section::default()
    };
    live(&visitor, &headers, "Dead", "/dead", &[], &[section, runs])
}

fn run(run: bulk::BulkRun) -> Row {
    let actions = cancel_button(run.id, run.finished_at);
    let Bulk { verb, rows, actor, reason, .. } = run.request.0;
    let cells = vec![
        Cell::text(run.id),
        Cell::Time(run.asked_at),
        Cell::text(verb.as_str()),
        Cell::text(actor),
        Cell::text(format!("{} of {rows} looked at", run.seen)),
        Cell::text(run.items),
        Cell::State(run.outcome.to_string()),
        Cell::text(reason),
        Cell::maybe(run.error),
    ];
    Row { cells, actions }
}

/// Which rows.
#[derive(Deserialize)]
pub struct Asked {
    queue: String,
    #[serde(default)]
    because: String,
}

pub async fn selection(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Answer {
    let queue = operations::queue(&asked.queue)
        .ok_or_else(|| Refusal(StatusCode::NOT_FOUND, format!("there is no queue {}", asked.queue)))?;
    let selection =
        Selection { queue: Some(queue), reason: super::given(asked.because.clone()), ..Selection::default() };
    let dead_rows = dead::list(&desk.pool, &selection, MOST).await?;
    let ids: Vec<String> = dead_rows.iter().map(|row| row.id.to_string()).collect();
    let fields = || vec![("ids", ids.join(" "))];
    let button = |label, path: &str| Action { label, path: path.into(), fields: fields(), reason: true, asks: &[] };
    let shown = if dead_rows.len() > SHOWN { format!(", the first {SHOWN} shown") } else { String::new() };
    let because = if asked.because.is_empty() { String::new() } else { format!(" --because '{}'", asked.because) };
    let section = Section {
        title: format!("{} dead rows of {queue}, as they are now{shown}", dead_rows.len()),
        command: format!("order-worker dead redrive --queue {queue}{because}"),
        head: vec!["row", "since", "topic", "event", "order", "attempts", "parked", "reason"],
        actions: if dead_rows.is_empty() {
            Vec::new()
        } else {
            vec![button("Try these again", "/dead/redrive"), button("Skip these", "/dead/skip")]
        },
        rows: dead_rows.into_iter().take(SHOWN).map(row).collect(),
        none: "None of them is dead any more.",
        ..Section::default()
    };
    still(&visitor, "Dead", &[section])
}

fn row(row: DeadRow) -> Row {
    vec![
        Cell::text(row.id),
        Cell::Time(row.created_at),
        Cell::maybe(row.topic),
        Cell::maybe(row.event_id),
        Cell::order(row.order_id),
        Cell::text(row.attempts),
        Cell::text(row.parked),
        Cell::maybe(row.reason),
    ]
    .into()
}

/// What the buttons send: the rows that were shown, whatever has died since.
#[derive(Deserialize)]
pub struct Chosen {
    ids: String,
    #[serde(default)]
    reason: String,
    csrf: String,
}

impl Chosen {
    fn ids(&self) -> Result<Vec<i64>, Refusal> {
        let ids: Result<Vec<i64>, _> = self.ids.split_whitespace().map(str::parse).collect();
        ids.map_err(|_| Refusal(StatusCode::BAD_REQUEST, "ids are numbers".into()))
    }
}

pub async fn redrive(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    Form(chosen): Form<Chosen>,
) -> Result<Redirect, Refusal> {
    ask(&desk, &visitor, chosen, Verb::Redrive, false).await
}

pub async fn skip(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    Form(chosen): Form<Chosen>,
) -> Result<Redirect, Refusal> {
    ask(&desk, &visitor, chosen, Verb::Skip, false).await
}

/// The same of a message that is not sent, dead or not.
pub async fn redrive_message(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    Form(chosen): Form<Chosen>,
) -> Result<Redirect, Refusal> {
    ask(&desk, &visitor, chosen, Verb::Redrive, true).await
}

pub async fn skip_message(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    Form(chosen): Form<Chosen>,
) -> Result<Redirect, Refusal> {
    ask(&desk, &visitor, chosen, Verb::Skip, true).await
}

async fn ask(desk: &Desk, visitor: &Visitor, chosen: Chosen, verb: Verb, unsent: bool) -> Result<Redirect, Refusal> {
    visitor.may_change(&chosen.csrf)?;
    let ids = chosen.ids()?;
    performed(desk, None).await?;
    let (rows, actor, reason) = (ids.len() as u64, visitor.actor(), why(&chosen.reason)?.to_owned());
    let bulk = Bulk { verb, rows, actor, reason, unsent };
    let mut tx = desk.pool.begin().await?;
    bulk::ask(&mut tx, &ids, &bulk, &format!("{} rows", ids.len())).await?;
    tx.commit().await?;
    Ok(Redirect::to("/dead"))
}
