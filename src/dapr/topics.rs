//! The topics that events come from.

use std::sync::Arc;

/// The topics that this worker subscribes to. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Topics {
    /// Those of the events themselves.
    pub events: Arc<[&'static str]>,
    /// That of what Dapr could not deliver.
    pub dead_letters: Arc<str>,
    /// The field that the data of every event has, and an envelope has not.
    pub data_names: &'static str,
}

impl Topics {
    /// `events`, whose data has the field `data_names`, and what of them could not be delivered.
    #[must_use]
    pub fn new(events: &[&'static str], data_names: &'static str, dead_letters: &str) -> Self {
        Self { events: events.into(), dead_letters: dead_letters.into(), data_names }
    }

    /// Every topic, that of dead letters last.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.events.iter().copied().chain([&*self.dead_letters])
    }

    /// The name of a topic's stream, for people.
    #[must_use]
    pub fn called(&self, topic: &str) -> String {
        if topic == &*self.dead_letters { "stream of dead letters".into() } else { format!("stream {topic}") }
    }
}
