//! Large messages, a hundred at once: all are taken, in bounded memory.

use std::collections::BTreeSet;

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

#[tokio::test(flavor = "multi_thread")]
async fn large_announcements_are_in_hand_by_few_bytes_at_a_time() {
    let scene = Scene::start("large_announcements").await;
    let orders: Vec<String> = (0..COUNT).map(|n| format!("o{n}")).collect();
    scene.shop.place(&orders).await;
    scene.direct.sidecar.stop();
    let announce = "select order_worker.announce('shop.catalogue', id, jsonb_build_object('text', repeat('x', 900000)), id) from orders";
    scene.shop.execute(announce).await;
    let in_hand =
        "select coalesce(max(cardinality(in_hand)), 0)::bigint from order_worker.workers where queue = 'dapr'";
    let most =
        wait::until("rows in hand", SOON, async || Some(scene.shop.count(in_hand).await).filter(|rows| *rows > 0));
    // Eight batches side by side, each of the rows that begin within 4 MiB.
    assert!(most.await <= 8 * 5);
    scene.direct.sidecar.start_again();
    scene.settled().await;
    let published = scene.direct.sidecar.published();
    let ids: BTreeSet<_> = published.iter().filter_map(|one| one.event_id()).collect();
    assert_eq!(ids.len(), COUNT);
    let peak = peak(&scene.worker);
    assert!(peak < MOST_KIB, "{peak} KiB");
}
