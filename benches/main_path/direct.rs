//! Against a stand-in sidecar in this process: what the worker itself can do.

use std::time::{Duration, SystemTime};

use futures::StreamExt;
use rig::callback::{Answer, Callback, Event};
use rig::payment::CONFIRMED;
use rig::stack::Direct;
use rig::wait;
use rig::worker::Worker;

use crate::figures::Turn;
use crate::orders::{Moments, Reservations, names, payment, place};
use crate::relay::Relay;

/// Calls in flight at full speed.
const IN_FLIGHT: usize = 256;
/// Events a second when latency is measured, and how many.
pub const PACE: usize = 500;
const PACED: usize = 2_000;
const LIMIT: Duration = Duration::from_secs(120);

pub async fn worker(binary: &str, events: usize, reservations: Reservations) -> Turn {
    let direct = Direct::start("bench", binary).await;
    let (fast, paced) = (names("fast", events), names("paced", PACED));
    place(&direct.worker.database_url, &fast, reservations).await;
    place(&direct.worker.database_url, &paced, reservations).await;
    let worker = Worker::start(crate::with_settings(&direct.worker)).await;
    let callback = Callback::new(worker.eventbus_port());
    let turn = measure(&direct, &callback, &fast, &paced).await;
    if reservations == Reservations::One {
        let all = async || direct.warehouse.confirmed().len() == events + PACED;
        wait::until("every reservation to be confirmed", LIMIT, all).await;
    }
    turn
}

pub async fn relay(events: usize) -> Turn {
    let direct = Direct::start("bench", crate::WORKER).await;
    let _relay = Relay::start(&direct.worker).await;
    let callback = Callback::new(direct.worker.eventbus_port);
    measure(&direct, &callback, &names("fast", events), &names("paced", PACED)).await
}

async fn measure(direct: &Direct, callback: &Callback, fast: &[String], paced: &[String]) -> Turn {
    let fast = run(direct, callback, fast, None).await;
    let rate = fast.0.span(&fast.1);
    let paced = run(direct, callback, paced, Some(PACE)).await;
    Turn::new(fast.0.len(), rate, &paced.0.until(&paced.1))
}

/// Sends the payments of these orders; when each was sent, and when its announcement was published.
pub async fn run(direct: &Direct, callback: &Callback, orders: &[String], pace: Option<usize>) -> (Moments, Moments) {
    let events: Vec<_> =
        orders.iter().map(|order| Event::new(CONFIRMED, &format!("e-{order}"), payment(order))).collect();
    let began = tokio::time::Instant::now();
    let calls = futures::stream::iter(events.iter().enumerate()).map(async |(n, event)| {
        if let Some(pace) = pace {
            tokio::time::sleep_until(began + Duration::from_secs_f64(n as f64 / pace as f64)).await;
        }
        let at = SystemTime::now();
        assert_eq!(callback.event(event).await.unwrap(), Answer::Success);
        at
    });
    let in_flight = if pace.is_some() { orders.len() } else { IN_FLIGHT };
    let sent: Vec<_> = calls.buffered(in_flight).collect().await;
    wait::until("all announcements", LIMIT, async || direct.sidecar.count() == orders.len()).await;

    let mut moments = (Moments::default(), Moments::default());
    for (order, at) in orders.iter().zip(sent) {
        moments.0.note(order.clone(), at);
    }
    for published in direct.sidecar.take() {
        let order = published.json()["order_id"].as_str().unwrap().to_owned();
        moments.1.note(order, published.at);
    }
    moments
}
