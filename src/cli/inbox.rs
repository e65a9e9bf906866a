//! `order-worker inbox`.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use serde_json::json;

use super::events::Filter;
use super::exit::{Exit, Stop};
use super::operator::Operator;
use super::output::{self, Output, Runs};
use super::waiting::{self, Decide};
use super::{reconcile, replay, roles};
use crate::app::config::Config;
use crate::operations::events::{self, EventDetail, Waits};
use crate::operations::{masked, masked_json};
use crate::platform::database::PgPool;
use crate::platform::telemetry::trace;

/// The commands below `inbox`.
#[derive(Debug, Subcommand)]
pub enum InboxCommand {
    /// List events with what became of them, the newest first
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker inbox list --since 2h --outcome rejected\n",
        "  order-worker inbox list --since 1d --group\n",
        "  order-worker inbox list --order o-17 -o json\n",
        "\n",
        "Exit codes: 0 done, 1 failed, 2 refused",
    ))]
    List(List),

    /// Show one event with its body
    ///
    /// Values that may be personal stand as ***; --reveal shows them, and that is recorded in the audit log.
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker inbox show 5f0c9d3e-17\n",
        "  order-worker inbox show 4711 --reveal --reason 'ticket 42' --as ada\n",
        "\n",
        "Exit codes: 0 done, 1 there is no such event, 2 refused",
    ))]
    Show(Show),

    /// Handle a selection of events again
    ///
    /// Three meanings. Waiting, held and dead events are handed to the inbox again, from their first attempt on. Settled ones are
    /// judged again by today's code, and only what today differs is changed: an event whose announcement is there has had its
    /// effect and is left alone, so that there is never a second one. With --announce the announcements of the selection are sent
    /// again, under their first ids.
    ///
    /// What a person has decided is final: events that were rejected, dropped or skipped, or whose incident was resolved, are left
    /// alone, unless --include-decided says otherwise; --dry-run names them in both cases.
    ///
    /// A replay is a durable run: workers make it by their own settings, beside live traffic and behind it in priority. Killed at any
    /// instant, it goes on where it was. This command waits for its end; when it is interrupted, workers finish it. An event that
    /// fails alone is counted and passed over. --dry-run judges by the settings that a worker has registered last, and says which.
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker inbox replay --since 2h --dry-run                       # what would differ, as a diff\n",
        "  order-worker inbox replay --since 2h --canary 1% --stop-after 5 --rate 500 --reason 'wrong code ran' --as ada\n",
        "  order-worker inbox replay --outcome dead --because 'did not appear' --reason 'the orders are there now' --as ada\n",
        "  order-worker inbox replay --since 2h --announce --reason 'the consumer lost them' --as ada\n",
        "  order-worker inbox replays                                           # the last ones, and how far they are\n",
        "\n",
        "Exit codes: 0 done, 1 it was stopped or is not confirmed, 2 refused",
    ))]
    Replay(replay::Arguments),

    /// List the last replays with what they have come to
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker inbox replays\n",
        "\n",
        "Exit codes: 0 done, 1 failed, 2 refused",
    ))]
    Replays(Runs),

    /// Look in the broker's streams for events that Dapr has dropped, and accept them with --accept
    ///
    /// What Dapr has acknowledged without having delivered it is still in the stream. Workers look by themselves on start and every
    /// worker.reconcile.every; this looks now, and as far back as wanted. What is pending or not delivered yet is Dapr's to deliver.
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker inbox reconcile\n",
        "  order-worker inbox reconcile --since 2h -o json\n",
        "  order-worker inbox reconcile --since 2h --accept --as ada\n",
        "\n",
        "Exit codes: 0 done, 1 failed, 2 refused, 3 a stream has lost what no look can find",
    ))]
    Reconcile(reconcile::Arguments),

    /// Let a held event change its order although its amount is another one
    ///
    /// --dry-run also tells what has happened to the order since.
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker inbox list --outcome held\n",
        "  order-worker inbox approve 4711 --reason 'the shop granted a discount' --as ada\n",
        "\n",
        "Exit codes: 0 done, 1 none of them is held, 2 refused",
    ))]
    Approve(Decide),

    /// Settle a held event, or one that waits: it changes nothing, and no replay asks again
    ///
    /// --dry-run also tells what has happened to the order since.
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker inbox reject 4711 --reason 'refunded' --as ada\n",
        "  order-worker inbox reject 4711 --reason 'its order will never come' --as ada\n",
        "\n",
        "Exit codes: 0 done, 1 none of them is held or waits, 2 refused",
    ))]
    Reject(Decide),
}

/// Which events, and in which form.
#[derive(Debug, Args)]
pub struct List {
    /// Which.
    #[command(flatten)]
    pub filter: Filter,

    /// Count them by outcome and reason instead
    #[arg(long)]
    pub group: bool,

    /// The length of the list.
    #[command(flatten)]
    pub list: output::Rows,
}

/// Which event, and how much of it.
#[derive(Debug, Args)]
pub struct Show {
    /// Its CloudEvent id, or its number in the inbox
    #[arg(value_name = "EVENT")]
    pub event: String,

    /// Show the body as it was received
    #[arg(long, requires = "reason")]
    pub reveal: bool,

    /// Why: stands in the audit log
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub reason: Option<String>,

    /// Who, with --reveal.
    #[command(flatten)]
    pub operator: Operator,

    /// The form of the result.
    #[command(flatten)]
    pub output: Output,
}

pub(super) async fn run(command: &InboxCommand, config: &Config) -> Result<(), Stop> {
    let pool = roles::database(config).await?;
    match command {
        InboxCommand::List(list) => self::list(&pool, list).await,
        InboxCommand::Show(show) => self::show(&pool, show).await,
        InboxCommand::Replay(arguments) => replay::run(&pool, arguments, config).await,
        InboxCommand::Replays(runs) => replay::list(&pool, runs).await,
        InboxCommand::Reconcile(arguments) => reconcile::run(&pool, arguments, config).await,
        InboxCommand::Approve(decide) => waiting::decide(&pool, Waits::Held, true, decide).await,
        InboxCommand::Reject(decide) => waiting::decide(&pool, Waits::Held, false, decide).await,
    }
}

async fn list(pool: &PgPool, List { filter, group, list }: &List) -> Result<(), Stop> {
    let selection = filter.resolve(pool).await?;
    if *group {
        return output::list(&list.output, &events::groups(pool, &selection).await?);
    }
    output::list(&list.output, &events::list(pool, &selection, list.limit).await?)
}

async fn show(pool: &PgPool, show: &Show) -> Result<(), Stop> {
    let events = events::show(pool, &show.event).await?;
    if events.is_empty() {
        let hint = "order-worker inbox list --event ID, or --order ID";
        return Err(Stop::failed(Exit::Failed, format!("there is no event {}", show.event), hint));
    }
    if show.reveal {
        let mut tx = pool.begin().await?;
        let actor = show.operator.person(false)?;
        events::reveal(&mut tx, &show.event, show.reason.as_deref(), &actor).await?;
        tx.commit().await?;
    }
    let body = |event: &EventDetail| {
        if show.reveal {
            serde_json::from_slice(&event.body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&event.body)))
        } else {
            masked(&event.body)
        }
    };
    let shown: Vec<_> = events
        .iter()
        .map(|whole| {
            let mut json = json!(whole.event);
            json["event_type"] = json!(whole.event_type);
            json["headers"] = if show.reveal { whole.headers.clone() } else { masked_json(whole.headers.clone()) };
            let (traceparent, tracestate) = whole.traceparent.as_deref().and_then(trace::parts).unzip();
            json["traceparent"] = json!(traceparent);
            json["tracestate"] = json!(tracestate.flatten());
            json["cause"] = json!(whole.cause);
            json["body"] = body(whole);
            json
        })
        .collect();
    output::objects(&show.output, &shown)
}
