//! The seam to the code that knows what events mean.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::PgConnection;

use super::{Failure, Outcome, Taken};
use crate::engine::queue::Queue;

/// The subject of an event, as far as it can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The thing that it is about: events of one subject can be found by it.
    pub subject: Option<String>,
    /// The publisher's own id for it.
    pub reference: Option<String>,
}

/// Why an event cannot be handled, ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For people.
    pub reason: String,
    /// Whether there was no body at all: it may still come.
    pub no_data: bool,
    /// Its subject, as far as it can be read.
    pub about: About,
}

/// The settlement of one event.
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

/// The result of handling events.
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
    /// `legible` reads the subject of a body whose topic has no handler.
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

    /// The subject of a body that no handler has read, as far as it is legible.
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
        let mut shares = Vec::new();
        for (handler, share) in self.shares(events) {
            let handled = handler.settle(tx, &share).await?;
            shares.push((share, handled));
        }
        Ok(self.together(events, shares))
    }

    /// The events of each handler, in their order. Events of a topic without a handler are in no share.
    fn shares<'e>(&self, events: &'e [Taken]) -> Vec<(&Arc<dyn Handler>, Vec<&'e Taken>)> {
        let mut shares: Vec<(&Arc<dyn Handler>, Vec<&Taken>)> = Vec::new();
        for event in events {
            let Some(handler) = self.by_topic.get(event.topic.as_str()) else { continue };
            match shares.iter_mut().find(|(known, _)| Arc::ptr_eq(known, handler)) {
                Some((_, share)) => share.push(event),
                None => shares.push((handler, vec![event])),
            }
        }
        shares
    }

    /// One settlement for each event, in the events' order.
    fn together(&self, events: &[Taken], shares: Vec<(Vec<&Taken>, Handled)>) -> Handled {
        let mut settlements: HashMap<i64, Settlement> = HashMap::with_capacity(events.len());
        let mut all = Handled::default();
        for (share, handled) in shares {
            settlements.extend(share.iter().map(|event| event.id).zip(handled.settlements));
            all.wakes.extend(handled.wakes);
            all.notices.extend(handled.notices);
        }
        let missing = |event: &Taken| {
            Settlement::Dead(if self.by_topic.contains_key(event.topic.as_str()) {
                "its handler has not settled it: a bug".to_owned()
            } else {
                self.unknown(&event.topic)
            })
        };
        all.settlements =
            events.iter().map(|event| settlements.remove(&event.id).unwrap_or_else(|| missing(event))).collect();
        all
    }
}

#[cfg(test)]
mod tests {
    use sqlx::types::chrono::{NaiveDate, Utc};

    use super::*;

    #[derive(Debug)]
    struct Fake(&'static [&'static str]);

    #[async_trait]
    impl Handler for Fake {
        fn topics(&self) -> Vec<&'static str> {
            self.0.to_vec()
        }

        fn read(&self, topic: &str, body: &[u8]) -> Result<About, Refusal> {
            let about = About { subject: Some(topic.to_owned()), reference: None };
            if body.is_empty() {
                return Err(Refusal { reason: "empty".to_owned(), no_data: true, about });
            }
            Ok(about)
        }

        async fn settle(&self, _: &mut PgConnection, _: &[&Taken]) -> Result<Handled, sqlx::Error> {
            Ok(Handled::default())
        }
    }

    fn handlers() -> Handlers {
        let fakes: [Arc<dyn Handler>; 2] = [Arc::new(Fake(&["a", "b"])), Arc::new(Fake(&["c"]))];
        Handlers::new(fakes, |body| About { subject: Some(format!("{} bytes", body.len())), reference: None })
    }

    fn event(id: i64, topic: &str) -> Taken {
        Taken {
            id,
            attempts: 0,
            approved: false,
            day: NaiveDate::default(),
            age: 0.0,
            topic: topic.to_owned(),
            event_id: String::new(),
            subject: None,
            body: Vec::new(),
            cause: String::new(),
            traceparent: None,
            received_at: Utc::now(),
            span: super::super::taken::Handling::default(),
        }
    }

    fn applied() -> Settlement {
        Settlement::Settled(Outcome::Applied, None)
    }

    fn handled(settlements: Vec<Settlement>, notice: &str) -> Handled {
        Handled { settlements, wakes: vec![Queue::new("out")], notices: vec![notice.to_owned()] }
    }

    #[test]
    fn a_body_is_read_by_its_topics_handler() {
        let handlers = handlers();
        assert_eq!(handlers.read("b", b"{}").unwrap().subject.as_deref(), Some("b"));
        let (failure, refusal) = handlers.read("b", b"").unwrap_err();
        assert!(failure == Failure::Undecodable && refusal.no_data, "{refusal:?}");
        let (failure, refusal) = handlers.read("other", b"{}").unwrap_err();
        assert_eq!(failure, Failure::UnknownTopic);
        assert_eq!(refusal.reason, "no handler for topic `other`: known are `a`, `b` and `c`");
        assert_eq!(refusal.about.subject.as_deref(), Some("2 bytes"));
    }

    #[test]
    fn events_are_grouped_by_handler_and_keep_their_order() {
        let (handlers, events) = (handlers(), [event(1, "b"), event(2, "c"), event(3, "other"), event(4, "a")]);
        let shares = handlers.shares(&events);
        let ids: Vec<Vec<i64>> = shares.iter().map(|(_, share)| share.iter().map(|event| event.id).collect()).collect();
        assert_eq!(ids, [vec![1, 4], vec![2]]);
    }

    #[test]
    fn each_event_has_one_settlement_in_the_events_order() {
        let (handlers, events) = (handlers(), [event(1, "b"), event(2, "c"), event(3, "other"), event(4, "a")]);
        let held = || Settlement::Held("wait".to_owned());
        let shares = vec![
            (vec![&events[0], &events[3]], handled(vec![held(), applied()], "first")),
            (vec![&events[1]], handled(vec![applied()], "second")),
        ];
        let all = handlers.together(&events, shares);
        let unknown = Settlement::Dead("no handler for topic `other`: known are `a`, `b` and `c`".to_owned());
        assert_eq!(all.settlements, [held(), applied(), unknown, applied()]);
        assert_eq!((all.wakes.len(), all.notices), (2, vec!["first".to_owned(), "second".to_owned()]));
    }

    #[test]
    fn an_event_that_its_handler_leaves_out_is_dead() {
        let (handlers, events) = (handlers(), [event(1, "a"), event(2, "a")]);
        let shares = vec![(events.iter().collect(), handled(vec![applied()], "one of two"))];
        let dead = Settlement::Dead("its handler has not settled it: a bug".to_owned());
        assert_eq!(handlers.together(&events, shares).settlements, [applied(), dead]);
    }
}
