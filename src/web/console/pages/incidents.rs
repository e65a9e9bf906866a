//! Incidents: what a person has to look at.

use std::sync::Arc;

use axum::extract::{Extension, Form, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Redirect;
use serde::Deserialize;

use super::{Answer, Desk, Refusal, Visitor, live, still, why};
use crate::operations::incidents::{self, Selection, next_step};
use crate::web::console::page::{Action, Cell, Field, Section};

/// Whether resolved ones are shown too.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Filter {
    kind: String,
    order: String,
    all: String,
}

pub async fn list(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    Query(filter): Query<Filter>,
) -> Answer {
    let fields: Vec<Field> = [("kind", &filter.kind), ("order", &filter.order), ("all", &filter.all)]
        .map(|(name, value)| Field { name, value: value.clone() })
        .into();
    let query: Vec<_> = fields
        .iter()
        .map(|field| format!("{}={}", field.name, crate::web::console::page::encoded(&field.value)))
        .collect();
    let selection = Selection {
        resolved_too: !filter.all.is_empty(),
        kind: super::given(filter.kind),
        order: super::given(filter.order),
        id: None,
    };
    let incidents = incidents::list(&desk.pool, &selection, 200).await?;
    let section = Section {
        title: "Incidents, the newest first".into(),
        command: "order-worker incident list".into(),
        head: vec!["incident", "opened", "kind", "order", "state", "detail"],
        rows: incidents
            .into_iter()
            .map(|incident| {
                let state = if incident.resolved_at.is_some() { "resolved" } else { "open" };
                vec![
                    Cell::link(format!("/incidents/{}", incident.id), incident.id),
                    Cell::Time(incident.opened_at),
                    Cell::text(incident.kind),
                    Cell::order(incident.order_id),
                    Cell::State(state.into()),
                    Cell::text(incident.detail),
                ]
                .into()
            })
            .collect(),
        none: "None is open.",
        ..Section::default()
    };
    live(&visitor, &headers, "Incidents", &format!("/incidents?{}", query.join("&")), &fields, &[section])
}

pub async fn show(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<i64>,
) -> Answer {
    let selection = Selection { resolved_too: true, id: Some(id), ..Selection::default() };
    let found = incidents::list(&desk.pool, &selection, 1).await?.into_iter().next();
    let incident = found.ok_or_else(|| Refusal(StatusCode::NOT_FOUND, format!("there is no incident {id}")))?;
    let next = next_step(&incident);
    let open = incident.resolved_at.is_none();
    let line = |name: &str, cell: Cell| vec![Cell::text(name), cell].into();
    let resolve = Action {
        label: "Resolve",
        path: "/incidents/resolve".into(),
        fields: vec![("id", id.to_string())],
        reason: true,
        asks: &[],
    };
    let section = Section {
        title: format!("Incident {id}: {}", incident.kind),
        command: format!("order-worker incident show {id}"),
        head: vec!["field", "value"],
        rows: vec![
            line("order", Cell::order(incident.order_id)),
            line("what happened", Cell::text(incident.detail)),
            line("what to do", Cell::text(next)),
            line("opened", Cell::Time(incident.opened_at)),
            line("resolved", Cell::when(incident.resolved_at)),
            line("by", Cell::maybe(incident.resolved_by)),
            line("cause", Cell::text(incident.cause)),
        ],
        actions: if open { vec![resolve] } else { Vec::new() },
        ..Section::default()
    };
    still(&visitor, "Incidents", &[section])
}

/// What the button sends.
#[derive(Deserialize)]
pub struct Resolved {
    id: i64,
    #[serde(default)]
    reason: String,
    csrf: String,
}

pub async fn resolve(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    Form(resolved): Form<Resolved>,
) -> Result<Redirect, Refusal> {
    visitor.may_change(&resolved.csrf)?;
    let mut tx = desk.pool.begin().await?;
    incidents::resolve(&mut tx, &[resolved.id], why(&resolved.reason)?, &visitor.actor()).await?;
    tx.commit().await?;
    Ok(Redirect::to("/incidents"))
}
