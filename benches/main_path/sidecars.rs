//! Through real daprd and Redis: publisher, its sidecar, the broker, the worker's sidecar, the worker, and back to a subscriber.

use std::time::{Duration, SystemTime};

use futures::StreamExt;
use rig::payment::CONFIRMED;
use rig::publisher::Message;
use rig::stack::Stack;
use rig::wait;
use rig::worker::Worker;

use crate::figures::Turn;
use crate::orders::{Moments, Reservations, names, payment, place};
use crate::relay::Relay;

/// Publishes in flight at full speed.
const IN_FLIGHT: usize = 64;
/// Events a second when latency is measured, and how many.
const PACE: usize = 100;
const PACED: usize = 500;
const LIMIT: Duration = Duration::from_secs(120);

pub async fn worker(binary: &str, events: usize, reservations: Reservations) -> Turn {
    let stack = Stack::start("bench", binary).await;
    let (fast, paced) = (names("fast", events), names("paced", PACED));
    place(&stack.worker.database_url, &fast, reservations).await;
    place(&stack.worker.database_url, &paced, reservations).await;
    let _worker = Worker::start(crate::with_settings(&stack.worker)).await;
    measure(&stack, &fast, &paced).await
}

pub async fn relay(events: usize) -> Turn {
    let stack = Stack::start("bench", crate::WORKER).await;
    let _relay = Relay::start(&stack.worker).await;
    measure(&stack, &names("fast", events), &names("paced", PACED)).await
}

async fn measure(stack: &Stack, fast: &[String], paced: &[String]) -> Turn {
    stack.daprd.wait_subscribed(CONFIRMED).await;
    let fast = run(stack, fast, None).await;
    let took = fast.0.span(&fast.1);
    let paced = run(stack, paced, Some(PACE)).await;
    Turn::new(fast.0.len(), took, &paced.0.until(&paced.1))
}

/// Publishes the payments of these orders; when each was published, and when its announcement reached the subscriber.
async fn run(stack: &Stack, orders: &[String], pace: Option<usize>) -> (Moments, Moments) {
    let before = stack.subscriber.count();
    let began = tokio::time::Instant::now();
    let publishes = futures::stream::iter(orders.iter().enumerate()).map(async |(n, order)| {
        if let Some(pace) = pace {
            tokio::time::sleep_until(began + Duration::from_secs_f64(n as f64 / pace as f64)).await;
        }
        let at = SystemTime::now();
        stack.publisher.publish(&Message::new(CONFIRMED, &format!("e-{order}"), payment(order))).await.unwrap();
        at
    });
    let in_flight = if pace.is_some() { orders.len() } else { IN_FLIGHT };
    let sent: Vec<_> = publishes.buffered(in_flight).collect().await;
    let all = before + orders.len();
    wait::until("all announcements", LIMIT, async || stack.subscriber.count() >= all).await;

    let mut moments = (Moments::default(), Moments::default());
    for (order, at) in orders.iter().zip(sent) {
        moments.0.note(order.clone(), at);
    }
    for received in stack.subscriber.received().into_iter().skip(before) {
        moments.1.note(received.order_id, received.at);
    }
    moments
}
