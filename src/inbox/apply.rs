//! Applying: one transaction takes pending events, locks their orders, decides, and writes everything that follows.
//!
//! A crash at any line before COMMIT leaves the events pending and nothing changed; after it, nothing is left to do. A COMMIT of
//! unknown outcome is one of the two.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apalis::prelude::Data;
use rust_decimal::{Decimal, RoundingStrategy};
use sqlx::PgTransaction;
use tracing::{Instrument, Span};

use super::effects::{Effects, Judged, Postponed, postpone};
use super::payment::{Undecodable, decode};
use super::taken::Taken;
use crate::database::{PgPool, traced};
use crate::failpoint;
use crate::orders::{self, AmountMismatch, Fact, Payment, decide};
use crate::queue::{Fault, Pace, Queue, Source, Split, Wake, attempt, delay, look_again};
use crate::telemetry::labels::{FailReason, Outcome, Topic};
use crate::telemetry::{Metrics, spans, trace};

/// Bytes of bodies in one transaction, beyond which no further event is taken.
const MAX_BYTES: usize = 16 << 20;
/// Events that fail alone, one after the other and with nothing between them that gets through, before the queue pauses.
const UNPROVEN: usize = 8;
/// How long an event that failed without a witness against it waits before the next look, at the most.
const LONGEST_UNPROVEN: Duration = Duration::from_secs(5);
/// How long an event whose order is locked waits before the next look, at the most.
const LONGEST_LOCKED: Duration = Duration::from_secs(1);
/// How long an event whose order does not exist waits before the next look, at the most.
const LONGEST_MISSING: Duration = Duration::from_secs(15);

/// Applies what the inbox holds.
#[derive(Debug)]
pub struct Applier {
    pool: PgPool,
    pace: Pace,
    wake: Wake,
    metrics: Metrics,
    on_mismatch: AmountMismatch,
    wait_for_order: Duration,
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
        settings: &super::settings::Inbox,
    ) -> Self {
        Self {
            pool,
            pace: Pace::new(Queue::Inbox, batch),
            wake,
            metrics,
            on_mismatch: settings.mismatch(),
            wait_for_order: settings.wait_for_order,
            max_attempts,
        }
    }

    /// The pace of the inbox.
    #[must_use]
    pub const fn pace(&self) -> &Pace {
        &self.pace
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
    /// alone: the others wait for nobody.
    async fn turn(&self, turn: Turn) {
        let (mut split, mut unproven, mut renewed) = (Split::new(turn.limit), 0, false);
        while let Some(part) = split.next() {
            let mut in_hand = Vec::new();
            match attempt(self.apply(part, &mut in_hand)).await {
                Ok(()) => {
                    unproven = 0;
                    if !in_hand.is_empty() {
                        self.pace.success();
                    }
                    let bytes: usize = in_hand.iter().map(|event| event.body.len()).sum();
                    if in_hand.len() >= part || bytes >= MAX_BYTES {
                        self.wake.look(Queue::Inbox);
                    }
                    split.got_through(in_hand.len());
                }
                Err(fault) if !renewed && fault.renews(&self.pool) => renewed = true,
                // Nothing was taken, or nothing gets through: no event is to blame. What was taken shows that the database is there,
                // and an event may end its session.
                Err(fault) if in_hand.is_empty() || unproven >= UNPROVEN => {
                    self.pace.away(&fault.to_string());
                    self.wake.look(Queue::Inbox);
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
        let counted = self.pace.witnessed(event.id, tokio::time::Instant::now()) && !fault.is_environment();
        let attempts = event.attempts.unsigned_abs() + u32::from(counted);
        let dead = counted && attempts >= self.max_attempts;
        tracing::error!(
            topic = %event.topic, attempts, dead, inbox_id = event.id, day = %event.day, "Event failed: error={reason}"
        );
        if dead {
            self.metrics.event_failed(Topic::of(&event.topic), FailReason::ApplyFailed);
            self.metrics.inbox_settled(Outcome::Dead, 1);
        }
        let age = Duration::try_from_secs_f64(event.age).unwrap_or_default();
        let wait = if counted { delay(attempts) } else { look_again(age, LONGEST_UNPROVEN) };
        let state = if dead { "dead" } else { "waiting" };
        let postponed = Postponed { event, state, wait, counted, reason };
        let written = async { postpone(&mut *self.pool.acquire().await?, &[postponed]).await }.await;
        if let Err(error) = written {
            self.pace.away(&error.to_string());
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
        let spans = in_hand.iter_mut().map(continue_trace).collect();
        let batch = spans::batch("apply inbox", in_hand.iter().map(|event| event.traceparent.as_deref()));
        let processing = Processing { spans, batch: batch.clone(), committed: false };
        self.apply_taken(tx, in_hand, processing, taken_at).instrument(batch).await
    }

    async fn apply_taken(
        &self,
        mut tx: PgTransaction<'_>,
        in_hand: &[Taken],
        mut processing: Processing,
        taken_at: Instant,
    ) -> Result<(), sqlx::Error> {
        let mut payments: Vec<Result<Payment, Undecodable>> =
            in_hand.iter().map(|event| decode(&event.topic, &event.body)).collect();
        let ids: BTreeSet<&str> = payments.iter().flatten().map(|payment| payment.order_id.as_str()).collect();
        let mut locked = traced(&self.pool, "SELECT orders", orders::lock(&mut tx, &ids)).await?;
        payments.iter_mut().flatten().for_each(|payment| payment.order_id = locked.id(&payment.order_id));

        let (mut effects, mut unreadable) = (Effects::default(), Vec::new());
        for ((event, payment), span) in in_hand.iter().zip(&payments).zip(&processing.spans) {
            let payment = match payment {
                Ok(payment) => payment,
                Err(undecodable) => {
                    spans::failed(span, "undecodable");
                    unreadable.push((Topic::of(&event.topic), undecodable.fail_reason()));
                    effects.postpone(event, "dead", Duration::ZERO, undecodable.to_string());
                    continue;
                }
            };
            let age = Duration::from_secs_f64(event.age.max(0.0));
            match locked.orders.get_mut(payment.order_id.as_str()) {
                Some(order) => {
                    span.in_scope(|| tell_processing(event, payment));
                    let on_mismatch = if event.approved { self.on_mismatch.approved() } else { self.on_mismatch };
                    let fact = Fact::Payment(payment, on_mismatch);
                    let decision = decide(order, &fact);
                    order.note(&fact, &decision);
                    effects.judge(event, payment, decision);
                }
                None if locked.elsewhere.contains(payment.order_id.as_str()) => {
                    let reason = "the order is locked by another writer";
                    effects.postpone(event, "waiting", look_again(age, LONGEST_LOCKED), reason.to_owned());
                }
                None if age < self.wait_for_order => {
                    let reason = "the order does not exist yet";
                    effects.postpone(event, "waiting", look_again(age, LONGEST_MISSING), reason.to_owned());
                }
                None => {
                    let reason = format!("the order did not appear within {:?}", self.wait_for_order);
                    effects.postpone(event, "dead", Duration::ZERO, reason);
                }
            }
        }
        traced(&self.pool, "UPDATE orders", effects.write(&mut tx)).await?;
        failpoint::reach("apply-before-commit");
        traced(&self.pool, "COMMIT", tx.commit()).await?;
        processing.committed = true;
        failpoint::reach("apply-after-commit");
        unreadable.into_iter().for_each(|(topic, reason)| self.metrics.event_failed(topic, reason));
        self.tell(&effects, taken_at.elapsed());
        Ok(())
    }

    /// What others learn once it is committed. `since_taken` and the ages of events make latencies of one clock, the database's.
    fn tell(&self, effects: &Effects<'_>, since_taken: Duration) {
        for judged in &effects.judged {
            let Judged { event, payment, decision } = judged;
            if let Some(change) = decision.change() {
                self.wake.committed(Queue::Dapr);
                if !change.calls.is_empty() {
                    self.wake.committed(Queue::Warehouse);
                }
            }
            self.metrics.inbox_settled(judged.outcome().unwrap_or(Outcome::Held), 1);
            self.metrics.event_applied(Duration::try_from_secs_f64(event.age).unwrap_or_default() + since_taken);
            for incident in decision.incidents() {
                let (kind, order_id) = (incident.kind.as_str(), &payment.order_id);
                tracing::error!(cause = %event.cause, "Incident opened: kind={kind}, order_id={order_id}, {}", incident.detail);
            }
        }
        for Postponed { event, state, reason, .. } in
            effects.postponed.iter().filter(|postponed| postponed.state == "dead")
        {
            tracing::warn!(
                topic = %event.topic, inbox_id = event.id, subject = event.subject.as_deref(),
                "Event kept as {state}: reason={reason}"
            );
            self.metrics.inbox_settled(Outcome::Dead, 1);
        }
    }
}

/// The spans of the events in hand, open until these are committed, or marked when they are not.
struct Processing {
    spans: Vec<Span>,
    batch: Span,
    committed: bool,
}

impl Drop for Processing {
    fn drop(&mut self) {
        if !self.committed {
            self.spans.iter().chain([&self.batch]).for_each(|span| spans::failed(span, "rolled_back"));
        }
    }
}

fn continue_trace(event: &mut Taken) -> Span {
    let span = spans::apply(&event.topic, &event.event_id, event.traceparent.as_deref());
    event.traceparent = span.in_scope(|| trace::continue_trace(event.traceparent.as_deref()));
    span
}

/// The user's log line; operators grep for it. `amount_exact` stands beside it where two decimals are not the whole amount.
fn tell_processing(event: &Taken, payment: &Payment) {
    let kind = payment.kind.as_str();
    let shown = with_two_decimals(payment.amount);
    tracing::info!(
        inbox_id = event.id, currency = %payment.currency,
        amount_exact = (shown != payment.amount).then(|| tracing::field::display(payment.amount)),
        "Processing payment {kind}: payment_id={}, order_id={}, amount={shown}",
        payment.payment_id, payment.order_id
    );
}

/// As `%.2f` shows it, but of the decimal itself: halves go away from zero.
fn with_two_decimals(amount: Decimal) -> Decimal {
    let mut shown = amount.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
    // An amount that has no room for decimals stays as it is.
    shown.rescale(2);
    shown
}

impl Source for Applier {
    type Batch = Turn;

    async fn next(&self) -> Turn {
        self.wake.woken(Queue::Inbox).await;
        self.pace.ready().await;
        Turn { limit: self.pace.limit() }
    }

    async fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_shown_with_two_decimals() {
        for (amount, shown) in [
            ("10.1", "10.10"),
            ("10.10", "10.10"),
            ("100", "100.00"),
            ("0", "0.00"),
            ("0.005", "0.01"),
            ("10.005", "10.01"),
            ("10.015", "10.02"),
            ("10.0049999", "10.00"),
            ("999.995", "1000.00"),
            ("12345678901234567.89", "12345678901234567.89"),
            ("79228162514264337593543950335", "79228162514264337593543950335"),
        ] {
            assert_eq!(with_two_decimals(amount.parse().unwrap()).to_string(), shown, "{amount}");
        }
    }
}
