//! Starting and stopping: what is awaited, what is finished, what is given back.

use std::process::Command;
use std::time::{Duration, Instant};

use futures::StreamExt;
use rig::behaviour::Behaviour;
use rig::callback::{Answer, Callback};
use rig::wait;
use rig::worker::{Worker, WorkerSpec};
use tokio::net::TcpStream;

use crate::scene::{SOON, Scene, confirmation, short_leases};

/// The default of worker.shutdown.grace.
const GRACE: Duration = Duration::from_secs(25);

fn names(orders: usize) -> Vec<String> {
    (0..orders).map(|n| format!("o{n}")).collect()
}

fn signal(worker: &Worker, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), worker.pid().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Delivers a payment for each order, many at once; the orders whose event was answered SUCCESS.
async fn deliver(callback: &Callback, orders: &[String]) -> Vec<String> {
    let deliver = async |order: &String| {
        let answer = callback.event(&confirmation(order, order, order)).await;
        (answer.ok() == Some(Answer::Success)).then(|| order.clone())
    };
    futures::stream::iter(orders).map(deliver).buffer_unordered(8).filter_map(async |order| order).collect().await
}

const STORED: &str = "select count(*) from order_worker.inbox_keys";
const OWNED: &str = "select (select count(*) from order_worker.lanes where owner is not null)
                          + (select count(*) from order_worker.workers)";

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_stopped_amid_events_finishes_what_it_took_and_gives_its_lanes_back() {
    let scene = Scene::start("stopped").await;
    let orders = names(2000);
    scene.shop.place(&orders).await;
    let stopping = async {
        wait::until("some to be stored", SOON, async || scene.shop.count(STORED).await > 100).await;
        scene.worker.terminate();
        let began = Instant::now();
        assert!(scene.worker.wait_exit(SOON).await.success());
        assert_eq!(scene.shop.count(OWNED).await, 0, "lanes are free at once");
        began.elapsed()
    };
    let (answered, took) = tokio::join!(deliver(&scene.callback, &orders), stopping);
    assert!(took < GRACE, "{took:?}");
    assert!(!answered.is_empty() && answered.len() < orders.len(), "{} were answered", answered.len());
    assert!(scene.worker.logs().contains("Stopping: finishing what is in hand: signal=SIGTERM"));
    assert!(
        scene.worker.logs().trim_end().ends_with("order-worker stopped: nothing is in hand"),
        "{}",
        scene.worker.log_tail()
    );

    scene.worker.restart().await;
    scene.settled().await;
    for order in &answered {
        assert_eq!(scene.outcome(order).await.0, "applied", "{order} was answered SUCCESS");
    }
    let others: Vec<_> = orders.iter().filter(|order| !answered.contains(order)).cloned().collect();
    assert_eq!(deliver(&scene.callback, &others).await.len(), others.len());
    scene.settled().await;
    let announced: Vec<_> =
        scene.direct.sidecar.published().iter().map(|one| one.event_id().unwrap().to_owned()).collect();
    assert_eq!(announced.len(), orders.len(), "nothing was in hand, so nothing is announced twice");
    assert_eq!(scene.direct.warehouse.confirmed().len(), orders.len());
}

/// A worker in the midst of a warehouse call that never ends.
async fn amid_a_call(name: &str, change: impl FnOnce(WorkerSpec) -> WorkerSpec) -> Scene {
    let scene = Scene::start_with(name, |spec| change(spec.env("ORDER_WORKER_WAREHOUSE_TIMEOUT", "60s"))).await;
    scene.shop.place_one("o1").await;
    scene.direct.warehouse.set(Behaviour::Hang);
    scene.confirm("e1", "p1", "o1").await;
    wait::until("the call", SOON, async || !scene.direct.warehouse.calls().is_empty()).await;
    scene
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_a_worker_that_hangs_at_once() {
    for (name, signals) in
        [("term_term", ["TERM", "TERM"]), ("int_term", ["INT", "TERM"]), ("term_int", ["TERM", "INT"])]
    {
        let scene = amid_a_call(name, short_leases).await;
        signal(&scene.worker, signals[0]);
        wait::until("it to stop", SOON, async || scene.worker.logs().contains("Stopping: finishing")).await;
        signal(&scene.worker, signals[1]);
        let began = Instant::now();
        assert_eq!(scene.worker.wait_exit(SOON).await.code(), Some(1));
        assert!(began.elapsed() < GRACE / 2, "{:?}", began.elapsed());
        assert!(scene.worker.logs().contains(&format!("Second signal: ending at once: signal=SIG{}", signals[1])));

        // What was in hand is done by the next worker, once the lease is over.
        scene.direct.warehouse.set(Behaviour::Answer);
        scene.worker.restart().await;
        scene.settled().await;
        assert_eq!(scene.direct.warehouse.confirmed().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_longer_than_the_grace_period_is_left_and_told() {
    let brief = |spec: WorkerSpec| {
        short_leases(spec)
            .env("ORDER_WORKER_SHUTDOWN_GRACE", "4s")
            .env("ORDER_WORKER_EVENTBUS_ACCEPTTIMEOUT", "25s")
            .env("ORDER_WORKER_DATABASE_LOCKTIMEOUT", "25s")
    };
    let scene = amid_a_call("grace", brief).await;
    let mut blocking = scene.shop.pool.begin().await.unwrap();
    sqlx::query("lock table order_worker.inbox_keys").execute(&mut *blocking).await.unwrap();
    let callback = scene.callback.clone();
    let hanging = tokio::spawn(async move { callback.event(&confirmation("e2", "p2", "o1")).await });
    let waiting = "select count(*) from pg_stat_activity
                   where datname = current_database() and wait_event_type = 'Lock'";
    wait::until("the event to wait for the table", SOON, async || scene.shop.count(waiting).await > 0).await;
    scene.worker.terminate();
    let began = Instant::now();
    let status = scene.worker.wait_exit(SOON).await;
    let took = began.elapsed();
    // What hangs would hang for 25 s and for a minute.
    assert!(took > Duration::from_secs(3) && took < Duration::from_secs(20), "{took:?}");
    assert_eq!(status.code(), Some(0));
    assert!(hanging.await.unwrap().is_err(), "an event that is not stored is not answered SUCCESS");
    blocking.rollback().await.unwrap();
    let log = scene.worker.logs();
    assert!(log.contains("Calls of Dapr still hang at the end of the grace period"), "{}", scene.worker.log_tail());
    assert!(!log.contains("nothing is in hand"), "{}", scene.worker.log_tail());

    scene.direct.warehouse.set(Behaviour::Answer);
    scene.worker.restart().await;
    scene.settled().await;
    assert_eq!(scene.direct.warehouse.confirmed().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_mode_cron_announcements_and_calls_go_out_and_no_event_comes_in() {
    let scene = Scene::start_with("modes", |spec| WorkerSpec { mode: "event".into(), ..spec }).await;
    assert!(scene.worker.logs().contains("Consuming payment events"));
    assert!(!scene.worker.logs().contains("Starting cron jobs..."));
    scene.shop.place_one("o1").await;
    scene.direct.sidecar.stop();
    scene.direct.warehouse.stop();
    scene.confirm("e1", "p1", "o1").await;
    wait::until("the change", SOON, async || scene.shop.status("o1").await == "payment_confirmed").await;
    scene.worker.terminate();
    assert!(scene.worker.wait_exit(SOON).await.success());
    assert_eq!(scene.shop.unsettled().await, 2);

    scene.direct.sidecar.start_again();
    scene.direct.warehouse.start_again();
    let cron = Worker::start(WorkerSpec { mode: "cron".into(), ..scene.worker.spec().replica() }).await;
    scene.settled().await;
    assert_eq!((scene.direct.sidecar.count(), scene.direct.warehouse.confirmed().len()), (1, 1));
    assert!(cron.logs().contains("Starting cron jobs..."), "{}", cron.log_tail());
    assert!(TcpStream::connect(("127.0.0.1", cron.eventbus_port())).await.is_err());
    assert!(!cron.logs().contains("Consuming payment events"));

    let all = Worker::start(WorkerSpec { mode: "all".into(), ..scene.worker.spec().replica() }).await;
    assert!(all.logs().contains("Starting cron jobs...") && all.logs().contains("Consuming payment events"));
    TcpStream::connect(("127.0.0.1", all.eventbus_port())).await.unwrap();
}
