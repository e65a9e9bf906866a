//! A body as its publisher may have written it, taken apart until the data itself is reached.
//!
//! Publishers send bytes that are not quite UTF-8 or begin with a byte order mark, JSON in a text, and whole CloudEvents as if they were data
//! (whoever delivers them then puts an envelope of its own around them). None of that decides anything.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::value::RawValue;

/// The fields of a body, each in its own digits; of a name that comes twice the last, as others have it, too.
pub type Fields = BTreeMap<String, Box<RawValue>>;

/// Data in an envelope in a text: so deep and no deeper.
const MAX_WRAPPED: usize = 4;
const BOM: char = '\u{feff}';
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The text of bytes, without a byte order mark; what is no UTF-8 in it is replaced.
pub fn unicode(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))
}

/// Binary data in either alphabet, padded or not, in one line or several.
pub fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.chars().filter(|char| !char.is_ascii_whitespace());
    let digits: String = digits
        .map(|char| match char {
            '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    LENIENT.decode(digits).ok()
}

/// Whether an object with these names is an envelope: it says so, or has data and not the field `named` by which data is known.
pub fn is_envelope(named: &str, has: impl Fn(&str) -> bool) -> bool {
    has("specversion") || (has("data") || has("data_base64")) && !has(named)
}

/// Why there are no fields in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// There is no body at all.
    NoData,
    /// Not JSON, or JSON of another shape.
    Shape(String),
}

/// The fields of the data in a body. Data has the field `named`, by which an envelope around it is known.
///
/// # Errors
///
/// [`Unreadable`] where there is no object in it.
pub fn fields(named: &str, body: &[u8]) -> Result<Fields, Unreadable> {
    if body.is_empty() {
        return Err(Unreadable::NoData);
    }
    let mut text = unicode(body);
    let mut wrapped = 0;
    loop {
        let found = serde_json::from_str::<Fields>(&text);
        let inner = match &found {
            Ok(fields) => data(named, fields),
            Err(_) => match serde_json::from_str::<String>(&text) {
                Ok(inner) => Some(binary(&inner).unwrap_or(inner)),
                Err(_) => binary(&text),
            },
        };
        match inner.filter(|inner| wrapped < MAX_WRAPPED && is_json(inner)) {
            Some(inner) => text = Cow::Owned(inner.trim_start_matches(BOM).to_owned()),
            None => return found.map_err(|_| refusal(&text)),
        }
        wrapped += 1;
    }
}

/// Whether there is an object in a body, however it is wrapped.
#[must_use]
pub fn holds_an_object(body: &[u8]) -> bool {
    fields("", body).is_ok()
}

/// The data in an envelope.
fn data(named: &str, fields: &Fields) -> Option<String> {
    let has = |name: &str| fields.contains_key(name);
    if !is_envelope(named, has) || has(named) {
        return None;
    }
    match fields.get("data_base64").and_then(|data| string(data)) {
        Some(data) => Some(unicode(&base64(&data)?).into_owned()),
        None => fields.get("data").map(|data| data.get().to_owned()),
    }
}

/// The JSON that a text is base64 of, as Go writes bytes into JSON.
pub fn binary(text: &str) -> Option<String> {
    base64(text).map(|bytes| unicode(&bytes).into_owned()).filter(|json| is_json(json))
}

/// Whether a text may be an object, or a text of one.
fn is_json(text: &str) -> bool {
    text.trim_start_matches([BOM, ' ', '\t', '\r', '\n']).starts_with(['{', '"'])
}

fn refusal(text: &str) -> Unreadable {
    match serde_json::from_str::<&RawValue>(text) {
        Err(error) => Unreadable::Shape(format!("not JSON: line {} column {}", error.line(), error.column())),
        Ok(json) => match kind_of(json) {
            "an object" => Unreadable::Shape("not JSON: a name that is not Unicode".into()),
            kind => Unreadable::Shape(format!("wrong shape: {kind}, expected an object")),
        },
    }
}

/// What a value is, without the value.
pub fn kind_of(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') if string(value).is_none() => "a text that is not Unicode",
        Some(b'"') => "a text",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// The text that a value is.
pub fn string(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DATA: &str = r#"{"order_id":"o1","amount":10.10}"#;

    fn order(body: &[u8]) -> Option<String> {
        fields("order_id", body).ok()?.get("order_id").and_then(|id| string(id))
    }

    #[test]
    fn data_is_found_however_it_is_wrapped() {
        let data: serde_json::Value = serde_json::from_str(DATA).unwrap();
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        for body in [
            DATA.to_owned(),
            format!("\u{feff}{DATA}"),
            format!(" \n{DATA}\n "),
            json!(DATA).to_string(),
            json!(json!(DATA).to_string()).to_string(),
            json!(format!("\u{feff}{DATA}")).to_string(),
            json!({"specversion": "1.0", "id": "e1", "data": data}).to_string(),
            json!({"specversion": "1.0", "id": "e1", "data": DATA}).to_string(),
            json!({"specversion": "1.0", "data_base64": encode(DATA)}).to_string(),
            json!({"data": data}).to_string(),
            encode(DATA),
            json!({"specversion": "1.0", "data": encode(DATA)}).to_string(),
            json!({"specversion": "1.0", "data": {"specversion": "1.0", "data": data}}).to_string(),
            // A payment's own field of that name.
            json!({"order_id": "o1", "data": {"order_id": "another"}}).to_string(),
            json!({"specversion": "1.0", "order_id": "o1"}).to_string(),
        ] {
            assert_eq!(order(body.as_bytes()).as_deref(), Some("o1"), "{body}");
        }
        let latin = [&br#"{"name":"J"#[..], b"\xf6rg", br#"","order_id":"o1"}"#].concat();
        assert_eq!(order(&latin).as_deref(), Some("o1"), "no UTF-8");
        let amount = fields("order_id", json!({"specversion": "1.0", "data": DATA}).to_string().as_bytes()).unwrap();
        assert_eq!(amount["amount"].get(), "10.10", "in its own digits");
    }

    #[test]
    fn binary_data_is_read_in_either_alphabet() {
        let bytes = [0xfb, 0xff, 0xfe, 0x01];
        for text in ["+//+AQ==", "-__-AQ==", "-__-AQ", "+//+\r\nAQ==\n"] {
            assert_eq!(base64(text).as_deref(), Some(&bytes[..]), "{text}");
        }
        assert_eq!(base64("no base64!"), None);
    }
}
