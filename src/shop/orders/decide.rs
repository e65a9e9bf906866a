//! `decide(order, fact) -> decision`: pure, total, and consulted under the order's lock.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;

use super::refund::refunded;
use super::{
    Action, AmountMismatch, Call, Change, Decision, Fact, Incident, IncidentKind, Item, Order, Payment, PaymentKind,
    Status, paid, same_money,
};

/// Decides what a fact does to its order.
///
/// Known payments come before the status: the same payment under another event id is superseded, whatever the order's status is by
/// now. Jobs select orders without a lock; the decision is made here, under the lock.
#[must_use]
pub fn decide(order: &Order, fact: &Fact<'_>) -> Decision {
    if let Fact::Payment(payment, _) = fact
        && let Some(before) = order.facts.get(&(payment.payment_id.clone(), payment.kind))
    {
        return told_again(payment, before.as_ref());
    }
    if let Fact::Refund(refund) = fact {
        // Money is money, whatever the order's status is called.
        return refunded(order, refund);
    }
    let status: Status = match order.status.parse() {
        Ok(status) => status,
        Err(unknown) => {
            let incidents = match fact {
                Fact::Payment(payment, _) => {
                    let detail = format!("{} came for an order that is left alone: {unknown}", told(payment));
                    vec![Incident { kind: IncidentKind::UnknownStatus, detail }]
                }
                Fact::Refund(_) | Fact::Unpaid { .. } | Fact::Unused { .. } | Fact::CodDelivered => Vec::new(),
            };
            return Decision::Rejected(unknown.to_string(), incidents);
        }
    };
    match *fact {
        Fact::Payment(payment, on_mismatch) => match payment.kind {
            PaymentKind::Confirmed => confirmed(order, status, payment, on_mismatch),
            PaymentKind::Failed => failed(order, status, payment),
        },
        Fact::Refund(refund) => refunded(order, refund),
        Fact::Unpaid { placed_before, cod_too } => unpaid(order, status, placed_before, cod_too),
        Fact::Unused { reserved_before } => unused(order, status, reserved_before),
        Fact::CodDelivered => cod_delivered(order, status),
    }
}

/// A payment that is known already changes nothing, whatever its event id. With another amount it opens an incident.
fn told_again(payment: &Payment, before: Option<&(Decimal, String)>) -> Decision {
    let reason = format!("payment {} was told before", payment.payment_id);
    let other = before.filter(|(amount, currency)| {
        payment.kind == PaymentKind::Confirmed && !same_money((payment.amount, &payment.currency), (*amount, currency))
    });
    let incident = other.map(|(amount, currency)| Incident {
        kind: IncidentKind::AmountMismatch,
        detail: format!("{} was told before, of {amount} {currency}", told(payment)),
    });
    Decision::Superseded(reason, incident.into_iter().collect())
}

fn superseded(reason: impl Into<String>) -> Decision {
    Decision::Superseded(reason.into(), Vec::new())
}

/// A payment, in the words of an incident.
fn told(payment: &Payment) -> String {
    let failed = if payment.kind == PaymentKind::Failed { "failed " } else { "" };
    format!("{failed}payment {} of {} {}", payment.payment_id, payment.amount, payment.currency)
}

fn confirmed(order: &Order, status: Status, payment: &Payment, on_mismatch: AmountMismatch) -> Decision {
    let money = told(payment);
    let rejected = |kind, detail: String| Decision::Rejected(detail.clone(), vec![Incident { kind, detail }]);
    if status == Status::Cancelled {
        return rejected(IncidentKind::PaidCancelled, format!("{money} came for a cancelled order"));
    }
    if let Some((other, _)) = order.facts.keys().find(|(_, kind)| *kind == PaymentKind::Confirmed) {
        return rejected(IncidentKind::PaidTwice, format!("{money} came for an order that payment {other} had paid"));
    }
    let mismatch = paid(payment, order, on_mismatch.tolerance).map(|paid| (paid, mismatched(order, &money)));
    if !status.can_become(Status::PaymentConfirmed) {
        // Confirmed by hand, shipped or delivered before its money came: there is nothing to hold, and something to look at.
        let incidents = mismatch.into_iter().map(|(_, incident)| incident).collect();
        return Decision::Superseded(format!("the order is {status} already"), incidents);
    }
    let mut incidents = Vec::new();
    if let Some((paid, incident)) = mismatch {
        if on_mismatch.holds(paid) {
            return Decision::Held(incident.detail.clone(), incident);
        }
        incidents.push(incident);
    }
    let gone = order.items.iter().filter(|item| item.is_gone()).map(|item| item.reservation_id.as_str());
    let gone: Vec<_> = gone.collect::<BTreeSet<_>>().into_iter().collect();
    if !gone.is_empty() {
        let detail = format!("{money}, but reservation {} was released or refused", gone.join(", "));
        incidents.push(Incident { kind: IncidentKind::PaidUnreserved, detail });
    }
    Decision::Apply(Change {
        status: Some(Status::PaymentConfirmed),
        reason: "Payment confirmed".into(),
        notes: Some(format!("Payment ID: {}", payment.payment_id)),
        calls: calls(order, Action::Confirm, "Payment confirmed", |_| true),
        incidents,
    })
}

fn mismatched(order: &Order, money: &str) -> Incident {
    let detail = format!("{money} for an order of {} {}", order.total, order.currency);
    Incident { kind: IncidentKind::AmountMismatch, detail }
}

fn failed(order: &Order, status: Status, payment: &Payment) -> Decision {
    if !status.can_become(Status::PaymentFailed) {
        return superseded(format!("the order is {status} already"));
    }
    let reason = match payment.failure_reason.as_str() {
        "" => "Payment failed".to_owned(),
        reason => format!("Payment failed: {reason}"),
    };
    Decision::Apply(Change {
        status: Some(Status::PaymentFailed),
        calls: calls(order, Action::Release, &reason, |_| true),
        reason,
        notes: None,
        incidents: Vec::new(),
    })
}

/// An order that was not paid in time is cancelled and gives its goods back.
fn unpaid(order: &Order, status: Status, placed_before: DateTime<Utc>, cod_too: bool) -> Decision {
    if status != Status::Pending {
        return superseded(format!("the order is {status} already"));
    }
    match order.created_at {
        None => return superseded("nobody knows when the order was placed"),
        Some(placed) if placed >= placed_before => return superseded("the order is young enough to be paid"),
        Some(_) => {}
    }
    if order.is_cod() && !cod_too {
        return superseded("the order is paid on delivery");
    }
    let reason = "Not paid in time";
    Decision::Apply(Change {
        status: Some(Status::Cancelled),
        reason: reason.into(),
        notes: None,
        calls: calls(order, Action::Release, reason, |_| true),
        incidents: Vec::new(),
    })
}

/// A reservation that was never used is given back, unless its order still counts on it: it is paid, or waits for its delivery.
fn unused(order: &Order, status: Status, reserved_before: DateTime<Utc>) -> Decision {
    let given_up = match status {
        Status::Pending => !order.is_cod(),
        Status::PaymentFailed | Status::Cancelled => true,
        Status::PaymentConfirmed | Status::Confirmed | Status::Shipped | Status::Delivered => false,
    };
    if !given_up {
        return superseded(format!("the order is {status} and counts on its reservations"));
    }
    let reason = "Reservation expired";
    // An unknown age has not passed.
    let expired = |item: &Item| item.reserved_at.or(order.created_at).is_some_and(|made| made < reserved_before);
    let calls = calls(order, Action::Release, reason, expired);
    if calls.is_empty() {
        return superseded("no reservation has expired");
    }
    Decision::Apply(Change { status: None, reason: reason.into(), notes: None, calls, incidents: Vec::new() })
}

/// Cash on delivery: delivered is paid. Consumers of the announcement make the fulfillment.
fn cod_delivered(order: &Order, status: Status) -> Decision {
    if status != Status::Pending {
        return superseded(format!("the order is {status} already"));
    }
    if !order.is_cod() || !order.delivered {
        return superseded("the order is not one that is paid on delivery and delivered");
    }
    Decision::Apply(Change {
        status: Some(Status::Confirmed),
        reason: "Cash on delivery: delivered".into(),
        notes: None,
        calls: calls(order, Action::Confirm, "Cash on delivery: delivered", |_| true),
        incidents: Vec::new(),
    })
}

/// One call for each reservation of which something is still reserved, and `which` holds for all that is. Items may share a
/// reservation: it is confirmed or released as a whole, so never confirmed once any of them was released, and released after a
/// Confirm only when somebody cancels a paid order, which neither payments nor jobs do.
fn calls(order: &Order, action: Action, reason: &str, which: impl Fn(&Item) -> bool) -> Vec<Call> {
    let mut reservations: BTreeMap<&str, Vec<&Item>> = BTreeMap::new();
    for item in &order.items {
        reservations.entry(&item.reservation_id).or_default().push(item);
    }
    let call = |(reservation_id, items): (&str, Vec<&Item>)| {
        let contrary = |item: &&Item| match action {
            Action::Confirm => item.is_gone(),
            Action::Release => item.is_sold(),
        };
        let reserved: Vec<&Item> = items.iter().copied().filter(|item| item.is_reserved()).collect();
        let called = !reserved.is_empty() && reserved.iter().all(|item| which(item)) && !items.iter().any(contrary);
        called.then(|| Call {
            reservation_id: reservation_id.to_owned(),
            items: reserved.iter().map(|item| item.id.clone()).collect(),
            action,
            reason: reason.to_owned(),
        })
    };
    reservations.into_iter().filter_map(call).collect()
}

#[cfg(test)]
mod tests;
