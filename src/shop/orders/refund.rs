//! The decision about a refund: it changes no status, and may open an incident.

use rust_decimal::Decimal;

use super::{Change, Decision, Incident, IncidentKind, Order, PaymentKind, Refund, Status};

/// A refund is a fact that counts once. Whether the order goes on is decided by the person who gave the money back.
pub(super) fn refunded(order: &Order, refund: &Refund) -> Decision {
    let Refund { refund_id, payment_id, amount, currency, .. } = refund;
    if order.refunds.contains_key(refund_id) {
        return Decision::Superseded(format!("refund {refund_id} was told before"), Vec::new());
    }
    let money = format!("refund {refund_id} of {amount} {currency}");
    let mut incidents = Vec::new();
    if !order.facts.contains_key(&(payment_id.clone(), PaymentKind::Confirmed)) {
        let detail = format!("{money} is of payment {payment_id}, which was not confirmed for this order");
        incidents.push(Incident { kind: IncidentKind::RefundUnknown, detail });
    }
    let before: Decimal = of_currency(order.refunds.values(), currency);
    let goes_on = matches!(order.status.parse(), Ok(Status::PaymentConfirmed | Status::Confirmed | Status::Shipped));
    if let Some(paid) = paid(order, currency).filter(|paid| goes_on && before < *paid && before + *amount >= *paid) {
        let detail =
            format!("{money} gives back all of the {paid} {currency} that was paid, and the order is {}", order.status);
        incidents.push(Incident { kind: IncidentKind::RefundedAlive, detail });
    }
    Decision::Apply(Change { status: None, reason: "Refunded".into(), notes: None, calls: Vec::new(), incidents })
}

/// The known payments in this currency, summed up; none: there is none.
fn paid(order: &Order, currency: &str) -> Option<Decimal> {
    let confirmed = order.facts.iter().filter(|((_, kind), _)| *kind == PaymentKind::Confirmed);
    let known: Vec<&(Decimal, String)> = confirmed.filter_map(|(_, money)| money.as_ref()).collect();
    let paid = of_currency(known, currency);
    (paid > Decimal::ZERO).then_some(paid)
}

fn of_currency<'a>(money: impl IntoIterator<Item = &'a (Decimal, String)>, currency: &str) -> Decimal {
    let same = money.into_iter().filter(|(_, other)| other.eq_ignore_ascii_case(currency));
    same.map(|(amount, _)| *amount).sum()
}
