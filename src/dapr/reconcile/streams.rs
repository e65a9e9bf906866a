//! Which streams are looked at.

use super::settings::Reconcile;
use crate::dapr::Topics;
use crate::dapr::broker::settings::Redis;

/// The streams that are reconciled, and the settings.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The broker.
    pub redis: Redis,
    /// The settings of reconciliation.
    pub reconcile: Reconcile,
    /// The topics whose streams they are.
    pub topics: Topics,
    /// The pub/sub component that they belong to.
    pub pubsub: String,
}

impl Setup {
    /// The names of the streams in Redis.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.streams().into_iter().map(|(_, name)| name).collect()
    }

    /// The topics, each with the name of its stream.
    #[must_use]
    pub fn streams(&self) -> Vec<(String, String)> {
        let prefix = &self.reconcile.stream_prefix;
        self.topics.all().map(|topic| (topic.to_owned(), format!("{prefix}{topic}"))).collect()
    }
}
