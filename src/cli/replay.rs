//! `order-worker inbox replay`.

use chrono::{DateTime, TimeDelta};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use serde_json::json;
use sqlx::types::Json;

use super::events::Filter;
use super::exit::{Exit, Stop};
use super::operator::Operator;
use super::performing::{self, Here, Judges, Performer, counting, unpaused, until_ended};
use super::selecting::Change;
use super::shown::{Format, Shown};
use super::{output, roles};
use crate::app::config::Config;
use crate::engine::runs::ledger;
use crate::operations::events::Selection;
use crate::operations::replay::REPLAY;
use crate::operations::replay::{self, Phase, Rehearsal, Replay, Request, Share, Tally};
use crate::platform::database::PgPool;

/// Which events, and how.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Which.
    #[command(flatten)]
    pub filter: Filter,

    /// Send the announcements of the selection again, under their first ids
    #[arg(long)]
    pub announce: bool,

    /// The most events in a second
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: Option<u32>,

    /// Begin with this share of the selection (1%, 0.5%), and go on only when that went well
    #[arg(long, value_name = "SHARE")]
    pub canary: Option<Share>,

    /// Stop when more than so many events fail
    #[arg(long, value_name = "EVENTS")]
    pub stop_after: Option<u64>,

    /// Judge again too what a person has decided about: rejected, dropped or skipped events, and those with a resolved incident
    #[arg(long)]
    pub include_decided: bool,

    /// Do not wait for the end: workers make it
    #[arg(long, conflicts_with = "here")]
    pub detach: bool,

    /// Where.
    #[command(flatten)]
    pub here: Here,

    /// Who.
    #[command(flatten)]
    pub operator: Operator,

    /// Why: stands in the audit log
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub reason: Option<String>,

    /// How.
    #[command(flatten)]
    pub change: Change,

    /// How the result is shown.
    #[command(flatten)]
    pub shown: Shown,
}

/// The last replays.
#[derive(Debug, Args)]
pub struct Replays {
    /// The most replays shown: 1 to 10000
    #[arg(long, value_name = "REPLAYS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,

    /// How they are shown.
    #[command(flatten)]
    pub shown: Shown,
}

pub(super) async fn list(pool: &PgPool, replays: &Replays) -> Result<(), Stop> {
    let runs = replay::runs(pool, None, replays.limit).await.map_err(roles::refuse)?;
    show(&replays.shown, &runs)
}

pub(super) async fn run(pool: &PgPool, arguments: &Arguments, config: &Config) -> Result<(), Stop> {
    let request = request(pool, arguments, config).await?;
    if arguments.change.dry_run {
        return rehearse(pool, arguments, &request, config).await;
    }
    let count = count(pool, &arguments.filter.resolve(pool).await?).await?;
    arguments.change.consent(count, "replay")?;
    unpaused(pool, None).await?;
    let performer = performing::performer(pool, config, &arguments.here, Judges::Events, arguments.detach).await?;
    let actor = arguments.operator.person(false)?;
    let mut tx = pool.begin().await.map_err(roles::refuse)?;
    let id = replay::ask(&mut tx, &request, arguments.reason.as_deref(), &actor).await.map_err(roles::refuse)?;
    tx.commit().await.map_err(roles::refuse)?;
    if arguments.detach {
        let runs = replay::runs(pool, Some(id), 1).await.map_err(roles::refuse)?;
        return show(&arguments.shown, &runs);
    }
    perform(pool, arguments, id, count, &performer).await
}

/// What was asked for, with its ends: an event that comes later is none of it.
async fn request(pool: &PgPool, arguments: &Arguments, config: &Config) -> Result<Request, Stop> {
    let Selection { window, order, payment, event, topic, outcome, reason } = arguments.filter.resolve(pool).await?;
    let narrow = [&order, &payment, &event, &reason, &outcome].into_iter().any(Option::is_some);
    if window.since.is_none() && !narrow {
        let hint = "--since 2h, or --outcome dead, --order, --payment, --event, --because";
        return Err(Stop::failed(Exit::Usage, "nothing says which events", hint));
    }
    let now = ledger::now(pool).await.map_err(roles::refuse)?;
    let kept = TimeDelta::from_std(config.worker.inbox.keep.keep_bodies).unwrap_or_default() + TimeDelta::days(1);
    let kept = now.checked_sub_signed(kept).unwrap_or(DateTime::UNIX_EPOCH);
    Ok(Request {
        since: window.since.unwrap_or(kept),
        until: window.until.unwrap_or(now).min(now),
        order,
        payment,
        event,
        topic,
        outcome,
        reason,
        announce: arguments.announce,
        include_decided: arguments.include_decided,
        rate: arguments.rate,
        canary: arguments.canary.map(Share::of_10_000),
        most_failures: arguments.stop_after,
    })
}

async fn count(pool: &PgPool, selection: &Selection) -> Result<u64, Stop> {
    let groups = crate::operations::events::groups(pool, selection).await.map_err(roles::refuse)?;
    Ok(groups.iter().map(|group| group.events.unsigned_abs()).sum())
}

/// Says what would differ, grouped.
async fn rehearse(pool: &PgPool, arguments: &Arguments, request: &Request, config: &Config) -> Result<(), Stop> {
    let settings = performing::judging(pool, config, Judges::Events).await?;
    let bar = counting("events looked at", None);
    let began = std::time::Instant::now();
    let seen = |tally: &Tally| {
        bar.set_position(tally.seen);
        true
    };
    let rehearsal = replay::rehearse(pool, request, settings.events.mismatch, seen).await.map_err(roles::refuse)?;
    bar.finish_and_clear();
    let Rehearsal { tally, groups, .. } = rehearsal;
    let seconds = began.elapsed().as_secs_f64();
    match arguments.shown.output {
        Format::Json => {
            let groups: Vec<_> = groups
                .iter()
                .map(|(lines, one)| json!({ "events": one.events, "example": { "event": one.event_id, "order": one.order_id }, "diff": lines }))
                .collect();
            output::json(&json!({ "dry_run": true, "tally": tally, "differences": groups }))
        }
        Format::Table => {
            for (lines, one) in &groups {
                output::line(&format!("@@ {} events, as {} of order {}", one.events, one.event_id, one.order_id))?;
                for line in lines {
                    output::line(line)?;
                }
                output::blank()?;
            }
            let Tally { seen, unchanged, again, changed, announced, decided, .. } = tally;
            let decided = match decided {
                0 => String::new(),
                some if arguments.include_decided => format!(" {some} of them decided about by a person,"),
                some => format!(" {some} left alone, as a person has decided,"),
            };
            output::line(&format!(
                "{seen} events in {seconds:.1} s: {unchanged} unchanged,{decided} {again} would be handled again, {changed} would end otherwise, \
                 {announced} announcements would be sent again; nothing was changed"
            ))
        }
    }
}

async fn perform(pool: &PgPool, arguments: &Arguments, id: i64, count: u64, performer: &Performer) -> Result<(), Stop> {
    let bar = counting("events replayed", Some(count));
    let failed = until_ended(pool, performer, REPLAY, id, &bar).await?;
    show(&arguments.shown, &replay::runs(pool, Some(id), 1).await.map_err(roles::refuse)?)?;
    failed.map_or(Ok(()), |error| {
        Err(Stop::failed(Exit::Failed, format!("replay {id}: {error}"), "order-worker dead list"))
    })
}

fn show(shown: &Shown, runs: &[Replay]) -> Result<(), Stop> {
    match shown.output {
        Format::Json => output::json(&runs),
        Format::Table => output::table(
            [
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
            runs.iter().map(|run| {
                let tally = run.result.as_ref().map(|Json(tally)| tally.clone()).unwrap_or_default();
                let phase = if tally.phase == Phase::Canary { "canary" } else { "rest" };
                [
                    run.id.to_string(),
                    output::moment(run.asked_at),
                    run.outcome.to_string(),
                    phase.to_owned(),
                    tally.seen.to_string(),
                    tally.unchanged.to_string(),
                    tally.again.to_string(),
                    tally.changed.to_string(),
                    tally.decided.to_string(),
                    tally.announced.to_string(),
                    tally.failed.to_string(),
                    output::dash(run.error.as_deref()),
                ]
            }),
        ),
    }
}
