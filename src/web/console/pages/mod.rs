//! The pages, one module each.

mod audit;
mod cron;
mod dead;
mod inbox;
mod incidents;
mod order;
mod outbox;
mod overview;
mod replays;
mod waiting;

use std::sync::Arc;

use axum::Router;
use axum::http::HeaderMap;
use axum::response::Html;
use axum::routing::{get, post};

use super::Desk;
use super::guard::{Refusal, Visitor};
use super::page::{Field, Section, fragment, whole};
use crate::operations;
use crate::operations::pauses;
use crate::shop::jobs::Job;

/// Every page, and every change.
pub fn router() -> Router<Arc<Desk>> {
    Router::new()
        .route("/", get(overview::show))
        .route("/queues/pause", post(overview::pause))
        .route("/queues/resume", post(overview::resume))
        .route("/inbox", get(inbox::list))
        .route("/inbox/{id}", get(inbox::show))
        .route("/outbox", get(outbox::list))
        .route("/outbox/resend", post(outbox::resend))
        .route("/outbox/redrive", post(dead::redrive_message))
        .route("/outbox/skip", post(dead::skip_message))
        .route("/outbox/{id}", get(outbox::show))
        .route("/dead", get(dead::groups))
        .route("/dead/selection", get(dead::selection))
        .route("/dead/redrive", post(dead::redrive))
        .route("/dead/skip", post(dead::skip))
        .route("/waiting", get(waiting::list))
        .route("/waiting/{id}", get(waiting::show))
        .route("/waiting/decide", post(waiting::decide))
        .route("/incidents", get(incidents::list))
        .route("/incidents/{id}", get(incidents::show))
        .route("/incidents/resolve", post(incidents::resolve))
        .route("/order", get(order::show))
        .route("/cron", get(cron::list))
        .route("/cron/history", get(cron::history))
        .route("/cron/pause", post(cron::pause))
        .route("/cron/resume", post(cron::resume))
        .route("/cron/run", post(cron::run))
        .route("/cron/cancel", post(cron::cancel))
        .route("/replays", get(replays::list))
        .route("/replays/rehearse", get(replays::rehearse))
        .route("/replays/ask", post(replays::ask))
        .route("/audit", get(audit::log))
}

type Answer = Result<Html<String>, Refusal>;

/// A page that keeps itself live, or only its sections, when it is htmx that asks.
fn live(
    visitor: &Visitor,
    headers: &HeaderMap,
    title: &str,
    path: &str,
    filter: &[Field],
    sections: &[Section],
) -> Answer {
    if headers.contains_key("hx-request") {
        return Ok(Html(fragment(visitor, sections)?));
    }
    Ok(Html(whole(visitor, title, path, true, filter, sections)?))
}

/// A page that stands still: it is about what was chosen.
fn still(visitor: &Visitor, title: &str, sections: &[Section]) -> Answer {
    Ok(Html(whole(visitor, title, "", false, &[], sections)?))
}

/// The moment so long ago; none where nothing was said, an error where it cannot be read.
async fn since(desk: &Desk, text: &str) -> Result<Option<chrono::DateTime<chrono::Utc>>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    let ago = humantime_serde::re::humantime::parse_duration(text);
    let ago =
        ago.map_err(|_| Refusal(axum::http::StatusCode::BAD_REQUEST, "since is a time ago, as 2h or 3d".into()))?;
    let now = crate::engine::runs::ledger::now(&desk.pool).await?;
    Ok(chrono::TimeDelta::from_std(ago).ok().and_then(|ago| now.checked_sub_signed(ago)))
}

/// A text that was given, or none.
fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// Refuses, as the commands do, what would wait for somebody to remember a pause, or for a worker that is not there.
async fn performed(desk: &Desk, job: Option<Job>) -> Result<(), Refusal> {
    let refused = |words: String| Err(Refusal(axum::http::StatusCode::CONFLICT, words));
    if let Some((what, pause)) = pauses::blocking(&desk.pool, job.map(Job::as_str)).await? {
        return refused(format!("{} is paused by {}: resume it first", what.name(), pause.paused_by));
    }
    match operations::nobody_performs(&desk.pool).await? {
        Some(nobody) => refused(format!("{nobody}: start one (the chart: mode: all)")),
        None => Ok(()),
    }
}

/// Why somebody makes a change; the form asks for it, and whoever sends it by other means has to say it too.
fn why(reason: &str) -> Result<&str, Refusal> {
    match reason.trim() {
        "" => Err(Refusal(axum::http::StatusCode::BAD_REQUEST, "say why: a reason stands in the audit log".into())),
        reason => Ok(reason),
    }
}

/// Refuses a pause that there is, or the end of one that there is not.
fn changed(changed: bool, words: &str) -> Result<(), Refusal> {
    if changed { Ok(()) } else { Err(Refusal(axum::http::StatusCode::CONFLICT, words.to_owned())) }
}
