//! The columns of each record.

use chrono::{DateTime, Utc};
use sqlx::types::Json;

use super::{Cell, Column, Listing, both, browser, encoded, moment, terminal};
use crate::engine::queue::Contents;
use crate::engine::runs::history::{JobSummary, RunSummary};
use crate::operations::replay::{Phase, Replay, Tally};
use crate::operations::{bulk, dead, events, incidents, log, messages, story};
use crate::shop::jobs::Spared;

impl Listing for Contents {
    const COLUMNS: &'static [Column<Self>] = &[
        both("queue", |queue| Cell::text(&queue.queue)),
        both("pending", |queue| Cell::text(queue.pending)),
        both("oldest", |queue| Cell::text(format!("{:.0}s", queue.oldest_age))),
        both("dead", |queue| if queue.dead > 0 { Cell::link("/dead", queue.dead) } else { Cell::text(0) }),
        both("parked", |queue| Cell::text(queue.parked)),
        terminal("paused", |queue| pause(queue.paused_at, queue.paused_by.as_deref(), queue.pause_reason.as_deref())),
        browser("state", |queue| match &queue.paused_by {
            Some(by) => Cell::text(format!("paused by {by}{}", because(queue.pause_reason.as_deref()))),
            None => Cell::text("runs"),
        }),
    ];
}

impl Listing for JobSummary {
    const COLUMNS: &'static [Column<Self>] = &[
        both("job", |job| Cell::link(format!("/cron/history?job={}", job.job), &job.job)),
        both("schedule", |job| {
            let schedule = job.schedule.as_ref().zip(job.time_zone.as_ref());
            Cell::maybe(schedule.map(|(schedule, zone)| format!("{schedule} {zone}")))
        }),
        terminal("next tick", next_tick),
        browser("next tick", |job| match &job.paused_by {
            Some(by) => Cell::text(format!("paused by {by}")),
            None => next_tick(job),
        }),
        both("last run", |job| Cell::when(job.last_tick)),
        both("outcome", |job| job.last_outcome.map_or(Cell::Empty, Cell::state)),
        both("items", |job| Cell::maybe(job.last_items)),
        both("spared", |job| Cell::maybe(job.last_spared.as_ref().and_then(Spared::describe))),
        terminal("paused", |job| pause(job.paused_at, job.paused_by.as_deref(), job.pause_reason.as_deref())),
    ];
}

fn next_tick(job: &JobSummary) -> Cell {
    match (&job.schedule, job.next_tick) {
        (None, _) => Cell::text("not registered"),
        (_, None) => Cell::text("disabled"),
        (_, Some(tick)) => Cell::Time(tick),
    }
}

/// A pause: since when, by whom, why.
fn pause(at: Option<DateTime<Utc>>, by: Option<&str>, reason: Option<&str>) -> Cell {
    let by = by.unwrap_or("-");
    Cell::maybe(at.map(|at| format!("{} by {by}{}", moment(at), because(reason))))
}

fn because(reason: Option<&str>) -> String {
    reason.map(|reason| format!(": {reason}")).unwrap_or_default()
}

impl Listing for RunSummary {
    const COLUMNS: &'static [Column<Self>] = &[
        both("run", |run| Cell::text(run.id)),
        both("tick", |run| Cell::Time(run.tick)),
        both("kind", |run| Cell::text(run.kind)),
        both("missed", |run| Cell::text(run.missed)),
        both("started", |run| Cell::when(run.started_at)),
        terminal("took", |run| {
            let took = run.started_at.zip(run.finished_at).map(|(from, to)| to - from);
            Cell::maybe(took.map(|took| format!("{:.3}s", took.as_seconds_f64())))
        }),
        browser("finished", |run| Cell::when(run.finished_at)),
        both("items", |run| Cell::text(run.items)),
        both("batches", |run| Cell::text(run.batches)),
        both("passed over", |run| Cell::text(run.passed_over)),
        both("spared", |run| Cell::maybe(run.spared.as_ref().and_then(Spared::describe))),
        both("outcome", |run| Cell::state(run.outcome)),
        both("error", |run| Cell::maybe(run.error.as_ref())),
    ];
}

impl Listing for bulk::BulkRun {
    const COLUMNS: &'static [Column<Self>] = &[
        both("run", |run| Cell::text(run.id)),
        both("asked", |run| Cell::Time(run.asked_at)),
        both("what", |run| Cell::text(run.request.verb.as_str())),
        both("by", |run| Cell::text(&run.request.actor)),
        terminal("rows", |run| Cell::text(run.request.rows)),
        terminal("seen", |run| Cell::text(run.seen)),
        browser("rows", |run| Cell::text(format!("{} of {} looked at", run.seen, run.request.rows))),
        both("done", |run| Cell::text(run.items)),
        both("outcome", |run| Cell::state(run.outcome)),
        both("reason", |run| Cell::maybe(Some(&run.request.reason).filter(|reason| !reason.is_empty()))),
        both("error", |run| Cell::maybe(run.error.as_ref())),
    ];
}

impl Listing for Replay {
    const COLUMNS: &'static [Column<Self>] = &[
        both("replay", |run| Cell::text(run.id)),
        both("asked", |run| Cell::Time(run.asked_at)),
        both("outcome", |run| Cell::state(run.outcome)),
        both("phase", |run| Cell::text(if tally(run).phase == Phase::Canary { "canary" } else { "rest" })),
        both("seen", |run| Cell::text(tally(run).seen)),
        both("unchanged", |run| Cell::text(tally(run).unchanged)),
        both("again", |run| Cell::text(tally(run).again)),
        both("changed", |run| Cell::text(tally(run).changed)),
        both("decided", |run| Cell::text(tally(run).decided)),
        both("announced", |run| Cell::text(tally(run).announced)),
        both("failed", |run| Cell::text(tally(run).failed)),
        both("error", |run| Cell::maybe(run.error.as_ref())),
    ];
}

fn tally(run: &Replay) -> Tally {
    run.result.as_ref().map(|Json(tally)| tally.clone()).unwrap_or_default()
}

impl Listing for events::Event {
    const COLUMNS: &'static [Column<Self>] = &[
        terminal("id", |event| Cell::text(event.id)),
        both("received", |event| Cell::Time(event.received_at)),
        both("topic", |event| Cell::text(&event.topic)),
        both("event", |event| Cell::link(format!("/inbox/{}", event.id), &event.event_id)),
        both("order", |event| Cell::order(event.order_id.as_deref())),
        both("payment", |event| Cell::maybe(event.payment_id.as_ref())),
        both("outcome", |event| Cell::state(&event.outcome)),
        both("reason", |event| Cell::maybe(event.reason.as_ref())),
    ];
}

impl Listing for events::Group {
    const COLUMNS: &'static [Column<Self>] = &[
        both("outcome", |group| Cell::state(&group.outcome)),
        both("topic", |group| Cell::text(&group.topic)),
        both("events", |group| Cell::text(group.events)),
        both("first", |group| Cell::Time(group.first)),
        both("last", |group| Cell::Time(group.last)),
        both("example", |group| Cell::text(&group.example)),
        both("reason", |group| Cell::maybe(group.reason.as_ref())),
    ];
}

impl Listing for events::Waiting {
    const COLUMNS: &'static [Column<Self>] = &[
        terminal("id", |event| Cell::text(event.id)),
        both("received", |event| Cell::Time(event.received_at)),
        both("topic", |event| Cell::text(&event.topic)),
        both("source", |event| Cell::text(&event.source)),
        both("event", |event| Cell::link(format!("/waiting/{}", event.id), &event.event_id)),
        both("order", |event| Cell::order(event.order_id.as_deref())),
        both("reason", |event| Cell::maybe(event.reason.as_ref())),
    ];
}

impl Listing for messages::Message {
    const COLUMNS: &'static [Column<Self>] = &[
        terminal("id", |message| Cell::text(message.id)),
        both("written", |message| Cell::Time(message.created_at)),
        both("topic", |message| Cell::text(&message.topic)),
        both("order", |message| Cell::order(Some(&message.order_id))),
        terminal("state", |message| {
            let row = message.waits.as_ref().filter(|waits| *waits != "ready" && message.state == "pending");
            Cell::state(row.unwrap_or(&message.state))
        }),
        browser("state", |message| Cell::state(&message.state)),
        both("attempts", |message| Cell::maybe(message.attempts)),
        terminal("sent or due", |message| Cell::when(message.sent_at.or(message.due))),
        browser("sent", |message| Cell::when(message.sent_at)),
        terminal("behind it", |message| Cell::text(message.behind)),
        both("event", |message| Cell::link(format!("/outbox/{}", message.id), &message.event_id)),
        both("reason", |message| Cell::maybe(message.reason.as_ref())),
    ];
}

impl Listing for dead::DeadRow {
    const COLUMNS: &'static [Column<Self>] = &[
        terminal("queue", |row| Cell::text(&row.queue)),
        both("id", |row| Cell::text(row.id)),
        terminal("state", |row| Cell::state(row.state)),
        both("since", |row| Cell::Time(row.created_at)),
        both("topic", |row| Cell::maybe(row.topic.as_ref())),
        both("event", |row| Cell::maybe(row.event_id.as_ref())),
        both("order", |row| Cell::order(row.order_id.as_deref())),
        both("attempts", |row| Cell::text(row.attempts)),
        both("parked", |row| Cell::text(row.parked)),
        both("reason", |row| Cell::maybe(row.reason.as_ref())),
    ];
}

impl Listing for dead::Group {
    const COLUMNS: &'static [Column<Self>] = &[
        both("queue", |group| Cell::text(&group.queue)),
        both("rows", |group| Cell::text(group.rows)),
        both("first", |group| Cell::Time(group.first)),
        both("last", |group| Cell::Time(group.last)),
        terminal("example", |group| Cell::text(group.example)),
        both("reason", |group| Cell::maybe(group.reason.as_ref())),
        browser("", |group| {
            // `#` stands for what differs between the rows: the longest words without it find them again.
            let reason = group.reason.as_deref().unwrap_or_default();
            let words = reason.split('#').max_by_key(|part| part.len()).unwrap_or_default().trim();
            Cell::link(format!("/dead/selection?queue={}&because={}", group.queue, encoded(words)), "Select")
        }),
    ];
}

impl Listing for incidents::Incident {
    const COLUMNS: &'static [Column<Self>] = &[
        both("id", |incident| Cell::link(format!("/incidents/{}", incident.id), incident.id)),
        both("opened", |incident| Cell::Time(incident.opened_at)),
        both("kind", |incident| Cell::text(&incident.kind)),
        both("order", |incident| Cell::order(incident.order_id.as_deref())),
        terminal("resolved", |incident| {
            let resolved = incident.resolved_at.zip(incident.resolved_by.as_ref());
            Cell::maybe(resolved.map(|(at, by)| format!("{} by {by}", moment(at))))
        }),
        browser("state", |incident| Cell::state(if incident.resolved_at.is_some() { "resolved" } else { "open" })),
        both("detail", |incident| Cell::text(&incident.detail)),
    ];
}

impl Listing for log::Record {
    const COLUMNS: &'static [Column<Self>] = &[
        both("id", |record| Cell::text(record.id)),
        both("at", |record| Cell::Time(record.at)),
        both("actor", |record| Cell::text(&record.actor)),
        terminal("role", |record| Cell::text(&record.role)),
        both("host", |record| Cell::maybe(record.host.as_ref())),
        both("action", |record| Cell::text(&record.action)),
        both("target", |record| Cell::text(&record.target)),
        both("detail", |record| Cell::text(&record.detail)),
    ];
}

impl Listing for log::Exposed {
    const COLUMNS: &'static [Column<Self>] = &[
        both("found", |message| Cell::Time(message.found_at)),
        both("queue", |message| Cell::text(&message.queue)),
        both("topic", |message| Cell::maybe(message.topic.as_ref())),
        both("order", |message| Cell::order(message.order_id.as_deref())),
        both("event", |message| Cell::maybe(message.event_id.as_ref())),
        both("times", |message| Cell::text(message.times)),
    ];
}

impl Listing for story::Step {
    const COLUMNS: &'static [Column<Self>] = &[
        terminal("at", |step| Cell::text(step.at.format("%Y-%m-%d %H:%M:%S%.3fZ"))),
        browser("at", |step| Cell::Time(step.at)),
        both("kind", |step| Cell::text(&step.kind)),
        both("what", |step| Cell::maybe(step.what.as_ref())),
        both("state", |step| step.state.as_ref().map_or(Cell::Empty, Cell::state)),
        both("detail", |step| Cell::maybe(step.detail.as_ref().filter(|detail| !detail.is_empty()))),
    ];
}
