//! Events that came in.

use std::sync::Arc;

use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::{Answer, Desk, Refusal, Visitor, given, live, since, still};
use crate::operations::events::{self, Selection};
use crate::operations::{Window, masked, masked_json};
use crate::web::console::page::{Cell, Field, Section, encoded};

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
            row("headers, what may be personal masked", Cell::text(masked_json(whole.headers))),
            row("body, what may be personal masked", Cell::text(masked(&whole.body))),
        ],
        ..Section::default()
    };
    still(&visitor, "Inbox", &[section])
}
