use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::shop::orders::{OnMismatch, Refund};

fn order(status: Status) -> Order {
    let item = Item {
        id: "1".into(),
        reservation_id: "r1".into(),
        reservation_status: Some("reserved".into()),
        reserved_at: None,
    };
    Order {
        id: "o1".into(),
        status: status.to_string(),
        payment_method: "CARD".into(),
        delivered: false,
        currency: "USD".into(),
        total: Decimal::new(1010, 2),
        created_at: Some(hour(0)),
        items: vec![item],
        facts: HashMap::new(),
        refunds: HashMap::new(),
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

fn kinds(decision: &Decision) -> Vec<IncidentKind> {
    decision.incidents().iter().map(|incident| incident.kind).collect()
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
    let cancelled = paid(&order(Status::Cancelled), &payment("p1", PaymentKind::Confirmed), AmountMismatch::default());
    assert!(kinds(&cancelled) == [IncidentKind::PaidCancelled] && matches!(cancelled, Decision::Rejected(..)));

    let mut shipped = order(Status::Shipped);
    shipped.facts.insert(("p0".into(), PaymentKind::Confirmed), None);
    let twice = paid(&shipped, &payment("p1", PaymentKind::Confirmed), AmountMismatch::default());
    assert!(kinds(&twice) == [IncidentKind::PaidTwice] && matches!(twice, Decision::Rejected(..)));
}

/// `(amount, currency)` for an order of 10.10 USD.
fn of(amount: &str, currency: &str) -> Payment {
    Payment { amount: amount.parse().unwrap(), currency: currency.into(), ..payment("p1", PaymentKind::Confirmed) }
}

#[test]
fn other_money_is_applied_with_an_incident_or_held_by_the_settings() {
    use OnMismatch::{Apply, Hold};
    let (less, more, foreign) = (of("0.01", "USD"), of("10.11", "USD"), of("10.10", "EUR"));
    for (any, underpaid, held) in [
        (Apply, Apply, [false, false, false]),
        (Apply, Hold, [true, false, true]),
        (Hold, Apply, [true, true, true]),
        (Hold, Hold, [true, true, true]),
    ] {
        let policy = AmountMismatch { any, underpaid, ..AmountMismatch::default() };
        for (payment, held) in [&less, &more, &foreign].into_iter().zip(held) {
            let decision = paid(&order(Status::Pending), payment, policy);
            assert_eq!(kinds(&decision), [IncidentKind::AmountMismatch], "{decision:?}");
            assert_eq!(matches!(decision, Decision::Held(..)), held, "{policy:?} {decision:?}");
            let approved = paid(&order(Status::Pending), payment, policy.approved());
            assert!(matches!(approved, Decision::Apply(_)), "{approved:?}");
        }
        let right = paid(&order(Status::PaymentFailed), &of("10.1", "usd"), policy);
        assert!(matches!(right, Decision::Apply(_)) && kinds(&right).is_empty(), "{right:?}");
    }
}

#[test]
fn a_tolerated_difference_is_none() {
    let cents = |cents| AmountMismatch {
        tolerance: Decimal::new(cents, 2),
        any: OnMismatch::Hold,
        ..AmountMismatch::default()
    };
    let of_order = |amount, policy| paid(&order(Status::Pending), &of(amount, "USD"), policy);
    for (amount, tolerance, right) in [
        ("10.09", 1, true),
        ("10.11", 1, true),
        ("10.08", 1, false),
        ("10.12", 1, false),
        ("10.094", 0, false),
        ("10.095", 0, true),
    ] {
        let decision = of_order(amount, cents(tolerance));
        assert_eq!(
            matches!(decision, Decision::Apply(ref c) if c.incidents.is_empty()),
            right,
            "{amount} {decision:?}"
        );
    }
}

#[test]
fn other_money_for_an_order_that_needs_none_any_more_is_an_incident() {
    for status in [Status::PaymentConfirmed, Status::Confirmed, Status::Shipped, Status::Delivered] {
        for odd in [of("10.09", "USD"), of("1000", "USD"), of("10.10", "EUR"), of("1", "JPY")] {
            for any in [OnMismatch::Apply, OnMismatch::Hold] {
                let policy = AmountMismatch { any, ..AmountMismatch::default() };
                let decision = paid(&order(status), &odd, policy);
                assert!(matches!(decision, Decision::Superseded(..)), "{decision:?}");
                assert_eq!(kinds(&decision), [IncidentKind::AmountMismatch], "{decision:?}");
            }
        }
        let right = paid(&order(status), &of("10.10", "USD"), AmountMismatch::default());
        assert!(matches!(right, Decision::Superseded(..)) && kinds(&right).is_empty(), "{right:?}");
    }
}

#[test]
fn a_payment_that_is_told_again_with_other_money_is_an_incident() {
    let mut order = order(Status::Pending);
    let first = of("10.10", "USD");
    let fact = Fact::Payment(&first, AmountMismatch::default());
    let decision = decide(&order, &fact);
    order.note(&fact, &decision);
    for (amount, currency, incidents) in
        [("10.1", "usd", 0), ("10.101", "USD", 0), ("20.20", "USD", 1), ("10.10", "EUR", 1)]
    {
        let again = of(amount, currency);
        let fact = Fact::Payment(&again, AmountMismatch::default());
        let decision = decide(&order, &fact);
        assert_eq!(decision.reason(), Some("payment p1 was told before"));
        assert_eq!(kinds(&decision), vec![IncidentKind::AmountMismatch; incidents], "{amount} {currency}");
        order.note(&fact, &decision);
    }
    // Of a payment of before the amounts were kept nobody knows.
    order.facts.insert(("p1".into(), PaymentKind::Confirmed), None);
    assert!(kinds(&paid(&order, &of("20.20", "USD"), AmountMismatch::default())).is_empty());
}

#[test]
fn a_payment_for_an_order_in_an_unknown_status_is_an_incident_and_a_job_is_none() {
    let mut odd = order(Status::Pending);
    odd.status = "on_hold".into();
    for kind in [PaymentKind::Confirmed, PaymentKind::Failed] {
        let decision = paid(&odd, &payment("p1", kind), AmountMismatch::default());
        assert_eq!(decision.reason(), Some("unknown order status `on_hold`"));
        assert_eq!(kinds(&decision), [IncidentKind::UnknownStatus], "{decision:?}");
    }
    let passed_over = decide(&odd, &Fact::Unpaid { placed_before: hour(1), cod_too: true });
    assert_eq!(passed_over, Decision::Rejected("unknown order status `on_hold`".into(), Vec::new()));
}

fn item(id: &str, reservation_id: &str, status: &str) -> Item {
    Item {
        id: id.into(),
        reservation_id: reservation_id.into(),
        reservation_status: Some(status.into()),
        reserved_at: None,
    }
}

#[test]
fn items_that_share_a_reservation_make_one_call() {
    let mut shared = order(Status::Pending);
    shared.items = vec![item("1", "r1", "reserved"), item("2", "r2", "reserved"), item("3", "r1", "reserved")];
    let first = payment("p1", PaymentKind::Confirmed);
    let decision = paid(&shared, &first, AmountMismatch::default());
    let called: Vec<_> = decision
        .change()
        .unwrap()
        .calls
        .iter()
        .map(|call| (call.reservation_id.as_str(), call.items.clone()))
        .collect();
    assert_eq!(called, [("r1", vec!["1".to_owned(), "3".to_owned()]), ("r2", vec!["2".to_owned()])]);
    shared.note(&Fact::Payment(&first, AmountMismatch::default()), &decision);
    assert!(shared.items.iter().all(Item::is_sold), "{:?}", shared.items);
}

#[test]
fn a_shared_reservation_is_never_half_confirmed_nor_half_released() {
    let mut shared = order(Status::Pending);
    // Its item was released, or sold, by what happened before; another item names the same reservation.
    for (other, released) in
        [("releasing", true), ("released", true), ("refused", true), ("confirming", false), ("confirmed", false)]
    {
        shared.items = vec![item("1", "r1", other), item("2", "r1", "reserved")];
        let confirmed = paid(&shared, &payment("p1", PaymentKind::Confirmed), AmountMismatch::default());
        assert_eq!(confirmed.change().unwrap().calls.is_empty(), released, "{other}");
        assert_eq!(kinds(&confirmed).contains(&IncidentKind::PaidUnreserved), released, "{other}");
        let given_up = decide(&shared, &Fact::Unpaid { placed_before: hour(1), cod_too: false });
        assert_eq!(given_up.change().unwrap().calls.is_empty(), !released, "{other}");
    }
    // The youngest item says how old a reservation is.
    shared.items =
        vec![item("1", "r1", "reserved"), Item { reserved_at: Some(hour(2)), ..item("2", "r1", "reserved") }];
    let unused = decide(&shared, &Fact::Unused { reserved_before: hour(2) });
    assert!(matches!(unused, Decision::Superseded(..)), "{unused:?}");
}

#[test]
fn a_failed_payment_without_a_reason_gives_none() {
    let silent = Payment { failure_reason: String::new(), ..payment("p1", PaymentKind::Failed) };
    let decision = paid(&order(Status::Pending), &silent, AmountMismatch::default());
    assert_eq!(decision.change().unwrap().reason, "Payment failed");
}

#[test]
fn an_unpaid_order_is_cancelled_once_it_is_old_and_gives_its_goods_back() {
    let unpaid = |hours| Fact::Unpaid { placed_before: hour(hours), cod_too: false };
    let mut order = order(Status::Pending);
    assert!(matches!(decide(&order, &unpaid(0)), Decision::Superseded(..)), "not older than that moment");
    let decision = decide(&order, &unpaid(1));
    let Decision::Apply(change) = &decision else { unreachable!("{decision:?}") };
    assert_eq!((change.status, change.calls[0].action), (Some(Status::Cancelled), Action::Release));
    order.note(&unpaid(1), &decision);
    let late = paid(&order, &payment("p1", PaymentKind::Confirmed), AmountMismatch::default());
    assert!(kinds(&late) == [IncidentKind::PaidCancelled]);
}

#[test]
fn an_order_whose_age_nobody_knows_is_not_given_up() {
    let order = Order { created_at: None, ..order(Status::Pending) };
    let unpaid = Fact::Unpaid { placed_before: hour(1_000_000), cod_too: true };
    assert!(matches!(decide(&order, &unpaid), Decision::Superseded(..)));
    let unused = Fact::Unused { reserved_before: hour(1_000_000) };
    assert!(matches!(decide(&order, &unused), Decision::Superseded(..)));
}

#[test]
fn orders_paid_on_delivery_wait_for_it_and_are_confirmed_by_it() {
    let mut order = Order { payment_method: "COD".into(), ..order(Status::Pending) };
    let unpaid = |cod_too| Fact::Unpaid { placed_before: hour(1), cod_too };
    assert!(matches!(decide(&order, &unpaid(false)), Decision::Superseded(..)));
    assert!(matches!(decide(&order, &unpaid(true)), Decision::Apply(_)));
    assert!(matches!(decide(&order, &Fact::Unused { reserved_before: hour(1) }), Decision::Superseded(..)));
    assert!(matches!(decide(&order, &Fact::CodDelivered), Decision::Superseded(..)));
    order.delivered = true;
    let decision = decide(&order, &Fact::CodDelivered);
    assert!(matches!(&decision, Decision::Apply(c) if c.status == Some(Status::Confirmed)));
    order.note(&Fact::CodDelivered, &decision);
    assert!(matches!(decide(&order, &Fact::CodDelivered), Decision::Superseded(..)));
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
    assert!(matches!(decide(&young, &unused), Decision::Superseded(..)));
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
        let any = if hold { OnMismatch::Hold } else { OnMismatch::Apply };
        let policy = AmountMismatch { any, ..AmountMismatch::default() };
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

fn refund(id: &str, payment: &str, amount: i64) -> Refund {
    Refund {
        refund_id: id.into(),
        payment_id: payment.into(),
        order_id: "o1".into(),
        amount: Decimal::new(amount, 2),
        currency: "usd".into(),
        reason: String::new(),
    }
}

/// The kinds of incidents that a refund opens; it is noted.
fn give_back(order: &mut Order, refund: &Refund) -> Vec<IncidentKind> {
    let fact = Fact::Refund(refund);
    let decision = decide(order, &fact);
    order.note(&fact, &decision);
    assert!(decision.change().is_none_or(|change| change.status.is_none() && change.calls.is_empty()), "{decision:?}");
    decision.incidents().iter().map(|incident| incident.kind).collect()
}

#[test]
fn a_refund_changes_nothing_and_is_told_once() {
    let mut order = order(Status::PaymentConfirmed);
    order.facts.insert(("p1".into(), PaymentKind::Confirmed), Some((Decimal::new(1010, 2), "USD".into())));
    assert_eq!(give_back(&mut order, &refund("r1", "p1", 500)), []);
    assert!(matches!(decide(&order, &Fact::Refund(&refund("r1", "p1", 500))), Decision::Superseded(..)));
    assert_eq!(give_back(&mut order, &refund("r2", "p1", 510)), [IncidentKind::RefundedAlive]);
    assert_eq!(give_back(&mut order, &refund("r3", "p1", 1)), [], "said once, when it was reached");
}

#[test]
fn all_that_was_given_back_is_an_incident_only_while_the_order_goes_on() {
    for status in Status::ALL {
        let mut order = order(status);
        order.facts.insert(("p1".into(), PaymentKind::Confirmed), Some((Decimal::new(1010, 2), "USD".into())));
        let goes_on = matches!(status, Status::PaymentConfirmed | Status::Confirmed | Status::Shipped);
        let expected = if goes_on { vec![IncidentKind::RefundedAlive] } else { vec![] };
        assert_eq!(give_back(&mut order, &refund("r1", "p1", 1010)), expected, "{status}");
    }
}

#[test]
fn a_refund_of_a_payment_that_nobody_knows_is_an_incident() {
    let mut order = order(Status::Pending);
    order.facts.insert(("p2".into(), PaymentKind::Failed), None);
    assert_eq!(give_back(&mut order, &refund("r1", "p1", 1010)), [IncidentKind::RefundUnknown]);
    assert_eq!(give_back(&mut order, &refund("r2", "p2", 1010)), [IncidentKind::RefundUnknown], "a failed one is none");
}
