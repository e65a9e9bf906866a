//! The fields that decide, read exactly. What cannot be read is said in a sentence, never guessed.

use rust_decimal::Decimal;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::engine::inbox::reading::{Fields, Unreadable, kind_of, string};

/// The field by which the data of an event is known from an envelope around it.
pub const ORDER_ID: &str = "order_id";

/// The longest order or payment id, in bytes: both are index keys.
const MAX_ID: usize = 255;
/// The largest whole number that a double holds as it is, with all below it: JSON numbers pass through doubles in many languages, and in
/// a sidecar that takes an event apart.
const MAX_WHOLE: i64 = (1 << 53) - 1;
/// The longest failure reason that history and announcements repeat, in characters; the inbox keeps all of it.
const MAX_REASON: usize = 500;

/// Why an event says nothing that the worker can act on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// A topic of no such events.
    #[error("no event of topic `{0}` can be read")]
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

impl Undecodable {
    pub(super) fn topic(topic: &str) -> Self {
        Self::Topic(topic.chars().take(MAX_ID).collect())
    }
}

impl From<Unreadable> for Undecodable {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::NoData => Self::NoData,
            Unreadable::Shape(why) => Self::Shape(why),
        }
    }
}

/// The value of a field that decides.
pub(super) fn needed<'a>(fields: &'a Fields, field: &'static str, expected: &str) -> Result<&'a RawValue, Undecodable> {
    let wrong = |what: &str| Undecodable::Field(field, format!("{what}, expected {expected}"));
    let value = fields.get(field).ok_or_else(|| wrong("missing"))?;
    if value.get() == "null" { Err(wrong("null")) } else { Ok(value) }
}

/// A text, or a whole number as text.
pub(super) fn identifier(fields: &Fields, field: &'static str) -> Result<String, Undecodable> {
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
pub(super) fn amount(fields: &Fields) -> Result<Decimal, Undecodable> {
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

pub(super) fn currency(fields: &Fields) -> Result<String, Undecodable> {
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
pub(super) fn reason(fields: &Fields, field: &str) -> String {
    let reason = match fields.get(field).map(|value| (value.get(), string(value))) {
        None | Some(("null", _)) => String::new(),
        Some((_, Some(text))) => text,
        Some((json, None)) => {
            serde_json::from_str::<Value>(json).map_or_else(|_| json.to_owned(), |json| json.to_string())
        }
    };
    reason.replace('\0', "\u{fffd}").chars().take(MAX_REASON).collect()
}
