//! The two payment events as the payment service sends them.

use chrono::{SecondsFormat, Utc};
use serde::Serialize;
use serde_json::value::RawValue;

/// The topic of [`Confirmed`].
pub const CONFIRMED: &str = "payment.confirmed";
/// The topic of [`Failed`].
pub const FAILED: &str = "payment.failed";

/// The data of `payment.confirmed`. Change a field to make it odd.
#[derive(Clone, Debug, Serialize)]
pub struct Confirmed {
    /// `payment.confirmed`.
    pub event_type: String,
    /// The payment.
    pub payment_id: String,
    /// The order that it pays.
    pub order_id: String,
    /// The order's number, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_number: Option<String>,
    /// A JSON number with its own digits; see [`amount`].
    pub amount: Box<RawValue>,
    /// Three letters.
    pub currency: String,
    /// As the payment service calls it.
    pub status: String,
    /// RFC 3339.
    pub timestamp: String,
    /// Anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Value>,
}

/// The data of `payment.failed`. Change a field to make it odd.
#[derive(Clone, Debug, Serialize)]
pub struct Failed {
    /// `payment.failed`.
    pub event_type: String,
    /// The payment.
    pub payment_id: String,
    /// The order that it should have paid.
    pub order_id: String,
    /// The order's number, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_number: Option<String>,
    /// A JSON number with its own digits; see [`amount`].
    pub amount: Box<RawValue>,
    /// Three letters.
    pub currency: String,
    /// Why, for people.
    pub failure_reason: String,
    /// RFC 3339.
    pub timestamp: String,
}

/// A confirmed payment of `total` (JSON text, for example `10.10`) USD.
pub fn confirmed(payment_id: &str, order_id: &str, total: &str) -> Confirmed {
    Confirmed {
        event_type: CONFIRMED.into(),
        payment_id: payment_id.into(),
        order_id: order_id.into(),
        order_number: None,
        amount: amount(total),
        currency: "USD".into(),
        status: "confirmed".into(),
        timestamp: now(),
        metadata: None,
    }
}

/// A failed payment of `total` (JSON text) USD.
pub fn failed(payment_id: &str, order_id: &str, total: &str, reason: &str) -> Failed {
    Failed {
        event_type: FAILED.into(),
        payment_id: payment_id.into(),
        order_id: order_id.into(),
        order_number: None,
        amount: amount(total),
        currency: "USD".into(),
        failure_reason: reason.into(),
        timestamp: now(),
    }
}

/// An amount from its JSON text, digits kept: `10.10`, `1e400`, or `"10.10"` for a string.
pub fn amount(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap_or_else(|e| panic!("the amount {json} is not JSON: {e}"))
}

/// The data as JSON text.
pub fn json(data: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(data).unwrap()
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_amount_keeps_its_digits() {
        let text = String::from_utf8(super::json(&super::confirmed("p", "o", "10.10"))).unwrap();
        assert!(text.contains(r#""amount":10.10,"#), "{text}");
        assert!(!text.contains("order_number"));
    }
}
