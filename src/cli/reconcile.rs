//! `order-worker inbox reconcile`.

use chrono::TimeDelta;
use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;
use sqlx::PgPool;

use super::args::{Format, Shown};
use super::exit::{Exit, Stop};
use super::selecting::Moment;
use super::{output, roles};
use crate::audit;
use crate::config::Config;
use crate::inbox::Acceptor;
use crate::queue::Wake;
use crate::reconcile::{From, Look, LookError, Reconciler, save};
use crate::telemetry::Metrics;

/// How far back, and whether what is missing is taken.
#[derive(Debug, Args)]
pub struct Arguments {
    /// From when on; without it from where the worker has looked last
    #[arg(long, value_name = "WHEN")]
    pub since: Option<Moment>,

    /// Accept what is missing, and go on from here on a stream that has lost something
    #[arg(long)]
    pub accept: bool,

    /// How the result is shown.
    #[command(flatten)]
    pub shown: Shown,
}

fn failed(error: LookError) -> Stop {
    match error {
        LookError::Database(error) => roles::refuse(error),
        error => Stop::because(
            &error,
            "see data.redis.addr: it has to name the Redis of Dapr's component; order-worker doctor",
        ),
    }
}

pub(super) async fn run(pool: &PgPool, arguments: &Arguments, config: &Config) -> Result<(), Stop> {
    let mut reconciler = Reconciler::connect(config, pool.clone()).await.map_err(failed)?;
    let since = match arguments.since {
        // By the database's clock; Redis' may be off by some, which a minute more makes good.
        Some(since) => {
            let since = since.resolve(pool).await? - TimeDelta::minutes(1);
            From::Moment(u64::try_from(since.timestamp_millis()).unwrap_or(0))
        }
        None => From::Overlap,
    };
    let topics = reconciler.topics();
    let bar = ProgressBar::new(topics.len() as u64).with_message("streams");
    let mut looks = Vec::new();
    for topic in topics {
        let known = reconciler.known(&topic).await.map_err(failed)?;
        let look = reconciler.look(&topic, &known, since).await.map_err(failed)?;
        looks.push((topic, look));
        bar.inc(1);
    }
    bar.finish_and_clear();
    if arguments.accept {
        accept(pool, &reconciler, &looks, config).await?;
    }
    show(arguments, &looks)?;
    let broken = looks.iter().filter(|(_, look)| look.alert.is_some()).count();
    if broken == 0 || arguments.accept {
        return Ok(());
    }
    let hint = "what the worker has announced: order-worker outbox resend; what it was told: let it be published again; then --accept";
    Err(Stop::failed(Exit::Violation, format!("{broken} streams have lost what no look can find"), hint))
}

async fn accept(pool: &PgPool, reconciler: &Reconciler, looks: &[(String, Look)], config: &Config) -> Result<(), Stop> {
    let metrics = Metrics::new().map_err(|error| Stop::because(&error, ""))?;
    let eventbus = &config.worker.eventbus;
    let accept = Acceptor::start(pool.clone(), eventbus.batch, eventbus.accept_timeout, Wake::default(), metrics);
    for (topic, look) in looks {
        let saved = save(pool, &accept, topic, look, &audit::actor()).await.map_err(failed)?;
        reconciler.taken_note_of(topic, look, saved).await.map_err(failed)?;
    }
    Ok(())
}

fn show(arguments: &Arguments, looks: &[(String, Look)]) -> Result<(), Stop> {
    match arguments.shown.output {
        Format::Json => {
            let streams: Vec<_> = looks
                .iter()
                .map(|(topic, look)| {
                    let missing: Vec<_> = look.missing.iter().map(|event| json!({ "source": event.source, "event": event.id })).collect();
                    json!({
                        "stream": topic, "read": look.read, "with_dapr": look.with_dapr, "missing": missing, "alert": look.alert,
                        "accepted": arguments.accept,
                    })
                })
                .collect();
            output::json(&streams)
        }
        Format::Table => {
            output::table(
                ["stream", "read", "with dapr", "missing", "alert"],
                looks.iter().map(|(topic, look)| {
                    // Of a stream that has lost something nobody knows how much.
                    let missing = if look.alert.is_some() {
                        format!("{} and more", look.missing.len())
                    } else {
                        look.missing.len().to_string()
                    };
                    [
                        topic.clone(),
                        look.read.to_string(),
                        look.with_dapr.to_string(),
                        missing,
                        output::dash(look.alert.as_deref()),
                    ]
                }),
            )?;
            for (topic, look) in looks {
                for event in look.missing.iter().take(50) {
                    let done = if arguments.accept { "accepted" } else { "missing" };
                    output::line(&format!("{done}: {topic} {} of {}", event.id, event.source))?;
                }
            }
            Ok(())
        }
    }
}
