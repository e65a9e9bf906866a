//! Events that came in.

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use serde::Deserialize;

use super::{Answer, View, given, window};
use crate::operations::events::{self, Selection};
use crate::operations::{masked, masked_json};
use crate::web::console::guard::Refusal;
use crate::web::console::page::{Filter, Section};
use crate::web::listing::Cell;

/// The fields of the filter.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Asked {
    order: String,
    event: String,
    payment: String,
    outcome: String,
    since: String,
}

pub async fn list(view: View, Query(asked): Query<Asked>) -> Answer {
    let filter = Filter::new([
        ("order", &asked.order),
        ("event", &asked.event),
        ("payment", &asked.payment),
        ("outcome", &asked.outcome),
        ("since", &asked.since),
    ]);
    let selection = Selection {
        window: window(view.pool(), &asked.since).await?,
        order: given(&asked.order),
        payment: given(&asked.payment),
        event: given(&asked.event),
        outcome: given(&asked.outcome),
        ..Selection::default()
    };
    let section = Section {
        command: format!("order-worker inbox list{}", filter.flags()),
        none: "No event is like that.",
        ..Section::list("Events, the newest first", &events::list(view.pool(), &selection, 100).await?)
    };
    view.filtered("Inbox", "/inbox", &filter, &[section])
}

pub async fn show(view: View, Path(id): Path<i64>) -> Answer {
    let events = events::show(view.pool(), &id.to_string()).await?;
    let found = events.into_iter().find(|found| found.event.id == id);
    let found = found.ok_or_else(|| Refusal(StatusCode::NOT_FOUND, format!("there is no event {id}")))?;
    let event = found.event;
    let section = Section {
        command: format!("order-worker inbox show {id}"),
        ..Section::fields(
            format!("Event {}", event.event_id),
            [
                ("topic", Cell::text(event.topic)),
                ("source", Cell::text(event.source)),
                ("order", Cell::order(event.order_id.as_deref())),
                ("payment", Cell::maybe(event.payment_id)),
                ("outcome", Cell::State(event.outcome)),
                ("reason", Cell::maybe(event.reason)),
                ("received", Cell::Time(event.received_at)),
                ("settled", Cell::when(event.settled_at)),
                ("came again", Cell::maybe(event.duplicates)),
                ("cause of its announcements", Cell::text(found.cause)),
                ("headers, what may be personal masked", Cell::text(masked_json(found.headers))),
                ("body, what may be personal masked", Cell::text(masked(&found.body))),
            ],
        )
    };
    view.still("Inbox", &[section])
}
