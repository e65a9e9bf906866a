//! The queue of runs: one turn schedules what is due and makes one batch of one run.

use std::sync::Arc;
use std::time::Duration;

use apalis::prelude::Data;
use apalis_cron::Tick;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::Instrument;

use super::ledger::{self, Failed, Place};
use super::{PassedOver, Run, RunOutcome, Scheduled, Work};
use crate::engine::Metrics;
use crate::engine::queue::{CircuitBreaker, Fault, Queue, Source, Split, Wake, attempt};
use crate::platform::backoff::delay;
use crate::platform::database::PgPool;
use crate::platform::failpoint;
use crate::platform::telemetry::spans;

/// Failures of a run after which it has failed; its job's next tick begins anew.
const MAX_ATTEMPTS: i32 = 10;
/// The longest rest after a batch.
const LONGEST_REST: Duration = Duration::from_secs(1);
/// The wait of a run whose batch failed through no fault of its own.
const UNCOUNTED: Duration = Duration::from_secs(2);
/// Rows that cannot be done, of a run in which nothing has got through: then it is not they that are to blame, and the run has failed.
const UNPROVEN: i64 = 20;

/// Makes runs.
#[derive(Debug)]
pub struct Runner {
    pool: PgPool,
    wake: Wake,
    breaker: Arc<CircuitBreaker>,
    metrics: Metrics,
    works: Vec<Arc<dyn Work>>,
    jobs: Vec<Scheduled>,
    worker: String,
    /// One turn at a time, of the poll or of a tick.
    turns: Mutex<()>,
}

/// One turn.
#[derive(Clone, Copy, Debug)]
pub struct Turn;

/// A run, and the most rows of its batch; none before that is known.
#[derive(Debug)]
struct InHand {
    run: Run,
    limit: usize,
}

/// The result of a turn.
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

impl Turned {
    /// Whether its run has nothing left to do.
    const fn is_over(self) -> bool {
        matches!(self, Self::Nothing | Self::Batch { finished: true, .. })
    }
}

impl Runner {
    /// A runner of `works`, of which those in `jobs` are scheduled; `worker` is its name in the ledger.
    #[must_use]
    pub fn new(
        pool: PgPool,
        wake: Wake,
        metrics: Metrics,
        works: Vec<Arc<dyn Work>>,
        jobs: Vec<Scheduled>,
        worker: String,
    ) -> Self {
        let breaker = Arc::new(CircuitBreaker::new(Queue::RUNS, 1));
        Self { pool, wake, breaker, metrics, works, jobs, worker, turns: Mutex::new(()) }
    }

    /// Each job with its schedule, and whether it is enabled.
    #[must_use]
    pub fn jobs(&self) -> &[Scheduled] {
        &self.jobs
    }

    /// Writes down which jobs there are and when they run. Waits for a database that is away.
    pub async fn register(&self) {
        while let Err(error) = ledger::register(&self.pool, &self.jobs, true).await {
            self.breaker.trip(&error.to_string());
            self.breaker.closed().await;
        }
        self.breaker.success();
        self.wake.look(Queue::RUNS);
    }

    /// Keeps the registration for as long as it is polled, and takes over what is registered otherwise by workers that are gone.
    pub async fn keep_registered(&self) {
        loop {
            tokio::time::sleep(ledger::RENEWED_EVERY).await;
            match ledger::renew(&self.pool, &self.jobs).await {
                Ok(0) => {}
                Ok(jobs) => {
                    tracing::info!(jobs, "Jobs registered anew: no worker is there any more that ran them otherwise");
                    self.wake.look(Queue::RUNS);
                }
                Err(error) => tracing::debug!("Jobs not registered anew, trying again: error={error}"),
            }
        }
    }

    /// The handler of the queue: one turn.
    ///
    /// # Errors
    ///
    /// Never: what fails is noted, and its run comes again.
    pub async fn handle(_: Turn, runner: Data<Arc<Self>>) -> Result<(), std::convert::Infallible> {
        runner.step().await;
        Ok(())
    }

    /// The handler of a tick of apalis-cron: the same step that a poll makes. Whether the tick has come is for the database's clock.
    ///
    /// # Errors
    ///
    /// Never.
    pub async fn tick(_: Tick, runner: Data<Arc<Self>>) -> Result<(), std::convert::Infallible> {
        runner.step().await;
        Ok(())
    }

    /// Schedules what is due, and makes the next batch.
    async fn step(&self) {
        let _turn = self.turns.lock().await;
        let names: Vec<&str> = self.works.iter().map(|work| work.name()).collect();
        let turned = async {
            ledger::schedule(&self.pool, &self.jobs).await?;
            self.turn(&names).await
        };
        match turned.await {
            Ok(Turned::Nothing) => self.breaker.success(),
            Ok(Turned::Batch { .. }) => {
                self.breaker.success();
                self.wake.look(Queue::RUNS);
            }
            Err(fault) => {
                self.breaker.trip(&fault.to_string());
                self.wake.look(Queue::RUNS);
            }
        }
    }

    /// Makes the next batch of a run with one of these names, and rests three times as long as that took, or as long as its rate asks.
    /// A batch that cannot be made is made in parts; a row that cannot be done alone is passed over.
    ///
    /// # Errors
    ///
    /// The database's, when not even the failure could be written. A batch that failed is no error: its run waits, or has failed.
    pub async fn turn(&self, names: &[&str]) -> Result<Turned, Fault> {
        let began = Instant::now();
        let (mut split, mut failing, mut done, mut renewed) = (None::<Split>, None::<String>, None, false);
        loop {
            let part = match &split {
                None => None,
                Some(split) => match split.next() {
                    None => break,
                    part => part,
                },
            };
            let mut in_hand = None;
            // Parts are those of the run that failed.
            let one = failing.as_deref().map(|name| [name]);
            let names = one.as_ref().map_or(names, |one| one.as_slice());
            match (attempt(self.batch(names, part, &mut in_hand)).await, in_hand) {
                (Ok(None), _) => break,
                (Ok(Some(batch)), in_hand) => {
                    done = Some(batch);
                    match (&mut split, in_hand) {
                        (Some(split), Some(InHand { limit, .. })) if !batch.0.is_over() => split.got_through(limit),
                        _ => break,
                    }
                }
                (Err(fault), _) if !renewed && fault.renews(&self.pool) => renewed = true,
                (Err(fault), Some(InHand { run, limit })) if fault.is_splittable() && limit > 0 => {
                    failing = Some(run.job.clone());
                    if split.get_or_insert(Split::new(limit)).failed(limit) {
                        let turned = self.pass_over(&run, &fault).await?;
                        done = Some((turned, Instant::now()));
                        if turned.is_over() {
                            break;
                        }
                    }
                }
                (Err(fault), Some(InHand { run, .. })) => return Ok(self.wait(&run, &fault).await?),
                (Err(fault), None) => return Err(fault),
            }
        }
        let Some((turned, next)) = done else { return Ok(Turned::Nothing) };
        // Whatever comes in from outside has the database to itself for three quarters of the time.
        let rest = (began.elapsed() * 3).min(LONGEST_REST);
        tokio::time::sleep_until(next.max(Instant::now() + rest)).await;
        Ok(turned)
    }

    fn work(&self, name: &str) -> Result<&Arc<dyn Work>, Fault> {
        let known = self.works.iter().find(|work| work.name() == name);
        known.ok_or_else(|| Fault::Unknown(format!("nobody here knows what a run of {name} does")))
    }

    /// One batch of at most `part` rows; with it, when the run's next may begin, not before the database says so.
    async fn batch(
        &self,
        names: &[&str],
        part: Option<usize>,
        in_hand: &mut Option<InHand>,
    ) -> Result<Option<(Turned, Instant)>, Fault> {
        let mut tx = self.pool.begin().await?;
        let began = Instant::now();
        let Some(run) = ledger::take(&mut tx, names).await? else {
            tx.rollback().await?;
            return Ok(None);
        };
        let InHand { run, limit } = in_hand.insert(InHand { run, limit: 0 });
        failpoint::reach("cron-after-take");
        let work = self.work(&run.job)?;
        *limit = part.unwrap_or(usize::MAX).min(work.limit(run)? as usize);
        let most = u32::try_from(*limit).unwrap_or(u32::MAX);
        let span = spans::run(&run.job);
        async {
            let step = work.batch(&mut tx, run, most).await?;
            if let Some(pause) = step.not_yet {
                ledger::wait(&mut tx, run, pause).await?;
                tx.commit().await?;
                return Ok(Some((Turned::Batch { run: run.id, finished: false }, began)));
            }
            let finished = step.ends();
            let place = Place {
                items: step.items,
                finished,
                result: step.result.clone(),
                stopped: step.stopped.as_deref(),
                pause: step.pause,
                ..Place::behind(&step.cursor)
            };
            // The batch and the run's place: the one is never without the other.
            let progress = ledger::progress(&mut tx, run, &self.worker, &place).await?;
            failpoint::reach("cron-before-commit");
            tx.commit().await?;
            failpoint::reach("cron-after-commit");
            for queue in &step.wakes {
                self.wake.committed(*queue);
            }
            self.metrics.run_items(&run.job, step.items as u64);
            if finished {
                work.log_end(run, &progress);
                let outcome = progress.outcome.unwrap_or(RunOutcome::Succeeded);
                let took = Duration::try_from_secs_f64(progress.seconds).unwrap_or_default();
                self.metrics.run_finished(&run.job, outcome, Some(took));
            }
            Ok(Some((Turned::Batch { run: run.id, finished }, began + step.pause)))
        }
        .instrument(span)
        .await
    }

    /// The run waits for its next attempt; after the last it has failed.
    async fn wait(&self, run: &Run, fault: &Fault) -> Result<Turned, sqlx::Error> {
        let counted = !fault.is_environment();
        let error = fault.to_string();
        let name = &run.job;
        let last = counted && run.attempts + 1 >= MAX_ATTEMPTS;
        let wait = if counted { delay(run.attempts.unsigned_abs() + 1) } else { UNCOUNTED };
        ledger::fail(&self.pool, run, &self.worker, &Failed { wait, counted, error: &error, last }).await?;
        tracing::error!(job = name, tick = %run.tick, attempts = run.attempts + 1, last, "Job failed: {name}, error={error}");
        if last {
            self.metrics.run_finished(name, RunOutcome::Failed, None);
        }
        Ok(Turned::Batch { run: run.id, finished: last })
    }

    /// A row of the run could not be done alone: the run goes on behind it. Where nothing has got through, many such rows are the run's own
    /// failure.
    async fn pass_over(&self, run: &Run, fault: &Fault) -> Result<Turned, Fault> {
        let mut tx = self.pool.begin().await?;
        let same = |now: &Run| now.id == run.id && now.cursor == run.cursor;
        let Some(run) = ledger::take(&mut tx, &[&run.job]).await?.filter(same) else {
            // Another worker goes on with it.
            tx.rollback().await?;
            return Ok(Turned::Batch { run: run.id, finished: false });
        };
        let work = self.work(&run.job)?;
        let passed = attempt(work.next(&mut tx, &run)).await;
        let Ok(Some(PassedOver { cursor, row, result, stopped })) = passed else {
            drop(tx);
            return Ok(self.wait(&run, passed.as_ref().err().unwrap_or(fault)).await?);
        };
        let many = run.batches == 0 && run.passed_over + 1 >= UNPROVEN;
        let many = many.then(|| format!("none of {UNPROVEN} rows could be done; the last, {row}: {fault}"));
        let stopped = stopped.map(|why| format!("{why}; the last, {row}: {fault}")).or(many);
        let error = format!("{row} passed over: {fault}");
        let place = Place {
            finished: stopped.is_some(),
            result,
            stopped: stopped.as_deref(),
            passed_over: Some(&error),
            ..Place::behind(&cursor)
        };
        ledger::progress(&mut tx, &run, &self.worker, &place).await?;
        tx.commit().await?;
        let name = &run.job;
        tracing::error!(job = name, tick = %run.tick, "Row passed over, the run goes on behind it: {name}, row={row}, error={fault}");
        self.metrics.run_passed_over(name);
        if stopped.is_some() {
            self.metrics.run_finished(name, RunOutcome::Failed, None);
        }
        Ok(Turned::Batch { run: run.id, finished: stopped.is_some() })
    }
}

impl Source for Runner {
    type Batch = Turn;

    async fn next(&self) -> Turn {
        self.wake.woken(Queue::RUNS).await;
        self.breaker.closed().await;
        Turn
    }

    async fn close(&self) {}
}
