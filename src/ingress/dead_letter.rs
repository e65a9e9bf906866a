//! What Dapr gave up comes back through the dead-letter topic, which is subscribed raw: a message that is no CloudEvent reaches
//! no other subscription. `data` is then the message as it was published, under a random id.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::inbox::Event;
use crate::telemetry::trace;

/// A CloudEvent as the sidecar writes it into the broker.
#[derive(Deserialize)]
struct Envelope<'a> {
    id: String,
    source: String,
    #[serde(rename = "type", default)]
    kind: String,
    topic: String,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    data_base64: Option<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// The event as it was published first, under its own id, source and topic, so that its key is the one under which it may have
/// been accepted already. A subscription that is not raw has unwrapped it: only the topic is left to find. What is no CloudEvent
/// is known by its content: its id is another at each delivery.
pub fn unwrap(event: Event) -> Event {
    let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(&event.body) else {
        return match event.headers.get("topic").and_then(Value::as_str) {
            Some(topic) if topic != event.topic => Event { topic: topic.to_owned(), ..event },
            _ => Event { id: String::new(), source: String::new(), headers: Value::Object(Map::new()), ..event },
        };
    };
    let body = match (envelope.data, envelope.data_base64) {
        (Some(data), _) => unquoted(data),
        (None, Some(base64)) => STANDARD.decode(&base64).unwrap_or_else(|_| base64.into_bytes()),
        (None, None) => Vec::new(),
    };
    let traceparent = envelope.rest.get("traceparent").and_then(Value::as_str);
    let traceparent = traceparent.filter(|traceparent| trace::is_valid(traceparent)).map(str::to_owned);
    Event {
        topic: envelope.topic,
        source: envelope.source,
        id: envelope.id,
        kind: envelope.kind,
        headers: Value::Object(envelope.rest),
        traceparent: traceparent.or(event.traceparent),
        body,
        received: event.received,
    }
}

/// The event of an entry of the broker's stream. None: it is no CloudEvent, and reaches the worker as a dead letter.
pub fn published(topic: &str, data: Vec<u8>, dead_letter_topic: &str) -> Option<Event> {
    if topic != dead_letter_topic && serde_json::from_slice::<Envelope<'_>>(&data).is_err() {
        return None;
    }
    Some(unwrap(Event {
        topic: topic.to_owned(),
        source: String::new(),
        id: String::new(),
        kind: String::new(),
        headers: Value::Object(Map::new()),
        traceparent: None,
        body: data,
        received: Instant::now(),
    }))
}

/// A string is data that was no JSON: the sidecar delivers it without its quotes.
fn unquoted(data: &RawValue) -> Vec<u8> {
    let string = serde_json::from_str::<String>(data.get());
    string.map_or_else(|_| data.get().as_bytes().to_vec(), String::into_bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn raw(id: &str, body: &[u8]) -> Event {
        Event {
            topic: "dead".into(),
            source: "Dapr".into(),
            id: id.into(),
            kind: "com.dapr.event.sent".into(),
            headers: json!({"time": "now"}),
            traceparent: None,
            body: body.to_vec(),
            received: Instant::now(),
        }
    }

    #[test]
    fn a_dead_letter_is_the_event_that_it_was() {
        let envelope = json!({"id": "e1", "source": "payments", "topic": "payment.failed", "type": "t", "specversion": "1.0",
            "data": {"amount": 10.10}, "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"});
        let dead = unwrap(raw("random", envelope.to_string().as_bytes()));
        let live = Event {
            topic: "payment.failed".into(),
            source: "payments".into(),
            id: "e1".into(),
            body: br#"{"amount":10.1}"#.to_vec(),
            ..raw("", b"")
        };
        assert_eq!((dead.key(), dead.fingerprint()), (live.key(), live.fingerprint()));
        assert!(dead.traceparent.is_some());
    }

    #[test]
    fn what_is_no_cloud_event_is_known_by_its_content() {
        let (first, again) = (unwrap(raw("random-1", b"nonsense")), unwrap(raw("random-2", b"nonsense")));
        assert_eq!(first.key(), again.key());
        assert_ne!(first.key(), unwrap(raw("random-1", b"other")).key());
        assert_eq!((first.topic.as_str(), first.body.as_slice()), ("dead", &b"nonsense"[..]));
    }

    #[test]
    fn what_the_sidecar_unwrapped_gets_its_topic_back() {
        let event = raw("e1", br#"{"amount":10.10}"#);
        let event = unwrap(Event { headers: json!({"topic": "payment.failed"}), ..event });
        assert_eq!((event.topic.as_str(), event.id.as_str()), ("payment.failed", "e1"));
    }

    #[test]
    fn data_that_is_text_or_binary_is_unwrapped_as_the_sidecar_does() {
        let text = json!({"id": "e1", "source": "s", "topic": "t", "data": "not json"});
        assert_eq!(unwrap(raw("", text.to_string().as_bytes())).body, b"not json");
        let binary = json!({"id": "e1", "source": "s", "topic": "t", "data_base64": "AAE="});
        assert_eq!(unwrap(raw("", binary.to_string().as_bytes())).body, [0, 1]);
    }
}
