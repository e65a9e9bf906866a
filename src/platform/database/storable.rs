//! Texts as Postgres can store them: it has no NUL in text, and none in jsonb.

use serde_json::Value;

/// A text without NUL.
#[must_use]
pub fn storable(value: &str) -> String {
    value.replace('\0', "\u{fffd}")
}

/// JSON without NUL in its texts and names.
#[must_use]
pub fn storable_json(value: &Value) -> Value {
    match value {
        Value::String(string) => Value::String(storable(string)),
        Value::Array(items) => items.iter().map(storable_json).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (storable(name), storable_json(value))).collect(),
        other => other.clone(),
    }
}
