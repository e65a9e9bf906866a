//! `decide(order, payment) -> decision`: pure, total, and consulted under the order's lock.

use super::{
    Action, AmountMismatch, Call, Change, Decision, Incident, IncidentKind, Order, Payment, PaymentKind, Status,
};

/// Decides what a payment does to its order.
///
/// A fact is consulted before the status: the same payment under another event id is superseded, whatever the order is by now.
#[must_use]
pub fn decide(order: &Order, payment: &Payment, on_mismatch: AmountMismatch) -> Decision {
    if order.facts.contains(&(payment.payment_id.clone(), payment.kind)) {
        return Decision::Superseded(format!("payment {} was told before", payment.payment_id));
    }
    let status: Status = match order.status.parse() {
        Ok(status) => status,
        Err(unknown) => return Decision::Rejected(unknown.to_string(), None),
    };
    match payment.kind {
        PaymentKind::Confirmed => confirmed(order, status, payment, on_mismatch),
        PaymentKind::Failed => failed(order, status, payment),
    }
}

fn confirmed(order: &Order, status: Status, payment: &Payment, on_mismatch: AmountMismatch) -> Decision {
    let money = format!("payment {} of {} {}", payment.payment_id, payment.amount, payment.currency);
    if status == Status::Cancelled {
        let detail = format!("{money} came for a cancelled order");
        return Decision::Rejected(detail.clone(), Some(Incident { kind: IncidentKind::PaidCancelled, detail }));
    }
    if let Some((other, _)) = order.facts.iter().find(|(_, kind)| *kind == PaymentKind::Confirmed) {
        let detail = format!("{money} came for an order that payment {other} had paid");
        return Decision::Rejected(detail.clone(), Some(Incident { kind: IncidentKind::PaidTwice, detail }));
    }
    if !status.can_become(Status::PaymentConfirmed) {
        return Decision::Superseded(format!("the order is {status} already"));
    }
    let mut incidents = Vec::new();
    if !same_money(payment, order) {
        let detail = format!("{money} for an order of {} {}", order.total, order.currency);
        let incident = Incident { kind: IncidentKind::AmountMismatch, detail: detail.clone() };
        if on_mismatch == AmountMismatch::Hold {
            return Decision::Held(detail, incident);
        }
        incidents.push(incident);
    }
    let gone: Vec<_> = order.items.iter().filter(|item| item.is_gone()).map(|i| i.reservation_id.as_str()).collect();
    if !gone.is_empty() {
        let detail = format!("{money}, but reservation {} was released or refused", gone.join(", "));
        incidents.push(Incident { kind: IncidentKind::PaidUnreserved, detail });
    }
    Decision::Apply(Change {
        status: Status::PaymentConfirmed,
        reason: "Payment confirmed".into(),
        notes: Some(format!("Payment ID: {}", payment.payment_id)),
        calls: calls(order, Action::Confirm, "Payment confirmed"),
        incidents,
    })
}

fn failed(order: &Order, status: Status, payment: &Payment) -> Decision {
    if !status.can_become(Status::PaymentFailed) {
        return Decision::Superseded(format!("the order is {status} already"));
    }
    let reason = format!("Payment failed: {}", payment.failure_reason);
    Decision::Apply(Change {
        status: Status::PaymentFailed,
        calls: calls(order, Action::Release, &reason),
        reason,
        notes: None,
        incidents: Vec::new(),
    })
}

/// Only what is reserved can be confirmed or released by a payment: never a Confirm after a Release of the same reservation, and
/// a Release after a Confirm only when an order is cancelled, which no payment does.
fn calls(order: &Order, action: Action, reason: &str) -> Vec<Call> {
    let reserved = order.items.iter().filter(|item| item.is_reserved());
    reserved
        .map(|item| Call {
            item_id: item.id,
            reservation_id: item.reservation_id.clone(),
            action,
            reason: reason.to_owned(),
        })
        .collect()
}

/// Equal after rounding to minor units: the sidecar passes amounts through a double (10.10 arrives as 10.1).
fn same_money(payment: &Payment, order: &Order) -> bool {
    let places = minor_units(&order.currency);
    payment.currency.eq_ignore_ascii_case(&order.currency)
        && payment.amount.round_dp(places) == order.total.round_dp(places)
}

/// Decimal places of a currency (ISO 4217, the exceptions to 2).
fn minor_units(currency: &str) -> u32 {
    match currency.to_ascii_uppercase().as_str() {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "UYI" | "VND"
        | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        "CLF" | "UYW" => 4,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use rust_decimal::Decimal;

    use super::super::Item;
    use super::*;

    fn order(status: Status) -> Order {
        let item = Item { id: 1, reservation_id: "r1".into(), reservation_status: Some("reserved".into()) };
        Order {
            id: "o1".into(),
            status: status.to_string(),
            currency: "USD".into(),
            total: Decimal::new(1010, 2),
            items: vec![item],
            facts: HashSet::new(),
        }
    }

    fn payment(id: &str, kind: PaymentKind) -> Payment {
        Payment {
            payment_id: id.into(),
            order_id: "o1".into(),
            kind,
            amount: Decimal::new(101, 1),
            currency: "USD".into(),
            failure_reason: "card declined".into(),
        }
    }

    #[test]
    fn a_confirmed_payment_confirms_the_reservation() {
        let decision =
            decide(&order(Status::Pending), &payment("p1", PaymentKind::Confirmed), AmountMismatch::default());
        let Decision::Apply(change) = decision else { unreachable!("{decision:?}") };
        assert_eq!(change.status, Status::PaymentConfirmed);
        assert_eq!((change.reason.as_str(), change.notes.as_deref()), ("Payment confirmed", Some("Payment ID: p1")));
        assert_eq!(change.calls.len(), 1);
        assert!(change.incidents.is_empty(), "10.10 and 10.1 are the same money");
    }

    #[test]
    fn a_failed_payment_releases_and_a_later_one_finds_nothing_reserved() {
        let mut order = order(Status::Pending);
        let first = payment("p1", PaymentKind::Failed);
        let decision = decide(&order, &first, AmountMismatch::default());
        let Decision::Apply(change) = &decision else { unreachable!("{decision:?}") };
        assert_eq!(change.reason, "Payment failed: card declined");
        assert_eq!(change.calls[0].action, Action::Release);
        order.note(&first, &decision);

        let second = decide(&order, &payment("p2", PaymentKind::Confirmed), AmountMismatch::default());
        let Decision::Apply(change) = second else { unreachable!("{second:?}") };
        assert!(change.calls.is_empty(), "never a Confirm after a Release");
        assert_eq!(change.incidents[0].kind, IncidentKind::PaidUnreserved);
    }

    #[test]
    fn money_for_a_cancelled_or_a_paid_order_is_an_incident() {
        let cancelled =
            decide(&order(Status::Cancelled), &payment("p1", PaymentKind::Confirmed), AmountMismatch::default());
        assert!(matches!(cancelled, Decision::Rejected(_, Some(i)) if i.kind == IncidentKind::PaidCancelled));

        let mut paid = order(Status::Shipped);
        paid.facts.insert(("p0".into(), PaymentKind::Confirmed));
        let twice = decide(&paid, &payment("p1", PaymentKind::Confirmed), AmountMismatch::default());
        assert!(matches!(twice, Decision::Rejected(_, Some(i)) if i.kind == IncidentKind::PaidTwice));
    }

    #[test]
    fn another_amount_or_currency_is_applied_or_held() {
        let mut odd = payment("p1", PaymentKind::Confirmed);
        odd.amount = Decimal::new(1011, 2);
        let applied = decide(&order(Status::Pending), &odd, AmountMismatch::Apply);
        assert!(
            matches!(applied, Decision::Apply(c) if c.incidents.iter().any(|i| i.kind == IncidentKind::AmountMismatch))
        );
        assert!(matches!(decide(&order(Status::Pending), &odd, AmountMismatch::Hold), Decision::Held(..)));
        let mut foreign = payment("p1", PaymentKind::Confirmed);
        foreign.currency = "EUR".into();
        assert!(matches!(decide(&order(Status::Pending), &foreign, AmountMismatch::Hold), Decision::Held(..)));
    }

    #[test]
    fn rounding_follows_the_currency() {
        let mut yen = order(Status::Pending);
        yen.currency = "JPY".into();
        yen.total = Decimal::from(100);
        let mut paid = payment("p1", PaymentKind::Confirmed);
        paid.currency = "jpy".into();
        paid.amount = Decimal::new(1004, 1);
        assert!(same_money(&paid, &yen));
    }

    #[test]
    fn an_unknown_status_is_left_alone() {
        let mut odd = order(Status::Pending);
        odd.status = "on_hold".into();
        let decision = decide(&odd, &payment("p1", PaymentKind::Confirmed), AmountMismatch::default());
        assert_eq!(decision, Decision::Rejected("unknown order status `on_hold`".into(), None));
    }

    proptest! {
        /// Any sequence of duplicated, reordered and conflicting payments: only legal moves, each status at most once, every
        /// reservation asked for at most one thing.
        #[test]
        fn any_sequence_of_payments_leaves_a_legal_history(
            start in prop::sample::select(Status::ALL.to_vec()),
            events in prop::collection::vec((0..4u8, any::<bool>(), 0..3u8), 0..24),
            hold in any::<bool>(),
        ) {
            let policy = if hold { AmountMismatch::Hold } else { AmountMismatch::Apply };
            let mut order = order(start);
            let mut history = vec![start];
            let mut calls = Vec::new();
            for (id, is_confirmed, cents) in events {
                let kind = if is_confirmed { PaymentKind::Confirmed } else { PaymentKind::Failed };
                let mut payment = payment(&format!("p{id}"), kind);
                payment.amount += Decimal::new(i64::from(cents), 2);
                let decision = decide(&order, &payment, policy);
                if let Decision::Apply(change) = &decision {
                    prop_assert!(history[history.len() - 1].can_become(change.status));
                    prop_assert!(!history.contains(&change.status), "a status is announced once");
                    history.push(change.status);
                    calls.extend(change.calls.clone());
                }
                order.note(&payment, &decision);
                let again = decide(&order, &payment, policy);
                prop_assert!(!matches!(again, Decision::Apply(_)), "the same payment changes nothing twice");
            }
            prop_assert!(calls.len() <= 1);
            prop_assert_eq!(order.status, history[history.len() - 1].to_string());
        }
    }
}
