//! `order-worker cron`.

use std::io::Write;
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::change::Change;
use super::exit::{Exit, Stop};
use super::operator::Operator;
use super::output::{self, Format, Output, Runs};
use super::runs::{self, Executor, Here, Rules, unpaused, until_ended};
use super::{pause, roles};
use crate::app::config::Config;
use crate::engine::runs::history;
use crate::engine::runs::ledger;
use crate::operations::jobs;
use crate::operations::pauses::Pausable;
use crate::platform::database::PgPool;
use crate::shop;
use crate::shop::jobs::Job;
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
    List(Output),

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

    /// The change.
    #[command(flatten)]
    pub change: Change,
}

/// A job to be run.
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

    /// The form of the result.
    #[command(flatten)]
    pub output: Output,
}

/// Whose history, and how much of it.
#[derive(Debug, Args)]
pub struct History {
    /// The job
    #[arg(value_name = "JOB", value_enum)]
    pub job: Job,

    /// The length of the list.
    #[command(flatten)]
    pub runs: Runs,
}

/// A job to be paused or resumed.
#[derive(Debug, Args)]
pub struct Which {
    /// The job
    #[arg(value_name = "JOB", value_enum)]
    pub job: Job,

    /// The change.
    #[command(flatten)]
    pub change: Change,
}

impl Which {
    fn job(&self) -> Pausable {
        Pausable::Job(self.job.as_str())
    }
}

pub(super) async fn run(command: &CronCommand, config: &Config) -> Result<(), Stop> {
    let pool = roles::database(config).await?;
    match command {
        CronCommand::List(output) => output::list(output, &history::list(&pool, Job::VARIANTS).await?),
        CronCommand::History(History { job, runs }) => {
            output::list(&runs.output, &history::list_runs(&pool, job.as_str(), runs.limit).await?)
        }
        CronCommand::Pause(which) => pause::pause(&pool, which.job(), &which.change).await,
        CronCommand::Resume(which) => pause::resume(&pool, which.job(), &which.change).await,
        CronCommand::Cancel(cancel) => self::cancel(&pool, cancel).await,
        CronCommand::Run(run) if run.dry_run => rehearse(&pool, config, run).await,
        CronCommand::Run(run) => perform(&pool, run, config).await,
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
    let terms = runs::announced_settings(pool, config, Rules::Jobs).await?.jobs;
    let batch = config.worker.cron.entry(run.job).batch;
    let bar = counting(run.job);
    let (mut ids, mut written) = (Vec::new(), Ok(()));
    let effect = run.job.effect();
    let told = |batch: &[String]| {
        bar.inc(batch.len() as u64);
        match run.output.format {
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
    let (items, spared) = shop::jobs::rehearse(pool, run.job, batch, &terms, told).await?;
    bar.finish_and_clear();
    written?;
    match run.output.format {
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
    let executor = runs::executor(pool, config, &run.here, Rules::Jobs, false).await?;
    if let Executor::Here(runner) = &executor {
        // No worker may have run here yet.
        ledger::register_if_missing(pool, runner.jobs()).await?;
    }
    let mut tx = pool.begin().await?;
    let (id, _) = jobs::run(&mut tx, job, &actor).await?;
    tx.commit().await?;
    let failed = until_ended(pool, &executor, job.as_str(), id, &counting(job)).await?;
    let past = history::run(pool, job.as_str(), id).await?;
    match run.output.format {
        Format::Json => output::json(&past)?,
        Format::Table => output::rows(&[past])?,
    }
    failed.map_or(Ok(()), |error| {
        let hint = format!("order-worker cron history {job}");
        Err(Stop::failed(Exit::Failed, format!("{job} failed: {error}"), hint))
    })
}

async fn cancel(pool: &PgPool, Cancel { run, change }: &Cancel) -> Result<(), Stop> {
    let actor = change.actor()?;
    let mut tx = pool.begin().await?;
    let job = jobs::cancel(&mut tx, *run, &change.reason, &actor).await?;
    change.end(tx).await?;
    match change.output.format {
        Format::Json => output::json(&json!({ "run": run, "job": job, "dry_run": change.dry_run })),
        Format::Table => {
            output::line(&format!("run {run} of {job} {} ended where it stands; what it has done stays", change.is()))
        }
    }
}
