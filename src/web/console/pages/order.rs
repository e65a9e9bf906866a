//! One order's whole story.

use std::sync::Arc;

use axum::extract::{Extension, Query, State};
use axum::http::HeaderMap;
use serde::Deserialize;

use super::{Answer, Desk, Visitor, live};
use crate::operations::story;
use crate::web::console::page::{Cell, Section, encoded};

/// Which order.
#[derive(Deserialize)]
pub struct Asked {
    id: String,
}

pub async fn show(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Answer {
    let (order, steps) = story::of(&desk.pool, &asked.id).await?;
    let title = match &order {
        Some(order) => format!(
            "{}: {}, {} {}, paid by {}",
            order.id, order.status, order.total_amount, order.currency, order.payment_method
        ),
        None => format!("{}: there is no such order", asked.id),
    };
    let section = Section {
        title,
        command: format!("order-worker order show {}", asked.id),
        head: vec!["at", "kind", "what", "state", "detail"],
        rows: steps
            .into_iter()
            .map(|step| {
                let state = step.state.map_or(Cell::Empty, Cell::State);
                vec![
                    Cell::Time(step.at),
                    Cell::text(step.kind),
                    Cell::maybe(step.what),
                    state,
                    Cell::maybe(step.detail),
                ]
                .into()
            })
            .collect(),
        none: "Nothing is known of it.",
        ..Section::default()
    };
    live(&visitor, &headers, "Order", &format!("/order?id={}", encoded(&asked.id)), &[], &[section])
}
