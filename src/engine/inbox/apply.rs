//! Applying: one transaction takes pending events, calls their handlers, and writes the outcomes.
//!
//! A crash at any line before COMMIT leaves the events pending and nothing changed; after it, nothing is left to do. A COMMIT of
//! unknown outcome is one of the two.

use std::sync::Arc;
use std::time::{Duration, Instant};

use apalis::prelude::Data;
use sqlx::PgTransaction;
use tracing::{Instrument, Span};

use super::settled::{Postponed, Settled, postpone, settle};
use super::taken::{Handling, Taken};
use super::{Disposition, Failure, Handlers, Settlement};
use crate::engine::Metrics;
use crate::engine::queue::{CircuitBreaker, Fault, Queue, Source, Split, State, Wake, attempt};
use crate::platform::backoff::{delay, look_again};
use crate::platform::database::{PgPool, traced};
use crate::platform::failpoint;
use crate::platform::telemetry::{spans, trace};

/// Bytes of bodies in one transaction, beyond which no further event is taken.
const MAX_BYTES: usize = 16 << 20;
/// Events that fail alone, one after the other and with nothing between them that gets through, before the queue pauses.
const UNPROVEN: usize = 8;
/// The longest wait of an event that failed without a witness against it.
const LONGEST_UNPROVEN: Duration = Duration::from_secs(5);

/// Applies what the inbox holds.
#[derive(Debug)]
pub struct Applier {
    pool: PgPool,
    breaker: Arc<CircuitBreaker>,
    wake: Wake,
    metrics: Metrics,
    handlers: Handlers,
    max_attempts: u32,
}

/// One turn: a transaction over at most this many events.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    limit: usize,
}

impl Applier {
    /// An applier; `batch` is the most events of a transaction, `max_attempts` the failures after which an event is dead.
    #[must_use]
    pub fn new(
        pool: PgPool,
        wake: Wake,
        metrics: Metrics,
        batch: usize,
        max_attempts: u32,
        handlers: Handlers,
    ) -> Self {
        Self {
            pool,
            breaker: Arc::new(CircuitBreaker::new(Queue::INBOX, batch)),
            wake,
            metrics,
            handlers,
            max_attempts,
        }
    }

    /// The breaker of the inbox.
    #[must_use]
    pub const fn breaker(&self) -> &Arc<CircuitBreaker> {
        &self.breaker
    }

    /// The handler of the queue `inbox`: one turn.
    ///
    /// # Errors
    ///
    /// Never: what fails is noted, and the events come again.
    pub async fn handle(turn: Turn, applier: Data<Arc<Self>>) -> Result<(), std::convert::Infallible> {
        applier.turn(turn).await;
        Ok(())
    }

    /// Applies the next events. Where they cannot be applied together they are applied in parts, until the one that is to blame stands
    /// alone: the others do not wait for it.
    async fn turn(&self, turn: Turn) {
        let (mut split, mut unproven, mut renewed) = (Split::new(turn.limit), 0, false);
        while let Some(part) = split.next() {
            let mut in_hand = Vec::new();
            match attempt(self.apply(part, &mut in_hand)).await {
                Ok(()) => {
                    unproven = 0;
                    if !in_hand.is_empty() {
                        self.breaker.success();
                    }
                    let bytes: usize = in_hand.iter().map(|event| event.body.len()).sum();
                    if in_hand.len() >= part || bytes >= MAX_BYTES {
                        self.wake.look(Queue::INBOX);
                    }
                    split.got_through(in_hand.len());
                }
                Err(fault) if !renewed && fault.renews(&self.pool) => renewed = true,
                // Nothing was taken, or nothing gets through: no event is to blame. What was taken shows that the database is there,
                // and an event may end its session.
                Err(fault) if in_hand.is_empty() || unproven >= UNPROVEN => {
                    self.breaker.trip(&fault.to_string());
                    self.wake.look(Queue::INBOX);
                    return;
                }
                Err(fault) => {
                    if split.failed(in_hand.len()) {
                        unproven += 1;
                        self.stands_alone(&in_hand[0], &fault).await;
                    }
                }
            }
        }
    }

    /// An event failed alone. Its attempt counts when there is a witness against it, and the fault is not of a moment.
    async fn stands_alone(&self, event: &Taken, fault: &Fault) {
        let reason = fault.to_string();
        let counted = self.breaker.witnessed(event.id, tokio::time::Instant::now()) && !fault.is_environment();
        let attempts = event.attempts.unsigned_abs() + u32::from(counted);
        let dead = counted && attempts >= self.max_attempts;
        tracing::error!(
            topic = %event.topic, attempts, dead, inbox_id = event.id, day = %event.day, "Event failed: error={reason}"
        );
        if dead {
            self.metrics.event_failed(&event.topic, Failure::ApplyFailed);
            self.metrics.inbox_settled(Disposition::Dead, 1);
        }
        let age = Duration::try_from_secs_f64(event.age).unwrap_or_default();
        let wait = if counted { delay(attempts) } else { look_again(age, LONGEST_UNPROVEN) };
        let state = if dead { State::Dead } else { State::Waiting };
        let postponed = Postponed { event, state, wait, counted, reason };
        let written = async { postpone(&mut *self.pool.acquire().await?, &[postponed]).await }.await;
        if let Err(error) = written {
            self.breaker.trip(&error.to_string());
        }
    }

    async fn apply(&self, limit: usize, in_hand: &mut Vec<Taken>) -> Result<(), sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        *in_hand = sqlx::query_as(include_str!("sql/take.sql"))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .bind(i64::try_from(MAX_BYTES).unwrap_or(i64::MAX))
            .fetch_all(&mut *tx)
            .await?;
        if in_hand.is_empty() {
            return tx.rollback().await;
        }
        let taken_at = Instant::now();
        failpoint::reach("apply-after-take");
        in_hand.iter_mut().for_each(continue_trace);
        let batch = spans::batch("apply inbox", in_hand.iter().map(|event| event.traceparent.as_deref()));
        let processing = Processing { events: in_hand, batch: batch.clone(), committed: false };
        self.apply_taken(tx, in_hand, processing, taken_at).instrument(batch).await
    }

    async fn apply_taken(
        &self,
        mut tx: PgTransaction<'_>,
        in_hand: &[Taken],
        mut processing: Processing<'_>,
        taken_at: Instant,
    ) -> Result<(), sqlx::Error> {
        let handled = self.handlers.settle(&mut tx, in_hand).await?;
        let (mut settled, mut postponed) = (Vec::new(), Vec::new());
        for (event, settlement) in in_hand.iter().zip(handled.settlements) {
            let age = Duration::try_from_secs_f64(event.age).unwrap_or_default();
            let mut postpone = |state, wait, reason| {
                postponed.push(Postponed { event, state, wait, counted: false, reason });
            };
            match settlement {
                Settlement::Settled(outcome, reason) => settled.push(Settled { event, outcome, reason }),
                Settlement::Held(reason) => postpone(State::Held, Duration::ZERO, reason),
                Settlement::Waiting { reason, longest } => postpone(State::Waiting, look_again(age, longest), reason),
                Settlement::Dead(reason) => postpone(State::Dead, Duration::ZERO, reason),
            }
        }
        traced(&self.pool, "UPDATE inbox", async {
            settle(&mut tx, &settled).await?;
            postpone(&mut tx, &postponed).await
        })
        .await?;
        failpoint::reach("apply-before-commit");
        traced(&self.pool, "COMMIT", tx.commit()).await?;
        processing.committed = true;
        failpoint::reach("apply-after-commit");
        for queue in handled.wakes {
            self.wake.committed(queue);
        }
        self.report(&settled, &postponed, taken_at.elapsed());
        handled.notices.iter().for_each(|notice| tracing::error!("{notice}"));
        Ok(())
    }

    /// Counts and logs what is committed. `since_taken` and the ages of events make latencies of one clock, the database's.
    fn report(&self, settled: &[Settled<'_>], postponed: &[Postponed<'_>], since_taken: Duration) {
        let applied = |event: &Taken| {
            self.metrics.event_applied(Duration::try_from_secs_f64(event.age).unwrap_or_default() + since_taken);
        };
        for Settled { event, outcome, .. } in settled {
            self.metrics.inbox_settled(*outcome, 1);
            applied(event);
        }
        for Postponed { event, state, reason, .. } in postponed {
            match state {
                State::Held => {
                    self.metrics.inbox_settled(Disposition::Held, 1);
                    applied(event);
                }
                State::Dead => {
                    spans::failed(&event.span.0, "undecodable");
                    tracing::warn!(
                        topic = %event.topic, inbox_id = event.id, subject = event.subject.as_deref(),
                        "Event kept as {}: reason={reason}", state.as_str()
                    );
                    self.metrics.event_failed(&event.topic, Failure::Undecodable);
                    self.metrics.inbox_settled(Disposition::Dead, 1);
                }
                _ => {}
            }
        }
    }
}

/// The spans of the events in hand, open until these are committed, or marked when they are not.
struct Processing<'a> {
    events: &'a [Taken],
    batch: Span,
    committed: bool,
}

impl Drop for Processing<'_> {
    fn drop(&mut self) {
        if !self.committed {
            let spans = self.events.iter().map(|event| &event.span.0);
            spans.chain([&self.batch]).for_each(|span| spans::failed(span, "rolled_back"));
        }
    }
}

fn continue_trace(event: &mut Taken) {
    let span = spans::apply(&event.topic, &event.event_id, event.traceparent.as_deref());
    event.traceparent = span.in_scope(|| trace::continue_trace(event.traceparent.as_deref()));
    event.span = Handling(span);
}

impl Source for Applier {
    type Batch = Turn;

    async fn next(&self) -> Turn {
        self.wake.woken(Queue::INBOX).await;
        self.breaker.closed().await;
        Turn { limit: self.breaker.batch_size() }
    }

    async fn close(&self) {}
}
