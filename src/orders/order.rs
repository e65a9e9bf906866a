//! An order and a payment, as values.

use std::collections::HashSet;

use rust_decimal::Decimal;

use super::Decision;

/// An order as it stands under its lock.
#[derive(Clone, Debug)]
pub struct Order {
    /// `orders.id`.
    pub id: String,
    /// `orders.status`, as stored: an adopted table may hold names that the machine does not know.
    pub status: String,
    /// ISO 4217 code.
    pub currency: String,
    /// What the customer owes, in major units.
    pub total: Decimal,
    /// The items that hold a reservation.
    pub items: Vec<Item>,
    /// The payments that were told already: (payment id, kind).
    pub facts: HashSet<(String, PaymentKind)>,
}

/// An order item with a reservation at the warehouse.
#[derive(Clone, Debug)]
pub struct Item {
    /// `order_items.id`.
    pub id: i64,
    /// The warehouse's reservation.
    pub reservation_id: String,
    /// `order_items.reservation_status`; none means reserved.
    pub reservation_status: Option<String>,
}

/// What a payment event says.
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
    /// Why it failed, in the payment service's words; empty for a confirmed one.
    pub failure_reason: String,
}

/// The two things that are told of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PaymentKind {
    /// The money came.
    Confirmed,
    /// It did not.
    Failed,
}

impl PaymentKind {
    /// The name in `order_worker.payment_facts`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Failed => "failed",
        }
    }
}

impl Item {
    /// Nothing was asked of the warehouse yet.
    pub(super) fn is_reserved(&self) -> bool {
        matches!(self.reservation_status.as_deref(), None | Some("reserved"))
    }

    /// The goods are given back, or were never kept.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.reservation_status.as_deref(), Some("releasing" | "released" | "refused"))
    }
}

impl Order {
    /// What the next payment of the same transaction sees.
    pub fn note(&mut self, payment: &Payment, decision: &Decision) {
        if matches!(decision, Decision::Held(..)) {
            return;
        }
        self.facts.insert((payment.payment_id.clone(), payment.kind));
        if let Decision::Apply(change) = decision {
            change.status.as_str().clone_into(&mut self.status);
            for call in &change.calls {
                if let Some(item) = self.items.iter_mut().find(|item| item.id == call.item_id) {
                    item.reservation_status = Some(call.action.intent().to_owned());
                }
            }
        }
    }
}
