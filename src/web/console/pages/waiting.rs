//! Events that wait for an operator: held ones, and those whose id came before with another body.

use axum::extract::Path;
use axum::http::StatusCode;
use serde::Deserialize;

use super::{Answer, Done, View, done};
use crate::operations::events::{self, Waiting, Waits};
use crate::operations::masked;
use crate::platform::database::PgPool;
use crate::web::console::change::Change;
use crate::web::console::guard::Refusal;
use crate::web::console::page::{Action, Section};
use crate::web::listing::{Cell, encoded};

const KINDS: [(Waits, &str, &str); 2] = [
    (Waits::Held, "Held: another amount", "order-worker inbox list --outcome held"),
    (Waits::Quarantined, "Quarantined: an id that came before with another body", "order-worker quarantine list"),
];

pub async fn list(view: View) -> Answer {
    let mut sections = Vec::new();
    for (waits, title, command) in KINDS {
        let events = events::waiting(view.pool(), waits, 200).await?;
        sections.push(Section { command: command.into(), none: "None waits.", ..Section::list(title, &events) });
    }
    view.live("Waiting", "/waiting", &sections)
}

async fn find(pool: &PgPool, id: i64) -> Result<(Waits, Waiting), Refusal> {
    for (waits, ..) in KINDS {
        if let Some(event) = events::waiting(pool, waits, 10_000).await?.into_iter().find(|event| event.id == id) {
            return Ok((waits, event));
        }
    }
    Err(Refusal(StatusCode::NOT_FOUND, format!("event {id} does not wait for anybody")))
}

pub async fn show(view: View, Path(id): Path<i64>) -> Answer {
    let (waits, event) = find(view.pool(), id).await?;
    let button = |label, accept: &str| Action::new(label, "/waiting/decide", "id", id).with("accept", accept);
    let command = match waits {
        Waits::Held => format!("order-worker inbox approve {id} --reason …"),
        Waits::Quarantined => format!("order-worker quarantine resolve {id} --accept --reason …"),
    };
    let same_id = Cell::link(format!("/inbox?event={}", encoded(&event.event_id)), "all events with it");
    let section = Section {
        command,
        actions: vec![button("Handle it", "yes"), button("Drop it", "no")],
        ..Section::fields(
            format!("Event {}", event.event_id),
            [
                ("state", Cell::state(event.state)),
                ("reason", Cell::maybe(event.reason)),
                ("topic", Cell::text(event.topic)),
                ("source", Cell::text(event.source)),
                ("order", Cell::order(event.order_id.as_deref())),
                ("the same id", same_id),
                ("body, what may be personal masked", Cell::text(masked(&event.body))),
            ],
        )
    };
    view.still("Waiting", &[section])
}

/// A decision about an event.
#[derive(Deserialize)]
pub struct Decision {
    id: i64,
    accept: String,
}

pub async fn decide(change: Change<Decision>) -> Done {
    let Decision { id, accept } = &change.form;
    let (waits, _) = find(change.pool(), *id).await?;
    let (ids, reason, mut tx) = ([*id], change.reason()?, change.begin().await?);
    if accept == "yes" {
        events::approve(&mut tx, waits, &ids, reason, &change.actor).await?;
    } else {
        events::reject(&mut tx, waits, &ids, reason, &change.actor).await?;
    }
    done(tx, "/waiting").await
}
