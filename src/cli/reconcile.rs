//! `order-worker inbox reconcile`.

use chrono::TimeDelta;
use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;

use super::exit::{Exit, Stop};
use super::operator::Operator;
use super::output::{self, Format, Output};
use crate::app::config::Config;
use crate::app::runs;
use crate::dapr::reconcile::{Alert, From, Look, LookError, Reconciler, Severity, Taker};
use crate::engine::inbox::{Accept, Acceptor};
use crate::engine::queue::Wake;
use crate::operations::{Moment, QUEUES};
use crate::platform::database::PgPool;

/// The flags of `inbox reconcile`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// From when on; without it from where the worker has looked last
    #[arg(long, value_name = "WHEN")]
    pub since: Option<Moment>,

    /// Accept what is missing, and go on from here on a stream that has lost something
    #[arg(long)]
    pub accept: bool,

    /// Who, with --accept.
    #[command(flatten)]
    pub operator: Operator,

    /// The form of the result.
    #[command(flatten)]
    pub output: Output,
}

fn failed(error: LookError) -> Stop {
    match error {
        LookError::Database(error) => error.into(),
        error => Stop::because(
            &error,
            "see data.redis.addr: it has to name the Redis of Dapr's component; order-worker doctor",
        ),
    }
}

pub(super) async fn run(pool: &PgPool, arguments: &Arguments, config: &Config) -> Result<(), Stop> {
    let mut reconciler = Reconciler::connect(&runs::reconciled(config), pool.clone()).await.map_err(failed)?;
    let since = match arguments.since {
        // By the database's clock; Redis' may be off by some, which a minute more makes good.
        Some(since) => {
            let since = since.resolve(pool).await? - TimeDelta::minutes(1);
            From::Moment(u64::try_from(since.timestamp_millis()).unwrap_or(0))
        }
        None => From::Overlap,
    };
    let streams = reconciler.streams();
    let bar = ProgressBar::new(streams.len() as u64).with_message("streams");
    let (mut looks, actor) = (Vec::new(), arguments.operator.person(!arguments.accept)?);
    let accept = if arguments.accept { Some(acceptor(pool, config)?) } else { None };
    let taker = accept.as_ref().map(|accept| Taker { accept, actor: &actor });
    let another = reconciler.is_another().await.map_err(failed)?;
    for (topic, name) in streams {
        let known = reconciler.known(&name).await.map_err(failed)?;
        let look = reconciler.look((&topic, &name), &known, since, another, taker).await.map_err(failed)?;
        if arguments.accept {
            reconciler.acknowledge(&name, &look, &actor).await.map_err(failed)?;
        }
        looks.push((name, look));
        bar.inc(1);
    }
    bar.finish_and_clear();
    show(arguments, &looks)?;
    let of = |severity| {
        looks
            .iter()
            .filter_map(|(_, look)| look.alert.as_ref())
            .filter(|alert| (alert.severity() == Severity::CannotLook) == severity)
            .count()
    };
    let (blind, broken) = (of(true), of(false));
    if blind > 0 {
        let hint = "see worker.reconcile.group, worker.reconcile.stream_prefix and data.redis.addr: order_cleanup and reservation_cleanup give nothing up until then; order-worker doctor";
        return Err(Stop::failed(Exit::Violation, format!("{blind} streams cannot be looked at"), hint));
    }
    if broken == 0 || arguments.accept {
        return Ok(());
    }
    let hint = "what the worker has announced: order-worker outbox resend; what it was told: let it be published again; then --accept";
    Err(Stop::failed(Exit::Violation, format!("{broken} streams have lost what no look can find"), hint))
}

fn acceptor(pool: &PgPool, config: &Config) -> Result<Accept, Stop> {
    let metrics = super::runs::metrics()?;
    let eventbus = &config.worker.eventbus;
    Ok(Acceptor::start(
        pool.clone(),
        eventbus.batch,
        eventbus.accept_timeout,
        runs::handlers(config, pool),
        Wake::new(&QUEUES),
        metrics.engine,
    ))
}

/// The number of missing events. A stream that has lost something may miss more; of one that is not ours the number is unknown.
fn missing(look: &Look) -> String {
    match &look.alert {
        None => look.missing.to_string(),
        Some(alert) if alert.forbids_taking() => "unknown".to_owned(),
        Some(_) => format!("{} and more", look.missing),
    }
}

fn show(arguments: &Arguments, looks: &[(String, Look)]) -> Result<(), Stop> {
    match arguments.output.format {
        Format::Json => {
            let streams: Vec<_> = looks
                .iter()
                .map(|(topic, look)| {
                    let known = !look.alert.as_ref().is_some_and(Alert::forbids_taking);
                    json!({
                        "stream": topic, "read": look.read, "with_dapr": look.with_dapr, "missing": known.then_some(&look.named),
                        "missing_count": known.then_some(look.missing), "accepted": look.saved,
                        "alert": look.alert.as_ref().map(ToString::to_string),
                    })
                })
                .collect();
            output::json(&streams)
        }
        Format::Table => {
            output::table(
                ["stream", "read", "with dapr", "missing", "alert"],
                looks.iter().map(|(topic, look)| {
                    [
                        topic.clone(),
                        look.read.to_string(),
                        look.with_dapr.to_string(),
                        missing(look),
                        output::dash(look.alert.as_ref()),
                    ]
                }),
            )?;
            for (topic, look) in looks {
                for event in look.named.iter().take(50) {
                    let done = if arguments.accept { "accepted" } else { "missing" };
                    output::line(&format!("{done}: {topic} {} of {}", event.event, event.source))?;
                }
            }
            Ok(())
        }
    }
}
