//! Events that came in, and replays of them.

use std::sync::Arc;

use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use sqlx::types::Json;

use super::{Answer, Desk, Refusal, Visitor, given, live, since, still};
use crate::console::page::{Cell, Field, Section, encoded};
use crate::operations::events::{self, Selection};
use crate::operations::{Window, masked};
use crate::replay::{self, Phase};

/// What is looked for.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Filter {
    order: String,
    event: String,
    payment: String,
    outcome: String,
    since: String,
}

pub async fn list(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    Query(filter): Query<Filter>,
) -> Answer {
    let fields: Vec<Field> = [
        ("order", &filter.order),
        ("event", &filter.event),
        ("payment", &filter.payment),
        ("outcome", &filter.outcome),
        ("since", &filter.since),
    ]
    .map(|(name, value)| Field { name, value: value.clone() })
    .into();
    let asked = fields.iter().filter(|field| !field.value.is_empty());
    let (query, flags): (Vec<_>, Vec<_>) = asked
        .map(|field| {
            (format!("{}={}", field.name, encoded(&field.value)), format!(" --{} {}", field.name, field.value))
        })
        .unzip();
    let window = Window { since: since(&desk, &filter.since).await?, until: None };
    let selection = Selection {
        window,
        order: given(filter.order),
        payment: given(filter.payment),
        event: given(filter.event),
        outcome: given(filter.outcome),
        ..Selection::default()
    };
    let events = events::list(&desk.pool, &selection, 100).await?;
    let section = Section {
        title: "Events, the newest first".into(),
        command: format!("order-worker inbox list{}", flags.concat()),
        head: vec!["received", "topic", "event", "order", "payment", "outcome", "reason"],
        rows: events
            .into_iter()
            .map(|event| {
                vec![
                    Cell::Time(event.received_at),
                    Cell::text(event.topic),
                    Cell::link(format!("/inbox/{}", event.id), event.event_id),
                    Cell::order(event.order_id),
                    Cell::maybe(event.payment_id),
                    Cell::State(event.outcome),
                    Cell::maybe(event.reason),
                ]
                .into()
            })
            .collect(),
        none: "No event is like that.",
        ..Section::default()
    };
    live(&visitor, &headers, "Inbox", &format!("/inbox?{}", query.join("&")), &fields, &[section])
}

pub async fn show(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<i64>,
) -> Answer {
    let events = events::show(&desk.pool, &id.to_string()).await?;
    let whole = events.into_iter().find(|whole| whole.event.id == id);
    let whole = whole.ok_or_else(|| Refusal(StatusCode::NOT_FOUND, format!("there is no event {id}")))?;
    let event = whole.event;
    let row = |name: &str, cell: Cell| vec![Cell::text(name), cell].into();
    let section = Section {
        title: format!("Event {}", event.event_id),
        command: format!("order-worker inbox show {id}"),
        head: vec!["field", "value"],
        rows: vec![
            row("topic", Cell::text(event.topic)),
            row("source", Cell::text(event.source)),
            row("order", Cell::order(event.order_id)),
            row("payment", Cell::maybe(event.payment_id)),
            row("outcome", Cell::State(event.outcome)),
            row("reason", Cell::maybe(event.reason)),
            row("received", Cell::Time(event.received_at)),
            row("settled", Cell::when(event.settled_at)),
            row("came again", Cell::maybe(event.duplicates)),
            row("cause of its announcements", Cell::text(whole.cause)),
            row("body, what may be personal masked", Cell::text(masked(&whole.body))),
        ],
        ..Section::default()
    };
    still(&visitor, "Inbox", &[section])
}

pub async fn replays(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
) -> Answer {
    let runs = replay::runs(&desk.pool, None, 100).await?;
    let section = Section {
        title: "Replays, the newest first".into(),
        command: "order-worker inbox replay --since 2h --dry-run".into(),
        head: vec![
            "replay",
            "asked",
            "outcome",
            "phase",
            "seen",
            "unchanged",
            "again",
            "changed",
            "announced",
            "failed",
            "error",
        ],
        rows: runs
            .into_iter()
            .map(|run| {
                let tally = run.result.map(|Json(tally)| tally).unwrap_or_default();
                vec![
                    Cell::text(run.id),
                    Cell::Time(run.asked_at),
                    Cell::State(run.outcome),
                    Cell::text(if tally.phase == Phase::Canary { "canary" } else { "rest" }),
                    Cell::text(tally.seen),
                    Cell::text(tally.unchanged),
                    Cell::text(tally.again),
                    Cell::text(tally.changed),
                    Cell::text(tally.announced),
                    Cell::text(tally.failed),
                    Cell::maybe(run.error),
                ]
                .into()
            })
            .collect(),
        none: "Nothing was replayed yet.",
        ..Section::default()
    };
    live(&visitor, &headers, "Replays", "/replays", &[], &[section])
}
