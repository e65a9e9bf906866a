//! One batch of a run, of whatever kind: a transaction with the run's place.

use std::time::Duration;

use serde_json::json;
use sqlx::PgTransaction;

use super::jobs::{Batch, batch};
use super::ledger::{self, Place, Progress};
use super::runner::{Runner, Turned};
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

impl Runner {
    pub(super) async fn work_on_job(
        &self,
        mut tx: PgTransaction<'_>,
        job: Job,
        run: &Run,
    ) -> Result<(Turned, Duration), sqlx::Error> {
        let limit = self.settings.entry(job).batch;
        let summary = match job {
            Job::SessionCleanup => "DELETE sessions",
            Job::CartCleanup => "DELETE carts",
            Job::OrderCleanup | Job::ReservationCleanup | Job::CodAutoConfirm => "UPDATE orders",
        };
        let done = traced(&self.pool, summary, batch(&mut tx, job, run, limit, &self.terms)).await?;
        let (items, finished) = (done.items.len(), done.last);
        let place = Place { items, finished, ..Place::behind(&done.cursor) };
        let progress = self.commit(tx, run, &place).await?;
        self.tell(job, run, &done, &progress);
        Ok((Turned::Batch { run: run.id, finished: done.last }, Duration::ZERO))
    }

    /// A batch that failed before is made again event by event.
    pub(super) async fn work_on_replay(
        &self,
        mut tx: PgTransaction<'_>,
        request: &Request,
        tally: &Tally,
        run: &Run,
    ) -> Result<(Turned, Duration), sqlx::Error> {
        let on_mismatch = self.on_mismatch().await?;
        let rate = request.rate.unwrap_or(u32::MAX);
        let limit = if run.attempts > 0 { 1 } else { REPLAYED.min(rate) };
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
    ) -> Result<(Turned, Duration), sqlx::Error> {
        let after = run.cursor.id.as_deref().and_then(|id| id.parse().ok());
        let step = bulk::batch(&mut tx, run.id, asked, after, MENDED).await?;
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
            let Progress { kind, missed, items, batches, seconds } = progress;
            tracing::info!(
                job = %job, tick = %run.tick, kind, missed, batches,
                "Job finished: {job}, items={items}, seconds={seconds:.3}"
            );
            let took = Duration::try_from_secs_f64(*seconds).unwrap_or_default();
            self.metrics.cron_finished(job, RunOutcome::Succeeded, Some(took));
        }
    }
}
