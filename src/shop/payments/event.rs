//! A payment event of any type.

use super::field::Undecodable;
use super::{CONFIRMED_TOPIC, FAILED_TOPIC, REFUNDED_TOPIC, payment, refund};
use crate::shop::orders::{AmountMismatch, Fact, Payment, PaymentKind, Refund, Status};

/// A payment event of any type.
#[derive(Clone, Debug)]
pub enum PaymentEvent {
    /// A payment was confirmed or failed.
    Payment(Payment),
    /// Money was given back.
    Refund(Refund),
}

/// Reads the body of an event of this topic.
///
/// # Errors
///
/// [`Undecodable`] with a reason for people.
pub fn read(topic: &str, body: &[u8]) -> Result<PaymentEvent, Undecodable> {
    match topic {
        CONFIRMED_TOPIC | FAILED_TOPIC => payment::decode(topic, body).map(PaymentEvent::Payment),
        REFUNDED_TOPIC => refund::decode(body).map(PaymentEvent::Refund),
        other => Err(Undecodable::topic(other)),
    }
}

/// The status that an event on this topic asks for, if any.
#[must_use]
pub fn announces(topic: &str) -> Option<Status> {
    match topic {
        CONFIRMED_TOPIC => Some(Status::PaymentConfirmed),
        FAILED_TOPIC => Some(Status::PaymentFailed),
        _ => None,
    }
}

impl PaymentEvent {
    /// The order.
    #[must_use]
    pub fn order_id(&self) -> &str {
        match self {
            Self::Payment(payment) => &payment.order_id,
            Self::Refund(refund) => &refund.order_id,
        }
    }

    /// The same, of the order under its own id.
    pub fn set_order_id(&mut self, id: String) {
        match self {
            Self::Payment(payment) => payment.order_id = id,
            Self::Refund(refund) => refund.order_id = id,
        }
    }

    /// The payment.
    #[must_use]
    pub fn payment_id(&self) -> &str {
        match self {
            Self::Payment(payment) => &payment.payment_id,
            Self::Refund(refund) => &refund.payment_id,
        }
    }

    /// As a fact for [`crate::shop::orders::decide`].
    #[must_use]
    pub const fn fact(&self, on_mismatch: AmountMismatch) -> Fact<'_> {
        match self {
            Self::Payment(payment) => Fact::Payment(payment, on_mismatch),
            Self::Refund(refund) => Fact::Refund(refund),
        }
    }

    /// The fact's id and its kind, unique within an order.
    #[must_use]
    pub fn known_by(&self) -> (&str, &'static str) {
        match self {
            Self::Payment(payment) => (&payment.payment_id, payment.kind.as_str()),
            Self::Refund(refund) => (&refund.refund_id, "refunded"),
        }
    }

    /// In two words, for people.
    #[must_use]
    pub const fn words(&self) -> &'static str {
        match self {
            Self::Payment(Payment { kind: PaymentKind::Confirmed, .. }) => "payment confirmed",
            Self::Payment(Payment { kind: PaymentKind::Failed, .. }) => "payment failed",
            Self::Refund(_) => "payment refunded",
        }
    }
}
