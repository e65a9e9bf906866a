//! Runs that an operator asks for. Workers make them by their own settings, and the command waits.

use std::fmt::Display;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::exit::{Exit, Stop};
use super::output;
use crate::app::Metrics;
use crate::app::config::Config;
use crate::app::runs;
use crate::engine::queue::{Fault, Queue, Wake, is_drained, worker_name};
use crate::engine::runs::{Runner, Turned, history};
use crate::engine::terms::{self, Registered, Terms};
use crate::operations::nobody_performs;
use crate::operations::pauses::{Pausable, blocking};
use crate::operations::{Judging, QUEUES};
use crate::platform::database::PgPool;
use crate::shop::jobs::{self, Job};
use crate::shop::payments;

/// Between two looks at a run that a worker has in hand.
const LOOK: Duration = Duration::from_millis(200);
/// The time that a command waits for a worker when the last one has gone: a rollout takes a moment.
const PATIENCE: Duration = Duration::from_secs(30);

/// The flags for a run without a worker.
#[derive(Clone, Copy, Debug, Args)]
pub struct Here {
    /// Make the run in this process, by the settings that workers have registered last: for when no worker is alive
    #[arg(long)]
    pub here: bool,

    /// With --here, where no worker has ever registered its settings: by those of this shell
    #[arg(long, requires = "here")]
    pub own_settings: bool,
}

/// The settings that decide in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    /// Those of the jobs: after how long they give something up.
    Jobs,
    /// Those by which events are judged.
    Events,
    /// None: the same is done to each row.
    None,
}

/// The process that makes a run.
#[derive(Debug)]
pub(super) enum Executor {
    /// Workers, some of which are alive.
    Workers,
    /// This process.
    Here(Box<Runner>),
}

/// Refuses a run while its job, or the queue of all runs, is paused.
pub(super) async fn unpaused(pool: &PgPool, job: Option<Job>) -> Result<(), Stop> {
    let Some((what, pause)) = blocking(pool, job.map(Job::as_str)).await? else { return Ok(()) };
    let of = what.name();
    let command = match what {
        Pausable::Job(_) => format!("order-worker cron resume {of} --reason TEXT"),
        Pausable::Queue(_) => format!("order-worker queue resume {of} --reason TEXT"),
    };
    let (at, by) = (output::moment(pause.paused_at), pause.paused_by);
    Err(Stop::failed(Exit::Failed, format!("{of} is paused, since {at} by {by}"), command))
}

/// Finds the process that will make a run, before it is asked for. Without a worker the command is refused, unless it does not wait
/// for the end (`detach`).
pub(super) async fn executor(
    pool: &PgPool,
    config: &Config,
    here: &Here,
    rules: Rules,
    detach: bool,
) -> Result<Executor, Stop> {
    if here.here {
        if rules != Rules::None && !here.own_settings && !is_registered(pool, rules).await? {
            let what = "no worker has ever registered its settings in this database: those of this shell would decide";
            let hint = format!(
                "start a worker (order-worker -mode all), or add --own-settings to perform {}",
                Settings::of(config).told(rules)
            );
            return Err(Stop::failed(Exit::Failed, what, hint));
        }
        return Ok(Executor::Here(Box::new(runner(pool, config, rules).await?)));
    }
    let Some(nobody) = nobody_performs(pool).await? else {
        return Ok(Executor::Workers);
    };
    if detach {
        output::note(&format!("note: {nobody}: it waits for one"));
        return Ok(Executor::Workers);
    }
    let told = match rules {
        Rules::None => String::new(),
        _ if is_registered(pool, rules).await? => {
            let (settings, who) = settings(pool, config, rules).await?;
            format!(", {}, as {who}", settings.told(rules))
        }
        _ => ". No worker has registered its settings in this database yet: with --own-settings those of this shell decide".to_owned(),
    };
    let hint = format!("start one (the chart: mode: all); or add --here to perform it in this process{told}");
    Err(Stop::failed(Exit::Failed, format!("{nobody}: nothing was asked for"), hint))
}

/// The settings that decide.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) jobs: jobs::Terms,
    pub(super) events: payments::Terms,
}

impl Settings {
    fn of(config: &Config) -> Self {
        Self { jobs: runs::terms(config), events: payments::Terms::from(&config.worker.inbox.payments) }
    }

    fn told(&self, rules: Rules) -> String {
        let by = |settings: &dyn Display| format!("by these settings: {settings}");
        match rules {
            Rules::Jobs => by(&self.jobs),
            Rules::Events => by(&self.events),
            Rules::None => String::new(),
        }
    }
}

async fn is_registered(pool: &PgPool, rules: Rules) -> Result<bool, Stop> {
    Ok(match rules {
        Rules::Jobs => registered::<jobs::Terms>(pool).await?.is_some(),
        Rules::Events => registered::<payments::Terms>(pool).await?.is_some(),
        Rules::None => true,
    })
}

async fn registered<T: Terms>(pool: &PgPool) -> Result<Option<Registered<T>>, Stop> {
    terms::registered(pool).await.map_err(|error| match error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Stop::failed(
            Exit::Failed,
            format!("the settings that a worker has registered cannot be read by this version: {error}"),
            "use the order-worker of the workers' version",
        ),
        error => error.into(),
    })
}

/// The settings by which a command decides by itself: those that a worker has registered last, else those of this shell. Also says
/// whose they are.
async fn settings(pool: &PgPool, config: &Config, rules: Rules) -> Result<(Settings, String), Stop> {
    fn who<T>(of: &Registered<T>) -> String {
        format!("{} (v{}) has registered them at {}", of.worker, of.version, output::moment(of.registered_at))
    }
    let (jobs, events) = (registered::<jobs::Terms>(pool).await?, registered::<payments::Terms>(pool).await?);
    let said = match rules {
        Rules::Jobs => jobs.as_ref().map(who),
        Rules::Events | Rules::None => events.as_ref().map(who),
    };
    let mut settings = Settings::of(config);
    if let Some(registered) = jobs {
        settings.jobs = registered.terms;
    }
    if let Some(registered) = events {
        settings.events = registered.terms;
    }
    let said = said.unwrap_or_else(|| "this shell has them: no worker has ever registered its own".to_owned());
    Ok((settings, said))
}

/// The settings that decide in this process, announced on stderr.
pub(super) async fn announced_settings(pool: &PgPool, config: &Config, rules: Rules) -> Result<Settings, Stop> {
    let (settings, who) = settings(pool, config, rules).await?;
    output::note(&format!("note: judged {}, as {who}", settings.told(rules)));
    Ok(settings)
}

/// The runner of this process, with the settings that workers have registered.
pub(super) async fn runner(pool: &PgPool, config: &Config, rules: Rules) -> Result<Runner, Stop> {
    let settings = match rules {
        Rules::None => Settings::of(config),
        rules => announced_settings(pool, config, rules).await?,
    };
    let metrics = metrics()?;
    let works = runs::works(config, pool, &settings.jobs, Judging::Own(settings.events.mismatch));
    Ok(Runner::new(pool.clone(), Wake::new(&QUEUES), metrics.engine, works, runs::scheduled(config), worker_name()))
}

/// The metrics of a process that shows none.
pub(super) fn metrics() -> Result<Metrics, Stop> {
    Metrics::new().map_err(|error| Stop::because(&error, ""))
}

/// Waits until `run` of `name` has ended, or makes its batches here. Returns why it failed, if it did. Interrupted, the run is a
/// worker's to finish.
pub(super) async fn until_ended(
    pool: &PgPool,
    executor: &Executor,
    name: &str,
    run: i64,
    bar: &ProgressBar,
) -> Result<Option<String>, Stop> {
    let mut told = None;
    let mut seen_alive = Instant::now();
    loop {
        let turned = match executor {
            Executor::Here(runner) => runner.turn(&[name]).await.map_err(stopped)?,
            Executor::Workers => Turned::Nothing,
        };
        let Some(status) = history::status(pool, run).await? else {
            return Err(Stop::failed(Exit::Failed, format!("run {run} of {name} is gone"), "order-worker audit log"));
        };
        bar.set_position(status.seen.unsigned_abs());
        // What was passed over is said at the end as well: a worker may be through before the first look.
        if let Some(problem) = status.problem.filter(|problem| told.as_ref() != Some(problem)) {
            bar.suspend(|| output::note(&format!("{name}: {problem}")));
            told = Some(problem);
        }
        if status.finished {
            bar.finish_and_clear();
            return Ok(status.error);
        }
        if let Executor::Workers = executor {
            if is_drained(pool, Queue::RUNS).await? {
                seen_alive = Instant::now();
            } else if seen_alive.elapsed() > PATIENCE {
                bar.finish_and_clear();
                let what = format!("no worker is alive any more: run {run} waits for one");
                let hint = format!(
                    "start one (mode cron or all), which goes on with it; or end it: order-worker cron cancel {run} --reason TEXT"
                );
                return Err(Stop::failed(Exit::Failed, what, hint));
            }
        }
        if turned == Turned::Nothing {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Why a batch could not be made.
fn stopped(fault: Fault) -> Stop {
    match fault {
        Fault::Database(error) => error.into(),
        fault => Stop::because(&fault, "see the log of the workers, and report it"),
    }
}

/// A line on stderr that counts, where somebody looks at it.
pub(super) fn counting(what: &'static str, total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), "{bar:40} {human_pos} of {human_len} {msg}, {per_sec}"),
        None => (ProgressBar::new_spinner(), "{spinner} {human_pos} {msg}, {per_sec}"),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
