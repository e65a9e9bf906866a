//! Who did what and why.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::HeaderMap;

use super::{Answer, Desk, Visitor, live};
use crate::console::page::{Cell, Section};
use crate::operations::log;

pub async fn log(State(desk): State<Arc<Desk>>, Extension(visitor): Extension<Visitor>, headers: HeaderMap) -> Answer {
    let records = log::list(&desk.pool, None, 200).await?;
    let section = Section {
        title: "The last 200 records".into(),
        command: "order-worker audit log --verify".into(),
        head: vec!["record", "at", "who", "what", "to what", "detail"],
        rows: records
            .into_iter()
            .map(|one| {
                vec![
                    Cell::text(one.id),
                    Cell::Time(one.at),
                    Cell::text(one.actor),
                    Cell::text(one.action),
                    Cell::text(one.target),
                    Cell::text(one.detail),
                ]
                .into()
            })
            .collect(),
        none: "Nobody has changed anything yet.",
        ..Section::default()
    };
    live(&visitor, &headers, "Audit log", "/audit", &[], &[section])
}
