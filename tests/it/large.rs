//! Large messages, a hundred at once: all are taken, in bounded memory.

use futures::future::join_all;
use rig::callback::{Answer, Callback, Event};
use rig::payment::{CONFIRMED, confirmed, json};
use rig::wait;
use rig::worker::Worker;
use tonic::Code;

use crate::scene::{SOON, Scene};

/// A little below the 4 MiB that Dapr can send.
const LARGE: usize = 3_900_000;
const COUNT: usize = 100;
const MOST_KIB: u64 = 256 << 10;

/// The most memory that the worker ever had, in KiB.
fn peak(worker: &Worker) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// By hand: writing JSON of this size takes an unoptimised test longer than all the rest.
fn large(order: &str) -> Event {
    let mut body = json(&confirmed(order, order, "10.10"));
    body.pop();
    body.extend_from_slice(br#","metadata":{"note":""#);
    body.resize(LARGE, b'x');
    body.extend_from_slice(br#""}}"#);
    Event::new(CONFIRMED, order, body)
}

/// Delivers until it is taken, as Dapr does.
async fn deliver(callback: Callback, event: Event) {
    wait::until("a large event to be taken", SOON * 2, async || match callback.event(&event).await {
        Ok(answer) => answer == Answer::Success,
        Err(status) => {
            assert_eq!(status.code(), Code::Unavailable, "{status:?}");
            false
        }
    })
    .await;
}

async fn a_hundred(name: &str, connection: impl Fn(&Scene) -> Callback) {
    let scene = Scene::start(name).await;
    let orders: Vec<String> = (0..COUNT).map(|n| format!("o{n}")).collect();
    scene.shop.place(&orders).await;
    join_all(orders.iter().map(|order| deliver(connection(&scene), large(order)))).await;
    scene.shop.settled(SOON * 2).await;
    let applied = "select count(*) from order_worker.inbox_outcomes where outcome = 'applied'";
    assert_eq!(scene.shop.count(applied).await, i64::try_from(COUNT).unwrap());
    let peak = peak(&scene.worker);
    assert!(peak < MOST_KIB, "{} MiB", peak >> 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_large_messages_on_as_many_connections_stay_within_the_bounds_of_memory() {
    a_hundred("large_many", |scene| Callback::new(scene.worker.eventbus_port())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_large_messages_on_one_connection_stay_within_the_bounds_of_memory() {
    a_hundred("large_one", |scene| scene.callback.clone()).await;
}
