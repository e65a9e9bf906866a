//! A payment that was confirmed or failed.

use super::field::{ORDER_ID, Undecodable, amount, currency, identifier, reason};
use crate::engine::inbox::reading::{fields, string};
use crate::shop::orders::{Payment, PaymentKind};

/// The topic of confirmed payments.
pub const CONFIRMED_TOPIC: &str = "payment.confirmed";
/// The topic of failed payments.
pub const FAILED_TOPIC: &str = "payment.failed";

/// Decodes the `data` of an event of `topic`, one of the two.
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
        other => return Err(Undecodable::topic(other)),
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
        failure_reason: if kind == PaymentKind::Failed { reason(&fields, "failure_reason") } else { String::new() },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use rust_decimal::Decimal;

    use super::super::field::*;
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
            event[field] = serde_json::from_str::<serde_json::Value>("\"PLACE\"").unwrap();
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
        assert!(decode("x", b"{}").unwrap_err().to_string().starts_with("no event of topic `x`"));
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
