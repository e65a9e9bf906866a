//! `order-worker inbox`.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use serde_json::json;

use super::events::Filter;
use super::exit::{Exit, Stop};
use super::operator::Operator;
use super::shown::{Format, Shown};
use super::waiting::{self, Decide};
use super::{output, reconcile, replay, roles};
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
    Replays(replay::Replays),

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
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker inbox list --outcome held\n",
        "  order-worker inbox approve 4711 --reason 'the shop granted a discount' --as ada\n",
        "\n",
        "Exit codes: 0 done, 1 none of them is held, 2 refused",
    ))]
    Approve(Decide),

    /// Settle a held event, or one that waits: it changes nothing, and no replay asks again
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker inbox reject 4711 --reason 'refunded' --as ada\n",
        "  order-worker inbox reject 4711 --reason 'its order will never come' --as ada\n",
        "\n",
        "Exit codes: 0 done, 1 none of them is held or waits, 2 refused",
    ))]
    Reject(Decide),
}

/// Which events, and how they are shown.
#[derive(Debug, Args)]
pub struct List {
    /// Which.
    #[command(flatten)]
    pub filter: Filter,

    /// Count them by outcome and reason instead
    #[arg(long)]
    pub group: bool,

    /// The most events shown: 1 to 10000
    #[arg(long, value_name = "EVENTS", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,

    /// How they are shown.
    #[command(flatten)]
    pub shown: Shown,
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

    /// How it is shown.
    #[command(flatten)]
    pub shown: Shown,
}

pub(super) async fn run(command: &InboxCommand, config: &Config) -> Result<(), Stop> {
    let pool = roles::database(config).await?;
    match command {
        InboxCommand::List(list) => self::list(&pool, list).await,
        InboxCommand::Show(show) => self::show(&pool, show).await,
        InboxCommand::Replay(arguments) => replay::run(&pool, arguments, config).await,
        InboxCommand::Replays(replays) => replay::list(&pool, replays).await,
        InboxCommand::Reconcile(arguments) => reconcile::run(&pool, arguments, config).await,
        InboxCommand::Approve(decide) => waiting::approve(&pool, Waits::Held, decide).await,
        InboxCommand::Reject(decide) => waiting::reject(&pool, Waits::Held, decide).await,
    }
}

async fn list(pool: &PgPool, list: &List) -> Result<(), Stop> {
    let selection = list.filter.resolve(pool).await?;
    if list.group {
        let groups = events::groups(pool, &selection).await.map_err(roles::refuse)?;
        return match list.shown.output {
            Format::Json => output::json(&groups),
            Format::Table => output::table(
                ["outcome", "topic", "events", "first", "last", "example", "reason"],
                groups.into_iter().map(|group| {
                    [
                        group.outcome,
                        group.topic,
                        group.events.to_string(),
                        output::moment(group.first),
                        output::moment(group.last),
                        group.example,
                        output::dash(group.reason),
                    ]
                }),
            ),
        };
    }
    let events = events::list(pool, &selection, list.limit).await.map_err(roles::refuse)?;
    match list.shown.output {
        Format::Json => output::json(&events),
        Format::Table => output::table(
            ["id", "received", "topic", "event", "order", "payment", "outcome", "reason"],
            events.into_iter().map(|event| {
                [
                    event.id.to_string(),
                    output::moment(event.received_at),
                    event.topic,
                    event.event_id,
                    output::dash(event.order_id),
                    output::dash(event.payment_id),
                    event.outcome,
                    output::dash(event.reason),
                ]
            }),
        ),
    }
}

async fn show(pool: &PgPool, show: &Show) -> Result<(), Stop> {
    let events = events::show(pool, &show.event).await.map_err(roles::refuse)?;
    if events.is_empty() {
        let hint = "order-worker inbox list --event ID, or --order ID";
        return Err(Stop::failed(Exit::Failed, format!("there is no event {}", show.event), hint));
    }
    if show.reveal {
        let mut tx = pool.begin().await.map_err(roles::refuse)?;
        let actor = show.operator.person(false)?;
        events::reveal(&mut tx, &show.event, show.reason.as_deref(), &actor).await.map_err(roles::refuse)?;
        tx.commit().await.map_err(roles::refuse)?;
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
    match show.shown.output {
        Format::Json => output::json(&shown),
        Format::Table => output::fields(&shown),
    }
}
