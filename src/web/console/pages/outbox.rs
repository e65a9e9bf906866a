//! Announcements and calls that go out.

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use chrono::TimeDelta;
use serde::Deserialize;

use super::{Answer, Done, View, done, given, window};
use crate::operations::masked;
use crate::operations::messages::{self, MessageDetail, Resend, Selection};
use crate::platform::database::PgPool;
use crate::web::console::change::Change;
use crate::web::console::guard::Refusal;
use crate::web::console::page::{Action, Filter, Section};
use crate::web::listing::Cell;

/// The fields of the filter.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Asked {
    order: String,
    topic: String,
    state: String,
    since: String,
}

pub async fn list(view: View, Query(asked): Query<Asked>) -> Answer {
    let filter = Filter::new([
        ("order", &asked.order),
        ("topic", &asked.topic),
        ("state", &asked.state),
        ("since", &asked.since),
    ]);
    let selection = Selection {
        window: window(view.pool(), &asked.since).await?,
        order: given(&asked.order),
        topic: given(&asked.topic),
        channel: None,
        state: given(&asked.state),
    };
    let messages = messages::list(view.pool(), &selection, 100).await?;
    let section = Section {
        command: format!("order-worker outbox list{}", filter.flags()),
        none: "No message is like that.",
        ..Section::list("Announcements and calls, the newest first", &messages)
    };
    view.filtered("Outbox", "/outbox", &filter, &[section])
}

async fn find(pool: &PgPool, id: i64) -> Result<MessageDetail, Refusal> {
    let found = messages::show(pool, &id.to_string()).await?.into_iter().find(|found| found.message.id == id);
    found.ok_or_else(|| Refusal(StatusCode::NOT_FOUND, format!("there is no message {id}")))
}

pub async fn show(view: View, Path(id): Path<i64>) -> Answer {
    let found = find(view.pool(), id).await?;
    let message = found.message;
    let actions = if message.waits.is_some() {
        vec![
            Action::new("Try it again now", "/outbox/redrive", "ids", id),
            Action::new("Give it up", "/outbox/skip", "ids", id),
        ]
    } else if message.channel == "dapr" && message.state == "sent" {
        vec![Action::new("Send again, under the same id", "/outbox/resend", "id", id)]
    } else {
        Vec::new()
    };
    let section = Section {
        command: format!("order-worker outbox show {}", message.event_id),
        actions,
        ..Section::fields(
            format!("Message {}", message.event_id),
            [
                ("topic", Cell::text(message.topic)),
                ("order", Cell::order(Some(&message.order_id))),
                ("state", Cell::State(message.state)),
                ("attempts", Cell::maybe(message.attempts)),
                ("reason", Cell::maybe(message.reason)),
                ("its row", Cell::maybe(message.waits)),
                ("next attempt", Cell::when(message.due)),
                ("cause", Cell::text(message.cause)),
                ("written", Cell::Time(message.created_at)),
                ("sent", Cell::when(message.sent_at)),
                ("body, what may be personal masked", Cell::text(masked(found.body.to_string().as_bytes()))),
            ],
        )
    };
    view.still("Outbox", &[section])
}

/// A message, by its number.
#[derive(Deserialize)]
pub struct Which {
    id: i64,
}

pub async fn resend(change: Change<Which>) -> Done {
    let id = change.form.id;
    let since = find(change.pool(), id).await?.message.created_at;
    let until = since + TimeDelta::milliseconds(1);
    let which = Resend { since, until, order: None, topic: None, id: Some(id) };
    let mut tx = change.begin().await?;
    messages::resend(&mut tx, &which, Some(change.reason()?), &change.actor, |_| {}).await?;
    done(tx, &format!("/outbox/{id}")).await
}
