//! Handling of payment events: lock their orders, decide each, write everything that follows.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use rust_decimal::{Decimal, RoundingStrategy};
use sqlx::PgConnection;

use super::settings;
use super::{CONFIRMED_TOPIC, FAILED_TOPIC, PaymentEvent, REFUNDED_TOPIC, Undecodable, about, read};
use crate::engine::inbox::{About, Handled, Handler, Outcome, Refusal, Settlement, Taken};
use crate::platform::database::{PgPool, traced};
use crate::shop::orders::{self, Decided, Decision, Fact};
use crate::shop::{announcements, warehouse};

/// The topics that are subscribed; `refunds`: refunds are taken in as well.
#[must_use]
pub fn topics(refunds: bool) -> Vec<&'static str> {
    [CONFIRMED_TOPIC, FAILED_TOPIC].into_iter().chain(refunds.then_some(REFUNDED_TOPIC)).collect()
}

/// The longest wait of an event whose order is locked.
const LONGEST_LOCKED: Duration = Duration::from_secs(1);
/// The longest wait of an event whose order does not exist.
const LONGEST_MISSING: Duration = Duration::from_secs(15);

/// Handles payments.
#[derive(Clone, Debug)]
pub struct Payments {
    settings: settings::Payments,
    refunds: bool,
    pool: PgPool,
}

impl Payments {
    /// By these settings, refunds as well or not; of `pool` its spans tell where the database is.
    #[must_use]
    pub const fn new(settings: settings::Payments, refunds: bool, pool: PgPool) -> Self {
        Self { settings, refunds, pool }
    }

    /// The settlement of an event whose order could not be locked.
    fn without_order(&self, event: &Taken, elsewhere: bool) -> Settlement {
        let age = Duration::try_from_secs_f64(event.age).unwrap_or_default();
        if elsewhere {
            let reason = "the order is locked by another writer".to_owned();
            Settlement::Waiting { reason, longest: LONGEST_LOCKED }
        } else if age < self.settings.wait_for_order {
            let reason = "the order does not exist yet".to_owned();
            Settlement::Waiting { reason, longest: LONGEST_MISSING }
        } else {
            Settlement::Dead(format!("the order did not appear within {:?}", self.settings.wait_for_order))
        }
    }
}

/// The subject of a body that cannot be decoded, as far as it is legible.
#[must_use]
pub fn legible(body: &[u8]) -> About {
    About { subject: about::order_id(body), reference: None }
}

#[async_trait]
impl Handler for Payments {
    fn topics(&self) -> Vec<&'static str> {
        topics(self.refunds)
    }

    fn read(&self, topic: &str, body: &[u8]) -> Result<About, Refusal> {
        match read(topic, body) {
            Ok(parsed) => {
                let (subject, reference) = (parsed.order_id().to_owned(), parsed.payment_id().to_owned());
                Ok(About { subject: Some(subject), reference: Some(reference) })
            }
            Err(undecodable) => Err(Refusal {
                reason: undecodable.to_string(),
                no_data: undecodable == Undecodable::NoData,
                about: legible(body),
            }),
        }
    }

    async fn settle(&self, tx: &mut PgConnection, events: &[&Taken]) -> Result<Handled, sqlx::Error> {
        let mut parsed: Vec<Result<PaymentEvent, Undecodable>> =
            events.iter().map(|event| read(&event.topic, &event.body)).collect();
        let ids: BTreeSet<&str> = parsed.iter().flatten().map(PaymentEvent::order_id).collect();
        let mut locked = traced(&self.pool, "SELECT orders", orders::lock(tx, &ids)).await?;
        parsed.iter_mut().flatten().for_each(|parsed| parsed.set_order_id(locked.id(parsed.order_id())));

        let mut settlements = Vec::with_capacity(events.len());
        let mut decisions: Vec<(&Taken, Fact<'_>, &PaymentEvent, Decision)> = Vec::new();
        for (event, parsed) in events.iter().zip(&parsed) {
            settlements.push(match parsed {
                Err(undecodable) => Settlement::Dead(undecodable.to_string()),
                Ok(parsed) => {
                    let on_mismatch = self.settings.mismatch();
                    let on_mismatch = if event.approved { on_mismatch.approved() } else { on_mismatch };
                    let fact = parsed.fact(on_mismatch);
                    match locked.decide(parsed.order_id(), &fact) {
                        None => self.without_order(event, locked.elsewhere.contains(parsed.order_id())),
                        Some(decision) => {
                            event.span.0.in_scope(|| log_processing(event, parsed));
                            let settlement = settlement(&decision);
                            decisions.push((event, fact, parsed, decision));
                            settlement
                        }
                    }
                }
            });
        }
        let decided: Vec<Decided<'_>> = decisions
            .iter()
            .map(|(event, fact, parsed, decision)| Decided {
                order_id: parsed.order_id(),
                fact: *fact,
                decision,
                cause: &event.cause,
                traceparent: event.traceparent.as_deref(),
                received_at: Some(event.received_at),
            })
            .collect();
        traced(&self.pool, "UPDATE orders", orders::write(tx, &decided)).await?;
        let changes = || decisions.iter().filter_map(|(.., decision)| decision.change());
        let mut wakes = Vec::new();
        if changes().any(|change| change.status.is_some()) {
            wakes.push(announcements::QUEUE);
        }
        if changes().any(|change| !change.calls.is_empty()) {
            wakes.push(warehouse::QUEUE);
        }
        let notices = decided.iter().flat_map(|one| {
            let (cause, order_id) = (one.cause, one.order_id);
            one.decision.incidents().iter().map(move |incident| {
                let kind = incident.kind.as_str();
                format!("Incident opened: kind={kind}, order_id={order_id}, cause={cause}, {}", incident.detail)
            })
        });
        Ok(Handled { settlements, wakes, notices: notices.collect() })
    }
}

/// The settlement by a decision.
fn settlement(decision: &Decision) -> Settlement {
    let reason = decision.reason().map(str::to_owned);
    match outcome(decision) {
        Some(outcome) => Settlement::Settled(outcome, reason),
        None => Settlement::Held(reason.unwrap_or_default()),
    }
}

/// The outcome by a decision; none: an operator is to decide.
#[must_use]
pub const fn outcome(decision: &Decision) -> Option<Outcome> {
    match decision {
        Decision::Apply(_) => Some(Outcome::Applied),
        Decision::Superseded(..) => Some(Outcome::Superseded),
        Decision::Rejected(..) => Some(Outcome::Rejected),
        Decision::Held(..) => None,
    }
}

/// The user's log line; operators grep for it. `amount_exact` stands beside it where two decimals are not the whole amount.
fn log_processing(event: &Taken, parsed: &PaymentEvent) {
    let (words, payment_id, order_id) = (parsed.words(), parsed.payment_id(), parsed.order_id());
    let (amount, currency) = match parsed {
        PaymentEvent::Payment(payment) => (payment.amount, &payment.currency),
        PaymentEvent::Refund(refund) => (refund.amount, &refund.currency),
    };
    let shown = with_two_decimals(amount);
    tracing::info!(
        inbox_id = event.id, currency = %currency,
        amount_exact = (shown != amount).then(|| tracing::field::display(amount)),
        "Processing {words}: payment_id={payment_id}, order_id={order_id}, amount={shown}"
    );
}

/// As `%.2f` shows it, but of the decimal itself: halves go away from zero.
fn with_two_decimals(amount: Decimal) -> Decimal {
    let mut shown = amount.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
    // An amount that has no room for decimals stays as it is.
    shown.rescale(2);
    shown
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
