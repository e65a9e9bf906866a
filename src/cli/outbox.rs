//! `order-worker outbox`.

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand, ValueEnum};
use indicatif::ProgressBar;
use serde_json::json;

use super::bulk::{self, Of, Way};
use super::change::{Consent, Window, end};
use super::exit::{Exit, Stop};
use super::operator::Operator;
use super::output::{self, Format, Output};
use super::roles;
use crate::app::config::Config;
use crate::engine::runs::ledger;
use crate::operations::bulk::Verb;
use crate::operations::messages::{self, Resend, Selection};
use crate::platform::database::PgPool;
use crate::platform::telemetry::trace;

/// The commands below `outbox`.
#[derive(Debug, Subcommand)]
pub enum OutboxCommand {
    /// List announcements and warehouse calls with what became of them, the newest first
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker outbox list --since 2h --state pending\n",
        "  order-worker outbox list --state waiting                 # tried and not arrived: why, until when, what is behind it\n",
        "  order-worker outbox list --order o-17 -o json\n",
        "\n",
        "Exit codes: 0 done, 1 failed, 2 refused",
    ))]
    List(List),

    /// Show one announcement or call with its body
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker outbox show 6e8bc430-9c3a-11d9-9669-0800200c9a66\n",
        "\n",
        "Exit codes: 0 done, 1 there is no such message, 2 refused",
    ))]
    Show(Show),

    /// Send announcements again that were sent, under their first ids
    ///
    /// For when the broker lost them, or a consumer did. Consumers that know an id already drop it. What is still pending is not
    /// touched, and the warehouse is not called again.
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker outbox resend --since 2h --dry-run\n",
        "  order-worker outbox resend --since 2026-01-31T14:00:00Z --until 2026-01-31T15:30:00Z --reason 'Redis lost its data' --as ada\n",
        "  order-worker outbox resend --since 30d --order o-17 --reason 'the consumer lost it' --as ada\n",
        "\n",
        "Exit codes: 0 done, 1 failed or not confirmed, 2 refused",
    ))]
    Resend(Again),

    /// Try messages again that wait or are dead, from their first attempt on
    ///
    /// For one that waits for its next attempt and need not any more, whatever it waits for. What is blocked behind it goes on by
    /// itself. A run, as with dead redrive.
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker outbox list --state waiting\n",
        "  order-worker outbox redrive 4711 --reason 'the component allows the topic now' --as ada\n",
        "\n",
        "Exit codes: 0 done, 1 none of them waits or is dead, not confirmed or cancelled, 2 refused",
    ))]
    Redrive(Unsent),

    /// Give messages up that are not sent: what waits behind them goes on
    ///
    /// For one that will never do, dead or not: an announcement to a topic that the component refuses, a call that the warehouse does
    /// not know. One that a worker is just sending is left alone. A run, as with dead skip.
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker outbox list --state waiting\n",
        "  order-worker outbox skip 4711 --reason 'nobody reads that topic' --dry-run\n",
        "  order-worker outbox skip 4711 4712 --reason 'nobody reads that topic' --as ada\n",
        "\n",
        "Exit codes: 0 done, 1 none of them waits or is dead, not confirmed or cancelled, 2 refused",
    ))]
    Skip(Unsent),
}

/// Which messages, and why.
#[derive(Debug, Args)]
pub struct Unsent {
    /// Their numbers in the outbox
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<i64>,

    /// Why: stands in the audit log, and beside a message that is given up
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub reason: String,

    /// The way.
    #[command(flatten)]
    pub way: Way,
}

/// The states of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// Not sent yet
    Pending,
    /// It arrived
    Sent,
    /// It was given up
    Dead,
    /// It waits behind a dead one of its order
    Parked,
    /// An operator gave it up
    Skipped,
    /// Not sent: it was tried, and waits for its next attempt
    Waiting,
    /// Not sent: it is behind another of its order or reservation that waits or is dead
    Blocked,
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Channel {
    /// Announcements
    Dapr,
    /// Calls of the warehouse
    Warehouse,
}

/// Which messages, and in which form.
#[derive(Debug, Args)]
pub struct List {
    /// When they were written.
    #[command(flatten)]
    pub window: Window,

    /// Of this order
    #[arg(long, value_name = "ID")]
    pub order: Option<String>,

    /// On this topic, or this method of the warehouse
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,

    /// On this way
    #[arg(long, value_name = "CHANNEL", value_enum)]
    pub channel: Option<Channel>,

    /// In this state
    #[arg(long, value_name = "STATE", value_enum)]
    pub state: Option<State>,

    /// The length of the list.
    #[command(flatten)]
    pub list: output::Rows,
}

/// Which message.
#[derive(Debug, Args)]
pub struct Show {
    /// Its id, or its number in the outbox
    #[arg(value_name = "MESSAGE")]
    pub message: String,

    /// The form of the result.
    #[command(flatten)]
    pub output: Output,
}

/// Which announcements.
#[derive(Debug, Args)]
pub struct Again {
    /// When they were written; --since is needed.
    #[command(flatten)]
    pub window: Window,

    /// Of this order
    #[arg(long, value_name = "ID")]
    pub order: Option<String>,

    /// On this topic
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,

    /// Why: stands in the audit log
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub reason: Option<String>,

    /// Who.
    #[command(flatten)]
    pub operator: Operator,

    /// Consent.
    #[command(flatten)]
    pub consent: Consent,

    /// The form of the result.
    #[command(flatten)]
    pub output: Output,
}

fn name(value: Option<impl ValueEnum>) -> Option<String> {
    value.and_then(|value| Some(value.to_possible_value()?.get_name().to_owned()))
}

pub(super) async fn run(command: &OutboxCommand, config: &Config) -> Result<(), Stop> {
    let pool = roles::database(config).await?;
    match command {
        OutboxCommand::List(list) => self::list(&pool, list).await,
        OutboxCommand::Show(show) => self::show(&pool, show).await,
        OutboxCommand::Resend(again) => resend(&pool, again).await,
        OutboxCommand::Redrive(unsent) => self::unsent(&pool, Verb::Redrive, unsent, config).await,
        OutboxCommand::Skip(unsent) => self::unsent(&pool, Verb::Skip, unsent, config).await,
    }
}

async fn unsent(pool: &PgPool, verb: Verb, unsent: &Unsent, config: &Config) -> Result<(), Stop> {
    bulk::run(pool, verb, &Of::unsent(&unsent.ids), &unsent.reason, &unsent.way, config).await
}

async fn list(pool: &PgPool, list: &List) -> Result<(), Stop> {
    let selection = Selection {
        window: list.window.resolve(pool).await?,
        order: list.order.clone(),
        topic: list.topic.clone(),
        channel: name(list.channel),
        state: name(list.state),
    };
    output::list(&list.list.output, &messages::list(pool, &selection, list.list.limit).await?)
}

async fn show(pool: &PgPool, show: &Show) -> Result<(), Stop> {
    let messages = messages::show(pool, &show.message).await?;
    if messages.is_empty() {
        let message = format!("there is no message {}", show.message);
        return Err(Stop::failed(Exit::Failed, message, "order-worker outbox list --order ID"));
    }
    let shown: Vec<_> = messages
        .iter()
        .map(|whole| {
            let mut json = json!(whole.message);
            let (traceparent, tracestate) = whole.traceparent.as_deref().and_then(trace::parts).unzip();
            json["traceparent"] = json!(traceparent);
            json["tracestate"] = json!(tracestate.flatten());
            json["body"] = crate::operations::masked(whole.body.to_string().as_bytes());
            json
        })
        .collect();
    output::objects(&show.output, &shown)
}

async fn resend(pool: &PgPool, again: &Again) -> Result<(), Stop> {
    let window = again.window.resolve(pool).await?;
    let Some(since) = window.since else {
        return Err(Stop::failed(
            Exit::Usage,
            "nothing says from when on",
            "--since 2h, or --since 2026-01-31T14:00:00Z",
        ));
    };
    let now = ledger::now(pool).await?;
    let until = window.until.unwrap_or(now);
    let which = Resend { since, until, order: again.order.clone(), topic: again.topic.clone(), id: None };
    let (dry_run, reason) = (again.consent.dry_run, again.reason.as_deref());
    let actor = again.operator.person(dry_run)?;

    // Counted first, and rolled back: nobody consents to a number that is not known.
    let walk = async |message: &'static str, commit: bool| -> Result<u64, Stop> {
        let bar = ProgressBar::new_spinner().with_message(message);
        bar.enable_steady_tick(Duration::from_millis(100));
        let mut tx = pool.begin().await?;
        let told = |so_far| bar.set_position(so_far);
        let due = messages::resend(&mut tx, &which, reason, &actor, told).await?;
        end(tx, !commit).await?;
        bar.finish_and_clear();
        Ok(due)
    };
    let mut due = walk("counting", false).await?;
    if !dry_run {
        again.consent.obtain(due, "resend")?;
        due = walk("queueing", true).await?;
    }
    match again.output.format {
        Format::Json => {
            output::json(&json!({ "announcements": due, "since": since, "until": until, "dry_run": dry_run }))
        }
        Format::Table => {
            let would = if dry_run { "would be sent again" } else { "are sent again" };
            output::line(&format!("{due} announcements {would}, under their first ids"))
        }
    }
}
