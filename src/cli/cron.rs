//! `order-worker cron`.

use std::io::Write;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::exit::{Exit, Stop};
use super::operator::Operator;
use super::pausing::{self, Change};
use super::performing::{self, Here, Judges, Performer, unpaused, until_ended};
use super::shown::{Format, Shown};
use super::{output, roles};
use crate::app::config::Config;
use crate::engine::runs::history::{self, RunSummary};
use crate::engine::runs::ledger;
use crate::operations::jobs;
use crate::operations::pauses::Pausable;
use crate::platform::database::PgPool;
use crate::shop;
use crate::shop::jobs::{Job, Spared};
use strum::VariantNames;

/// The commands below `cron`.
#[derive(Debug, Subcommand)]
pub enum CronCommand {
    /// Show each job with its next tick and its last run
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker cron list\n",
        "  order-worker cron list -o json | jq '.[] | {job, next_tick, last_outcome}'\n",
        "\n",
        "Exit codes: 0 done, 1 failed, 2 refused",
    ))]
    List(Shown),

    /// Run a job now
    ///
    /// The same code and the same ledger as at a tick, as a run of its own (kind manual): it waits for a run of the job
    /// that is under way. A worker performs it, by the worker's settings, and this command waits; when it is interrupted, the run
    /// goes on. With no worker alive --here performs it, by the settings that a worker has registered last.
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker cron run cart_cleanup --dry-run\n",
        "  order-worker cron run cart_cleanup --as ada\n",
        "  order-worker cron run cart_cleanup --here --as ada\n",
        "\n",
        "With --dry-run each batch is made and rolled back, and each item is named on a line of its own. It judges by the settings that a \
         worker has registered last, and says which.\n",
        "\n",
        "Exit codes: 0 the run succeeded, 1 it failed, 2 refused",
    ))]
    Run(Run),

    /// Show the last runs of a job, the newest first
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker cron history order_cleanup\n",
        "  order-worker cron history order_cleanup --limit 500 -o json\n",
        "\n",
        "Exit codes: 0 done, 1 failed, 2 refused",
    ))]
    History(History),

    /// Run no tick of a job until it is resumed
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker cron pause order_cleanup --reason 'payment provider is down' --as ada\n",
        "\n",
        "A run that is under way stops behind its batch and goes on when the job is resumed.\n",
        "\n",
        "Exit codes: 0 done or paused already, 1 failed, 2 refused",
    ))]
    Pause(Which),

    /// Let a paused job go on
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker cron resume order_cleanup --reason 'it is back' --as ada\n",
        "\n",
        "Ticks that were missed meanwhile become one run.\n",
        "\n",
        "Exit codes: 0 done or not paused, 1 failed, 2 refused",
    ))]
    Resume(Which),

    /// End a run where it stands: of a job, a replay, or of dead rows that are redriven or skipped
    #[command(after_long_help = concat!(
        "Examples:\n",
        "  order-worker inbox replays\n",
        "  order-worker cron cancel 4711 --reason 'wrong selection' --as ada\n",
        "\n",
        "What its batches have done stays. A batch that is under way is waited for.\n",
        "\n",
        "Exit codes: 0 done, 1 it has ended already, 2 refused",
    ))]
    Cancel(Cancel),
}

/// Which run, and why.
#[derive(Debug, Args)]
pub struct Cancel {
    /// Its number
    #[arg(value_name = "RUN")]
    pub run: i64,

    /// Why: stands beside the run and in the audit log
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub reason: String,

    /// Say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Who.
    #[command(flatten)]
    pub operator: Operator,

    /// How the result is shown.
    #[command(flatten)]
    pub shown: Shown,
}

/// What to run, and how.
#[derive(Debug, Args)]
pub struct Run {
    /// The job
    #[arg(value_name = "JOB", value_enum)]
    pub job: Job,

    /// Name what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Where.
    #[command(flatten)]
    pub here: Here,

    /// Who.
    #[command(flatten)]
    pub operator: Operator,

    /// How the result is shown.
    #[command(flatten)]
    pub shown: Shown,
}

/// Whose history, and how much of it.
#[derive(Debug, Args)]
pub struct History {
    /// The job
    #[arg(value_name = "JOB", value_enum)]
    pub job: Job,

    /// The most runs shown: 1 to 10000
    #[arg(long, value_name = "RUNS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,

    /// How the runs are shown.
    #[command(flatten)]
    pub shown: Shown,
}

/// Which job, and how.
#[derive(Debug, Args)]
pub struct Which {
    /// The job
    #[arg(value_name = "JOB", value_enum)]
    pub job: Job,

    /// How.
    #[command(flatten)]
    pub flags: pausing::Flags,
}

pub(super) async fn run(command: &CronCommand, config: &Config) -> Result<(), Stop> {
    let pool = roles::database(config).await?;
    let change = async |which: &Which, change| {
        pausing::run(&pool, Pausable::Job(which.job.as_str()), which.job.as_str(), change, &which.flags).await
    };
    match command {
        CronCommand::List(shown) => list(&pool, shown).await,
        CronCommand::History(history) => {
            let runs = history::list_runs(&pool, history.job.as_str(), history.limit).await.map_err(roles::refuse)?;
            show(&history.shown, &runs, &runs)
        }
        CronCommand::Pause(which) => change(which, Change::Pause).await,
        CronCommand::Resume(which) => change(which, Change::Resume).await,
        CronCommand::Cancel(cancel) => self::cancel(&pool, cancel).await,
        CronCommand::Run(run) => {
            if run.dry_run {
                rehearse(&pool, config, run).await
            } else {
                perform(&pool, run, config).await
            }
        }
    }
}

async fn list(pool: &PgPool, shown: &Shown) -> Result<(), Stop> {
    let jobs = history::list(pool, Job::VARIANTS).await.map_err(roles::refuse)?;
    match shown.output {
        Format::Json => output::json(&jobs),
        Format::Table => output::table(
            ["job", "schedule", "next tick", "last run", "outcome", "items", "spared", "paused"],
            jobs.into_iter().map(|job| {
                let schedule = job.schedule.zip(job.time_zone).map(|(schedule, zone)| format!("{schedule} {zone}"));
                let next = match (&schedule, job.next_tick) {
                    (None, _) => "not registered".to_owned(),
                    (_, None) => "disabled".to_owned(),
                    (_, Some(tick)) => output::moment(tick),
                };
                [
                    job.job,
                    output::dash(schedule),
                    next,
                    output::dash(job.last_tick.map(output::moment)),
                    output::dash(job.last_outcome),
                    output::dash(job.last_items),
                    output::dash(job.last_spared.as_ref().and_then(Spared::describe)),
                    pausing::told(job.paused_at, job.paused_by.as_deref(), job.pause_reason.as_deref()),
                ]
            }),
        ),
    }
}

/// Shows runs as a table, or `json` in their place.
fn show(shown: &Shown, runs: &[RunSummary], json: &impl serde::Serialize) -> Result<(), Stop> {
    match shown.output {
        Format::Json => output::json(json),
        Format::Table => output::table(
            [
                "run",
                "tick",
                "kind",
                "missed",
                "started",
                "took",
                "items",
                "batches",
                "passed over",
                "spared",
                "outcome",
                "error",
            ],
            runs.iter().map(|run| {
                let took = run.started_at.zip(run.finished_at).map(|(from, to)| to - from);
                [
                    run.id.to_string(),
                    output::moment(run.tick),
                    run.kind.to_string(),
                    run.missed.to_string(),
                    output::dash(run.started_at.map(output::moment)),
                    output::dash(took.map(|took| format!("{:.3}s", took.as_seconds_f64()))),
                    run.items.to_string(),
                    run.batches.to_string(),
                    run.passed_over.to_string(),
                    output::dash(run.spared.as_ref().and_then(Spared::describe)),
                    run.outcome.to_string(),
                    output::dash(run.error.as_deref()),
                ]
            }),
        ),
    }
}

/// A line on stderr that counts, where somebody looks at it.
fn counting(job: Job) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(job.to_string());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}: {human_pos} items in {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

async fn rehearse(pool: &PgPool, config: &Config, run: &Run) -> Result<(), Stop> {
    let terms = performing::judging(pool, config, Judges::Jobs).await?.jobs;
    let batch = config.worker.cron.entry(run.job).batch;
    let bar = counting(run.job);
    let (mut ids, mut written) = (Vec::new(), Ok(()));
    let effect = run.job.effect();
    let told = |batch: &[String]| {
        bar.inc(batch.len() as u64);
        match run.shown.output {
            Format::Json => ids.extend_from_slice(batch),
            Format::Table if written.is_ok() => {
                let lines = |out: &mut std::io::StdoutLock<'_>| {
                    batch.iter().try_for_each(|id| writeln!(out, "would {effect} {id}"))
                };
                written = bar.suspend(|| output::write(lines));
            }
            Format::Table => {}
        }
    };
    let (items, spared) = shop::jobs::rehearse(pool, run.job, batch, &terms, told).await.map_err(roles::refuse)?;
    bar.finish_and_clear();
    written?;
    match run.shown.output {
        Format::Json => output::json(
            &json!({ "job": run.job.as_str(), "dry_run": true, "items": items, "ids": ids, "spared": spared }),
        ),
        Format::Table => output::write(|out| {
            if spared.orders > 0 {
                writeln!(out, "spared {spared}")?;
            }
            writeln!(out, "{}: {items} items, nothing was changed", run.job)
        }),
    }
}

async fn perform(pool: &PgPool, run: &Run, config: &Config) -> Result<(), Stop> {
    let (job, actor) = (run.job, run.operator.person(false)?);
    unpaused(pool, Some(job)).await?;
    let performer = performing::performer(pool, config, &run.here, Judges::Jobs, false).await?;
    if let Performer::Here(runner) = &performer {
        // No worker may have run here yet.
        ledger::register_if_missing(pool, runner.jobs()).await.map_err(roles::refuse)?;
    }
    let mut tx = pool.begin().await.map_err(roles::refuse)?;
    let (id, _) = jobs::run(&mut tx, job, &actor).await.map_err(roles::refuse)?;
    tx.commit().await.map_err(roles::refuse)?;
    let failed = until_ended(pool, &performer, job.as_str(), id, &counting(job)).await?;
    let summary = history::run(pool, job.as_str(), id).await.map_err(roles::refuse)?;
    show(&run.shown, std::slice::from_ref(&summary), &summary)?;
    failed.map_or(Ok(()), |error| {
        let hint = format!("order-worker cron history {job}");
        Err(Stop::failed(Exit::Failed, format!("{job} failed: {error}"), hint))
    })
}

async fn cancel(pool: &PgPool, cancel: &Cancel) -> Result<(), Stop> {
    let run = cancel.run;
    let actor = cancel.operator.person(cancel.dry_run)?;
    let mut tx = pool.begin().await.map_err(roles::refuse)?;
    let job = jobs::cancel(&mut tx, run, &cancel.reason, &actor).await.map_err(roles::refuse)?;
    if cancel.dry_run { tx.rollback().await } else { tx.commit().await }.map_err(roles::refuse)?;
    match cancel.shown.output {
        Format::Json => output::json(&json!({ "run": run, "job": job, "dry_run": cancel.dry_run })),
        Format::Table => {
            let would = if cancel.dry_run { "would be" } else { "is" };
            output::line(&format!("run {run} of {job} {would} ended where it stands; what it has done stays"))
        }
    }
}
