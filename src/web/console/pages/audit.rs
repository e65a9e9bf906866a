//! Who did what and why.

use std::sync::Arc;

use axum::extract::{Extension, Query, State};
use axum::http::HeaderMap;
use serde::Deserialize;

use super::{Answer, Desk, Visitor, live, still};
use crate::operations::log;
use crate::web::console::page::{Cell, Section};

/// Records of a page.
const PAGE: u32 = 100;

/// Which page.
#[derive(Deserialize)]
pub struct Asked {
    before: Option<i64>,
}

pub async fn log(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    Query(Asked { before }): Query<Asked>,
) -> Answer {
    let mut records = log::list(&desk.pool, None, before, PAGE + 1).await?;
    let older = records.len() > PAGE as usize;
    records.truncate(PAGE as usize);
    let last = records.last().map_or(0, |one| one.id);
    let section = Section {
        title: before.map_or_else(|| "The newest records".into(), |id| format!("Records before {id}")),
        command: "order-worker audit log --verify".into(),
        head: vec!["record", "at", "who", "from", "what", "to what", "detail"],
        rows: records
            .into_iter()
            .map(|one| {
                vec![
                    Cell::text(one.id),
                    Cell::Time(one.at),
                    Cell::text(one.actor),
                    Cell::maybe(one.host),
                    Cell::text(one.action),
                    Cell::text(one.target),
                    Cell::text(one.detail),
                ]
                .into()
            })
            .collect(),
        none: if before.is_some() { "There are no older ones." } else { "Nobody has changed anything yet." },
        more: older.then(|| (format!("/audit?before={last}"), "Older records")),
        ..Section::default()
    };
    // What is older stays as it is.
    if before.is_some() {
        return still(&visitor, "Audit log", &[section]);
    }
    live(&visitor, &headers, "Audit log", "/audit", &[], &[section])
}
