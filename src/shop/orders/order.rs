//! An order and a payment, as values.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::{AmountMismatch, Decision};

/// The payment method of orders that are paid on delivery.
pub const COD: &str = "COD";

/// An order as it stands under its lock.
#[derive(Clone, Debug)]
pub struct Order {
    /// `orders.id`.
    pub id: String,
    /// `orders.status`, as stored: an adopted table may hold names that the machine does not know.
    pub status: String,
    /// `orders.payment_method`; `COD` is cash on delivery.
    pub payment_method: String,
    /// Whether the goods reached the customer.
    pub delivered: bool,
    /// ISO 4217 code.
    pub currency: String,
    /// The amount due, in major units.
    pub total: Decimal,
    /// When it was placed; none: unknown.
    pub created_at: Option<DateTime<Utc>>,
    /// The items that hold a reservation.
    pub items: Vec<Item>,
    /// Known payments, by (payment id, kind), with their amount and currency, where the event had them.
    pub facts: HashMap<(String, PaymentKind), Option<(Decimal, String)>>,
    /// Known refunds, by refund id: amount and currency.
    pub refunds: HashMap<String, (Decimal, String)>,
}

/// An order item with a reservation at the warehouse.
#[derive(Clone, Debug)]
pub struct Item {
    /// `order_items.id` as text.
    pub id: String,
    /// The warehouse's reservation.
    pub reservation_id: String,
    /// `order_items.reservation_status`; none means reserved.
    pub reservation_status: Option<String>,
    /// When it was made; none: together with the order, as far as anybody knows.
    pub reserved_at: Option<DateTime<Utc>>,
}

/// A fact about an order: from a payment event, or from a job at its tick.
#[derive(Clone, Copy, Debug)]
pub enum Fact<'a> {
    /// A payment was confirmed or failed.
    Payment(&'a Payment, AmountMismatch),
    /// Money was given back.
    Refund(&'a Refund),
    /// An order placed before this moment was not paid (order_cleanup).
    Unpaid {
        /// Orders placed before it are given up.
        placed_before: DateTime<Utc>,
        /// Whether orders are given up too that are paid on delivery.
        cod_too: bool,
    },
    /// Reservations made before this moment were never used (reservation_cleanup).
    Unused {
        /// Reservations made before it are given back.
        reserved_before: DateTime<Utc>,
    },
    /// An order that is paid on delivery may have been delivered (cod_auto_confirm).
    CodDelivered,
}

impl Fact<'_> {
    /// Whether it is time alone that speaks against the order: a payment that is here already comes before it.
    pub(crate) const fn gives_up(&self) -> bool {
        matches!(self, Self::Unpaid { .. } | Self::Unused { .. })
    }
}

/// A payment event.
#[derive(Clone, Debug)]
pub struct Payment {
    /// The payment at the payment service.
    pub payment_id: String,
    /// The order that it pays.
    pub order_id: String,
    /// Whether the money came.
    pub kind: PaymentKind,
    /// In major units, with the digits of the JSON text.
    pub amount: Decimal,
    /// ISO 4217 code.
    pub currency: String,
    /// Why it failed, in the payment service's words; empty where it gave none, and for a confirmed one.
    pub failure_reason: String,
}

/// A refund event.
#[derive(Clone, Debug)]
pub struct Refund {
    /// The refund at the payment service: it counts once, whatever its event id.
    pub refund_id: String,
    /// The payment whose money it is.
    pub payment_id: String,
    /// The order that was paid.
    pub order_id: String,
    /// In major units, with the digits of the JSON text.
    pub amount: Decimal,
    /// ISO 4217 code.
    pub currency: String,
    /// Why, in the payment service's words; empty where it gives none.
    pub reason: String,
}

/// The two kinds of payment events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::EnumString, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum PaymentKind {
    /// The money came.
    Confirmed,
    /// It did not.
    Failed,
}

impl PaymentKind {
    /// The name in `order_worker.payment_facts`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl Item {
    /// Nothing was asked of the warehouse yet.
    pub(super) fn is_reserved(&self) -> bool {
        matches!(self.reservation_status.as_deref(), None | Some("reserved"))
    }

    /// The goods are sold, or are about to be.
    pub(super) fn is_sold(&self) -> bool {
        matches!(self.reservation_status.as_deref(), Some("confirming" | "confirmed"))
    }

    /// The goods are given back, or were never kept.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.reservation_status.as_deref(), Some("releasing" | "released" | "refused"))
    }
}

impl Order {
    /// Whether it is paid when it is delivered.
    #[must_use]
    pub fn is_cod(&self) -> bool {
        self.payment_method.eq_ignore_ascii_case(COD)
    }

    /// Removes this fact, so that it is decided anew.
    pub fn forget(&mut self, fact: &Fact<'_>) {
        match fact {
            Fact::Payment(payment, _) => {
                self.facts.remove(&(payment.payment_id.clone(), payment.kind));
            }
            Fact::Refund(refund) => {
                self.refunds.remove(&refund.refund_id);
            }
            Fact::Unpaid { .. } | Fact::Unused { .. } | Fact::CodDelivered => {}
        }
    }

    /// Adds a fact and its decision, for the next fact of the same transaction.
    pub fn note(&mut self, fact: &Fact<'_>, decision: &Decision) {
        if matches!(decision, Decision::Held(..)) {
            return;
        }
        if let Fact::Payment(payment, _) = fact {
            let money = (payment.amount, payment.currency.clone());
            self.facts.entry((payment.payment_id.clone(), payment.kind)).or_insert(Some(money));
        }
        if let Fact::Refund(refund) = fact {
            self.refunds.entry(refund.refund_id.clone()).or_insert((refund.amount, refund.currency.clone()));
        }
        if let Decision::Apply(change) = decision {
            if let Some(status) = change.status {
                status.as_str().clone_into(&mut self.status);
            }
            for call in &change.calls {
                for item in self.items.iter_mut().filter(|item| call.items.contains(&item.id)) {
                    item.reservation_status = Some(call.action.intent().to_owned());
                }
            }
        }
    }
}
