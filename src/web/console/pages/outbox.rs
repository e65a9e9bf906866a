//! Announcements and calls that go out.

use std::sync::Arc;

use axum::extract::{Extension, Form, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Redirect;
use chrono::TimeDelta;
use serde::Deserialize;

use super::{Answer, Desk, Refusal, Visitor, given, live, since, still, why};
use crate::operations::messages::{self, Resend, Selection};
use crate::operations::{Window, masked};
use crate::web::console::page::{Action, Cell, Field, Section, encoded};

/// What is looked for.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Filter {
    order: String,
    topic: String,
    state: String,
    since: String,
}

pub async fn list(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    Query(filter): Query<Filter>,
) -> Answer {
    let fields: Vec<Field> =
        [("order", &filter.order), ("topic", &filter.topic), ("state", &filter.state), ("since", &filter.since)]
            .map(|(name, value)| Field { name, value: value.clone() })
            .into();
    let asked = fields.iter().filter(|field| !field.value.is_empty());
    let (query, flags): (Vec<_>, Vec<_>) = asked
        .map(|field| {
            (format!("{}={}", field.name, encoded(&field.value)), format!(" --{} {}", field.name, field.value))
        })
        .unzip();
    let selection = Selection {
        window: Window { since: since(&desk, &filter.since).await?, until: None },
        order: given(filter.order),
        topic: given(filter.topic),
        channel: None,
        state: given(filter.state),
    };
    let messages = messages::list(&desk.pool, &selection, 100).await?;
    let section = Section {
        title: "Announcements and calls, the newest first".into(),
        command: format!("order-worker outbox list{}", flags.concat()),
        head: vec!["written", "topic", "order", "state", "attempts", "sent", "id", "reason"],
        rows: messages
            .into_iter()
            .map(|message| {
                vec![
                    Cell::Time(message.created_at),
                    Cell::text(message.topic),
                    Cell::order(Some(message.order_id)),
                    Cell::State(message.state),
                    Cell::maybe(message.attempts),
                    Cell::when(message.sent_at),
                    Cell::link(format!("/outbox/{}", message.id), message.event_id),
                    Cell::maybe(message.reason),
                ]
                .into()
            })
            .collect(),
        none: "No message is like that.",
        ..Section::default()
    };
    live(&visitor, &headers, "Outbox", &format!("/outbox?{}", query.join("&")), &fields, &[section])
}

pub async fn show(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<i64>,
) -> Answer {
    let messages = messages::show(&desk.pool, &id.to_string()).await?;
    let whole = messages
        .into_iter()
        .next()
        .ok_or_else(|| Refusal(StatusCode::NOT_FOUND, format!("there is no message {id}")))?;
    let message = whole.message;
    let again = Action {
        label: "Send again, under the same id",
        path: "/outbox/resend".into(),
        fields: vec![("id", id.to_string())],
        reason: true,
        asks: &[],
    };
    let sent = message.channel == "dapr" && message.state == "sent";
    let gives_up = |label, path: &str| Action {
        label,
        path: path.into(),
        fields: vec![("ids", id.to_string())],
        reason: true,
        asks: &[],
    };
    let unsent = message.waits.is_some();
    let row = |name: &str, cell: Cell| vec![Cell::text(name), cell].into();
    let section = Section {
        title: format!("Message {}", message.event_id),
        command: format!("order-worker outbox show {}", message.event_id),
        head: vec!["field", "value"],
        rows: vec![
            row("topic", Cell::text(message.topic)),
            row("order", Cell::order(Some(message.order_id))),
            row("state", Cell::State(message.state)),
            row("attempts", Cell::maybe(message.attempts)),
            row("reason", Cell::maybe(message.reason)),
            row("its row", Cell::maybe(message.waits)),
            row("next attempt", Cell::when(message.due)),
            row("cause", Cell::text(message.cause)),
            row("written", Cell::Time(message.created_at)),
            row("sent", Cell::when(message.sent_at)),
            row("body, what may be personal masked", Cell::text(masked(whole.body.to_string().as_bytes()))),
        ],
        actions: if unsent {
            vec![gives_up("Try it again now", "/outbox/redrive"), gives_up("Give it up", "/outbox/skip")]
        } else if sent {
            vec![again]
        } else {
            Vec::new()
        },
        ..Section::default()
    };
    still(&visitor, "Outbox", &[section])
}

/// What the button sends.
#[derive(Deserialize)]
pub struct Resent {
    id: i64,
    #[serde(default)]
    reason: String,
    csrf: String,
}

pub async fn resend(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    Form(resent): Form<Resent>,
) -> Result<Redirect, Refusal> {
    visitor.may_change(&resent.csrf)?;
    let messages = messages::show(&desk.pool, &resent.id.to_string()).await?;
    let found = messages.into_iter().find(|whole| whole.message.id == resent.id);
    let written = found.map(|whole| whole.message.created_at);
    let since = written.ok_or_else(|| Refusal(StatusCode::NOT_FOUND, format!("there is no message {}", resent.id)))?;
    let until = since + TimeDelta::milliseconds(1);
    let which = Resend { since, until, order: None, topic: None, id: Some(resent.id) };
    let mut tx = desk.pool.begin().await?;
    messages::resend(&mut tx, &which, Some(why(&resent.reason)?), &visitor.actor(), |_| {}).await?;
    tx.commit().await?;
    Ok(Redirect::to(&format!("/outbox/{}", resent.id)))
}
