//! Counts of delivered events by topic: what Dapr delivers bears witness to which streams it reads ([`crate::dapr::reconcile`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::dapr::Topics;

/// Counts of the events that Dapr has delivered to this process, by topic. Clones count together.
#[derive(Clone, Debug)]
pub struct Delivered(Arc<[(String, AtomicU64)]>);

impl Delivered {
    /// None yet.
    #[must_use]
    pub fn none(topics: &Topics) -> Self {
        Self(topics.all().map(|topic| (topic.to_owned(), AtomicU64::new(0))).collect())
    }

    /// So many more came on `topic`. Said before they are answered, so that they are pending until then.
    pub fn came(&self, topic: &str, events: usize) {
        if let Some((_, count)) = self.0.iter().find(|(known, _)| known == topic) {
            count.fetch_add(events as u64, Ordering::Relaxed);
        }
    }

    /// The number of events on `topic`.
    #[must_use]
    pub fn on(&self, topic: &str) -> u64 {
        self.0.iter().find(|(known, _)| known == topic).map_or(0, |(_, count)| count.load(Ordering::Relaxed))
    }
}
