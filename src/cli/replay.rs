//! `order-worker inbox replay`.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use serde_json::json;

use super::change::Consent;
use super::events::Filter;
use super::exit::{Exit, Stop};
use super::operator::Operator;
use super::output::{self, Format, Output, Runs};
use super::runs::{self, Executor, Here, Rules, counting, unpaused, until_ended};
use crate::app::config::Config;
use crate::engine::runs::ledger;
use crate::operations::events::Selection;
use crate::operations::replay::REPLAY;
use crate::operations::replay::{self, Rehearsal, Request, Share, Tally};
use crate::platform::database::PgPool;

/// The flags of `inbox replay`.
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

    /// Consent.
    #[command(flatten)]
    pub consent: Consent,

    /// The form of the result.
    #[command(flatten)]
    pub output: Output,
}

pub(super) async fn list(pool: &PgPool, runs: &Runs) -> Result<(), Stop> {
    output::list(&runs.output, &replay::runs(pool, None, runs.limit).await?)
}

pub(super) async fn run(pool: &PgPool, arguments: &Arguments, config: &Config) -> Result<(), Stop> {
    let request = request(pool, arguments, config).await?;
    if arguments.consent.dry_run {
        return rehearse(pool, arguments, &request, config).await;
    }
    let count = count(pool, &arguments.filter.resolve(pool).await?).await?;
    arguments.consent.obtain(count, "replay")?;
    unpaused(pool, None).await?;
    let executor = runs::executor(pool, config, &arguments.here, Rules::Events, arguments.detach).await?;
    let actor = arguments.operator.person(false)?;
    let mut tx = pool.begin().await?;
    let id = replay::ask(&mut tx, &request, arguments.reason.as_deref(), &actor).await?;
    tx.commit().await?;
    if arguments.detach {
        return output::list(&arguments.output, &replay::runs(pool, Some(id), 1).await?);
    }
    perform(pool, arguments, id, count, &executor).await
}

/// The request, with its ends: an event that comes later is none of it.
async fn request(pool: &PgPool, arguments: &Arguments, config: &Config) -> Result<Request, Stop> {
    let selection = arguments.filter.resolve(pool).await?;
    let Selection { window, order, payment, event, outcome, reason, .. } = &selection;
    let narrow = [order, payment, event, reason, outcome].into_iter().any(Option::is_some);
    if window.since.is_none() && !narrow {
        let hint = "--since 2h, or --outcome dead, --order, --payment, --event, --because";
        return Err(Stop::failed(Exit::Usage, "nothing says which events", hint));
    }
    Ok(Request {
        announce: arguments.announce,
        include_decided: arguments.include_decided,
        rate: arguments.rate,
        canary: arguments.canary.map(Share::of_10_000),
        most_failures: arguments.stop_after,
        ..Request::of(selection, ledger::now(pool).await?, config.worker.inbox.keep.keep_bodies)
    })
}

async fn count(pool: &PgPool, selection: &Selection) -> Result<u64, Stop> {
    let groups = crate::operations::events::groups(pool, selection).await?;
    Ok(groups.iter().map(|group| group.events.unsigned_abs()).sum())
}

/// Says what would differ, grouped.
async fn rehearse(pool: &PgPool, arguments: &Arguments, request: &Request, config: &Config) -> Result<(), Stop> {
    let settings = runs::announced_settings(pool, config, Rules::Events).await?;
    let bar = counting("events looked at", None);
    let began = std::time::Instant::now();
    let seen = |tally: &Tally| {
        bar.set_position(tally.seen);
        true
    };
    let rehearsal = replay::rehearse(pool, request, settings.events.mismatch, seen).await?;
    bar.finish_and_clear();
    let Rehearsal { tally, groups, .. } = rehearsal;
    let seconds = began.elapsed().as_secs_f64();
    match arguments.output.format {
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

async fn perform(pool: &PgPool, arguments: &Arguments, id: i64, count: u64, executor: &Executor) -> Result<(), Stop> {
    let bar = counting("events replayed", Some(count));
    let failed = until_ended(pool, executor, REPLAY, id, &bar).await?;
    output::list(&arguments.output, &replay::runs(pool, Some(id), 1).await?)?;
    failed.map_or(Ok(()), |error| {
        Err(Stop::failed(Exit::Failed, format!("replay {id}: {error}"), "order-worker dead list"))
    })
}
