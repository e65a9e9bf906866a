//! Incidents: what a person has to look at.

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use serde::Deserialize;

use super::{Answer, Done, View, done, given};
use crate::operations::incidents::{self, Selection, next_step};
use crate::web::console::change::Change;
use crate::web::console::guard::Refusal;
use crate::web::console::page::{Action, Filter, Section};
use crate::web::listing::Cell;

/// The fields of the filter; `all`: resolved ones too.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Asked {
    kind: String,
    order: String,
    all: String,
}

pub async fn list(view: View, Query(asked): Query<Asked>) -> Answer {
    let filter = Filter::new([("kind", &asked.kind), ("order", &asked.order), ("all", &asked.all)]);
    let selection = Selection {
        resolved_too: !asked.all.is_empty(),
        kind: given(&asked.kind),
        order: given(&asked.order),
        id: None,
    };
    let section = Section {
        command: "order-worker incident list".into(),
        none: "None is open.",
        ..Section::list("Incidents, the newest first", &incidents::list(view.pool(), &selection, 200).await?)
    };
    view.filtered("Incidents", "/incidents", &filter, &[section])
}

pub async fn show(view: View, Path(id): Path<i64>) -> Answer {
    let selection = Selection { resolved_too: true, id: Some(id), ..Selection::default() };
    let found = incidents::list(view.pool(), &selection, 1).await?.into_iter().next();
    let incident = found.ok_or_else(|| Refusal(StatusCode::NOT_FOUND, format!("there is no incident {id}")))?;
    let next = next_step(&incident);
    let open = incident.resolved_at.is_none();
    let resolve = Action::new("Resolve", "/incidents/resolve", "id", id);
    let section = Section {
        command: format!("order-worker incident show {id}"),
        actions: if open { vec![resolve] } else { Vec::new() },
        ..Section::fields(
            format!("Incident {id}: {}", incident.kind),
            [
                ("order", Cell::order(incident.order_id.as_deref())),
                ("what happened", Cell::text(incident.detail)),
                ("what to do", Cell::text(next)),
                ("opened", Cell::Time(incident.opened_at)),
                ("resolved", Cell::when(incident.resolved_at)),
                ("by", Cell::maybe(incident.resolved_by)),
                ("cause", Cell::text(incident.cause)),
            ],
        )
    };
    view.still("Incidents", &[section])
}

/// An incident, by its number.
#[derive(Deserialize)]
pub struct Which {
    id: i64,
}

pub async fn resolve(change: Change<Which>) -> Done {
    let mut tx = change.begin().await?;
    incidents::resolve(&mut tx, &[change.form.id], change.reason()?, &change.actor).await?;
    done(tx, "/incidents").await
}
