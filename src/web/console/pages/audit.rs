//! The audit log: who did what, and why.

use axum::extract::Query;
use serde::Deserialize;

use super::{Answer, View};
use crate::operations::log;
use crate::web::console::page::Section;

/// Records of a page.
const PAGE: u32 = 100;

/// The record before which the page begins; none: the newest.
#[derive(Deserialize)]
pub struct Asked {
    before: Option<i64>,
}

pub async fn log(view: View, Query(Asked { before }): Query<Asked>) -> Answer {
    let mut records = log::list(view.pool(), None, before, PAGE + 1).await?;
    let older = records.len() > PAGE as usize;
    records.truncate(PAGE as usize);
    let last = records.last().map_or(0, |one| one.id);
    let title = before.map_or_else(|| "The newest records".into(), |id| format!("Records before {id}"));
    let section = Section {
        command: "order-worker audit log --verify".into(),
        none: if before.is_some() { "There are no older ones." } else { "Nobody has changed anything yet." },
        more: older.then(|| (format!("/audit?before={last}"), "Older records")),
        ..Section::list(title, &records)
    };
    // Older records never change.
    if before.is_some() {
        return view.still("Audit log", &[section]);
    }
    view.live("Audit log", "/audit", &[section])
}
