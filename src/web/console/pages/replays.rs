//! Replays: what one would change, and those that were made.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Extension, Form, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Redirect;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use sqlx::types::Json;

use super::cron::cancel_button;
use super::{Answer, Desk, Refusal, Visitor, given, live, performed, since, still, why};
use crate::engine::runs::ledger;
use crate::engine::terms;
use crate::operations::replay::{self, Phase, Request};
use crate::shop::payments;
use crate::web::console::page::{Action, Cell, Field, Row, Section};

/// How long a rehearsal may take on a page; the command has all the time it needs.
const LIMIT: Duration = Duration::from_secs(4);

/// What is to be replayed.
#[derive(Clone, Deserialize, Default)]
#[serde(default)]
pub struct Filter {
    since: String,
    outcome: String,
    order: String,
    because: String,
}

impl Filter {
    fn fields(&self) -> Vec<Field> {
        [("since", &self.since), ("outcome", &self.outcome), ("order", &self.order), ("because", &self.because)]
            .map(|(name, value)| Field { name, value: value.clone() })
            .into()
    }

    fn command(&self) -> String {
        let flags = self.fields().into_iter().filter(|field| !field.value.is_empty());
        let flags: Vec<String> = flags.map(|field| format!(" --{} '{}'", field.name, field.value)).collect();
        format!("order-worker inbox replay{} --dry-run", flags.concat())
    }

    async fn request(&self, desk: &Desk, until: Option<DateTime<Utc>>) -> Result<Request, Refusal> {
        if self.fields().iter().all(|field| field.value.is_empty()) {
            return Err(Refusal(StatusCode::BAD_REQUEST, "say which events: since, outcome, order or because".into()));
        }
        let now = ledger::now(&desk.pool).await?;
        let kept = TimeDelta::from_std(desk.keep_bodies).unwrap_or_default() + TimeDelta::days(1);
        Ok(Request {
            since: since(desk, &self.since)
                .await?
                .or_else(|| now.checked_sub_signed(kept))
                .unwrap_or(DateTime::UNIX_EPOCH),
            until: until.unwrap_or(now),
            order: given(self.order.clone()),
            payment: None,
            event: None,
            topic: None,
            outcome: given(self.outcome.clone()),
            reason: given(self.because.clone()),
            announce: false,
            include_decided: false,
            rate: None,
            canary: None,
            most_failures: None,
        })
    }
}

pub async fn list(State(desk): State<Arc<Desk>>, Extension(visitor): Extension<Visitor>, headers: HeaderMap) -> Answer {
    let runs = replay::runs(&desk.pool, None, 100).await?;
    let row = |run: replay::Replay| -> Row {
        let tally = run.result.map(|Json(tally)| tally).unwrap_or_default();
        let phase = if tally.phase == Phase::Canary { "canary" } else { "rest" };
        let numbers =
            [tally.seen, tally.unchanged, tally.again, tally.changed, tally.decided, tally.announced, tally.failed];
        let mut cells =
            vec![Cell::text(run.id), Cell::Time(run.asked_at), Cell::State(run.outcome.to_string()), Cell::text(phase)];
        cells.extend(numbers.map(Cell::text));
        cells.push(Cell::maybe(run.error));
        Row { cells, actions: cancel_button(run.id, run.finished_at) }
    };
    let ways = [
        ("of the last two hours", "since=2h"),
        ("that are dead", "outcome=dead"),
        ("that were rejected", "since=1d&outcome=rejected"),
    ];
    let sections = [
        Section {
            title: "See what would change".into(),
            command: "order-worker inbox replay --since 2h --dry-run".into(),
            head: vec!["events"],
            rows: ways
                .map(|(words, query)| vec![Cell::link(format!("/replays/rehearse?{query}"), words)].into())
                .into(),
            ..Section::default()
        },
        Section {
            title: "Replays, the newest first".into(),
            command: "order-worker inbox replays".into(),
            head: vec![
                "replay",
                "asked",
                "outcome",
                "phase",
                "seen",
                "unchanged",
                "again",
                "changed",
                "decided",
                "announced",
                "failed",
                "error",
            ],
            rows: runs.into_iter().map(row).collect(),
            none: "Nothing was replayed yet.",
            ..Section::default()
        },
    ];
    live(&visitor, &headers, "Replays", "/replays", &[], &sections)
}

pub async fn rehearse(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    Query(filter): Query<Filter>,
) -> Answer {
    let request = filter.request(&desk, None).await?;
    let Ok(_alone) = desk.rehearsals.try_acquire() else {
        let words = "another rehearsal is under way: try again in a few seconds";
        return Err(Refusal(StatusCode::TOO_MANY_REQUESTS, words.into()));
    };
    let began = Instant::now();
    let registered = terms::registered::<payments::Terms>(&desk.pool).await?;
    let by = registered
        .as_ref()
        .map_or("this console's settings".to_owned(), |one| format!("the settings of {}", one.worker));
    let on_mismatch = registered.map_or(desk.on_mismatch, |one| one.terms.mismatch);
    let rehearsal = replay::rehearse(&desk.pool, &request, on_mismatch, |_| began.elapsed() < LIMIT).await?;
    let tally = &rehearsal.tally;
    let seen = if rehearsal.complete { "all" } else { "the first, in the time of a page" };
    let mut fields: Vec<(&'static str, String)> =
        filter.fields().into_iter().map(|field| (field.name, field.value)).collect();
    // What was rehearsed is what is replayed: no event that comes later.
    fields.push(("until", request.until.to_rfc3339()));
    let go = Action {
        label: "Replay these",
        path: "/replays/ask".into(),
        fields,
        reason: true,
        asks: &["canary", "stop_after", "rate"],
    };
    let differs = tally.again + tally.changed > 0;
    let section = Section {
        title: format!(
            "{} events looked at ({seen}) by {by}: {} unchanged, {} left alone as a person has decided, {} would be handled again, \
             {} would end otherwise",
            tally.seen, tally.unchanged, tally.decided, tally.again, tally.changed
        ),
        command: filter.command(),
        head: vec!["events", "example", "order", "what would differ"],
        rows: rehearsal
            .groups
            .into_iter()
            .map(|(lines, alike)| {
                vec![
                    Cell::text(alike.events),
                    Cell::text(alike.event_id),
                    Cell::order(Some(alike.order_id)),
                    Cell::Lines(lines),
                ]
                .into()
            })
            .collect(),
        none: "Nothing would differ.",
        actions: if differs { vec![go] } else { Vec::new() },
        ..Section::default()
    };
    still(&visitor, "Replays", &[section])
}

/// What the form sends.
#[derive(Deserialize)]
pub struct Asked {
    since: String,
    outcome: String,
    order: String,
    because: String,
    until: DateTime<Utc>,
    #[serde(default)]
    canary: String,
    #[serde(default)]
    stop_after: String,
    #[serde(default)]
    rate: String,
    #[serde(default)]
    reason: String,
    csrf: String,
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<Option<T>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| Refusal(StatusCode::BAD_REQUEST, format!("{name} is a number, or a percentage for canary")))
}

pub async fn ask(
    State(desk): State<Arc<Desk>>,
    Extension(visitor): Extension<Visitor>,
    Form(asked): Form<Asked>,
) -> Result<Redirect, Refusal> {
    visitor.may_change(&asked.csrf)?;
    let filter = Filter { since: asked.since, outcome: asked.outcome, order: asked.order, because: asked.because };
    let request = Request {
        canary: number::<replay::Share>("canary", &asked.canary)?.map(|share| share.of_10_000()),
        most_failures: number("stop_after", &asked.stop_after)?,
        rate: number::<u32>("rate", &asked.rate)?.map(|rate| rate.max(1)),
        ..filter.request(&desk, Some(asked.until)).await?
    };
    performed(&desk, None).await?;
    let mut tx = desk.pool.begin().await?;
    replay::ask(&mut tx, &request, Some(why(&asked.reason)?), &visitor.actor()).await?;
    tx.commit().await?;
    Ok(Redirect::to("/replays"))
}
