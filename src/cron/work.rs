//! One batch of a run, of whatever kind: a transaction with the run's place.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{PgConnection, PgTransaction};

use super::jobs::{self, Batch, batch};
use super::ledger::{self, Place, Progress};
use super::runner::{Runner, Turned};
use super::task::Task;
use super::{Cursor, Job, Run};
use crate::database::traced;
use crate::failpoint;
use crate::operations::bulk::{self, Bulk};
use crate::queue::Queue;
use crate::replay::{self, Phase, Request, Tally};
use crate::telemetry::labels::RunOutcome;

/// Between two looks at a canary that the inbox has in hand.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// The most events of one batch of a replay.
const REPLAYED: u32 = 1_000;
/// The most dead rows of one batch.
const MENDED: u32 = 500;

/// A row that is passed over: the cursor behind it, its name, what the run has come to with it, and why that ends the run.
pub(super) type PassedOver = (Cursor, String, Option<Value>, Option<String>);

impl Runner {
    /// The most rows of one batch.
    pub(super) fn limit(&self, task: &Task) -> u32 {
        match task {
            Task::Job(job) => self.settings.entry(*job).batch,
            Task::Replay(request, _) => REPLAYED.min(request.rate.unwrap_or(u32::MAX)),
            Task::DeadLetters(..) => MENDED,
        }
    }

    /// The next row of a run, which is to be passed over; none: there is no next row.
    pub(super) async fn next_row(&self, tx: &mut PgConnection, run: &Run) -> Result<Option<PassedOver>, sqlx::Error> {
        Ok(match Task::of(run)? {
            Task::Job(job) => {
                jobs::next(tx, job, run, &self.terms).await?.map(|(cursor, row)| (cursor, row, None, None))
            }
            Task::Replay(request, tally) => {
                replay::next(tx, &request, &tally, &run.cursor).await?.map(|(cursor, row)| {
                    let counted = Tally { seen: tally.seen + 1, failed: tally.failed + 1, ..tally };
                    let stopped = request.most_failures.filter(|most| counted.failed > *most);
                    let stopped = stopped.map(|most| format!("{} events failed, more than {most}", counted.failed));
                    (cursor, format!("event {row}"), Some(json!(counted)), stopped)
                })
            }
            Task::DeadLetters(_, progress) => {
                let after = run.cursor.id.as_deref().and_then(|id| id.parse().ok());
                bulk::next(tx, run.id, after).await?.map(|id| {
                    let cursor = Cursor { at: None, id: Some(id.to_string()) };
                    let counted = bulk::Progress { seen: progress.seen + 1 };
                    (cursor, format!("row {id}"), Some(json!(counted)), None)
                })
            }
        })
    }

    pub(super) async fn work_on_job(
        &self,
        mut tx: PgTransaction<'_>,
        job: Job,
        run: &Run,
        limit: u32,
    ) -> Result<(Turned, Duration), sqlx::Error> {
        let summary = match job {
            Job::SessionCleanup => "DELETE sessions",
            Job::CartCleanup => "DELETE carts",
            Job::OrderCleanup | Job::ReservationCleanup | Job::CodAutoConfirm => "UPDATE orders",
        };
        let done = traced(&self.pool, summary, batch(&mut tx, job, run, limit, &self.terms)).await?;
        let (items, finished) = (done.items.len(), done.last);
        if done.pause > Duration::ZERO {
            ledger::wait(&mut tx, run, done.pause).await?;
            tx.commit().await?;
            return Ok((Turned::Batch { run: run.id, finished: false }, Duration::ZERO));
        }
        // Counted over all batches of the run.
        let before = run.result.clone().and_then(|result| serde_json::from_value(result).ok());
        let spared = done.spared.clone().and(before);
        let result = (spared.orders > 0).then(|| json!(spared));
        let place = Place { items, finished, result, ..Place::behind(&done.cursor) };
        let progress = self.commit(tx, run, &place).await?;
        self.tell(job, run, &done, &progress);
        Ok((Turned::Batch { run: run.id, finished: done.last }, Duration::ZERO))
    }

    pub(super) async fn work_on_replay(
        &self,
        mut tx: PgTransaction<'_>,
        request: &Request,
        tally: &Tally,
        run: &Run,
        limit: u32,
    ) -> Result<(Turned, Duration), sqlx::Error> {
        let on_mismatch = self.on_mismatch().await?;
        let rate = request.rate.unwrap_or(u32::MAX);
        let step = replay::batch(&mut tx, run.id, request, tally, &run.cursor, limit, on_mismatch).await?;
        let mut counted = step.counted(tally);
        let (mut cursor, mut finished, mut stopped) = (step.cursor.clone(), step.last, None);
        if step.last && tally.phase == Phase::Canary {
            let (open, failed) = replay::canary(&mut tx, run.id).await?;
            let failures = counted.failed + failed;
            stopped = request
                .most_failures
                .filter(|most| failures > *most)
                .map(|most| format!("{failures} of the first share failed, more than {most}: the rest was not begun"));
            finished = stopped.is_some();
            // What the inbox has in hand decides: looked at again until nothing is under way.
            if open == 0 && !finished {
                (counted.phase, cursor) = (Phase::Rest, Cursor::default());
            }
        }
        let items = step.again.len() + step.changed.len() + step.announced.len();
        let seen = u32::try_from(step.seen).unwrap_or(u32::MAX);
        let pause = if seen == 0 { LOOK_AGAIN } else { Duration::from_secs(1) * seen / rate };
        let result = Some(json!(counted));
        let place = Place { items, finished, result, stopped: stopped.as_deref(), pause, ..Place::behind(&cursor) };
        self.commit(tx, run, &place).await?;
        for (queue, some) in [
            (Queue::Inbox, !step.again.is_empty()),
            (Queue::Dapr, !step.changed.is_empty() || !step.announced.is_empty()),
            (Queue::Warehouse, step.calls),
        ] {
            if some {
                self.wake.committed(queue);
            }
        }
        if finished {
            let Tally { seen, unchanged, again, changed, decided, announced, failed, .. } = counted;
            tracing::info!(
                run = run.id,
                seen,
                unchanged,
                again,
                changed,
                decided,
                announced,
                failed,
                "Replay ended: {}",
                stopped.as_deref().unwrap_or("all of it is done")
            );
        }
        Ok((Turned::Batch { run: run.id, finished }, pause))
    }

    pub(super) async fn work_on_dead_letters(
        &self,
        mut tx: PgTransaction<'_>,
        asked: &Bulk,
        progress: bulk::Progress,
        run: &Run,
        limit: u32,
    ) -> Result<(Turned, Duration), sqlx::Error> {
        let after = run.cursor.id.as_deref().and_then(|id| id.parse().ok());
        let step = bulk::batch(&mut tx, run.id, asked, after, limit).await?;
        let seen = progress.seen + step.seen as u64;
        let cursor = Cursor { at: None, id: step.last.or(after).map(|id| id.to_string()) };
        let finished = seen >= asked.rows || step.last.is_none();
        let (items, result) = (step.changed.len(), Some(json!(bulk::Progress { seen })));
        let place = Place { items, finished, result, ..Place::behind(&cursor) };
        let Progress { items, .. } = self.commit(tx, run, &place).await?;
        for queue in step.changed {
            self.wake.committed(queue);
        }
        if finished {
            tracing::info!(run = run.id, by = asked.actor, "Dead rows: {} ended, items={items}", asked.verb.as_str());
        }
        Ok((Turned::Batch { run: run.id, finished }, Duration::ZERO))
    }

    /// Commits the batch and the run's place: the one is never without the other.
    async fn commit(&self, mut tx: PgTransaction<'_>, run: &Run, place: &Place<'_>) -> Result<Progress, sqlx::Error> {
        let progress = ledger::progress(&mut tx, run, &self.worker, place).await?;
        failpoint::reach("cron-before-commit");
        tx.commit().await?;
        failpoint::reach("cron-after-commit");
        Ok(progress)
    }

    /// What others learn once it is committed.
    fn tell(&self, job: Job, run: &Run, done: &Batch, progress: &Progress) {
        if done.announces {
            self.wake.committed(Queue::Dapr);
        }
        if done.calls {
            self.wake.committed(Queue::Warehouse);
        }
        self.metrics.cron_items(job, done.items.len() as u64);
        if done.last {
            let Progress { kind, missed, items, batches, passed_over, outcome, error, seconds } = progress;
            let took = Duration::try_from_secs_f64(*seconds).unwrap_or_default();
            if outcome.as_deref() == Some("failed") {
                let error = error.as_deref().unwrap_or_default();
                tracing::error!(job = %job, tick = %run.tick, passed_over, "Job failed: {job}, error={error}");
                return self.metrics.cron_finished(job, RunOutcome::Failed, Some(took));
            }
            tracing::info!(
                job = %job, tick = %run.tick, kind, missed, batches, passed_over,
                "Job finished: {job}, items={items}, seconds={seconds:.3}"
            );
            self.metrics.cron_finished(job, RunOutcome::Succeeded, Some(took));
        }
    }
}
