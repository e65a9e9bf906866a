//! A message as it was published, and the event that it is. However a message comes (delivered, given up and come back as a dead letter,
//! or read from the broker's stream), it is these bytes: one event has one key, one fingerprint and one body.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::dapr::Topics;
use crate::engine::inbox::Event;
use crate::engine::inbox::reading::{base64, fields, is_envelope, unicode};
use crate::platform::telemetry::trace;

/// A JSON object's fields, each in its own digits; of a name that comes twice the last, as Dapr has it.
type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// The attributes that make the event itself; the others are shown with it.
const OWN: [&str; 5] = ["id", "source", "type", "data", "data_base64"];

/// The event of a message of `topic`.
///
/// A CloudEvent is one that names its `specversion`, or has `data` and not what data names itself; everything else is data by itself, without
/// an id, known by its content. What came to the dead-letter topic belongs to the topic that its envelope names, or else its `event_type`.
pub fn published(topic: &str, message: &[u8], topics: &Topics) -> Event {
    let text_of_it = unicode(message);
    let mut fields: Fields<'_> = serde_json::from_str(&text_of_it).unwrap_or_default();
    let envelope = is_envelope(topics.data_names, |name| fields.contains_key(name));
    let own: BTreeMap<_, _> = OWN.iter().filter_map(|name| fields.remove_entry(*name)).collect();
    let mut event = Event {
        topic: topic.to_owned(),
        source: String::new(),
        id: String::new(),
        kind: String::new(),
        headers: Value::Object(Map::new()),
        traceparent: None,
        body: Vec::new(),
        received: Instant::now(),
    };
    if envelope {
        let attribute = |name: &str| own.get(name).copied().and_then(text).unwrap_or_default();
        (event.id, event.source, event.kind) = (attribute("id"), attribute("source"), attribute("type"));
        event.body = data(&own);
        let [parent, state] = ["traceparent", "tracestate"].map(|name| fields.get(name).copied().and_then(text));
        event.traceparent = trace::received(parent.as_deref(), state.as_deref());
        let rest =
            fields.iter().filter_map(|(name, value)| Some((name.clone(), serde_json::from_str(value.get()).ok()?)));
        event.headers = Value::Object(rest.collect());
    } else {
        event.body = message.to_vec();
    }
    if topic == &*topics.dead_letters
        && let Some(first) =
            fields.get("topic").filter(|_| envelope).copied().and_then(text).or_else(|| told(&event, topics))
    {
        event.topic = first;
    }
    event
}

/// `data` as Dapr hands it over: text that was no JSON without its quotes, binary data decoded.
fn data(own: &Fields<'_>) -> Vec<u8> {
    if let Some(data) = own.get("data_base64").copied().and_then(text) {
        return base64(&data).unwrap_or_else(|| data.into_bytes());
    }
    match own.get("data").map(|data| data.get()) {
        None | Some("null") => Vec::new(),
        Some(data) => unquoted(data.as_bytes()),
    }
}

/// JSON, or the text that it is a string of.
pub(super) fn unquoted(json: &[u8]) -> Vec<u8> {
    let string = serde_json::from_slice::<String>(json);
    string.map_or_else(|_| json.to_vec(), String::into_bytes)
}

fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// The topic that the data itself names.
fn told(event: &Event, topics: &Topics) -> Option<String> {
    let told = text(fields(topics.data_names, &event.body).ok()?.get("event_type")?)?;
    topics.events.contains(&told.as_str()).then_some(told)
}
