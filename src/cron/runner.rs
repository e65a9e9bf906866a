//! The queue `cron`: one turn schedules what is due and makes one batch of one run.

use std::sync::Arc;
use std::time::Duration;

use apalis::prelude::Data;
use tokio::time::Instant;
use tracing::Instrument;

use super::jobs::{Terms, batch};
use super::ledger::{self, DEAD_LETTERS, Failure, Place, REPLAY};
use super::settings::Cron;
use super::task::Task;
use super::{Evidence, Ground, Job, Run, Schedule, Spared};
use crate::config::Config;
use crate::database::PgPool;
use crate::failpoint;
use crate::inbox;
use crate::orders::AmountMismatch;
use crate::queue::{Fault, Pace, Queue, Source, Split, Wake, attempt, delay};
use crate::telemetry::labels::RunOutcome;
use crate::telemetry::{Metrics, spans};
use crate::terms;

/// Failures of a run after which it has failed; its job's next tick begins anew.
const MAX_ATTEMPTS: i32 = 10;
/// The longest rest after a batch.
const LONGEST_REST: Duration = Duration::from_secs(1);
/// How long a run waits whose batch failed through no fault of its own.
const UNCOUNTED: Duration = Duration::from_secs(2);
/// Rows that cannot be done, of a run in which nothing has got through: then it is not they that are to blame, and the run has failed.
const UNPROVEN: i64 = 20;

/// Every name that a run can have.
const ALL: [&str; 7] = {
    let [first, second, third, fourth, fifth] = Job::ALL;
    [first.as_str(), second.as_str(), third.as_str(), fourth.as_str(), fifth.as_str(), REPLAY, DEAD_LETTERS]
};

/// Runs jobs, replays, and what is done to dead rows.
#[derive(Debug)]
pub struct Runner {
    pub(super) pool: PgPool,
    pub(super) wake: Wake,
    pace: Pace,
    pub(super) metrics: Metrics,
    pub(super) settings: Cron,
    pub(super) terms: Terms,
    /// Of a process that judges events itself; none: as those do that take events in.
    on_mismatch: Option<AmountMismatch>,
    /// Where none of those has ever said how.
    on_mismatch_here: AmountMismatch,
    /// Each job with its schedule, and whether it is enabled.
    jobs: Vec<(Job, Schedule, bool)>,
    pub(super) worker: String,
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

impl Turned {
    /// Whether its run has nothing left to do.
    const fn is_over(self) -> bool {
        matches!(self, Self::Nothing | Self::Batch { finished: true, .. })
    }
}

impl Runner {
    /// A runner; `worker` is its name in the ledger.
    #[must_use]
    pub fn new(pool: PgPool, wake: Wake, metrics: Metrics, config: &Config, worker: String) -> Self {
        let settings = &config.worker.cron;
        let jobs = Job::ALL.map(|job| (job, settings.schedule(job), settings.entry(job).enabled)).to_vec();
        let pace = Pace::new(Queue::Cron, 1);
        let (terms, on_mismatch_here) = (Terms::of(config), config.worker.inbox.mismatch());
        let (settings, on_mismatch) = (settings.clone(), None);
        Self { pool, wake, pace, metrics, settings, terms, on_mismatch, on_mismatch_here, jobs, worker }
    }

    /// The same, of a process that takes events in: it judges them by its own configuration in a replay, too.
    #[must_use]
    pub fn judging_events(self) -> Self {
        Self { on_mismatch: Some(self.on_mismatch_here), ..self }
    }

    /// Whether a replay applies a payment of another amount. In mode cron it does what the workers do that take events in.
    pub(super) async fn on_mismatch(&self) -> Result<AmountMismatch, sqlx::Error> {
        if let Some(own) = self.on_mismatch {
            return Ok(own);
        }
        let registered = terms::registered::<inbox::Terms>(&self.pool).await?;
        Ok(registered.map_or(self.on_mismatch_here, |registered| registered.terms.mismatch))
    }

    /// The same, judging by other settings than those of its configuration.
    #[must_use]
    pub fn judging_by(self, jobs: Terms, events: &inbox::Terms) -> Self {
        Self { terms: jobs, on_mismatch: Some(events.mismatch), ..self }
    }

    /// Each job with its schedule, and whether it is enabled.
    #[must_use]
    pub fn jobs(&self) -> &[(Job, Schedule, bool)] {
        &self.jobs
    }

    /// Writes down which jobs there are and when they run. Waits for a database that is away.
    pub async fn register(&self) {
        while let Err(error) = ledger::register(&self.pool, &self.jobs, true).await {
            self.pace.away(&error.to_string());
            self.pace.ready().await;
        }
        self.pace.success();
        self.wake.look(Queue::Cron);
    }

    /// Keeps the registration for as long as it is polled, and takes over what is registered otherwise by workers that are gone.
    pub async fn keep_registered(&self) {
        loop {
            tokio::time::sleep(ledger::RENEWED_EVERY).await;
            match ledger::renew(&self.pool, &self.jobs).await {
                Ok(0) => {}
                Ok(jobs) => {
                    tracing::info!(jobs, "Jobs registered anew: no worker is there any more that ran them otherwise");
                    self.wake.look(Queue::Cron);
                }
                Err(error) => tracing::debug!("Jobs not registered anew, trying again: error={error}"),
            }
        }
    }

    /// The handler of the queue `cron`: one turn.
    ///
    /// # Errors
    ///
    /// Never: what fails is noted, and its run comes again.
    pub async fn handle(_: Turn, runner: Data<Arc<Self>>) -> Result<(), std::convert::Infallible> {
        let turned = async {
            ledger::schedule(&runner.pool, &runner.jobs).await?;
            runner.turn(&ALL).await
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

    /// Makes the next batch of a run with one of these names, and rests three times as long as that took, or as long as its rate asks.
    /// A batch that cannot be made is made in parts; a row that cannot be done alone is passed over.
    ///
    /// # Errors
    ///
    /// The database's, when not even the failure could be written. A batch that failed is no error: its run waits, or has failed.
    pub async fn turn(&self, names: &[&str]) -> Result<Turned, sqlx::Error> {
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
            match (attempt(self.work(names, part, &mut in_hand)).await, in_hand) {
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
                (Err(fault), Some(InHand { run, .. })) => return self.wait(&run, &fault).await,
                (Err(Fault::Database(error)), None) => return Err(error),
                (Err(Fault::Panicked(words)), None) => return Err(sqlx::Error::Protocol(words)),
            }
        }
        let Some((turned, next)) = done else { return Ok(Turned::Nothing) };
        // The event path has the database to itself for three quarters of the time.
        let rest = (began.elapsed() * 3).min(LONGEST_REST);
        tokio::time::sleep_until(next.max(Instant::now() + rest)).await;
        Ok(turned)
    }

    /// One batch of at most `part` rows; with it, when the run's next may begin, not before the database says so.
    async fn work(
        &self,
        names: &[&str],
        part: Option<usize>,
        in_hand: &mut Option<InHand>,
    ) -> Result<Option<(Turned, Instant)>, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let began = Instant::now();
        let Some(run) = ledger::take(&mut tx, names).await? else {
            tx.rollback().await?;
            return Ok(None);
        };
        let InHand { run, limit } = in_hand.insert(InHand { run, limit: 0 });
        failpoint::reach("cron-after-take");
        let span = spans::run(&run.job);
        let task = Task::of(run)?;
        *limit = part.unwrap_or(usize::MAX).min(self.limit(&task) as usize);
        let most = u32::try_from(*limit).unwrap_or(u32::MAX);
        let done = match &task {
            Task::Job(job) => self.work_on_job(tx, *job, run, most).instrument(span).await,
            Task::Replay(request, tally) => self.work_on_replay(tx, request, tally, run, most).instrument(span).await,
            Task::DeadLetters(asked, progress) => {
                self.work_on_dead_letters(tx, asked, *progress, run, most).instrument(span).await
            }
        };
        done.map(|(turned, pause)| Some((turned, began + pause)))
    }

    /// The run waits for its next attempt; after the last it has failed.
    async fn wait(&self, run: &Run, fault: &Fault) -> Result<Turned, sqlx::Error> {
        let counted = !fault.is_environment();
        let error = fault.to_string();
        let name = &run.job;
        let last = counted && run.attempts + 1 >= MAX_ATTEMPTS;
        let wait = if counted { delay(run.attempts.unsigned_abs() + 1) } else { UNCOUNTED };
        ledger::fail(&self.pool, run, &self.worker, &Failure { wait, counted, error: &error, last }).await?;
        tracing::error!(job = name, tick = %run.tick, attempts = run.attempts + 1, last, "Job failed: {name}, error={error}");
        if last {
            self.tell_failed(name);
        }
        Ok(Turned::Batch { run: run.id, finished: last })
    }

    /// A row of the run could not be done alone: the run goes on behind it. Where nothing has got through, many such rows are the run's own
    /// failure.
    async fn pass_over(&self, run: &Run, fault: &Fault) -> Result<Turned, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let same = |now: &Run| now.id == run.id && now.cursor == run.cursor;
        let Some(run) = ledger::take(&mut tx, &[&run.job]).await?.filter(same) else {
            // Somebody else goes on with it.
            tx.rollback().await?;
            return Ok(Turned::Batch { run: run.id, finished: false });
        };
        let passed = attempt(self.next_row(&mut tx, &run)).await;
        let Ok(Some((cursor, row, result, stopped))) = passed else {
            drop(tx);
            return self.wait(&run, passed.as_ref().err().unwrap_or(fault)).await;
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
        if let Some(job) = Job::named(name) {
            self.metrics.cron_passed_over(job);
        }
        if stopped.is_some() {
            self.tell_failed(name);
        }
        Ok(Turned::Batch { run: run.id, finished: stopped.is_some() })
    }

    fn tell_failed(&self, name: &str) {
        if let Some(job) = Job::named(name) {
            self.metrics.cron_finished(job, RunOutcome::Failed, None);
        }
    }

    /// What a run of this job would change now, batch by batch, and what it would spare: each batch is made and rolled back. `tell` gets
    /// the ids of a batch.
    ///
    /// # Errors
    ///
    /// The database's; also when the job was never registered.
    pub async fn rehearse(&self, job: Job, mut tell: impl FnMut(&[String])) -> Result<(u64, Spared), sqlx::Error> {
        // As of the last look, where a run would wait for the next.
        let evidence = Evidence::read(&mut *self.pool.acquire().await?, &self.terms).await?;
        let tick = match evidence.now_known() {
            Ok(Ground::Streams(watermark)) => watermark,
            _ => evidence.now,
        };
        let mut run = Run::first(job.as_str().to_owned(), tick);
        let (mut items, mut spared) = (0, Spared::default());
        loop {
            let mut tx = self.pool.begin().await?;
            // As a run: no other of the job beside it.
            sqlx::query("select from order_worker.cron_jobs where job = $1 for update")
                .bind(job.as_str())
                .execute(&mut *tx)
                .await?;
            let done = batch(&mut tx, job, &run, self.settings.entry(job).batch, &self.terms).await?;
            tx.rollback().await?;
            // A look at which the watermark was farther behind.
            if done.pause > Duration::ZERO {
                tokio::time::sleep(done.pause).await;
                continue;
            }
            tell(&done.items);
            items += done.items.len() as u64;
            spared = done.spared.and(Some(spared));
            if done.last {
                return Ok((items, spared));
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
