//! Parts that are away when the worker starts, or go and come back: they are waited for, and the log says which.

use rig::callback::Callback;
use rig::payment::{CONFIRMED, confirmed, json};
use rig::postgres::Postgres;
use rig::publisher::Message;
use rig::redis::Redis;
use rig::stack::{Direct, Stack};
use rig::wait;
use rig::worker::{Worker, migrate};

use crate::main_path::WORKER;
use crate::scene::{SOON, confirmation};
use crate::shop::Shop;

async fn says(worker: &Worker, line: &str) {
    let said = async || worker.logs().contains(line);
    wait::until_or(&format!("the log to say {line:?}"), SOON, || worker.log_tail(), said).await;
}

/// A worker whose parts are away as `goes` makes it, started before they are there; its orders `o1` and `o2`.
async fn without(name: &str, goes: impl FnOnce(&Direct)) -> (Direct, Shop, Worker, Callback) {
    let direct = Direct::start(name, WORKER).await;
    let shop = Shop::open(&direct.worker.database_url).await;
    shop.place(&["o1".into(), "o2".into()]).await;
    goes(&direct);
    let worker = Worker::spawn(direct.worker.clone());
    let callback = Callback::new(worker.eventbus_port());
    (direct, shop, worker, callback)
}

/// Pays an order once the worker takes events.
async fn pays(callback: &Callback, order: &str) {
    let event = confirmation(order, order, order);
    wait::until("the event to be taken", SOON, async || callback.event(&event).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_at_start_is_waited_for() {
    let postgres = Postgres::start().await;
    let url = postgres.database("late").await;
    migrate(WORKER, &url).await;
    postgres.stop().await;
    let mut direct = Direct::start("late", WORKER).await;
    direct.worker.database_url = url.clone();
    let worker = Worker::spawn(direct.worker.clone());
    says(&worker, "Postgres is unreachable: addr=127.0.0.1:").await;
    says(&worker, "Waiting for the database: ").await;
    assert_eq!(worker.get("/healthz").await.unwrap().0, 200);
    assert_eq!(worker.get("/readyz").await.unwrap().0, 503);
    let line = worker.logs().lines().find(|line| line.contains("Waiting for the database: ")).unwrap().to_owned();
    assert!(line.contains("onnection refused"), "{line}");

    postgres.start_again().await;
    worker.wait_ready().await;
    says(&worker, "Postgres is back").await;
    let shop = Shop::open(&url).await;
    shop.place_one("o1").await;
    pays(&Callback::new(worker.eventbus_port()), "o1").await;
    shop.settled(SOON).await;
    assert_eq!((direct.sidecar.count(), direct.warehouse.confirmed().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_is_away_at_start_is_waited_for_while_events_are_taken() {
    let (direct, shop, worker, callback) = without("late_sidecar", |direct| direct.sidecar.stop()).await;
    says(&worker, &format!("Dapr sidecar is unreachable: addr=http://127.0.0.1:{}", direct.sidecar.grpc_port())).await;
    assert_eq!(worker.get("/readyz").await.unwrap().0, 503);
    pays(&callback, "o1").await;
    wait::until("the change", SOON, async || shop.status("o1").await == "payment_confirmed").await;

    direct.sidecar.start_again();
    worker.wait_ready().await;
    says(&worker, "Dapr sidecar is back").await;
    shop.settled(SOON).await;
    assert_eq!(direct.sidecar.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warehouse_that_is_away_at_start_holds_up_nothing_else() {
    let (direct, shop, worker, callback) = without("late_warehouse", |direct| direct.warehouse.stop()).await;
    worker.wait_ready().await;
    for order in ["o1", "o2"] {
        pays(&callback, order).await;
    }
    wait::until("the announcements", SOON, async || direct.sidecar.count() == 2).await;
    says(&worker, "Warehouse call failed, it is tried again: method=ConfirmReservation").await;
    direct.warehouse.start_again();
    shop.settled(SOON).await;
    assert_eq!(direct.warehouse.confirmed().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_away_at_start_is_told_and_the_worker_is_ready_without_it() {
    let redis = Redis::start().await;
    redis.stop();
    let mut direct = Direct::start("late_redis", WORKER).await;
    direct.worker.redis_addr = Some(redis.addr());
    let shop = Shop::open(&direct.worker.database_url).await;
    shop.place_one("o1").await;
    let (worker, callback) = direct.worker().await;
    says(&worker, &format!("Redis is unreachable: addr={}", redis.addr())).await;
    wait::until("the gauge", SOON, async || worker.metrics().await.get("order_worker_redis_up") == Some(&0.0)).await;
    pays(&callback, "o1").await;
    shop.settled(SOON).await;
    redis.start_again().await;
    says(&worker, "Redis is back").await;
    wait::until("the gauge", SOON, async || worker.metrics().await.get("order_worker_redis_up") == Some(&1.0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_sidecar_that_goes_and_comes_back_delivers_and_publishes_again() {
    let stack = Stack::start("goes", WORKER).await;
    let shop = Shop::open(&stack.worker.database_url).await;
    shop.place(&["o1".into(), "o2".into()]).await;
    let worker = Worker::start(stack.worker.clone()).await;
    let pay = async |order: &str| {
        let message = Message::new(CONFIRMED, order, json(&confirmed(order, order, "10.10")));
        stack.publisher.publish(&message).await.unwrap();
    };
    stack.daprd.wait_subscribed(CONFIRMED).await;
    pay("o1").await;
    wait::until("the first announcement", SOON, async || stack.subscriber.count() == 1).await;
    stack.daprd.kill9();
    says(&worker, "Dapr sidecar is unreachable").await;
    pay("o2").await;
    stack.daprd.restart().await;
    says(&worker, "Dapr sidecar is back").await;
    // The first may come twice: its publish may have been cut off before the answer.
    let orders = || {
        let mut orders: Vec<String> = stack.subscriber.received().into_iter().map(|event| event.order_id).collect();
        orders.dedup();
        orders
    };
    let both = async || orders() == ["o1", "o2"];
    wait::until_or("the second announcement", SOON * 2, || worker.log_tail(), both).await;
}
