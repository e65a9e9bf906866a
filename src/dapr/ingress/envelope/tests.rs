use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dapr::dapr::proto::runtime::v1::TopicEventCeRequest;

use super::*;
use crate::shop::payments::{CONFIRMED_TOPIC, FAILED_TOPIC, ORDER_ID, PaymentEvent, read};

const DEAD: &str = "order-worker.dead-letter";

fn topics() -> Topics {
    Topics::new(&[CONFIRMED_TOPIC, FAILED_TOPIC], ORDER_ID, DEAD)
}
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn value(json: &Value) -> prost_types::Value {
    let kind = match json {
        Value::Null => Kind::NullValue(0),
        Value::Bool(bool) => Kind::BoolValue(*bool),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
        Value::String(string) => Kind::StringValue(string.clone()),
        Value::Array(items) => Kind::ListValue(prost_types::ListValue { values: items.iter().map(value).collect() }),
        Value::Object(fields) => Kind::StructValue(extensions(fields)),
    };
    prost_types::Value { kind: Some(kind) }
}

fn extensions(fields: &Map<String, Value>) -> prost_types::Struct {
    prost_types::Struct {
        fields: fields.iter().map(|(name, json)| (name.clone(), value(json))).collect::<BTreeMap<_, _>>(),
    }
}

/// A sidecar's call with a message that it does not look into (daprd 1.18, FromRawPayload): its id is another each time.
fn raw(topic: &str, message: &[u8], id: &str) -> TopicEventRequest {
    let rest = json!({"topic": topic, "pubsubname": "pubsub-redis"});
    TopicEventRequest {
        id: id.into(),
        source: "Dapr".into(),
        r#type: "com.dapr.event.sent".into(),
        spec_version: "1.0".into(),
        data_content_type: "application/octet-stream".into(),
        data: message.to_vec(),
        topic: topic.into(),
        pubsub_name: "pubsub-redis".into(),
        extensions: Some(extensions(rest.as_object().unwrap())),
        ..TopicEventRequest::default()
    }
}

/// Numbers as Go's float64 has them.
fn through_doubles(json: Value) -> Value {
    match json {
        Value::Number(number) => number_of(number.as_f64().unwrap()),
        Value::Array(items) => items.into_iter().map(through_doubles).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, json)| (name, through_doubles(json))).collect(),
        other => other,
    }
}

/// A sidecar's call with a CloudEvent that it took apart (daprd 1.18, GRPCEnvelopeFromSubscriptionMessage, extractCloudEvent). None: it
/// cannot, and the message becomes a dead letter.
fn apart(topic: &str, message: &[u8], bulk: bool) -> Option<TopicEventRequest> {
    let mut fields: Map<String, Value> = serde_json::from_slice(message).ok()?;
    let mut own = |name: &str| fields.remove(name);
    let text = |value: Option<Value>| value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
    let (id, source, kind) = (text(own("id")), text(own("source")), text(own("type")));
    let (spec_version, content_type) = (text(own("specversion")), text(own("datacontenttype")));
    let (data, base64) = (own("data").unwrap_or_default(), own("data_base64").unwrap_or_default());
    let is = |of: &str| content_type.to_lowercase().split(';').next() == Some(of);
    let data = match (&base64, &data) {
        (Value::String(base64), _) if !bulk => STANDARD.decode(base64).ok()?,
        (_, Value::Null) => Vec::new(),
        (_, Value::String(text)) if content_type.starts_with("text/") || is("application/xml") => {
            text.clone().into_bytes()
        }
        _ if content_type.starts_with("text/") || is("application/xml") => return None,
        _ if is("application/json") || is("application/cloudevents+json") => {
            through_doubles(data).to_string().into_bytes()
        }
        _ => Vec::new(),
    };
    Some(TopicEventRequest {
        id,
        source,
        r#type: kind,
        spec_version,
        data_content_type: content_type,
        data,
        topic: topic.into(),
        pubsub_name: "pubsub-redis".into(),
        extensions: Some(extensions(&fields)),
        ..TopicEventRequest::default()
    })
}

fn in_bulk(request: TopicEventRequest) -> Event {
    let entry = TopicEventBulkRequestEntry {
        entry_id: "1".into(),
        content_type: "application/cloudevents+json".into(),
        event: Some(Entry::CloudEvent(TopicEventCeRequest {
            id: request.id,
            source: request.source,
            r#type: request.r#type,
            spec_version: request.spec_version,
            data_content_type: request.data_content_type,
            data: request.data,
            extensions: request.extensions,
        })),
        ..TopicEventBulkRequestEntry::default()
    };
    bulk(request.topic, entry)
}

fn bulk(topic: String, entry: TopicEventBulkRequestEntry) -> Event {
    let request = TopicEventBulkRequest { topic, entries: vec![entry], ..TopicEventBulkRequest::default() };
    events(request, &topics()).remove(0).1
}

/// The event of a message, by each way that it may come: its name, whether the sidecar took it apart, and the event.
fn ways(topic: &str, message: &[u8]) -> Vec<(&'static str, bool, Event)> {
    let bytes = || TopicEventBulkRequestEntry {
        entry_id: "1".into(),
        event: Some(Entry::Bytes(message.to_vec())),
        ..TopicEventBulkRequestEntry::default()
    };
    let mut ways = vec![
        ("delivered", false, event(raw(topic, message, "random-1"), &topics(), None)),
        ("delivered again", false, event(raw(topic, message, "random-2"), &topics(), Some(TRACE))),
        ("in bulk", false, bulk(topic.to_owned(), bytes())),
        ("a dead letter", false, event(raw(DEAD, message, "random-3"), &topics(), None)),
        ("a dead letter in bulk", false, bulk(DEAD.to_owned(), bytes())),
        ("from the stream", false, published(topic, message, &topics())),
        ("from the dead letters' stream", false, published(DEAD, message, &topics())),
    ];
    if let Some(request) = apart(topic, message, false) {
        ways.push(("taken apart", true, event(request, &topics(), None)));
    }
    if let Some(request) = apart(topic, message, true) {
        ways.push(("taken apart in bulk", true, in_bulk(request)));
    }
    ways
}

/// What the inbox makes of an event.
fn outcome(event: &Event) -> String {
    match read(&event.topic, &event.body) {
        Ok(PaymentEvent::Payment(payment)) => format!(
            "{} {} {} {} {} {}",
            payment.kind.as_str(),
            payment.payment_id,
            payment.order_id,
            payment.amount.normalize(),
            payment.currency,
            payment.failure_reason
        ),
        Ok(told) => told.words().into(),
        Err(refusal) => refusal.to_string(),
    }
}

fn payment() -> Value {
    json!({"event_type": "payment.confirmed", "payment_id": "p1", "order_id": "o1", "amount": 10.1, "currency": "USD"})
}

fn envelope(changes: Value) -> Value {
    let mut envelope = json!({"specversion": "1.0", "id": "e1", "source": "payments", "type": "t", "topic": CONFIRMED_TOPIC,
        "pubsubname": "pubsub-redis", "time": "2026-01-01T12:00:00Z", "traceparent": TRACE,
        "datacontenttype": "application/json", "data": payment()});
    for (name, value) in changes.as_object().unwrap() {
        if value == "absent" {
            envelope.as_object_mut().unwrap().remove(name);
        } else {
            envelope[name] = value.clone();
        }
    }
    envelope
}

const PAID: &str = "confirmed p1 o1 10.1 USD ";

#[test]
fn an_event_is_the_same_whichever_way_it_comes() {
    let text = payment().to_string();
    let base64 = STANDARD.encode(&text);
    let unpadded = base64.trim_end_matches('=').replace('+', "-").replace('/', "_");
    let octets = json!({"datacontenttype": "application/octet-stream", "data": "absent", "data_base64": base64});
    let changed = |name: &str, value: Value| {
        let mut payment = payment();
        payment[name] = value;
        payment
    };
    for (about, message, expected) in [
        ("as Dapr publishes JSON", envelope(json!({})), PAID),
        ("with a character set", envelope(json!({"datacontenttype": "application/json; charset=utf-8"})), PAID),
        ("without a content type", envelope(json!({"datacontenttype": "absent"})), PAID),
        (
            "with a vendor's content type",
            envelope(json!({"datacontenttype": "application/vnd.shop.payment+json"})),
            PAID,
        ),
        (
            "published with a vendor's content type",
            envelope(json!({"datacontenttype": "application/vnd.shop+json", "data": text})),
            PAID,
        ),
        ("published as text", envelope(json!({"datacontenttype": "text/plain", "data": text})), PAID),
        ("as text, but an object", envelope(json!({"datacontenttype": "text/plain"})), PAID),
        ("encoded twice", envelope(json!({"data": text})), PAID),
        ("encoded three times", envelope(json!({"data": json!(text).to_string()})), PAID),
        (
            "with a byte order mark",
            envelope(json!({"datacontenttype": "text/plain", "data": format!("\u{feff}{text}")})),
            PAID,
        ),
        ("in another envelope", envelope(json!({"data": envelope(json!({"id": "inner"}))})), PAID),
        (
            "in another envelope as text",
            envelope(json!({"data": envelope(json!({"id": "inner", "data": text}))})),
            PAID,
        ),
        ("published as bytes", envelope(octets), PAID),
        (
            "as bytes in the other alphabet, without padding",
            envelope(json!({"data": "absent", "data_base64": unpadded})),
            PAID,
        ),
        ("bytes beside a content type of JSON", envelope(json!({"data": "absent", "data_base64": base64})), PAID),
        ("with an id of a number", envelope(json!({"id": 7})), PAID),
        ("without an id", envelope(json!({"id": "absent"})), PAID),
        ("without a version", envelope(json!({"specversion": "absent"})), PAID),
        ("that has expired", envelope(json!({"expiration": "2020-01-01T00:00:00Z"})), PAID),
        ("with attributes of its own", envelope(json!({"x": {"deep": [1, null]}, "№": "№"})), PAID),
        (
            "with a number as order",
            envelope(json!({"data": changed("order_id", json!(1001))})),
            "confirmed p1 1001 10.1 USD ",
        ),
        ("with the amount as text", envelope(json!({"data": changed("amount", json!("10.10"))})), PAID),
        (
            "with letters of another script",
            envelope(json!({"data": changed("order_id", json!("№-7"))})),
            "confirmed p1 №-7 10.1 USD ",
        ),
        (
            "that contradicts its topic",
            envelope(json!({"data": changed("event_type", json!(FAILED_TOPIC))})),
            "field `event_type` is `payment.failed`, and the topic is `payment.confirmed`: the two contradict each other",
        ),
        ("without data", envelope(json!({"data": null})), "the event has no data"),
        ("whose data is a list", envelope(json!({"data": [1]})), "wrong shape: an array, expected an object"),
        ("without an envelope", payment(), PAID),
        ("without an envelope, with a type", changed("type", json!("card")), PAID),
    ] {
        let message = message.to_string();
        let all = ways(CONFIRMED_TOPIC, message.as_bytes());
        let first = &all[0].2;
        for (way, apart, event) in &all {
            assert_eq!(event.key(), first.key(), "{about}, {way}: {event:?}");
            if *apart && event.body.is_empty() {
                continue;
            }
            assert_eq!(event.fingerprint(), first.fingerprint(), "{about}, {way}: {event:?}");
            assert_eq!(outcome(event), expected, "{about}, {way}");
            assert_eq!(event.topic, CONFIRMED_TOPIC, "{about}, {way}");
        }
    }
}

/// What a sidecar that takes messages apart makes of these is something else: it reads them with Go's JSON, or not at all.
#[test]
fn a_message_is_read_for_what_it_says_whatever_its_bytes() {
    let text = payment().to_string();
    let with_data = text.replacen('{', r#"{"data":{"order_id":"another"},"#, 1);
    let latin = [&br#"{"metadata":"J"#[..], b"\xf6rg\",", &text.as_bytes()[1..]].concat();
    let envelope = envelope(json!({})).to_string();
    for (about, message) in [
        ("a byte order mark before data", format!("\u{feff}{text}").into_bytes()),
        ("a byte order mark before an envelope", format!("\u{feff}{envelope}").into_bytes()),
        ("data with a field of that name", with_data.into_bytes()),
        ("Latin letters that are no UTF-8", latin),
    ] {
        let all = ways(CONFIRMED_TOPIC, &message);
        for (way, _, event) in all.iter().filter(|(_, apart, _)| !apart) {
            assert_eq!(event.key(), all[0].2.key(), "{about}, {way}: {event:?}");
            assert_eq!((outcome(event).as_str(), event.topic.as_str()), (PAID, CONFIRMED_TOPIC), "{about}, {way}");
        }
    }
}

#[test]
fn digits_are_the_publishers_own_and_agree_with_what_a_sidecar_makes_of_them() {
    let message = envelope(json!({})).to_string().replace("10.1,", "12345678901234567.890,");
    let all = ways(CONFIRMED_TOPIC, message.as_bytes());
    assert!(all.iter().all(|(_, _, event)| event.fingerprint() == all[0].2.fingerprint()), "{all:?}");
    assert_eq!(outcome(&all[0].2), "confirmed p1 o1 12345678901234567.89 USD ");
}

#[test]
fn what_is_no_json_is_known_by_its_content() {
    for message in [&b"nonsense"[..], b"{\"data\"", b"\xff\x00", b"[1, 2]", b"\"text\"", b""] {
        let all = ways(CONFIRMED_TOPIC, message);
        assert!(all.iter().all(|(_, _, event)| event.key() == all[0].2.key()), "{all:?}");
        assert!(all.iter().all(|(_, _, event)| event.body == message), "{all:?}");
    }
    let other = published(CONFIRMED_TOPIC, b"other", &topics());
    assert_ne!(published(CONFIRMED_TOPIC, b"nonsense", &topics()).key(), other.key());
}

#[test]
fn a_sidecar_that_takes_an_event_apart_hands_over_no_data_of_other_content_types() {
    for (content_type, bulk, has_data) in [
        ("application/json", false, true),
        ("application/vnd.shop+json", false, false),
        ("", true, false),
        ("text/plain", true, true),
    ] {
        let message = envelope(json!({"datacontenttype": content_type, "data": payment().to_string()})).to_string();
        let request = apart(CONFIRMED_TOPIC, message.as_bytes(), bulk).unwrap();
        let event = if bulk { in_bulk(request) } else { event(request, &topics(), None) };
        assert_eq!(!event.body.is_empty(), has_data, "{content_type}");
        assert_eq!(event.headers["datacontenttype"], content_type);
    }
}

#[test]
fn a_dead_letter_that_was_taken_apart_gets_its_topic_back() {
    let message = envelope(json!({"topic": FAILED_TOPIC})).to_string();
    let event = event(apart(DEAD, message.as_bytes(), false).unwrap(), &topics(), None);
    assert_eq!((event.topic.as_str(), event.id.as_str()), (FAILED_TOPIC, "e1"));
}

#[test]
fn a_dead_letter_without_an_envelope_goes_by_what_it_says_of_itself() {
    let mut failed = payment();
    failed["event_type"] = json!(FAILED_TOPIC);
    let dead = published(DEAD, failed.to_string().as_bytes(), &topics());
    assert_eq!(dead.key(), published(FAILED_TOPIC, failed.to_string().as_bytes(), &topics()).key());
    failed["event_type"] = json!("PaymentFailed");
    assert_eq!(published(DEAD, failed.to_string().as_bytes(), &topics()).topic, DEAD, "nobody knows");
}

#[test]
fn the_publishers_trace_comes_before_the_calls() {
    let other = TRACE.replace("4bf9", "ffff");
    let of = |message: &Value, call: Option<&str>| {
        event(raw(CONFIRMED_TOPIC, message.to_string().as_bytes(), "x"), &topics(), call).traceparent
    };
    assert_eq!(of(&envelope(json!({})), Some(&other)).as_deref(), Some(TRACE));
    assert_eq!(of(&envelope(json!({"traceparent": "absent"})), Some(TRACE)).as_deref(), Some(TRACE));
    assert_eq!(of(&envelope(json!({"traceparent": "nonsense\u{0}"})), None), None);
}

#[test]
fn the_rest_of_the_envelope_is_kept() {
    let message = envelope(json!({"expiration": "2030-01-01T00:00:00Z", "subject": "o1"})).to_string();
    for (way, _, event) in ways(CONFIRMED_TOPIC, message.as_bytes()) {
        for (name, value) in
            [("expiration", "2030-01-01T00:00:00Z"), ("subject", "o1"), ("datacontenttype", "application/json")]
        {
            assert_eq!(event.headers[name], value, "{way}");
        }
        assert!(event.headers.get("data").is_none(), "{way}");
    }
}
