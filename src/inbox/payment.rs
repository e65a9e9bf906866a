//! Reads a payment out of an event's `data`. What cannot be read is said in a sentence, never guessed.

use chrono::DateTime;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::orders::{Payment, PaymentKind};
use crate::telemetry::labels::FailReason;

/// The topic of confirmed payments, also their `event_type`.
pub const CONFIRMED_TOPIC: &str = "payment.confirmed";
/// The topic of failed payments, also their `event_type`.
pub const FAILED_TOPIC: &str = "payment.failed";

/// The longest order or payment id, in bytes: both are index keys.
const MAX_ID: usize = 255;
/// The longest failure reason that history and announcements repeat, in characters; the inbox keeps all of it.
const MAX_REASON: usize = 500;

/// Why an event says nothing that the worker can act on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// A topic without a handler.
    #[error("no handler for topic `{0}`: known are `{CONFIRMED_TOPIC}` and `{FAILED_TOPIC}`")]
    Topic(String),
    /// Not JSON, or JSON of another shape.
    #[error("{0}")]
    Shape(String),
    /// A field whose value cannot be.
    #[error("field `{0}`: {1}")]
    Field(&'static str, String),
}

impl Undecodable {
    /// The label under which it is counted.
    #[must_use]
    pub const fn fail_reason(&self) -> FailReason {
        match self {
            Self::Topic(_) => FailReason::UnknownTopic,
            Self::Shape(_) | Self::Field(..) => FailReason::Undecodable,
        }
    }
}

#[derive(Deserialize)]
struct Confirmed<'a> {
    event_type: String,
    payment_id: String,
    order_id: String,
    #[serde(borrow)]
    amount: &'a RawValue,
    currency: String,
    #[serde(rename = "status")]
    _status: String,
    timestamp: String,
    #[serde(default, rename = "metadata")]
    _metadata: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(default, rename = "order_number")]
    _order_number: Option<String>,
}

#[derive(Deserialize)]
struct Failed<'a> {
    event_type: String,
    payment_id: String,
    order_id: String,
    #[serde(borrow)]
    amount: &'a RawValue,
    currency: String,
    failure_reason: String,
    timestamp: String,
    #[serde(default, rename = "order_number")]
    _order_number: Option<String>,
}

/// Decodes the `data` of an event of `topic`.
///
/// # Errors
///
/// [`Undecodable`] with a reason for people; it quotes field names, never values that could be personal.
pub fn decode(topic: &str, body: &[u8]) -> Result<Payment, Undecodable> {
    match topic {
        CONFIRMED_TOPIC => {
            let event: Confirmed<'_> = read(body)?;
            checked(topic, &event.event_type, &event.timestamp)?;
            payment(event.payment_id, event.order_id, PaymentKind::Confirmed, event.amount, event.currency, "")
        }
        FAILED_TOPIC => {
            let event: Failed<'_> = read(body)?;
            checked(topic, &event.event_type, &event.timestamp)?;
            let reason = &event.failure_reason;
            payment(event.payment_id, event.order_id, PaymentKind::Failed, event.amount, event.currency, reason)
        }
        other => Err(Undecodable::Topic(other.chars().take(MAX_ID).collect())),
    }
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Undecodable> {
    if body.is_empty() {
        return Err(Undecodable::Shape("the event has no data".into()));
    }
    // serde would take the fields of a struct from an array, by place.
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(Undecodable::Shape("wrong shape: an array, expected an object".into()));
    }
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        // Only the parser's own words and field names: a message about a value quotes it.
        serde_json::error::Category::Data => Undecodable::Shape(format!("wrong shape: {}", without_values(&error))),
        _ => Undecodable::Shape(format!("not JSON: line {} column {}", error.line(), error.column())),
    })
}

/// serde's message without the value that it quotes ("invalid type: string "Jane Doe", expected ...").
fn without_values(error: &serde_json::Error) -> String {
    let message = error.to_string();
    match (message.find(": "), message.rfind(", expected ")) {
        (Some(start), Some(end)) if message.starts_with("invalid ") && start < end => {
            let kind = message[start + 2..end].split([' ', '`']).next().unwrap_or_default();
            format!("{}: {kind}{}", &message[..start], &message[end..])
        }
        _ => message,
    }
}

fn checked(topic: &str, event_type: &str, timestamp: &str) -> Result<(), Undecodable> {
    if event_type != topic {
        return Err(Undecodable::Field("event_type", format!("is not `{topic}`, the topic it came on")));
    }
    DateTime::parse_from_rfc3339(timestamp)
        .map_err(|error| Undecodable::Field("timestamp", format!("not RFC 3339: {error}")))?;
    Ok(())
}

fn payment(
    payment_id: String,
    order_id: String,
    kind: PaymentKind,
    amount: &RawValue,
    currency: String,
    failure_reason: &str,
) -> Result<Payment, Undecodable> {
    identifier("payment_id", &payment_id)?;
    identifier("order_id", &order_id)?;
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(Undecodable::Field("currency", "not a code of three letters".into()));
    }
    Ok(Payment {
        payment_id,
        order_id,
        kind,
        amount: money(amount.get())?,
        currency,
        failure_reason: failure_reason.replace('\0', "\u{fffd}").chars().take(MAX_REASON).collect(),
    })
}

fn identifier(field: &'static str, value: &str) -> Result<(), Undecodable> {
    if value.is_empty() || value.len() > MAX_ID {
        return Err(Undecodable::Field(field, format!("{} bytes long: 1 to {MAX_ID} are possible", value.len())));
    }
    if value.contains(char::is_control) {
        return Err(Undecodable::Field(field, "has a control character".into()));
    }
    Ok(())
}

/// An amount from the digits of the JSON text: never through a float.
fn money(text: &str) -> Result<Decimal, Undecodable> {
    let wrong = |why: &str| Undecodable::Field("amount", why.to_owned());
    if !text.starts_with(|first: char| first.is_ascii_digit() || first == '-') {
        return Err(wrong("not a JSON number"));
    }
    let amount = Decimal::from_str_exact(text)
        .or_else(|_| Decimal::from_scientific(text))
        .map_err(|_| wrong("more digits than money has"))?;
    if amount.is_sign_negative() && !amount.is_zero() {
        return Err(wrong("negative"));
    }
    Ok(amount)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn confirmed() -> serde_json::Value {
        json!({"event_type": "payment.confirmed", "payment_id": "p1", "order_id": "o1", "amount": 10.1, "currency": "USD",
               "status": "confirmed", "timestamp": "2025-01-01T00:00:00Z", "metadata": {"a": 1}})
    }

    fn decoded(value: &serde_json::Value) -> Result<Payment, Undecodable> {
        decode(CONFIRMED_TOPIC, value.to_string().as_bytes())
    }

    #[test]
    fn both_payloads_are_read() {
        let payment = decoded(&confirmed()).unwrap();
        assert_eq!((payment.amount, payment.kind), (Decimal::new(101, 1), PaymentKind::Confirmed));
        let failed = json!({"event_type": "payment.failed", "payment_id": "p1", "order_id": "o1", "order_number": "N1",
            "amount": 1e2, "currency": "USD", "failure_reason": "no cover", "timestamp": "2025-01-01T00:00:00+02:00"});
        let payment = decode(FAILED_TOPIC, failed.to_string().as_bytes()).unwrap();
        assert_eq!((payment.amount, payment.failure_reason.as_str()), (Decimal::from(100), "no cover"));
    }

    #[test]
    fn an_amount_keeps_its_own_digits() {
        let body = confirmed().to_string().replace("10.1", "12345678901234567.89");
        assert_eq!(decode(CONFIRMED_TOPIC, body.as_bytes()).unwrap().amount.to_string(), "12345678901234567.89");
    }

    #[test]
    fn each_wrong_field_is_named() {
        for (field, value, says) in [
            ("amount", json!("10.10"), "field `amount`: not a JSON number"),
            ("amount", json!(-1), "field `amount`: negative"),
            ("order_id", json!(""), "field `order_id`: 0 bytes"),
            ("order_id", json!("x".repeat(256)), "field `order_id`: 256 bytes"),
            ("payment_id", json!("a\u{0}b"), "field `payment_id`: has a control character"),
            ("currency", json!("dollars"), "field `currency`"),
            ("timestamp", json!("yesterday"), "field `timestamp`: not RFC 3339"),
            ("event_type", json!("payment.failed"), "field `event_type`"),
            ("metadata", json!("Jane Doe"), "wrong shape: invalid type: string, expected a map"),
            ("order_id", json!(7), "wrong shape: invalid type: integer, expected a string"),
        ] {
            let mut event = confirmed();
            event[field] = value;
            let reason = decoded(&event).unwrap_err().to_string();
            assert!(reason.starts_with(says), "{reason}");
            assert!(!reason.contains("Jane"), "{reason}");
        }
        let mut event = confirmed();
        event.as_object_mut().unwrap().remove("order_id");
        assert!(decoded(&event).unwrap_err().to_string().contains("missing field `order_id`"));
        let body = confirmed().to_string().replace("10.1", "1e400");
        assert_eq!(
            decode(CONFIRMED_TOPIC, body.as_bytes()).unwrap_err().to_string(),
            "field `amount`: more digits than money has"
        );
        assert!(decode(CONFIRMED_TOPIC, b"{").unwrap_err().to_string().starts_with("not JSON"));
        assert!(decode("x", b"{}").unwrap_err().to_string().starts_with("no handler for topic `x`"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(topic in prop::sample::select(vec![CONFIRMED_TOPIC, FAILED_TOPIC, "x"]),
                                  body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(topic, &body);
        }

        #[test]
        fn any_number_is_money_or_refused(number in "-?[0-9]{1,40}(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,4})?") {
            if let Ok(amount) = money(&number) {
                prop_assert!(!amount.is_sign_negative() || amount.is_zero());
            }
        }
    }
}
