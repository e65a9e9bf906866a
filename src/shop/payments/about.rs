//! The order that an event speaks of, found leniently. What cannot be decoded may still be somebody's payment: it protects its order
//! from the jobs that give orders up, and is shown under it.
//!
//! The bytes are scanned for a member called `order_id` (or `orderId`, however it is written) with a string or a whole number, at any
//! depth: in a whole CloudEvent, in JSON inside a string, in `data_base64`, in JSON that breaks off or is none in the end.

use std::collections::BTreeSet;

use crate::engine::inbox::reading::{base64, binary, unicode};

/// The longest order id, in bytes: it is an index key.
const MAX_ID: usize = 255;
/// JSON in a string in a string: so deep and no deeper.
const MAX_NESTED: usize = 4;
/// Whole numbers that a double holds exactly.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The order that `body` speaks of: the one that is named farthest outside. None: none is named, or several are and none of them is
/// outside the others; such an event may be about any order.
#[must_use]
pub fn order_id(body: &[u8]) -> Option<String> {
    let mut named = Vec::new();
    let decoded = binary(&unicode(body));
    let body = decoded.as_deref().map_or(body, str::as_bytes);
    scan(body, 0, MAX_NESTED, &mut named);
    let outermost = named.iter().map(|(depth, _)| *depth).min()?;
    let ids: BTreeSet<&str> =
        named.iter().filter(|(depth, _)| *depth == outermost).map(|(_, id)| id.as_str()).collect();
    let mut ids = ids.into_iter();
    ids.next().filter(|_| ids.next().is_none()).map(str::to_owned)
}

/// Collects the order ids of `text` with how deep they stand.
fn scan(text: &[u8], outside: usize, nested: usize, named: &mut Vec<(usize, String)>) {
    let (mut at, mut depth) = (0, outside);
    let mut key: Option<String> = None;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'{' | b'[' => (depth, key) = (depth + 1, None),
            b'}' | b']' => (depth, key) = (depth.saturating_sub(1), None),
            b',' => key = None,
            b'"' => {
                let end = end_of_string(text, at);
                let string = unescaped(&text[at..end]);
                at = end;
                if text[at..].trim_ascii_start().first() == Some(&b':') {
                    key = Some(normal(&string));
                    continue;
                }
                let of = key.take().unwrap_or_default();
                if of == "orderid" {
                    named.extend(identifier(&string).map(|id| (depth, id)));
                } else if nested > 0 {
                    let decoded = ["data", "database64"].contains(&of.as_str()).then(|| base64(&string)).flatten();
                    let inner = decoded.as_deref().unwrap_or(string.as_bytes());
                    if inner.contains(&b'{') {
                        scan(inner, depth, nested - 1, named);
                    }
                }
                continue;
            }
            b'-' | b'0'..=b'9' => {
                let digits =
                    text[at..].iter().take_while(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
                let end = at + digits.count();
                if key.take().as_deref() == Some("orderid") {
                    named.extend(number(&text[at..end]).map(|id| (depth, id)));
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
}

/// Behind the closing quote of the string that begins at `start`, or the end of the text.
fn end_of_string(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// What a string with its quotes says; as it stands where it is no JSON.
fn unescaped(quoted: &[u8]) -> String {
    serde_json::from_slice(quoted).unwrap_or_else(|_| {
        let inner = quoted.strip_prefix(b"\"").unwrap_or(quoted);
        String::from_utf8_lossy(inner.strip_suffix(b"\"").unwrap_or(inner)).into_owned()
    })
}

/// `order_id`, `orderId`, `OrderID` and `order-id` are one name.
fn normal(key: &str) -> String {
    key.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

fn identifier(text: &str) -> Option<String> {
    let id = text.trim();
    (!id.is_empty() && id.len() <= MAX_ID && !id.contains(char::is_control)).then(|| id.to_owned())
}

/// A number's own digits; `1001.0` and `1e3` are whole numbers as well.
fn number(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    if text.strip_prefix('-').unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit()) {
        return identifier(text);
    }
    let number: f64 = text.parse().ok()?;
    (number.fract() == 0.0 && number.abs() < EXACT).then(|| format!("{number:.0}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(body: &str) -> Option<String> {
        order_id(body.as_bytes())
    }

    #[test]
    fn an_order_is_found_however_it_is_written() {
        for body in [
            r#"{"order_id": "o1", "amount": "ten"}"#,
            r#"{"orderId":"o1"}"#,
            r#"{"OrderID" : " o1 "}"#,
            r#"{"order\u005fid":"o1"}"#,
            r#"{"specversion":"1.0","data":{"payment":{"order_id":"o1"}}}"#,
            r#"{"data":"{\"order_id\":\"o1\"}"}"#,
            r#""{\"order_id\":\"o1\"}""#,
            r#"[{"order_id":"o1"},{"order_id":"o1"}]"#,
            "{\"order_id\":\"o1\",\"amount\":",
            "\u{feff}{\"amount\": NaN, \"order_id\": \"o1\",}",
            r#"{"order_id":"o1","metadata":{"order_id":"of the provider"},"items":[{"order_id":"x"}]}"#,
            r#"{"data_base64":"eyJvcmRlcl9pZCI6Im8xIn0="}"#,
            r#"{"data":"eyJvcmRlcl9pZCI6Im8xIn0="}"#,
            "eyJvcmRlcl9pZCI6Im8xIn0=",
            r#"{"note":"order_id","order_id":"o1"}"#,
        ] {
            assert_eq!(told(body).as_deref(), Some("o1"), "{body}");
        }
        let latin = [br#"{"name":"J"#.as_slice(), b"\xf6rg", br#"","order_id":"o1"}"#].concat();
        assert_eq!(order_id(&latin).as_deref(), Some("o1"), "no UTF-8");
    }

    #[test]
    fn a_number_is_an_id_by_its_digits() {
        for (body, id) in [
            (r#"{"order_id": 1001}"#, "1001"),
            (r#"{"order_id": 1001.0}"#, "1001"),
            (r#"{"order_id": 1e3}"#, "1000"),
            (r#"{"order_id": 123456789012345678901234567890}"#, "123456789012345678901234567890"),
        ] {
            assert_eq!(told(body).as_deref(), Some(id), "{body}");
        }
    }

    #[test]
    fn what_names_no_order_or_several_alike_is_about_any() {
        for body in [
            "",
            "nonsense",
            r#"{"payment_id":"p1"}"#,
            r#"{"order_id":null}"#,
            r#"{"order_id":""}"#,
            r#"{"order_id":1.5}"#,
            r#"{"order_id":{"id":"o1"}}"#,
            r#"{"order_id":true,"x":"o1"}"#,
            r#"[{"order_id":"o1"},{"order_id":"o2"}]"#,
            r#"{"order_id":"o1","order_id":"o2"}"#,
            "<order_id>o1</order_id>",
        ] {
            assert_eq!(told(body), None, "{body}");
        }
        assert_eq!(told(&format!(r#"{{"order_id":"{}"}}"#, "x".repeat(256))), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = order_id(&body);
        }

        #[test]
        fn any_id_in_any_object_is_found(id in "[^\\p{C}\\s]{1,40}", other in ".*", depth in 0_usize..6) {
            let mut json = serde_json::json!({ "other": other, "order_id": id });
            for _ in 0..depth {
                json = serde_json::json!({ "data": json });
            }
            prop_assert_eq!(order_id(json.to_string().as_bytes()), Some(id));
        }
    }
}
