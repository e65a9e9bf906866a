//! A plan of payments: what is published, and what must become of each order, known without asking the worker.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use futures::StreamExt;

use crate::callback::{Answer, Callback, Event};
use crate::payment::{CONFIRMED, Confirmed, FAILED, amount, confirmed, failed, json};
use crate::publisher::{Message, Publisher};

/// The total of every order, in USD, as its payments say it.
const TOTAL: &str = "10.10";

/// Orders, and the messages about their payments in the order of publishing.
#[derive(Clone, Debug)]
pub struct Plan {
    /// By order id: the histories that it may end with, whatever the order of its messages.
    pub orders: BTreeMap<String, Vec<History>>,
    /// What is published, repetitions included.
    pub messages: Vec<Message>,
    /// The CloudEvent ids of what cannot be read.
    pub malformed: BTreeSet<String>,
}

/// The statuses that an order went through.
pub type History = Vec<String>;

impl Plan {
    /// A plan for `orders` orders, named `<prefix>-<n>`. Of ten payments six are confirmed; two fail; one fails and a second one is
    /// confirmed, in either order; one is confirmed under two payment ids, of which one is too many. A fifth of the messages comes
    /// several times under one id, a tenth again under another id, one in fifty is nonsense, and all of it is shuffled. The same
    /// seed makes the same plan.
    pub fn new(prefix: &str, orders: usize, seed: u64) -> Plan {
        let mut rng = Rng::with_seed(seed);
        let mut plan = Plan { orders: BTreeMap::new(), messages: Vec::new(), malformed: BTreeSet::new() };
        for n in 0..orders {
            plan.order(&format!("{prefix}-{n}"), &mut rng);
        }
        rng.shuffle(&mut plan.messages);
        plan
    }

    fn order(&mut self, order: &str, rng: &mut Rng) {
        let paid = |payment: u8| (CONFIRMED, json(&confirmed(&format!("{order}-p{payment}"), order, TOTAL)));
        let refused = || (FAILED, json(&failed(&format!("{order}-p1"), order, TOTAL, "card declined")));
        let (told, histories): (Vec<_>, &[&[&str]]) = match rng.u8(0..10) {
            0..6 => (vec![paid(1)], &[&["payment_confirmed"]]),
            6..8 => (vec![refused()], &[&["payment_failed"]]),
            8 => (vec![refused(), paid(2)], &[&["payment_failed", "payment_confirmed"], &["payment_confirmed"]]),
            _ => (vec![paid(1), paid(2)], &[&["payment_confirmed"]]),
        };
        let histories = histories.iter().map(|history| history.iter().map(|status| (*status).to_owned()).collect());
        self.orders.insert(order.to_owned(), histories.collect());
        for (n, (topic, data)) in told.into_iter().enumerate() {
            let message = Message::new(topic, &format!("{order}-e{n}"), data);
            if rng.u8(0..10) == 0 {
                self.messages.push(Message { id: Some(format!("{order}-e{n}-again")), ..message.clone() });
            }
            let times = if rng.u8(0..5) == 0 { rng.usize(2..4) } else { 1 };
            self.messages.extend(std::iter::repeat_n(message, times));
        }
        if rng.u8(0..50) == 0 {
            let id = format!("{order}-nonsense");
            self.messages.push(Message::new(CONFIRMED, &id, nonsense(order, rng)));
            self.malformed.insert(id);
        }
    }

    /// The CloudEvent ids of all messages.
    pub fn ids(&self) -> BTreeSet<String> {
        self.messages.iter().filter_map(|message| message.id.clone()).collect()
    }

    /// Publishes all of it, `in_flight` at once. What a sidecar refuses, or does not answer, is published again: it may then stand
    /// twice in the broker. `done` hears of each message.
    pub async fn publish(&self, publisher: &Publisher, in_flight: usize, done: impl Fn()) {
        let publish = async |message: &Message| {
            publisher.publish_until_taken(message).await;
            done();
        };
        futures::stream::iter(&self.messages).map(publish).buffer_unordered(in_flight).collect::<()>().await;
    }

    /// Calls a worker with all of it, as a sidecar would, `in_flight` at once; again until the answer is SUCCESS. The messages
    /// are shared out over the `callbacks`.
    pub async fn deliver(&self, callbacks: &[Callback], in_flight: usize, done: impl Fn()) {
        let deliver = async |(n, message): (usize, &Message)| {
            let event = Event::new(&message.topic, message.id.as_deref().unwrap_or_default(), message.data.clone());
            for callback in callbacks.iter().cycle().skip(n) {
                match callback.event(&event).await {
                    Ok(Answer::Success) => break,
                    _ => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
            done();
        };
        futures::stream::iter(self.messages.iter().enumerate())
            .map(deliver)
            .buffer_unordered(in_flight)
            .collect::<()>()
            .await;
    }
}

fn nonsense(order: &str, rng: &mut Rng) -> Vec<u8> {
    let payment = confirmed("nonsense", order, TOTAL);
    match rng.u8(0..3) {
        0 => b"\"no payment at all\"".to_vec(),
        1 => json(&Confirmed { amount: amount("\"ten\""), ..payment }),
        _ => json(&Confirmed { order_id: String::new(), ..payment }),
    }
}

#[cfg(test)]
mod tests {
    use super::Plan;

    #[test]
    fn the_same_seed_makes_the_same_plan_and_there_is_some_of_everything() {
        let plan = Plan::new("o", 1000, 1);
        let ids = |plan: &Plan| plan.messages.iter().filter_map(|message| message.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&plan), ids(&Plan::new("o", 1000, 1)));
        assert_ne!(ids(&plan), ids(&Plan::new("o", 1000, 2)));
        assert!(plan.messages.len() > plan.ids().len() + 100, "repetitions");
        assert!(plan.malformed.len() > 5 && plan.malformed.len() < 50, "{:?}", plan.malformed);
        assert!(plan.orders.values().any(|histories| histories.len() == 2));
    }
}
