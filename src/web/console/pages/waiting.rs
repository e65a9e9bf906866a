//! Events that wait for an operator: held ones, and those whose id came before with another body.

use std::sync::Arc;

use axum::extract::{Extension, Form, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Redirect;
use serde::Deserialize;

use super::{Answer, Desk, Refusal, Visitor, live, still, why};
use crate::operations::events::{self, Waiting, Waits};
use crate::operations::masked;
use crate::web::console::page::{Action, Cell, Section};

const KINDS: [(Waits, &str, &str); 2] = [
    (Waits::Held, "Held: another amount", "order-worker inbox list --outcome held"),
    (Waits::Quarantined, "Quarantined: an id that came before with another body", "order-worker quarantine list"),
];

pub async fn list(State(desk): State<Arc<Desk>>, Extension(visitor): Extension<Visitor>, headers: HeaderMap) -> Answer {
    let mut sections = Vec::new();
    for (waits, title, command) in KINDS {
        let events = events::waiting(&desk.pool, waits, 200).await?;
        sections.push(Section {
            title: title.into(),
            command: command.into(),
            head: vec!["received", "topic", "source", "event", "order", "reason"],
            rows: events.into_iter().map(row).collect(),
            none: "None waits.",
            ..Section::default()
        });
    }
    live(&visitor, &headers, "Waiting", "/waiting", &[], &sections)
}

fn row(event: Waiting) -> crate::web::console::page::Row {
    vec![
        Cell::Time(event.received_at),
        Cell::text(event.topic),
        Cell::text(event.source),
        Cell::link(format!("/waiting/{}", event.id), event.event_id),
        Cell::order(event.order_id),
        Cell::maybe(event.reason),
    ]
    .into()
}

async fn find(desk: &Desk, id: i64) -> Result<(Waits, Waiting), Refusal> {
    for (waits, ..) in KINDS {
        if let Some(event) = events::waiting(&desk.pool, waits, 10_000).await?.into_iter().find(|event| event.id == id)
        {
            return Ok((waits, event));
        }
    }
    Err(Refusal(StatusCode::NOT_FOUND, format!("event {id} does not wait for anybody")))
}

pub async fn show(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<i64>,
) -> Answer {
    let (waits, event) = find(&desk, id).await?;
    let button = |label, accept: &str| {
        let fields = vec![("id", id.to_string()), ("accept", accept.to_owned())];
        Action { label, path: "/waiting/decide".into(), fields, reason: true, asks: &[] }
    };
    let command = match waits {
        Waits::Held => format!("order-worker inbox approve {id} --reason …"),
        Waits::Quarantined => format!("order-worker quarantine resolve {id} --accept --reason …"),
    };
    let line = |name: &str, cell: Cell| vec![Cell::text(name), cell].into();
    let section = Section {
        title: format!("Event {}", event.event_id),
        command,
        head: vec!["field", "value"],
        rows: vec![
            line("state", Cell::State(event.state.to_string())),
            line("reason", Cell::maybe(event.reason)),
            line("topic", Cell::text(event.topic)),
            line("source", Cell::text(event.source)),
            line("order", Cell::order(event.order_id)),
            line(
                "the same id",
                Cell::link(
                    format!("/inbox?event={}", crate::web::console::page::encoded(&event.event_id)),
                    "all events with it",
                ),
            ),
            line("body, what may be personal masked", Cell::text(masked(&event.body))),
        ],
        actions: vec![button("Handle it", "yes"), button("Drop it", "no")],
        ..Section::default()
    };
    still(&visitor, "Waiting", &[section])
}

/// What the buttons send.
#[derive(Deserialize)]
pub struct Decided {
    id: i64,
    accept: String,
    #[serde(default)]
    reason: String,
    csrf: String,
}

pub async fn decide(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    Form(decided): Form<Decided>,
) -> Result<Redirect, Refusal> {
    visitor.may_change(&decided.csrf)?;
    let (waits, _) = find(&desk, decided.id).await?;
    let (ids, actor, reason) = ([decided.id], visitor.actor(), why(&decided.reason)?);
    let mut tx = desk.pool.begin().await?;
    if decided.accept == "yes" {
        events::approve(&mut tx, waits, &ids, reason, &actor).await?;
    } else {
        events::reject(&mut tx, waits, &ids, reason, &actor).await?;
    }
    tx.commit().await?;
    Ok(Redirect::to("/waiting"))
}
