//! From Dapr's calls to [`Event`]s.
//!
//! The worker subscribes raw: a call then carries the message as it was published, and [`published`] reads it. A subscription that
//! somebody else declared may let the sidecar take the CloudEvent apart first. Such a call has lost what the sidecar does not hand over
//! (daprd 1.18, GRPCEnvelopeFromSubscriptionMessage and extractCloudEvent):
//!
//! | the envelope's datacontenttype | one at a time | bulk |
//! |---|---|---|
//! | application/json, application/cloudevents+json | `data` re-encoded, numbers through a double | the same |
//! | text/…, application/xml | the text; anything else is never delivered | the same |
//! | with `data_base64` | the bytes | nothing |
//! | none, or any other (application/vnd.…+json) | nothing | nothing |
//!
//! An event without its data is kept, and gets it from the broker's stream, or from an operator.

use std::time::Instant;

use dapr::dapr::proto::runtime::v1::topic_event_bulk_request_entry::Event as Entry;
use dapr::dapr::proto::runtime::v1::{TopicEventBulkRequest, TopicEventBulkRequestEntry, TopicEventRequest};
use prost_types::value::Kind;
use serde_json::{Map, Value, json};

use super::message::{published, unquoted};
use crate::dapr::Topics;
use crate::engine::inbox::Event;
use crate::platform::telemetry::trace;

/// What a sidecar calls a message that it does not look into.
const RAW: (&str, &str, &str) = ("Dapr", "com.dapr.event.sent", "application/octet-stream");

/// What a publisher has given to Dapr beside its event (a time to live, a token of its own): Dapr sends it on with the message as
/// headers of the call. It decides nothing, and is shown with the event.
const PUBLISHERS: &str = "publisher_metadata";

/// Notes a publisher's metadata. What repeats the envelope, and what sidecar and gRPC say themselves, is left out; of a token there is
/// only that it came, since nobody knows whose secret it is.
pub fn note_metadata<'a>(event: &mut Event, metadata: impl Iterator<Item = (&'a str, &'a str)>) {
    let own = ["content-type", "user-agent", "te", "traceparent", "tracestate", "traceid", "pubsubname"];
    let told = metadata.map(|(name, value)| (name.to_ascii_lowercase(), value)).filter(|(name, _)| {
        !own.contains(&name.as_str()) && !name.starts_with("grpc-") && !name.starts_with("cloudevent.")
    });
    let told: Map<String, Value> = told
        .map(|(name, value)| if name == "dapr-api-token" { (name, "***".into()) } else { (name, value.into()) })
        .collect();
    if let Value::Object(headers) = &mut event.headers
        && !told.is_empty()
    {
        headers.insert(PUBLISHERS.into(), Value::Object(told));
    }
}

/// The event of a unary call. `of_the_call` is its own trace context, for publishers whose envelope has none.
pub fn event(request: TopicEventRequest, topics: &Topics, of_the_call: Option<&str>) -> Event {
    let mut event = if is_raw(&request) || is_whole(&request, topics) {
        published(&request.topic, &request.data, topics)
    } else {
        taken_apart(request, topics)
    };
    if event.traceparent.is_none() {
        event.traceparent = of_the_call.map(str::to_owned);
    }
    event
}

/// The events of a bulk call with their entry ids.
pub fn events(request: TopicEventBulkRequest, topics: &Topics) -> Vec<(String, Event)> {
    let (topic, pubsub) = (request.topic, request.pubsub_name);
    let entries = request.entries.into_iter();
    entries.map(|entry| (entry.entry_id.clone(), bulk_event(entry, &topic, &pubsub, topics))).collect()
}

fn bulk_event(entry: TopicEventBulkRequestEntry, topic: &str, pubsub: &str, topics: &Topics) -> Event {
    let mut event = match entry.event {
        Some(Entry::CloudEvent(event)) => {
            let request = TopicEventRequest {
                id: event.id,
                source: event.source,
                r#type: event.r#type,
                spec_version: event.spec_version,
                data_content_type: event.data_content_type,
                data: event.data,
                extensions: event.extensions,
                topic: topic.to_owned(),
                pubsub_name: pubsub.to_owned(),
                ..TopicEventRequest::default()
            };
            self::event(request, topics, None)
        }
        Some(Entry::Bytes(message)) => published(topic, &message, topics),
        None => published(topic, &[], topics),
    };
    note_metadata(&mut event, entry.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    event
}

/// Whether the call carries a message as it was published. The sidecar makes an envelope for it, without a time, which every
/// published CloudEvent has.
fn is_raw(request: &TopicEventRequest) -> bool {
    let is = (request.source.as_str(), request.r#type.as_str(), request.data_content_type.as_str());
    is == RAW && !request.extensions.as_ref().is_some_and(|rest| rest.fields.contains_key("time"))
}

/// A dead letter is the whole message, unless somebody subscribes so that the sidecar has taken it apart: it then tells another topic.
fn is_whole(request: &TopicEventRequest, topics: &Topics) -> bool {
    let told = request.extensions.as_ref().and_then(|rest| rest.fields.get("topic")?.kind.as_ref());
    let elsewhere = matches!(told, Some(Kind::StringValue(topic)) if *topic != *topics.dead_letters);
    let has_topic = || serde_json::from_slice::<Value>(&request.data).is_ok_and(|json| json["topic"].is_string());
    request.topic == *topics.dead_letters && (!elsewhere || has_topic())
}

fn taken_apart(request: TopicEventRequest, topics: &Topics) -> Event {
    let mut extensions = request.extensions.map(object).unwrap_or_default();
    let text = |name: &str| extensions.get(name).and_then(Value::as_str);
    let traceparent = trace::received(text("traceparent"), text("tracestate"));
    if request.spec_version.is_empty() && request.data.is_empty() && text("order_id").or(text("payment_id")).is_some() {
        return without_envelope(
            &request.topic,
            extensions,
            topics,
            [
                ("id", request.id),
                ("source", request.source),
                ("type", request.r#type),
                ("datacontenttype", request.data_content_type),
            ],
        );
    }
    // Of a dead letter only the topic is left to find.
    let first = text("topic").filter(|_| request.topic == *topics.dead_letters).map(str::to_owned);
    let is_json = ["application/json", "application/cloudevents+json"].contains(
        &request.data_content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str(),
    );
    extensions.insert("specversion".into(), request.spec_version.into());
    extensions.insert("datacontenttype".into(), request.data_content_type.into());
    extensions.insert("pubsubname".into(), request.pubsub_name.into());
    Event {
        topic: first.unwrap_or(request.topic),
        source: request.source,
        id: request.id,
        kind: request.r#type,
        headers: Value::Object(extensions),
        traceparent,
        body: if is_json { unquoted(&request.data) } else { request.data },
        received: Instant::now(),
    }
}

/// Published without an envelope, the fields of the data itself arrive as if they were attributes.
fn without_envelope(topic: &str, mut data: Map<String, Value>, topics: &Topics, own: [(&str, String); 4]) -> Event {
    for added in ["traceid", "traceparent", "tracestate"] {
        data.remove(added);
    }
    data.extend(
        own.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.to_owned(), value.into())),
    );
    published(topic, Value::Object(data).to_string().as_bytes(), topics)
}

fn object(fields: prost_types::Struct) -> Map<String, Value> {
    fields.fields.into_iter().map(|(name, value)| (name, json(value))).collect()
}

fn json(value: prost_types::Value) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::NumberValue(number)) => number_of(number),
        Some(Kind::StringValue(string)) => Value::String(string),
        Some(Kind::BoolValue(bool)) => Value::Bool(bool),
        Some(Kind::StructValue(fields)) => Value::Object(object(fields)),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(json).collect(),
    }
}

/// A double that is a whole number, written as one: an id stays an id.
fn number_of(number: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "whole, and below 2^53")]
    let whole = (number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0).then_some(number as i64);
    whole.map_or_else(|| json!(number), Value::from)
}

#[cfg(test)]
mod tests;
