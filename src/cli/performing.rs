//! Runs that an operator has asked for, made here to their end, beside the workers.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::exit::{Exit, Stop};
use super::{output, roles};
use crate::config::Config;
use crate::cron::{Job, Runner, Turned, history};
use crate::database::PgPool;
use crate::queue::pauses::{Pausable, in_the_way};
use crate::queue::{Wake, worker_name};
use crate::telemetry::Metrics;

/// Between two looks at a run that a worker has in hand.
const LOOK: Duration = Duration::from_millis(200);

/// Refuses a run that would wait for somebody to remember a pause.
pub(super) async fn unpaused(pool: &PgPool, job: Option<Job>) -> Result<(), Stop> {
    let Some((what, pause)) = in_the_way(pool, job).await.map_err(roles::refuse)? else { return Ok(()) };
    let of = what.name();
    let command = match what {
        Pausable::Job(_) => format!("order-worker cron resume {of}"),
        Pausable::Queue(_) => format!("order-worker queue resume {of}"),
    };
    let (at, by) = (output::moment(pause.paused_at), pause.paused_by);
    Err(Stop::failed(Exit::Failed, format!("{of} is paused, since {at} by {by}"), command))
}

/// What makes the runs of this process.
pub(super) fn runner(pool: &PgPool, config: &Config) -> Result<Runner, Stop> {
    let metrics = Metrics::new().map_err(|error| Stop::because(&error, ""))?;
    Ok(Runner::new(pool.clone(), Wake::default(), metrics, config, worker_name()))
}

/// Makes batches of runs of `name` until `run` has ended, by whomever. Returns why it failed, if it did. Interrupted, the run is a
/// worker's to finish.
pub(super) async fn until_ended(
    pool: &PgPool,
    runner: &Runner,
    name: &str,
    run: i64,
    bar: &ProgressBar,
) -> Result<Option<String>, Stop> {
    let mut told = None;
    loop {
        let turned = runner.turn(&[name]).await.map_err(roles::refuse)?;
        let Some(standing) = history::standing(pool, run).await.map_err(roles::refuse)? else {
            return Err(Stop::failed(Exit::Failed, format!("run {run} of {name} is gone"), "order-worker audit log"));
        };
        bar.set_position(standing.seen.unsigned_abs());
        if standing.finished {
            bar.finish_and_clear();
            return Ok(standing.error);
        }
        if let Some(problem) = standing.problem.filter(|problem| told.as_ref() != Some(problem)) {
            bar.suspend(|| output::note(&format!("{name}: {problem}")));
            told = Some(problem);
        }
        if turned == Turned::Nothing {
            tokio::time::sleep(LOOK).await;
        }
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
