//! The seam to whoever knows what events mean.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::PgConnection;

use super::{Failure, Outcome, Taken};
use crate::engine::queue::Queue;

/// What an event is about, as far as it can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The thing that it is about: events of one subject can be found by it.
    pub subject: Option<String>,
    /// Its own name for what it tells.
    pub reference: Option<String>,
}

/// Why an event cannot be handled, ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For people.
    pub reason: String,
    /// Whether there was no body at all: it may still come.
    pub no_data: bool,
    /// What it is about all the same.
    pub about: About,
}

/// What becomes of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It is settled.
    Settled(Outcome, Option<String>),
    /// An operator decides.
    Held(String),
    /// It is looked at again, the later the older it is, at the latest after `longest`.
    Waiting {
        /// For what.
        reason: String,
        /// The longest time until the next look.
        longest: Duration,
    },
    /// It is given up.
    Dead(String),
}

/// What a handler has done with events.
#[derive(Debug, Default)]
pub struct Handled {
    /// One for each of the events, in their order.
    pub settlements: Vec<Settlement>,
    /// Queues that got rows.
    pub wakes: Vec<Queue>,
    /// Lines for the log, as errors, once it is committed.
    pub notices: Vec<String>,
}

/// Handles the events of some topics.
#[async_trait]
pub trait Handler: std::fmt::Debug + Send + Sync + 'static {
    /// The topics, each handled by one handler alone.
    fn topics(&self) -> Vec<&'static str>;

    /// Reads a body that came on one of the topics.
    ///
    /// # Errors
    ///
    /// [`Refusal`].
    fn read(&self, topic: &str, body: &[u8]) -> Result<About, Refusal>;

    /// Handles events, in the transaction that has taken them; nothing else knows of it before that commits. The same events may come
    /// again, when it does not. Never waits for a lock.
    ///
    /// # Errors
    ///
    /// The database's; the transaction is void.
    async fn settle(&self, tx: &mut PgConnection, events: &[&Taken]) -> Result<Handled, sqlx::Error>;
}

/// The handlers there are, by topic.
#[derive(Clone, Debug)]
pub struct Handlers {
    by_topic: BTreeMap<&'static str, Arc<dyn Handler>>,
    legible: fn(&[u8]) -> About,
}

impl Handlers {
    /// `legible` tells of an event that nobody handles what it is about, as far as that can be read.
    #[must_use]
    pub fn new(handlers: impl IntoIterator<Item = Arc<dyn Handler>>, legible: fn(&[u8]) -> About) -> Self {
        let by_topic = handlers
            .into_iter()
            .flat_map(|handler| handler.topics().into_iter().map(move |topic| (topic, Arc::clone(&handler))));
        Self { by_topic: by_topic.collect(), legible }
    }

    /// Reads a body.
    ///
    /// # Errors
    ///
    /// [`Refusal`], and how it is counted.
    pub fn read(&self, topic: &str, body: &[u8]) -> Result<About, (Failure, Refusal)> {
        match self.by_topic.get(topic) {
            Some(handler) => handler.read(topic, body).map_err(|refusal| (Failure::Undecodable, refusal)),
            None => {
                let about = (self.legible)(body);
                Err((Failure::UnknownTopic, Refusal { reason: self.unknown(topic), no_data: false, about }))
            }
        }
    }

    /// What bytes are about that no handler has read, as far as that is legible.
    #[must_use]
    pub fn legible(&self, body: &[u8]) -> About {
        (self.legible)(body)
    }

    fn unknown(&self, topic: &str) -> String {
        let topic: String = topic.chars().take(255).collect();
        let known: Vec<String> = self.by_topic.keys().map(|known| format!("`{known}`")).collect();
        match known.split_last() {
            Some((last, [])) => format!("no handler for topic `{topic}`: known is {last}"),
            Some((last, others)) => {
                format!("no handler for topic `{topic}`: known are {} and {last}", others.join(", "))
            }
            None => format!("no handler for topic `{topic}`"),
        }
    }

    /// Handles events, each by its topic's handler.
    ///
    /// # Errors
    ///
    /// The database's; the transaction is void.
    pub async fn settle(&self, tx: &mut PgConnection, events: &[Taken]) -> Result<Handled, sqlx::Error> {
        let mut settlements: HashMap<i64, Settlement> = HashMap::with_capacity(events.len());
        let mut handled = Handled::default();
        let mut shares: Vec<(&Arc<dyn Handler>, Vec<&Taken>)> = Vec::new();
        for event in events {
            match self.by_topic.get(event.topic.as_str()) {
                None => {
                    settlements.insert(event.id, Settlement::Dead(self.unknown(&event.topic)));
                }
                Some(handler) => match shares.iter_mut().find(|(known, _)| Arc::ptr_eq(known, handler)) {
                    Some((_, share)) => share.push(event),
                    None => shares.push((handler, vec![event])),
                },
            }
        }
        for (handler, share) in shares {
            let Handled { settlements: found, wakes, notices } = handler.settle(tx, &share).await?;
            debug_assert_eq!(found.len(), share.len(), "one settlement for each event");
            settlements.extend(share.iter().map(|event| event.id).zip(found));
            handled.wakes.extend(wakes);
            handled.notices.extend(notices);
        }
        let missing = || Settlement::Dead("nobody has settled it: a bug, see the log".to_owned());
        handled.settlements =
            events.iter().map(|event| settlements.remove(&event.id).unwrap_or_else(missing)).collect();
        Ok(handled)
    }
}
