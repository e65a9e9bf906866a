//! An event as it came, and what makes it the same event again.

use serde_json::Value;
use sha2::{Digest, Sha256};
use std::time::Instant;

use super::reading::holds_an_object;

/// An event as it was delivered, before anything is known of its content.
#[derive(Clone, Debug)]
pub struct Event {
    /// The topic that it was published to (of a dead letter: the first one).
    pub topic: String,
    /// CloudEvent `source`.
    pub source: String,
    /// CloudEvent `id`; may be empty, when a publisher sent no CloudEvent.
    pub id: String,
    /// CloudEvent `type`.
    pub kind: String,
    /// The rest of the envelope: a JSON object.
    pub headers: Value,
    /// W3C trace context of the publisher.
    pub traceparent: Option<String>,
    /// `data`, as received.
    pub body: Vec<u8>,
    /// When it reached this process.
    pub received: Instant,
}

/// What makes an event unique: a sha256 over (topic, source, id).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub [u8; 32]);

impl Event {
    /// The key. An event without an id is known by its content, so that two of them are not taken for one; its topic counts where it
    /// can decide anything, since a dead letter may not tell it.
    #[must_use]
    pub fn key(&self) -> Key {
        if self.id.is_empty() {
            let topic = if holds_an_object(&self.body) { self.topic.as_bytes() } else { b"" };
            return Key(sha256(&[topic, self.source.as_bytes(), b"no id", &self.fingerprint()]));
        }
        Key(sha256(&[self.topic.as_bytes(), self.source.as_bytes(), self.id.as_bytes()]))
    }

    /// A sha256 of `data` as canonical JSON (RFC 8785, numbers as doubles), so that a copy that was encoded anew and the
    /// copy in the broker's stream agree; of the bytes themselves where they are no JSON.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let json = serde_json::from_slice::<Value>(&self.body).ok().and_then(|value| canonical(&value));
        sha256(&[json.as_deref().unwrap_or(&self.body)])
    }
}

impl Key {
    /// The key under which a body is quarantined that differs from the one that came first.
    #[must_use]
    pub fn quarantined(self, fingerprint: &[u8; 32]) -> Self {
        Self(sha256(&[&self.0, fingerprint]))
    }
}

fn canonical(value: &Value) -> Option<Vec<u8>> {
    serde_json_canonicalizer::to_vec(value).ok()
}

/// A sha256 over parts, each with its length, so that no two lists of parts hash alike.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, body: &str) -> Event {
        Event {
            topic: "payment.confirmed".into(),
            source: "payments".into(),
            id: id.into(),
            kind: String::new(),
            headers: serde_json::json!({}),
            traceparent: None,
            body: body.as_bytes().to_vec(),
            received: Instant::now(),
        }
    }

    #[test]
    fn the_sidecars_copy_and_the_streams_copy_have_one_fingerprint() {
        let stream = event("e1", r#"{"b":1,"amount":10.10,"big":12345678901234567.89}"#);
        let delivery = event("e1", r#"{"amount":10.1,"b":1,"big":12345678901234568}"#);
        assert_eq!(stream.fingerprint(), delivery.fingerprint());
        assert_ne!(stream.fingerprint(), event("e1", r#"{"b":1,"amount":10.11}"#).fingerprint());
    }

    #[test]
    fn what_is_no_json_is_known_by_its_bytes() {
        assert_ne!(event("e1", "not json").fingerprint(), event("e1", "not json ").fingerprint());
        assert_eq!(event("e1", r#"{"a":1e400}"#).fingerprint(), event("e1", r#"{"a":1e400}"#).fingerprint());
    }

    #[test]
    fn parts_of_a_key_do_not_run_into_each_other() {
        let mut a = event("bc", "");
        let mut b = event("c", "");
        a.source = "a".into();
        b.source = "ab".into();
        assert_ne!(a.key(), b.key());
    }

    #[test]
    fn events_without_an_id_are_told_apart_by_their_content() {
        assert_ne!(event("", "1").key(), event("", "2").key());
        let on = |topic: &str, body: &str| Event { topic: topic.into(), ..event("", body) }.key();
        let body = r#"{"order_id":"o1","payment_id":"p1"}"#;
        assert_eq!(on("payment.confirmed", body), on("payment.confirmed", r#"{"payment_id": "p1", "order_id": "o1"}"#));
        assert_ne!(on("payment.confirmed", body), on("payment.failed", body), "the topic says what it means");
        assert_eq!(on("payment.confirmed", "nonsense"), on("dead", "nonsense"), "nothing can be done with it on any");
    }
}
