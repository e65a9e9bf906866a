//! Replays: the differences that one would make, and those that were made.

use std::str::FromStr;
use std::time::{Duration, Instant};

use axum::extract::Query;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::cron::cancel_button;
use super::{Answer, Done, View, done, given, refuse_without_worker, window};
use crate::engine::runs::ledger;
use crate::engine::terms;
use crate::operations::events::Selection;
use crate::operations::replay::{self, Request, Share};
use crate::platform::database::PgPool;
use crate::shop::payments;
use crate::web::console::change::Change;
use crate::web::console::guard::Refusal;
use crate::web::console::page::{Action, Filter, Section};
use crate::web::listing::Cell;

/// The longest rehearsal on a page; the command has all the time it needs.
const LIMIT: Duration = Duration::from_secs(4);

/// The events to be replayed.
#[derive(Clone, Deserialize, Default)]
#[serde(default)]
pub struct Asked {
    since: String,
    outcome: String,
    order: String,
    because: String,
    /// The end of a selection that was rehearsed: no event that came later is replayed.
    until: Option<DateTime<Utc>>,
}

impl Asked {
    fn filter(&self) -> Filter {
        Filter::new([
            ("since", &self.since),
            ("outcome", &self.outcome),
            ("order", &self.order),
            ("because", &self.because),
        ])
    }

    async fn request(&self, pool: &PgPool, keep_bodies: Duration) -> Result<Request, Refusal> {
        if self.filter().is_empty() {
            return Err(Refusal(StatusCode::BAD_REQUEST, "say which events: since, outcome, order or because".into()));
        }
        let mut selection = Selection {
            window: window(pool, &self.since).await?,
            outcome: given(&self.outcome),
            order: given(&self.order),
            reason: given(&self.because),
            ..Selection::default()
        };
        selection.window.until = self.until;
        Ok(Request::of(selection, ledger::now(pool).await?, keep_bodies))
    }
}

pub async fn list(view: View) -> Answer {
    let selections = [
        ("of the last two hours", "since=2h"),
        ("that are dead", "outcome=dead"),
        ("that were rejected", "since=1d&outcome=rejected"),
    ];
    let rehearse = Section {
        title: "See what would change".into(),
        command: "order-worker inbox replay --since 2h --dry-run".into(),
        head: vec!["events"],
        rows: selections
            .map(|(words, query)| vec![Cell::link(format!("/replays/rehearse?{query}"), words)].into())
            .into(),
        ..Section::default()
    };
    let runs = replay::runs(view.pool(), None, 100).await?;
    let runs = Section {
        command: "order-worker inbox replays".into(),
        none: "Nothing was replayed yet.",
        ..Section::with_buttons("Replays, the newest first", &runs, |run| cancel_button(run.id, run.finished_at))
    };
    view.live("Replays", "/replays", &[rehearse, runs])
}

pub async fn rehearse(view: View, Query(asked): Query<Asked>) -> Answer {
    let (context, pool) = (&view.context, view.pool());
    let request = asked.request(pool, context.keep_bodies).await?;
    let Ok(_alone) = context.rehearsals.try_acquire() else {
        let words = "another rehearsal is under way: try again in a few seconds";
        return Err(Refusal(StatusCode::TOO_MANY_REQUESTS, words.into()));
    };
    let began = Instant::now();
    let registered = terms::registered::<payments::Terms>(pool).await?;
    let by = registered
        .as_ref()
        .map_or("this console's settings".to_owned(), |one| format!("the settings of {}", one.worker));
    let on_mismatch = registered.map_or(context.on_mismatch, |one| one.terms.mismatch);
    let rehearsal = replay::rehearse(pool, &request, on_mismatch, |_| began.elapsed() < LIMIT).await?;
    let tally = &rehearsal.tally;
    let seen = if rehearsal.complete { "all" } else { "the first, in the time of a page" };
    let mut fields = asked.filter().values();
    fields.push(("until", request.until.to_rfc3339()));
    let replay = Action {
        label: "Replay these",
        path: "/replays/ask",
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
        command: format!("order-worker inbox replay{} --dry-run", asked.filter().flags()),
        head: vec!["events", "example", "order", "what would differ"],
        rows: rehearsal
            .groups
            .into_iter()
            .map(|(lines, alike)| {
                let order = Cell::order(Some(&alike.order_id));
                vec![Cell::text(alike.events), Cell::text(alike.event_id), order, Cell::Lines(lines)].into()
            })
            .collect(),
        none: "Nothing would differ.",
        actions: if differs { vec![replay] } else { Vec::new() },
        ..Section::default()
    };
    view.still("Replays", &[section])
}

/// A replay as it was rehearsed, and its limits.
#[derive(Clone, Deserialize)]
pub struct Replay {
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
}

fn number<T: FromStr>(name: &str, text: &str) -> Result<Option<T>, Refusal> {
    let wrong = |_| Refusal(StatusCode::BAD_REQUEST, format!("{name} is a number, or a percentage for canary"));
    given(text).map(|text| text.parse().map_err(wrong)).transpose()
}

pub async fn ask(change: Change<Replay>) -> Done {
    let Replay { since, outcome, order, because, until, canary, stop_after, rate } = change.form.clone();
    let asked = Asked { since, outcome, order, because, until: Some(until) };
    let request = Request {
        canary: number::<Share>("canary", &canary)?.map(Share::of_10_000),
        most_failures: number("stop_after", &stop_after)?,
        rate: number::<u32>("rate", &rate)?.map(|rate| rate.max(1)),
        ..asked.request(change.pool(), change.context.keep_bodies).await?
    };
    refuse_without_worker(change.pool(), None).await?;
    let mut tx = change.begin().await?;
    replay::ask(&mut tx, &request, Some(change.reason()?), &change.actor).await?;
    done(tx, "/replays").await
}
