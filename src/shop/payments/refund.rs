//! Money that was given back. Taken in where `worker.eventbus.refunds` says so.

use super::field::{ORDER_ID, Undecodable, amount, currency, identifier, reason};
use crate::engine::inbox::reading::fields;
use crate::shop::orders::Refund;

/// The topic of refunds.
pub const REFUNDED_TOPIC: &str = "payment.refunded";

/// Decodes the `data` of a refund. What decides is read exactly: `order_id`, `payment_id`, `refund_id`, `amount` and `currency`.
///
/// # Errors
///
/// [`Undecodable`] with a reason for people.
pub fn decode(body: &[u8]) -> Result<Refund, Undecodable> {
    let fields = fields(ORDER_ID, body)?;
    Ok(Refund {
        refund_id: identifier(&fields, "refund_id")?,
        payment_id: identifier(&fields, "payment_id")?,
        order_id: identifier(&fields, ORDER_ID)?,
        amount: amount(&fields)?,
        currency: currency(&fields)?,
        reason: reason(&fields, "reason"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refund_is_read_and_a_field_that_decides_is_missed_by_name() {
        let body = json!({"event_type": "payment.refunded", "payment_id": "p1", "refund_id": "r1", "order_id": "o1", "amount": "4.50",
            "currency": "EUR", "timestamp": "2026-01-01T00:00:00Z"});
        let refund = decode(body.to_string().as_bytes()).unwrap();
        assert_eq!(
            (refund.refund_id.as_str(), refund.amount.to_string(), refund.reason.as_str()),
            ("r1", "4.50".into(), "")
        );
        for field in ["payment_id", "refund_id", "order_id", "amount", "currency"] {
            let mut less = body.clone();
            less.as_object_mut().unwrap().remove(field);
            let said = decode(less.to_string().as_bytes()).unwrap_err().to_string();
            assert!(said.contains(&format!("`{field}` is missing")), "{said}");
        }
    }
}
