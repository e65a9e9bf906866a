//! Replays as runs of the engine.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use sqlx::PgConnection;

use super::batch::{batch, next};
use super::request::canary;
use super::{Phase, REPLAY, Request, Tally};
use crate::engine::queue::{Fault, Queue};
use crate::engine::runs::{self, Cursor, PassedOver, Progress, Run, RunOutcome, Step, Work};
use crate::engine::terms;
use crate::platform::database::PgPool;
use crate::shop::orders::AmountMismatch;
use crate::shop::{announcements, payments, warehouse};

/// Between two looks at a canary that the inbox has in hand.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// The most events of one batch.
const BATCH: u32 = 1_000;

/// The policy for payments of another amount in a replay.
#[derive(Clone, Copy, Debug)]
pub enum Judging {
    /// By the settings of a process that takes events in itself.
    Own(AmountMismatch),
    /// As those do that take events in; where none of them has ever said how, by these settings.
    Registered(AmountMismatch),
}

/// Replays.
#[derive(Clone, Debug)]
pub struct Replays {
    judging: Judging,
    pool: PgPool,
}

impl Replays {
    /// In `pool` stands by what others judge.
    #[must_use]
    pub const fn new(judging: Judging, pool: PgPool) -> Self {
        Self { judging, pool }
    }

    async fn on_mismatch(&self) -> Result<AmountMismatch, sqlx::Error> {
        match self.judging {
            Judging::Own(own) => Ok(own),
            Judging::Registered(here) => {
                let registered = terms::registered::<payments::Terms>(&self.pool).await?;
                Ok(registered.map_or(here, |registered| registered.terms.mismatch))
            }
        }
    }
}

/// The request of a replay, and its counts.
fn asked(run: &Run) -> Result<(Request, Tally), Fault> {
    let request: Request = runs::read(run.request.clone().unwrap_or_default())?;
    let tally = run.result.clone().map_or_else(|| Ok(request.begin()), runs::read)?;
    Ok((request, tally))
}

#[async_trait]
impl Work for Replays {
    fn name(&self) -> &'static str {
        REPLAY
    }

    fn limit(&self, run: &Run) -> Result<u32, Fault> {
        asked(run).map(|(request, _)| BATCH.min(request.rate.unwrap_or(u32::MAX)))
    }

    async fn batch(&self, tx: &mut PgConnection, run: &Run, limit: u32) -> Result<Step, Fault> {
        let (request, tally) = asked(run)?;
        let on_mismatch = self.on_mismatch().await?;
        let step = batch(tx, run.id, &request, &tally, &run.cursor, limit, on_mismatch).await?;
        let mut counted = step.counted(&tally);
        let (mut cursor, mut last, mut stopped) = (step.cursor.clone(), step.last, None);
        if step.last && tally.phase == Phase::Canary {
            let (open, failed) = canary(tx, run.id).await?;
            let failures = counted.failed + failed;
            stopped = request
                .most_failures
                .filter(|most| failures > *most)
                .map(|most| format!("{failures} of the first share failed, more than {most}: the rest was not begun"));
            // What the inbox has in hand decides: looked at again until nothing is under way.
            last = false;
            if open == 0 && stopped.is_none() {
                (counted.phase, cursor) = (Phase::Rest, Cursor::default());
            }
        }
        let seen = u32::try_from(step.seen).unwrap_or(u32::MAX);
        let rate = request.rate.unwrap_or(u32::MAX);
        let wakes = [
            (Queue::INBOX, !step.again.is_empty()),
            (announcements::QUEUE, !step.changed.is_empty() || !step.announced.is_empty()),
            (warehouse::QUEUE, step.calls),
        ];
        Ok(Step {
            items: step.again.len() + step.changed.len() + step.announced.len(),
            cursor,
            last,
            result: Some(json!(counted)),
            stopped,
            pause: if seen == 0 { LOOK_AGAIN } else { Duration::from_secs(1) * seen / rate },
            not_yet: None,
            wakes: wakes.into_iter().filter_map(|(queue, some)| some.then_some(queue)).collect(),
        })
    }

    async fn next(&self, tx: &mut PgConnection, run: &Run) -> Result<Option<PassedOver>, Fault> {
        let (request, tally) = asked(run)?;
        Ok(next(tx, &request, &tally, &run.cursor).await?.map(|(cursor, event)| {
            let counted = Tally { seen: tally.seen + 1, failed: tally.failed + 1, ..tally };
            let stopped = request.most_failures.filter(|most| counted.failed > *most);
            let stopped = stopped.map(|most| format!("{} events failed, more than {most}", counted.failed));
            PassedOver { cursor, row: format!("event {event}"), result: Some(json!(counted)), stopped }
        }))
    }

    fn log_end(&self, run: &Run, progress: &Progress) {
        let how = progress.error.as_deref().filter(|_| progress.outcome == Some(RunOutcome::Failed));
        tracing::info!(
            run = run.id,
            items = progress.items,
            passed_over = progress.passed_over,
            "Replay ended: {}",
            how.unwrap_or("all of it is done")
        );
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn a_request_that_cannot_be_read_is_the_runs_own_fault() {
        let run = Run { request: Some(json!({})), ..Run::first(REPLAY.into(), DateTime::UNIX_EPOCH) };
        let fault = asked(&run).unwrap_err();
        assert!(!fault.is_environment() && !fault.is_splittable(), "{fault}");
    }
}
