//! An event with all that can be known of it without the database.

use std::sync::Arc;

use serde_json::Value;

use super::{About, Event, Failure, Handlers, Key, Refusal};
use crate::engine::queue::State;
use crate::platform::database::storable;

/// An event with all that can be known of it without the database.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) key: Key,
    pub(super) fingerprint: [u8; 32],
    pub(super) event: Arc<Event>,
    pub(super) about: About,
    pub(super) state: State,
    /// Why it is not ready.
    pub(super) refusal: Option<(Failure, String)>,
}

impl Prepared {
    pub(super) fn new(event: Event, handlers: &Handlers) -> Self {
        let (about, state, refusal) = match handlers.read(&event.topic, &event.body) {
            Ok(about) => (about, State::Ready, None),
            Err((failure, refusal)) => {
                let reason = why(&refusal, &event);
                // Somebody may have written the data beside the envelope's attributes.
                let legible = refusal.about.subject.is_some();
                let about =
                    if legible { refusal.about } else { handlers.legible(event.headers.to_string().as_bytes()) };
                (about, State::Dead, Some((failure, reason)))
            }
        };
        let (key, fingerprint) = (event.key(), event.fingerprint());
        Self { key, fingerprint, event: Arc::new(event), about, state, refusal }
    }

    /// No data was handed over: it says nothing against what came before.
    pub(super) fn says_nothing(&self) -> bool {
        self.event.body.is_empty()
    }

    /// The same event id came before with another body: kept under a key of its own, for an operator.
    pub(super) fn quarantine(mut self) -> Self {
        self.key = self.key.quarantined(&self.fingerprint);
        self.state = State::Quarantined;
        let start = |value: &str| storable(value).chars().take(80).collect::<String>();
        let (id, source) = (start(&self.event.id), start(&self.event.source));
        self.refusal = Some((Failure::Quarantined, format!("event {id} of {source} came before with another body")));
        self
    }
}

/// Why an event is dead from the start. Of one without data the way to it: who takes events apart may hand over what is JSON or text by
/// its content type, and nothing else.
fn why(refusal: &Refusal, event: &Event) -> String {
    if !refusal.no_data {
        return refusal.reason.clone();
    }
    let named = event.headers.get("datacontenttype").and_then(Value::as_str).unwrap_or_default();
    let named: String = named.chars().filter(|char| !char.is_control()).take(80).collect();
    let named = if named.is_empty() { "none".to_owned() } else { format!("`{named}`") };
    format!(
        "{}: its content type is {named}; what was not handed over is taken from the broker's stream, or given by order-worker dead edit",
        refusal.reason
    )
}
