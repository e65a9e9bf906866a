//! A body for eyes: what may be personal is not shown.

use serde_json::Value;

/// Fields of bodies and headers that may be shown. All others may be personal.
const SHOWN: &[&str] = &[
    "event_type",
    "payment_id",
    "order_id",
    "order_number",
    "amount",
    "currency",
    "status",
    "timestamp",
    "failure_reason",
    "reason",
    "old_status",
    "new_status",
    "return_id",
    "exchange_id",
    "items",
    "order_item_id",
    "sku",
    "quantity",
    "reservation_id",
    "specversion",
    "datacontenttype",
    "pubsubname",
    "topic",
    "time",
    "expiration",
    "traceid",
    "traceparent",
    "tracestate",
    "publisher_metadata",
    "ttlinseconds",
    "rawpayload",
    "dapr-api-token",
];

/// The body as JSON, with `***` for the values of all keys that may be personal; of one that is no JSON only its size.
#[must_use]
pub fn masked(body: &[u8]) -> Value {
    match serde_json::from_slice(body) {
        // A text by itself, or in a list by itself, may say anything.
        Ok(Value::String(text)) => Value::String(format!("a text of {} characters", text.chars().count())),
        Ok(Value::Array(items)) => {
            items.into_iter().map(|item| if item.is_object() { masked_json(item) } else { "***".into() }).collect()
        }
        Ok(json) => masked_json(json),
        Err(_) => Value::String(format!("{} bytes that are no JSON", body.len())),
    }
}

/// The same of JSON.
#[must_use]
pub fn masked_json(json: Value) -> Value {
    match json {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| {
                let value =
                    if SHOWN.contains(&key.as_str()) { masked_json(value) } else { Value::String("***".into()) };
                (key, value)
            });
            Value::Object(fields.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(masked_json).collect()),
        scalar => scalar,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_known_keys_are_shown_at_any_depth() {
        let body = json!({
            "order_id": "o1", "amount": 10.1, "user_id": "u1", "metadata": { "email": "a@b.c" },
            "items": [{ "sku": "S", "gift_for": "Ada" }],
        });
        assert_eq!(
            masked(body.to_string().as_bytes()),
            json!({
                "order_id": "o1", "amount": 10.1, "user_id": "***", "metadata": "***", "items": [{ "sku": "S", "gift_for": "***" }],
            })
        );
        assert_eq!(masked(b"\xff"), json!("1 bytes that are no JSON"));
        assert_eq!(masked(b"\"Ada\""), json!("a text of 3 characters"));
        assert_eq!(masked(b"[\"Ada\", {\"order_id\": \"o1\"}]"), json!(["***", { "order_id": "o1" }]));
    }
}
