//! Reads a payment out of an event's `data`. What cannot be read is said in a sentence, never guessed.

use rust_decimal::Decimal;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::engine::inbox::reading::{Fields, Unreadable, fields, kind_of, string};
use crate::shop::orders::{Payment, PaymentKind, Status};

/// The topic of confirmed payments.
pub const CONFIRMED_TOPIC: &str = "payment.confirmed";
/// The topic of failed payments.
pub const FAILED_TOPIC: &str = "payment.failed";

/// The field by which the data of an event is known from an envelope around it.
pub const ORDER_ID: &str = "order_id";

/// The longest order or payment id, in bytes: both are index keys.
const MAX_ID: usize = 255;
/// The largest whole number that a double holds as it is, with all below it: JSON numbers pass through doubles in many languages, and in
/// a sidecar that takes an event apart.
const MAX_WHOLE: i64 = (1 << 53) - 1;
/// The longest failure reason that history and announcements repeat, in characters; the inbox keeps all of it.
const MAX_REASON: usize = 500;

/// The status that an event on this topic asks for, if any.
#[must_use]
pub fn announces(topic: &str) -> Option<Status> {
    match topic {
        CONFIRMED_TOPIC => Some(Status::PaymentConfirmed),
        FAILED_TOPIC => Some(Status::PaymentFailed),
        _ => None,
    }
}

/// Why an event says nothing that the worker can act on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// A topic without a handler.
    #[error("no handler for topic `{0}`: known are `{CONFIRMED_TOPIC}` and `{FAILED_TOPIC}`")]
    Topic(String),
    /// There is no body at all.
    #[error("the event has no data")]
    NoData,
    /// Not JSON, or JSON of another shape.
    #[error("{0}")]
    Shape(String),
    /// A field whose value cannot be.
    #[error("field `{0}` is {1}")]
    Field(&'static str, String),
}

impl From<Unreadable> for Undecodable {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::NoData => Self::NoData,
            Unreadable::Shape(why) => Self::Shape(why),
        }
    }
}

/// Decodes the `data` of an event of `topic`.
///
/// What decides is read exactly: the topic, `order_id`, `payment_id`, `amount` and `currency`. Everything else is kept as it came and
/// never judged, but for an `event_type` that names the other topic: the two contradict each other.
///
/// # Errors
///
/// [`Undecodable`] with a reason for people; it names fields, and what came by its kind, never values that could be personal.
pub fn decode(topic: &str, body: &[u8]) -> Result<Payment, Undecodable> {
    let (kind, contrary) = match topic {
        CONFIRMED_TOPIC => (PaymentKind::Confirmed, FAILED_TOPIC),
        FAILED_TOPIC => (PaymentKind::Failed, CONFIRMED_TOPIC),
        other => return Err(Undecodable::Topic(other.chars().take(MAX_ID).collect())),
    };
    let fields = fields(ORDER_ID, body)?;
    if fields.get("event_type").and_then(|value| string(value)).is_some_and(|event_type| event_type == contrary) {
        let why = format!("`{contrary}`, and the topic is `{topic}`: the two contradict each other");
        return Err(Undecodable::Field("event_type", why));
    }
    Ok(Payment {
        payment_id: identifier(&fields, "payment_id")?,
        order_id: identifier(&fields, ORDER_ID)?,
        kind,
        amount: amount(&fields)?,
        currency: currency(&fields)?,
        failure_reason: if kind == PaymentKind::Failed { failure_reason(&fields) } else { String::new() },
    })
}

/// The value of a field that decides.
fn needed<'a>(fields: &'a Fields, field: &'static str, expected: &str) -> Result<&'a RawValue, Undecodable> {
    let wrong = |what: &str| Undecodable::Field(field, format!("{what}, expected {expected}"));
    let value = fields.get(field).ok_or_else(|| wrong("missing"))?;
    if value.get() == "null" { Err(wrong("null")) } else { Ok(value) }
}

/// A text, or a whole number as text.
fn identifier(fields: &Fields, field: &'static str) -> Result<String, Undecodable> {
    const EXPECTED: &str = "a text or a whole number";
    let value = needed(fields, field, EXPECTED)?;
    let wrong = |why: String| Undecodable::Field(field, why);
    let Some(id) = string(value) else {
        return whole(value.get()).ok_or_else(|| match kind_of(value) {
            "a number" => wrong(format!(
                "a number that is not whole, or is beyond {MAX_WHOLE} and may have lost digits on its way, expected {EXPECTED}: send it as a text"
            )),
            kind => wrong(format!("{kind}, expected {EXPECTED}")),
        });
    };
    if id.is_empty() || id.len() > MAX_ID {
        return Err(wrong(format!("a text of {} bytes, expected 1 to {MAX_ID}", id.len())));
    }
    if id.contains(char::is_control) {
        return Err(wrong("a text with a control character, expected none".into()));
    }
    if id.contains(char::REPLACEMENT_CHARACTER) {
        return Err(wrong("a text that has lost characters on its way, for it was not Unicode".into()));
    }
    Ok(id)
}

/// A whole JSON number that every sender's and every sidecar's doubles hold exactly.
fn whole(number: &str) -> Option<String> {
    let exact = Decimal::from_str_exact(number).or_else(|_| Decimal::from_scientific(number));
    let number = exact.ok()?.normalize();
    (number.fract().is_zero() && number.abs() <= Decimal::from(MAX_WHOLE)).then(|| number.to_string())
}

/// An amount from the digits of the JSON text, a number or a text of one: never through a float.
fn amount(fields: &Fields) -> Result<Decimal, Undecodable> {
    const EXPECTED: &str = "a number, or a text of one (10.10 or \"10.10\")";
    let value = needed(fields, "amount", EXPECTED)?;
    let wrong = |what: &str| Undecodable::Field("amount", format!("{what}, expected {EXPECTED}"));
    let text = string(value);
    let number = text.as_deref().map_or(value.get(), str::trim);
    if !is_number(number) {
        return Err(wrong(if text.is_some() { "a text that is no number" } else { kind_of(value) }));
    }
    let amount = decimal(number).ok_or_else(|| wrong("more digits than money has"))?;
    if amount.is_sign_negative() && !amount.is_zero() {
        return Err(wrong("a negative number"));
    }
    Ok(amount)
}

fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit() || first == '-')
        && serde_json::from_str::<&RawValue>(text).is_ok()
}

/// A number that money can be; digits behind the 28th are rounded away, as where a binary fraction was printed in full.
fn decimal(number: &str) -> Option<Decimal> {
    number.parse().or_else(|_| Decimal::from_scientific(number)).ok().filter(|_| is_number(number))
}

fn currency(fields: &Fields) -> Result<String, Undecodable> {
    const EXPECTED: &str = "a text of three letters (ISO 4217)";
    let value = needed(fields, "currency", EXPECTED)?;
    let wrong = |what: String| Undecodable::Field("currency", format!("{what}, expected {EXPECTED}"));
    let code = string(value).ok_or_else(|| wrong(kind_of(value).to_owned()))?;
    let code = code.trim();
    if code.len() != 3 || !code.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(wrong(format!("a text of {} characters that is no such code", code.chars().count())));
    }
    Ok(code.to_owned())
}

/// In the payment service's words, whatever it has them in; none where it gives none.
fn failure_reason(fields: &Fields) -> String {
    let reason = match fields.get("failure_reason").map(|value| (value.get(), string(value))) {
        None | Some(("null", _)) => String::new(),
        Some((_, Some(text))) => text,
        Some((json, None)) => {
            serde_json::from_str::<Value>(json).map_or_else(|_| json.to_owned(), |json| json.to_string())
        }
    };
    reason.replace('\0', "\u{fffd}").chars().take(MAX_REASON).collect()
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
    fn what_decides_nothing_is_never_judged() {
        for (field, value) in [
            ("metadata", json!([])),
            ("metadata", json!("Jane Doe")),
            ("order_number", json!(1001)),
            ("order_number", json!({"a": 1})),
            ("status", json!(null)),
            ("status", json!(7)),
            ("timestamp", json!("2026-01-01T12:00:00")),
            ("timestamp", json!("2026-01-01T12:00:00+0000")),
            ("timestamp", json!(1_767_268_800)),
            ("timestamp", json!(null)),
            ("event_type", json!("PaymentConfirmed")),
            ("event_type", json!(null)),
            ("event_type", json!(3)),
            ("failure_reason", json!({"code": 51})),
            ("anything", json!([[[]]])),
        ] {
            let mut event = confirmed();
            event[field] = value;
            let payment = decoded(&event).unwrap();
            assert_eq!((payment.order_id.as_str(), payment.amount), ("o1", Decimal::new(101, 1)), "{event}");
        }
        let least = json!({"payment_id": "p1", "order_id": "o1", "amount": 10.1, "currency": "USD"});
        for topic in [CONFIRMED_TOPIC, FAILED_TOPIC] {
            assert_eq!(decode(topic, least.to_string().as_bytes()).unwrap().currency, "USD");
        }
    }

    #[test]
    fn ids_and_amounts_are_texts_or_numbers() {
        for (field, value, order, amount) in [
            ("order_id", "1001", "1001", "10.1"),
            ("order_id", "1001.0", "1001", "10.1"),
            ("order_id", "1e3", "1000", "10.1"),
            ("order_id", "9007199254740991", "9007199254740991", "10.1"),
            ("order_id", "-7", "-7", "10.1"),
            ("order_id", "\"№-7\"", "№-7", "10.1"),
            ("amount", "\"10.10\"", "o1", "10.10"),
            ("amount", "\" 10.10 \"", "o1", "10.10"),
            ("amount", "10.0999999999999996447286321199499070644378662109375", "o1", "10.09999999999999964472863212"),
            ("amount", "10.1000000000000000000000000000000000000000", "o1", "10.1"),
            ("amount", "\"1e2\"", "o1", "100"),
            ("amount", "0", "o1", "0"),
            ("amount", "-0.0", "o1", "-0.0"),
        ] {
            let mut event = confirmed();
            event[field] = serde_json::from_str::<Value>("\"PLACE\"").unwrap();
            let payment = decode(CONFIRMED_TOPIC, event.to_string().replace("\"PLACE\"", value).as_bytes()).unwrap();
            assert_eq!(
                (payment.order_id.as_str(), payment.amount),
                (order, amount.parse().unwrap()),
                "{field}={value}"
            );
        }
    }

    #[test]
    fn why_a_payment_failed_may_be_said_in_any_way_or_not_at_all() {
        for (reason, read) in [
            (json!(null), ""),
            (json!(""), ""),
            (json!("no cover"), "no cover"),
            (json!(51), "51"),
            (json!({"code": 51, "a": true}), r#"{"a":true,"code":51}"#),
        ] {
            let mut event = confirmed();
            event["event_type"] = json!("payment.failed");
            event["failure_reason"] = reason;
            assert_eq!(decode(FAILED_TOPIC, event.to_string().as_bytes()).unwrap().failure_reason, read);
        }
    }

    #[test]
    fn each_wrong_field_is_named_with_what_was_expected_and_what_came() {
        for (field, value, says) in [
            ("amount", json!("ten"), "field `amount` is a text that is no number, expected a number, or a text of one"),
            ("amount", json!("10,10"), "field `amount` is a text that is no number"),
            ("amount", json!("1_000"), "field `amount` is a text that is no number"),
            ("amount", json!("+10"), "field `amount` is a text that is no number"),
            ("amount", json!(""), "field `amount` is a text that is no number"),
            ("amount", json!(true), "field `amount` is true or false, expected a number"),
            ("amount", json!(null), "field `amount` is null, expected a number"),
            ("amount", json!({"value": 1}), "field `amount` is an object, expected a number"),
            ("amount", json!(-1), "field `amount` is a negative number"),
            ("order_id", json!(""), "field `order_id` is a text of 0 bytes, expected 1 to 255"),
            ("order_id", json!("x".repeat(256)), "field `order_id` is a text of 256 bytes, expected 1 to 255"),
            ("order_id", json!("a\u{fffd}"), "field `order_id` is a text that has lost characters on its way"),
            ("order_id", json!(7.5), "field `order_id` is a number that is not whole, or is beyond 9007199254740991"),
            (
                "order_id",
                json!(9_007_199_254_740_992_i64),
                "field `order_id` is a number that is not whole, or is beyond",
            ),
            ("order_id", json!(["Jane"]), "field `order_id` is an array, expected a text or a whole number"),
            ("order_id", json!(null), "field `order_id` is null, expected a text or a whole number"),
            ("payment_id", json!("a\u{0}b"), "field `payment_id` is a text with a control character"),
            (
                "currency",
                json!("dollars"),
                "field `currency` is a text of 7 characters that is no such code, expected a text of three",
            ),
            ("currency", json!(840), "field `currency` is a number, expected a text of three letters (ISO 4217)"),
            (
                "event_type",
                json!("payment.failed"),
                "field `event_type` is `payment.failed`, and the topic is `payment.confirmed`",
            ),
        ] {
            let mut event = confirmed();
            event[field] = value;
            let reason = decoded(&event).unwrap_err().to_string();
            assert!(reason.starts_with(says), "{reason}");
            assert!(!reason.contains("Jane"), "{reason}");
        }
        for field in ["order_id", "payment_id", "amount", "currency"] {
            let mut event = confirmed();
            event.as_object_mut().unwrap().remove(field);
            let reason = decoded(&event).unwrap_err().to_string();
            assert!(reason.starts_with(&format!("field `{field}` is missing, expected ")), "{reason}");
        }
        let body = confirmed().to_string().replace("10.1", "1e400");
        let reason = decode(CONFIRMED_TOPIC, body.as_bytes()).unwrap_err().to_string();
        assert!(reason.starts_with("field `amount` is more digits than money has"), "{reason}");
        for (body, says) in [
            (&b"{"[..], "not JSON: line 1 column 1"),
            (b"", "the event has no data"),
            (b"[1]", "wrong shape: an array, expected an object"),
            (b"\"Jane\"", "wrong shape: a text, expected an object"),
            (b"null", "wrong shape: null, expected an object"),
            (b"{\"\\ud800\": 1}", "not JSON: a name that is not Unicode"),
            (
                b"{\"payment_id\": \"\\ud800\"}",
                "field `payment_id` is a text that is not Unicode, expected a text or a whole number",
            ),
        ] {
            assert_eq!(decode(CONFIRMED_TOPIC, body).unwrap_err().to_string(), says);
        }
        assert!(decode("x", b"{}").unwrap_err().to_string().starts_with("no handler for topic `x`"));
    }

    #[test]
    fn of_a_field_that_comes_twice_the_last_counts() {
        let body = confirmed().to_string().replacen('{', r#"{"order_id":"first","#, 1);
        assert_eq!(decode(CONFIRMED_TOPIC, body.as_bytes()).unwrap().order_id, "o1");
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(topic in prop::sample::select(vec![CONFIRMED_TOPIC, FAILED_TOPIC, "x"]),
                                  body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(topic, &body);
        }

        #[test]
        fn any_number_is_money_or_refused(number in "-?[0-9]{1,40}(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,4})?") {
            let body = confirmed().to_string().replace("10.1", &number);
            if let Ok(Payment { amount, .. }) = decode(CONFIRMED_TOPIC, body.as_bytes()) {
                prop_assert!(!amount.is_sign_negative() || amount.is_zero());
            }
        }
    }
}
