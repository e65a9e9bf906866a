//! Runs that an operator asks for. Workers perform them, by their own settings; the command waits.

use std::fmt::Display;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::exit::{Exit, Stop};
use super::{output, roles};
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
/// How long a command waits for a worker when the last one has gone: a rollout takes a moment.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who performs it.
#[derive(Clone, Copy, Debug, Args)]
pub struct Here {
    /// Perform it in this process, by the settings that workers have registered last: for when no worker is alive
    #[arg(long)]
    pub here: bool,

    /// With --here, where no worker has ever registered its settings: by those of this shell
    #[arg(long, requires = "here")]
    pub own_settings: bool,
}

/// What decides in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judges {
    /// After how long the jobs give something up.
    Jobs,
    /// How events are judged.
    Events,
    /// Nothing: it does to each row what was said.
    Nothing,
}

/// Who performs a run.
#[derive(Debug)]
pub(super) enum Performer {
    /// Workers, some of which are alive.
    Workers,
    /// This process.
    Here(Box<Runner>),
}

/// Refuses a run that would wait for somebody to remember a pause.
pub(super) async fn unpaused(pool: &PgPool, job: Option<Job>) -> Result<(), Stop> {
    let Some((what, pause)) = blocking(pool, job.map(Job::as_str)).await.map_err(roles::refuse)? else { return Ok(()) };
    let of = what.name();
    let command = match what {
        Pausable::Job(_) => format!("order-worker cron resume {of} --reason TEXT"),
        Pausable::Queue(_) => format!("order-worker queue resume {of} --reason TEXT"),
    };
    let (at, by) = (output::moment(pause.paused_at), pause.paused_by);
    Err(Stop::failed(Exit::Failed, format!("{of} is paused, since {at} by {by}"), command))
}

/// Who is to perform a run, before it is asked for: nobody asks for what nobody does, unless they do not wait for it.
pub(super) async fn performer(
    pool: &PgPool,
    config: &Config,
    here: &Here,
    judges: Judges,
    detach: bool,
) -> Result<Performer, Stop> {
    if here.here {
        if judges != Judges::Nothing && !here.own_settings && !is_registered(pool, judges).await? {
            let what = "no worker has ever registered its settings in this database: those of this shell would decide";
            let hint = format!(
                "start a worker (order-worker -mode all), or add --own-settings to perform {}",
                Settings::of(config).told(judges)
            );
            return Err(Stop::failed(Exit::Failed, what, hint));
        }
        return Ok(Performer::Here(Box::new(runner(pool, config, judges).await?)));
    }
    let Some(nobody) = nobody_performs(pool).await.map_err(roles::refuse)? else {
        return Ok(Performer::Workers);
    };
    if detach {
        output::note(&format!("note: {nobody}: it waits for one"));
        return Ok(Performer::Workers);
    }
    let told = match judges {
        Judges::Nothing => String::new(),
        _ if is_registered(pool, judges).await? => {
            let (settings, who) = settings(pool, config, judges).await?;
            format!(", {}, as {who}", settings.told(judges))
        }
        _ => ". No worker has registered its settings in this database yet: with --own-settings those of this shell decide".to_owned(),
    };
    let hint = format!("start one (the chart: mode: all); or add --here to perform it in this process{told}");
    Err(Stop::failed(Exit::Failed, format!("{nobody}: nothing was asked for"), hint))
}

/// What decides, whoever has said it.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) jobs: jobs::Terms,
    pub(super) events: payments::Terms,
}

impl Settings {
    fn of(config: &Config) -> Self {
        Self { jobs: runs::terms(config), events: payments::Terms::from(&config.worker.inbox.payments) }
    }

    fn told(&self, judges: Judges) -> String {
        let by = |settings: &dyn Display| format!("by these settings: {settings}");
        match judges {
            Judges::Jobs => by(&self.jobs),
            Judges::Events => by(&self.events),
            Judges::Nothing => String::new(),
        }
    }
}

async fn is_registered(pool: &PgPool, judges: Judges) -> Result<bool, Stop> {
    Ok(match judges {
        Judges::Jobs => registered::<jobs::Terms>(pool).await?.is_some(),
        Judges::Events => registered::<payments::Terms>(pool).await?.is_some(),
        Judges::Nothing => true,
    })
}

async fn registered<T: Terms>(pool: &PgPool) -> Result<Option<Registered<T>>, Stop> {
    terms::registered(pool).await.map_err(|error| match error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Stop::failed(
            Exit::Failed,
            format!("the settings that a worker has registered cannot be read by this version: {error}"),
            "use the order-worker of the workers' version",
        ),
        error => roles::refuse(error),
    })
}

/// By which settings a command judges that has to judge by itself, and whose they are.
async fn settings(pool: &PgPool, config: &Config, judges: Judges) -> Result<(Settings, String), Stop> {
    fn who<T>(of: &Registered<T>) -> String {
        format!("{} (v{}) has registered them at {}", of.worker, of.version, output::moment(of.registered_at))
    }
    let (jobs, events) = (registered::<jobs::Terms>(pool).await?, registered::<payments::Terms>(pool).await?);
    let said = match judges {
        Judges::Jobs => jobs.as_ref().map(who),
        Judges::Events | Judges::Nothing => events.as_ref().map(who),
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

/// By which settings a rehearsal judges; says which, on stderr.
pub(super) async fn judging(pool: &PgPool, config: &Config, judges: Judges) -> Result<Settings, Stop> {
    let (settings, who) = settings(pool, config, judges).await?;
    output::note(&format!("note: judged {}, as {who}", settings.told(judges)));
    Ok(settings)
}

/// What makes the runs of this process, by the settings that workers have registered.
pub(super) async fn runner(pool: &PgPool, config: &Config, judges: Judges) -> Result<Runner, Stop> {
    let settings = match judges {
        Judges::Nothing => Settings::of(config),
        judges => judging(pool, config, judges).await?,
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
    performer: &Performer,
    name: &str,
    run: i64,
    bar: &ProgressBar,
) -> Result<Option<String>, Stop> {
    let mut told = None;
    let mut seen_alive = Instant::now();
    loop {
        let turned = match performer {
            Performer::Here(runner) => runner.turn(&[name]).await.map_err(stopped)?,
            Performer::Workers => Turned::Nothing,
        };
        let Some(status) = history::status(pool, run).await.map_err(roles::refuse)? else {
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
        if let Performer::Workers = performer {
            if is_drained(pool, Queue::RUNS).await.map_err(roles::refuse)? {
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
        Fault::Database(error) => roles::refuse(error),
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
