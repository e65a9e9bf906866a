//! Which streams are looked at.

use super::settings::Reconcile;
use crate::config::Config;
use crate::inbox::{CONFIRMED_TOPIC, FAILED_TOPIC};

/// The streams that payment events come from, as the configuration names them.
#[derive(Clone, Debug)]
pub struct Streams {
    /// Whether they are looked at at all (`worker.reconcile.enabled`).
    pub enabled: bool,
    prefix: String,
    topics: [String; 3],
}

impl Streams {
    /// As configured.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let Reconcile { enabled, stream_prefix, .. } = &config.worker.reconcile;
        let dead_letter_topic = config.worker.eventbus.dead_letter_topic.as_str();
        Self {
            enabled: *enabled,
            prefix: stream_prefix.clone(),
            topics: [CONFIRMED_TOPIC, FAILED_TOPIC, dead_letter_topic].map(str::to_owned),
        }
    }

    /// Their names in Redis.
    #[must_use]
    pub fn names(&self) -> [String; 3] {
        self.topics.each_ref().map(|topic| self.name_of(topic))
    }

    /// The topics, each with the name of its stream.
    #[must_use]
    pub fn each(&self) -> [(String, String); 3] {
        self.topics.each_ref().map(|topic| (topic.clone(), self.name_of(topic)))
    }

    fn name_of(&self, topic: &str) -> String {
        format!("{}{topic}", self.prefix)
    }
}
