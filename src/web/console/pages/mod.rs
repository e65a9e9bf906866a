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
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{Html, Redirect};
use axum::routing::{get, post};
use sqlx::PgTransaction;

use super::Context;
use super::guard::{Refusal, Visitor, visitor};
use super::page::{Filter, Section, fragment, full_page};
use crate::engine::queue::Queue;
use crate::operations::{self, Moment, NoMoment, Window, pauses};
use crate::platform::database::PgPool;
use crate::shop::jobs::Job;

/// Every page, and every change.
pub fn router() -> Router<Arc<Context>> {
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
type Done = Result<Redirect, Refusal>;

/// A page that somebody asks for.
pub struct View {
    /// Everything that the pages share.
    context: Arc<Context>,
    visitor: Visitor,
    /// htmx asks for the sections alone.
    sections_alone: bool,
}

impl FromRequestParts<Arc<Context>> for View {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, context: &Arc<Context>) -> Result<Self, Refusal> {
        let visitor = visitor(&parts.extensions)?;
        let sections_alone = parts.headers.contains_key("hx-request");
        Ok(Self { context: Arc::clone(context), visitor, sections_alone })
    }
}

impl View {
    fn pool(&self) -> &PgPool {
        &self.context.pool
    }

    /// A page that keeps itself live.
    fn live(&self, title: &str, path: &str, sections: &[Section]) -> Answer {
        self.render(title, path, &Filter::default(), sections)
    }

    /// A list with a filter above it, which keeps itself live.
    fn filtered(&self, title: &str, page: &str, filter: &Filter, sections: &[Section]) -> Answer {
        self.render(title, &filter.path(page), filter, sections)
    }

    fn render(&self, title: &str, path: &str, filter: &Filter, sections: &[Section]) -> Answer {
        if self.sections_alone {
            return Ok(Html(fragment(&self.visitor, sections)?));
        }
        Ok(Html(full_page(&self.visitor, title, Some(path), filter, sections)?))
    }

    /// A page that stands still, for a choice among what it shows.
    fn still(&self, title: &str, sections: &[Section]) -> Answer {
        Ok(Html(full_page(&self.visitor, title, None, &Filter::default(), sections)?))
    }
}

/// The window since a moment; without an end where nothing was said.
async fn window(pool: &PgPool, since: &str) -> Result<Window, Refusal> {
    let since = given(since).map(|since| since.parse::<Moment>()).transpose();
    let since = since.map_err(|wrong: NoMoment| Refusal(StatusCode::BAD_REQUEST, format!("since: {wrong}")))?;
    Ok(Window::between(pool, since, None).await?)
}

/// A text that was given, or none.
fn given(text: &str) -> Option<String> {
    Some(text).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The queue of this name.
fn queue(name: &str) -> Result<Queue, Refusal> {
    operations::queue(name).ok_or_else(|| Refusal(StatusCode::NOT_FOUND, format!("there is no queue {name}")))
}

/// Refuses, as the commands do, a run that would wait for the end of a pause, or for a worker that is not there.
async fn refuse_without_worker(pool: &PgPool, job: Option<Job>) -> Result<(), Refusal> {
    let refused = |words: String| Err(Refusal(StatusCode::CONFLICT, words));
    if let Some((what, pause)) = pauses::blocking(pool, job.map(Job::as_str)).await? {
        return refused(format!("{} is paused by {}: resume it first", what.name(), pause.paused_by));
    }
    match operations::nobody_performs(pool).await? {
        Some(nobody) => refused(format!("{nobody}: start one (the chart: mode: all)")),
        None => Ok(()),
    }
}

/// Refuses a pause that there is, or the end of one that there is not.
fn changed(changed: bool, words: &str) -> Result<(), Refusal> {
    if changed { Ok(()) } else { Err(Refusal(StatusCode::CONFLICT, words.to_owned())) }
}

/// Commits a change, and shows a page.
async fn done(tx: PgTransaction<'static>, page: &str) -> Done {
    tx.commit().await?;
    Ok(Redirect::to(page))
}
