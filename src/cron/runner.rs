//! The queue `cron`: one turn schedules what is due and makes one batch of one run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use apalis::prelude::Data;
use sqlx::PgPool;
use tracing::Instrument;

use super::jobs::{Batch, Terms, batch};
use super::ledger::{self, Cursor, Failure, Progress};
use super::settings::Cron;
use super::{Job, Run, Schedule};
use crate::failpoint;
use crate::queue::{Fault, Pace, Queue, Source, Wake, attempt, delay};
use crate::telemetry::labels::RunOutcome;
use crate::telemetry::{Metrics, spans};

/// Failures of a run after which it has failed; its job's next tick begins anew.
const MAX_ATTEMPTS: i32 = 10;
/// The longest rest after a batch.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// Runs jobs.
#[derive(Debug)]
pub struct Runner {
    pool: PgPool,
    wake: Wake,
    pace: Pace,
    metrics: Metrics,
    settings: Cron,
    terms: Terms,
    /// Each job with its schedule, and whether it is enabled.
    jobs: Vec<(Job, Schedule, bool)>,
    worker: String,
}

/// One turn.
#[derive(Clone, Copy, Debug)]
pub struct Turn;

/// What a turn has found to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// A batch of the run with this id was made; `finished` when it was its last.
    Batch {
        /// `cron_runs.id`.
        run: i64,
        /// Whether the run has come to its end.
        finished: bool,
    },
    /// No run is to be done, or others are at work on them.
    Nothing,
}

impl Runner {
    /// A runner; `worker` is its name in the ledger.
    #[must_use]
    pub fn new(pool: PgPool, wake: Wake, metrics: Metrics, settings: &Cron, terms: Terms, worker: String) -> Self {
        let jobs = Job::ALL.map(|job| (job, settings.schedule(job), settings.entry(job).enabled)).to_vec();
        let pace = Pace::new(Queue::Cron, 1);
        Self { pool, wake, pace, metrics, settings: settings.clone(), terms, jobs, worker }
    }

    /// Each job with its schedule, and whether it is enabled.
    #[must_use]
    pub fn jobs(&self) -> &[(Job, Schedule, bool)] {
        &self.jobs
    }

    /// Writes down which jobs there are and when they run. Waits for a database that is away.
    pub async fn register(&self) {
        while let Err(error) = ledger::register(&self.pool, &self.jobs).await {
            self.pace.away(&error.to_string());
            self.pace.ready().await;
        }
        self.pace.success();
        self.wake.look(Queue::Cron);
    }

    /// The handler of the queue `cron`: one turn.
    ///
    /// # Errors
    ///
    /// Never: what fails is noted, and its run comes again.
    pub async fn handle(_: Turn, runner: Data<Arc<Self>>) -> Result<(), std::convert::Infallible> {
        let turned = async {
            ledger::schedule(&runner.pool, &runner.jobs).await?;
            runner.turn(&Job::ALL).await
        };
        match turned.await {
            Ok(Turned::Nothing) => runner.pace.success(),
            Ok(Turned::Batch { .. }) => {
                runner.pace.success();
                runner.wake.look(Queue::Cron);
            }
            Err(error) => {
                runner.pace.away(&error.to_string());
                runner.wake.look(Queue::Cron);
            }
        }
        Ok(())
    }

    /// Makes the next batch of a run of one of these jobs, and rests three times as long as that took.
    ///
    /// # Errors
    ///
    /// The database's, when not even the failure could be written. A batch that failed is no error: its run waits, or has failed.
    pub async fn turn(&self, jobs: &[Job]) -> Result<Turned, sqlx::Error> {
        let (mut in_hand, began) = (None, Instant::now());
        match attempt(self.work(jobs, &mut in_hand)).await {
            Ok(Turned::Nothing) => Ok(Turned::Nothing),
            Ok(turned) => {
                // The event path has the database to itself for three quarters of the time.
                tokio::time::sleep((began.elapsed() * 3).min(LONGEST_REST)).await;
                Ok(turned)
            }
            Err(fault) => match (in_hand, fault) {
                (Some(run), fault) => self.blame(&run, &fault).await,
                (None, Fault::Database(error)) => Err(error),
                (None, Fault::Panicked(words)) => Err(sqlx::Error::Protocol(words)),
            },
        }
    }

    async fn work(&self, jobs: &[Job], in_hand: &mut Option<Run>) -> Result<Turned, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let Some(run) = ledger::take(&mut tx, jobs).await? else {
            tx.rollback().await?;
            return Ok(Turned::Nothing);
        };
        let run = &*in_hand.insert(run);
        failpoint::reach("cron-after-take");
        let limit = self.settings.entry(run.job).batch;
        let span = spans::run(run.job);
        let done = batch(&mut tx, run, limit, &self.terms).instrument(span).await?;
        let (items, cursor) = (done.items.len(), &done.cursor);
        let progress = ledger::progress(&mut tx, run, &self.worker, items, cursor, done.last).await?;
        failpoint::reach("cron-before-commit");
        tx.commit().await?;
        failpoint::reach("cron-after-commit");
        self.tell(run, &done, &progress);
        Ok(Turned::Batch { run: run.id, finished: done.last })
    }

    /// What others learn once it is committed.
    fn tell(&self, run: &Run, done: &Batch, progress: &Progress) {
        if done.announces {
            self.wake.committed(Queue::Dapr);
        }
        if done.calls {
            self.wake.committed(Queue::Warehouse);
        }
        self.metrics.cron_items(run.job, done.items.len() as u64);
        if done.last {
            let Progress { kind, missed, items, batches, seconds } = progress;
            tracing::info!(
                job = %run.job, tick = %run.tick, kind, missed, batches,
                "Job finished: {}, items={items}, seconds={seconds:.3}", run.job
            );
            let took = Duration::try_from_secs_f64(*seconds).unwrap_or_default();
            self.metrics.cron_finished(run.job, RunOutcome::Succeeded, Some(took));
        }
    }

    /// The run waits for its next attempt; after the last it has failed.
    async fn blame(&self, run: &Run, fault: &Fault) -> Result<Turned, sqlx::Error> {
        let counted = !fault.is_environment();
        let last = counted && run.attempts + 1 >= MAX_ATTEMPTS;
        let wait = delay(run.attempts.unsigned_abs() + 1);
        let error = fault.to_string();
        ledger::fail(&self.pool, run, &self.worker, &Failure { wait, counted, error: &error, last }).await?;
        tracing::error!(job = %run.job, tick = %run.tick, attempts = run.attempts + 1, last, "Job failed: {}, error={error}", run.job);
        if last {
            self.metrics.cron_finished(run.job, RunOutcome::Failed, None);
        }
        Ok(Turned::Batch { run: run.id, finished: last })
    }

    /// What a run of this job would change now, batch by batch: each is made and rolled back. `tell` gets the ids of a batch.
    ///
    /// # Errors
    ///
    /// The database's; also when the job was never registered.
    pub async fn rehearse(&self, job: Job, mut tell: impl FnMut(&[String])) -> Result<u64, sqlx::Error> {
        let mut run = Run { id: 0, job, tick: ledger::now(&self.pool).await?, cursor: Cursor::default(), attempts: 0 };
        let mut items = 0;
        loop {
            let mut tx = self.pool.begin().await?;
            // As a run: no other of the job beside it.
            sqlx::query("select from order_worker.cron_jobs where job = $1 for update")
                .bind(job.as_str())
                .execute(&mut *tx)
                .await?;
            let done = batch(&mut tx, &run, self.settings.entry(job).batch, &self.terms).await?;
            tx.rollback().await?;
            tell(&done.items);
            items += done.items.len() as u64;
            if done.last {
                return Ok(items);
            }
            run.cursor = done.cursor;
        }
    }
}

impl Source for Runner {
    type Batch = Turn;

    async fn next(&self) -> Turn {
        self.wake.woken(Queue::Cron).await;
        self.pace.ready().await;
        Turn
    }

    async fn close(&self) {}
}
