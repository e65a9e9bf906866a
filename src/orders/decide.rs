//! `decide(order, fact) -> decision`: pure, total, and consulted under the order's lock.

use chrono::{DateTime, Utc};

use super::{
    Action, AmountMismatch, Call, Change, Decision, Fact, Incident, IncidentKind, Item, Order, Payment, PaymentKind,
    Status,
};

/// Decides what a fact does to its order.
///
/// What was told of payments is consulted before the status: the same payment under another event id is superseded, whatever the
/// order is by now. Jobs select orders without a lock; here, under the lock, is decided whether they were right.
#[must_use]
pub fn decide(order: &Order, fact: &Fact<'_>) -> Decision {
    if let Fact::Payment(payment, _) = fact
        && order.facts.contains(&(payment.payment_id.clone(), payment.kind))
    {
        return Decision::Superseded(format!("payment {} was told before", payment.payment_id));
    }
    let status: Status = match order.status.parse() {
        Ok(status) => status,
        Err(unknown) => return Decision::Rejected(unknown.to_string(), None),
    };
    match *fact {
        Fact::Payment(payment, on_mismatch) => match payment.kind {
            PaymentKind::Confirmed => confirmed(order, status, payment, on_mismatch),
            PaymentKind::Failed => failed(order, status, payment),
        },
        Fact::Unpaid { placed_before, cod_too } => unpaid(order, status, placed_before, cod_too),
        Fact::Unused { reserved_before } => unused(order, status, reserved_before),
        Fact::CodDelivered => cod_delivered(order, status),
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
        status: Some(Status::PaymentConfirmed),
        reason: "Payment confirmed".into(),
        notes: Some(format!("Payment ID: {}", payment.payment_id)),
        calls: calls(order, Action::Confirm, "Payment confirmed", Item::is_reserved),
        incidents,
    })
}

fn failed(order: &Order, status: Status, payment: &Payment) -> Decision {
    if !status.can_become(Status::PaymentFailed) {
        return Decision::Superseded(format!("the order is {status} already"));
    }
    let reason = format!("Payment failed: {}", payment.failure_reason);
    Decision::Apply(Change {
        status: Some(Status::PaymentFailed),
        calls: calls(order, Action::Release, &reason, Item::is_reserved),
        reason,
        notes: None,
        incidents: Vec::new(),
    })
}

/// An order that nobody paid in time is cancelled and gives its goods back.
fn unpaid(order: &Order, status: Status, placed_before: DateTime<Utc>, cod_too: bool) -> Decision {
    if status != Status::Pending {
        return Decision::Superseded(format!("the order is {status} already"));
    }
    match order.created_at {
        None => return Decision::Superseded("nobody knows when the order was placed".into()),
        Some(placed) if placed >= placed_before => {
            return Decision::Superseded("the order is young enough to be paid".into());
        }
        Some(_) => {}
    }
    if order.is_cod() && !cod_too {
        return Decision::Superseded("the order is paid on delivery".into());
    }
    let reason = "Not paid in time";
    Decision::Apply(Change {
        status: Some(Status::Cancelled),
        reason: reason.into(),
        notes: None,
        calls: calls(order, Action::Release, reason, Item::is_reserved),
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
        return Decision::Superseded(format!("the order is {status} and counts on its reservations"));
    }
    let reason = "Reservation expired";
    // An age that nobody knows has not passed.
    let made = |item: &Item| item.reserved_at.or(order.created_at);
    let expired = |item: &Item| item.is_reserved() && made(item).is_some_and(|made| made < reserved_before);
    let calls = calls(order, Action::Release, reason, expired);
    if calls.is_empty() {
        return Decision::Superseded("no reservation has expired".into());
    }
    Decision::Apply(Change { status: None, reason: reason.into(), notes: None, calls, incidents: Vec::new() })
}

/// Cash on delivery: delivered is paid. The fulfillment is made by whoever consumes the announcement.
fn cod_delivered(order: &Order, status: Status) -> Decision {
    if status != Status::Pending {
        return Decision::Superseded(format!("the order is {status} already"));
    }
    if !order.is_cod() || !order.delivered {
        return Decision::Superseded("the order is not one that is paid on delivery and delivered".into());
    }
    Decision::Apply(Change {
        status: Some(Status::Confirmed),
        reason: "Cash on delivery: delivered".into(),
        notes: None,
        calls: calls(order, Action::Confirm, "Cash on delivery: delivered", Item::is_reserved),
        incidents: Vec::new(),
    })
}

/// Only what is reserved can be confirmed or released: never a Confirm after a Release of the same reservation, and a Release
/// after a Confirm only when somebody cancels a paid order, which neither payments nor jobs do.
fn calls(order: &Order, action: Action, reason: &str, which: impl Fn(&Item) -> bool) -> Vec<Call> {
    let chosen = order.items.iter().filter(|item| which(item));
    chosen
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

    use super::*;

    fn order(status: Status) -> Order {
        let item =
            Item { id: 1, reservation_id: "r1".into(), reservation_status: Some("reserved".into()), reserved_at: None };
        Order {
            id: "o1".into(),
            status: status.to_string(),
            payment_method: "CARD".into(),
            delivered: false,
            currency: "USD".into(),
            total: Decimal::new(1010, 2),
            created_at: Some(hour(0)),
            items: vec![item],
            facts: HashSet::new(),
        }
    }

    fn hour(hour: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + chrono::TimeDelta::hours(hour)
    }

    fn paid(order: &Order, payment: &Payment, on_mismatch: AmountMismatch) -> Decision {
        decide(order, &Fact::Payment(payment, on_mismatch))
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
        let decision = paid(&order(Status::Pending), &payment("p1", PaymentKind::Confirmed), AmountMismatch::default());
        let Decision::Apply(change) = decision else { unreachable!("{decision:?}") };
        assert_eq!(change.status, Some(Status::PaymentConfirmed));
        assert_eq!((change.reason.as_str(), change.notes.as_deref()), ("Payment confirmed", Some("Payment ID: p1")));
        assert_eq!(change.calls.len(), 1);
        assert!(change.incidents.is_empty(), "10.10 and 10.1 are the same money");
    }

    #[test]
    fn a_failed_payment_releases_and_a_later_one_finds_nothing_reserved() {
        let mut order = order(Status::Pending);
        let first = payment("p1", PaymentKind::Failed);
        let decision = paid(&order, &first, AmountMismatch::default());
        let Decision::Apply(change) = &decision else { unreachable!("{decision:?}") };
        assert_eq!(change.reason, "Payment failed: card declined");
        assert_eq!(change.calls[0].action, Action::Release);
        order.note(&Fact::Payment(&first, AmountMismatch::default()), &decision);

        let second = paid(&order, &payment("p2", PaymentKind::Confirmed), AmountMismatch::default());
        let Decision::Apply(change) = second else { unreachable!("{second:?}") };
        assert!(change.calls.is_empty(), "never a Confirm after a Release");
        assert_eq!(change.incidents[0].kind, IncidentKind::PaidUnreserved);
    }

    #[test]
    fn money_for_a_cancelled_or_a_paid_order_is_an_incident() {
        let cancelled =
            paid(&order(Status::Cancelled), &payment("p1", PaymentKind::Confirmed), AmountMismatch::default());
        assert!(matches!(cancelled, Decision::Rejected(_, Some(i)) if i.kind == IncidentKind::PaidCancelled));

        let mut shipped = order(Status::Shipped);
        shipped.facts.insert(("p0".into(), PaymentKind::Confirmed));
        let twice = paid(&shipped, &payment("p1", PaymentKind::Confirmed), AmountMismatch::default());
        assert!(matches!(twice, Decision::Rejected(_, Some(i)) if i.kind == IncidentKind::PaidTwice));
    }

    #[test]
    fn another_amount_or_currency_is_applied_or_held() {
        let mut odd = payment("p1", PaymentKind::Confirmed);
        odd.amount = Decimal::new(1011, 2);
        let applied = paid(&order(Status::Pending), &odd, AmountMismatch::Apply);
        assert!(
            matches!(applied, Decision::Apply(c) if c.incidents.iter().any(|i| i.kind == IncidentKind::AmountMismatch))
        );
        assert!(matches!(paid(&order(Status::Pending), &odd, AmountMismatch::Hold), Decision::Held(..)));
        let mut foreign = payment("p1", PaymentKind::Confirmed);
        foreign.currency = "EUR".into();
        assert!(matches!(paid(&order(Status::Pending), &foreign, AmountMismatch::Hold), Decision::Held(..)));
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
        let decision = paid(&odd, &payment("p1", PaymentKind::Confirmed), AmountMismatch::default());
        assert_eq!(decision, Decision::Rejected("unknown order status `on_hold`".into(), None));
    }

    #[test]
    fn an_unpaid_order_is_cancelled_once_it_is_old_and_gives_its_goods_back() {
        let unpaid = |hours| Fact::Unpaid { placed_before: hour(hours), cod_too: false };
        let mut order = order(Status::Pending);
        assert!(matches!(decide(&order, &unpaid(0)), Decision::Superseded(_)), "not older than that moment");
        let decision = decide(&order, &unpaid(1));
        let Decision::Apply(change) = &decision else { unreachable!("{decision:?}") };
        assert_eq!((change.status, change.calls[0].action), (Some(Status::Cancelled), Action::Release));
        order.note(&unpaid(1), &decision);
        let late = paid(&order, &payment("p1", PaymentKind::Confirmed), AmountMismatch::default());
        assert!(matches!(late, Decision::Rejected(_, Some(i)) if i.kind == IncidentKind::PaidCancelled));
    }

    #[test]
    fn an_order_whose_age_nobody_knows_is_not_given_up() {
        let order = Order { created_at: None, ..order(Status::Pending) };
        let unpaid = Fact::Unpaid { placed_before: hour(1_000_000), cod_too: true };
        assert!(matches!(decide(&order, &unpaid), Decision::Superseded(_)));
        let unused = Fact::Unused { reserved_before: hour(1_000_000) };
        assert!(matches!(decide(&order, &unused), Decision::Superseded(_)));
    }

    #[test]
    fn orders_paid_on_delivery_wait_for_it_and_are_confirmed_by_it() {
        let mut order = Order { payment_method: "COD".into(), ..order(Status::Pending) };
        let unpaid = |cod_too| Fact::Unpaid { placed_before: hour(1), cod_too };
        assert!(matches!(decide(&order, &unpaid(false)), Decision::Superseded(_)));
        assert!(matches!(decide(&order, &unpaid(true)), Decision::Apply(_)));
        assert!(matches!(decide(&order, &Fact::Unused { reserved_before: hour(1) }), Decision::Superseded(_)));
        assert!(matches!(decide(&order, &Fact::CodDelivered), Decision::Superseded(_)));
        order.delivered = true;
        let decision = decide(&order, &Fact::CodDelivered);
        assert!(matches!(&decision, Decision::Apply(c) if c.status == Some(Status::Confirmed)));
        order.note(&Fact::CodDelivered, &decision);
        assert!(matches!(decide(&order, &Fact::CodDelivered), Decision::Superseded(_)));
    }

    #[test]
    fn a_reservation_expires_by_its_own_age_and_never_under_a_paid_order() {
        let unused = Fact::Unused { reserved_before: hour(2) };
        for status in Status::ALL {
            let given_up = matches!(status, Status::Pending | Status::PaymentFailed | Status::Cancelled);
            let decision = decide(&order(status), &unused);
            assert_eq!(matches!(&decision, Decision::Apply(c) if c.status.is_none()), given_up, "{decision:?}");
        }
        let mut young = order(Status::Pending);
        young.items[0].reserved_at = Some(hour(2));
        assert!(matches!(decide(&young, &unused), Decision::Superseded(_)));
    }

    proptest! {
        /// Any sequence of duplicated, reordered and conflicting payments, with jobs between them: only legal moves, each status
        /// at most once, every reservation asked for at most one thing, and nothing is done twice.
        #[test]
        fn any_sequence_of_facts_leaves_a_legal_history(
            start in prop::sample::select(Status::ALL.to_vec()),
            cod in any::<bool>(),
            delivered in any::<bool>(),
            facts in prop::collection::vec((0..7u8, 0..4u8, 0..3u8), 0..24),
            hold in any::<bool>(),
        ) {
            let policy = if hold { AmountMismatch::Hold } else { AmountMismatch::Apply };
            let method = if cod { "cod" } else { "CARD" };
            let mut order = Order { payment_method: method.into(), delivered, ..order(start) };
            let mut history = vec![start];
            let mut calls = Vec::new();
            for (which, id, n) in facts {
                let kind = if which % 2 == 0 { PaymentKind::Confirmed } else { PaymentKind::Failed };
                let mut payment = payment(&format!("p{id}"), kind);
                payment.amount += Decimal::new(i64::from(n), 2);
                let moment = hour(i64::from(n));
                let fact = match which {
                    0..4 => Fact::Payment(&payment, policy),
                    4 => Fact::Unpaid { placed_before: moment, cod_too: id == 0 },
                    5 => Fact::Unused { reserved_before: moment },
                    _ => Fact::CodDelivered,
                };
                let decision = decide(&order, &fact);
                if let Decision::Apply(change) = &decision {
                    if let Some(status) = change.status {
                        prop_assert!(history[history.len() - 1].can_become(status));
                        prop_assert!(!history.contains(&status), "a status is announced once");
                        history.push(status);
                    }
                    calls.extend(change.calls.clone());
                }
                order.note(&fact, &decision);
                let again = decide(&order, &fact);
                prop_assert!(!matches!(again, Decision::Apply(_)), "the same fact changes nothing twice");
            }
            prop_assert!(calls.len() <= 1);
            prop_assert_eq!(order.status, history[history.len() - 1].to_string());
        }
    }
}
