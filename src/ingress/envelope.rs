//! From Dapr's messages to [`Event`]s.

use std::time::Instant;

use dapr::dapr::proto::runtime::v1::topic_event_bulk_request_entry::Event as Entry;
use dapr::dapr::proto::runtime::v1::{TopicEventBulkRequest, TopicEventBulkRequestEntry, TopicEventRequest};
use prost_types::value::Kind;
use serde_json::{Map, Value, json};

use super::dead_letter;
use crate::inbox::Event;
use crate::telemetry::trace;

/// The event of a unary call. `traceparent` is the call's own, for publishers whose envelope has none.
pub fn event(request: TopicEventRequest, dead_letter_topic: &str, traceparent: Option<&str>) -> Event {
    let mut extensions = request.extensions.map(object).unwrap_or_default();
    let traceparent = traceparent_of(&extensions, traceparent);
    extensions.insert("specversion".into(), request.spec_version.into());
    extensions.insert("datacontenttype".into(), request.data_content_type.into());
    extensions.insert("pubsubname".into(), request.pubsub_name.into());
    let event = Event {
        topic: request.topic,
        source: request.source,
        id: request.id,
        kind: request.r#type,
        headers: Value::Object(extensions),
        traceparent,
        body: request.data,
        received: Instant::now(),
    };
    if event.topic == dead_letter_topic { dead_letter::unwrap(event) } else { event }
}

/// The events of a bulk call with their entry ids.
pub fn events(request: TopicEventBulkRequest, dead_letter_topic: &str) -> Vec<(String, Event)> {
    let (topic, pubsub) = (request.topic, request.pubsub_name);
    let entries = request.entries.into_iter();
    entries.map(|entry| (entry.entry_id.clone(), bulk_event(entry, &topic, &pubsub, dead_letter_topic))).collect()
}

fn bulk_event(entry: TopicEventBulkRequestEntry, topic: &str, pubsub: &str, dead_letter_topic: &str) -> Event {
    let unary = match entry.event {
        Some(Entry::CloudEvent(event)) => TopicEventRequest {
            id: event.id,
            source: event.source,
            r#type: event.r#type,
            spec_version: event.spec_version,
            data_content_type: event.data_content_type,
            data: event.data,
            extensions: event.extensions,
            ..TopicEventRequest::default()
        },
        Some(Entry::Bytes(data)) => {
            TopicEventRequest { data, data_content_type: entry.content_type, ..TopicEventRequest::default() }
        }
        None => TopicEventRequest::default(),
    };
    let request = TopicEventRequest { topic: topic.to_owned(), pubsub_name: pubsub.to_owned(), ..unary };
    event(request, dead_letter_topic, None)
}

fn traceparent_of(extensions: &Map<String, Value>, of_the_call: Option<&str>) -> Option<String> {
    let published = extensions.get("traceparent").and_then(Value::as_str);
    published.or(of_the_call).filter(|traceparent| trace::is_valid(traceparent)).map(str::to_owned)
}

fn object(fields: prost_types::Struct) -> Map<String, Value> {
    fields.fields.into_iter().map(|(name, value)| (name, json(value))).collect()
}

fn json(value: prost_types::Value) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::NumberValue(number)) => json!(number),
        Some(Kind::StringValue(string)) => Value::String(string),
        Some(Kind::BoolValue(bool)) => Value::Bool(bool),
        Some(Kind::StructValue(fields)) => Value::Object(object(fields)),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(json).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn request(topic: &str, extensions: &[(&str, &str)]) -> TopicEventRequest {
        let string = |value: &str| prost_types::Value { kind: Some(Kind::StringValue(value.to_owned())) };
        let fields: BTreeMap<_, _> =
            extensions.iter().map(|(name, value)| ((*name).to_owned(), string(value))).collect();
        TopicEventRequest {
            id: "e1".into(),
            topic: topic.into(),
            extensions: Some(prost_types::Struct { fields }),
            ..TopicEventRequest::default()
        }
    }

    #[test]
    fn the_publishers_trace_comes_before_the_calls() {
        let other = TRACE.replace("4bf9", "ffff");
        assert_eq!(
            event(request("t", &[("traceparent", TRACE)]), "", Some(&other)).traceparent.as_deref(),
            Some(TRACE)
        );
        assert_eq!(event(request("t", &[]), "", Some(TRACE)).traceparent.as_deref(), Some(TRACE));
        assert_eq!(event(request("t", &[("traceparent", "nonsense\0")]), "", None).traceparent, None);
    }
}
