//! Whatever dies, and whenever: nothing is lost, nothing is done twice, the first occurrences come in order.

use std::collections::HashSet;
use std::time::Duration;

use futures::StreamExt;
use rig::books::{Books, Seen};
use rig::daprd::DaprdSpec;
use rig::plan::Plan;
use rig::postgres::Postgres;
use rig::publisher::Message;
use rig::stack::{Direct, Stack};
use rig::subscriber::STATUS_CHANGED;
use rig::wait;
use rig::worker::Worker;

use crate::main_path::WORKER;
use crate::scene::{SOON, short_leases};
use crate::shop::Shop;

/// The steps between which the worker is killed, each with the passages before it.
const PLACES: [(&str, u32); 10] = [
    ("accept-before-commit", 2),
    ("accept-after-commit", 2),
    ("apply-after-take", 2),
    ("orders-after-change", 1),
    ("apply-before-commit", 2),
    ("apply-after-commit", 2),
    ("send-before", 30),
    ("send-after", 30),
    ("settle-before-commit", 2),
    ("settle-after-commit", 2),
];
/// How long it may take until everything that a dead sidecar or worker had in hand is delivered again: Dapr's processingTimeout,
/// and the time to look for it.
const REDELIVERED: Duration = Duration::from_secs(200);

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_between_any_two_steps_loses_and_doubles_nothing() {
    futures::stream::iter(PLACES).for_each_concurrent(2, |(place, passages)| dies_at(place, passages)).await;
}

async fn dies_at(place: &str, passages: u32) {
    let mut direct = Direct::start(&format!("dies_{}", place.replace('-', "_")), WORKER).await;
    let failpoints = format!("{place}={passages}*off->return");
    direct.worker = short_leases(direct.worker).env("FAILPOINTS", failpoints);
    let shop = Shop::open(&direct.worker.database_url).await;
    let plan = Plan::new("o", 150, 3);
    rig::orders::place(&shop.pool, &plan.orders.keys().cloned().collect::<Vec<_>>()).await;
    let (worker, callback) = direct.worker().await;
    let callbacks = [callback];
    let killed = async {
        worker.wait_exit(SOON).await;
        assert!(worker.logs().contains(&format!("failpoint {place} reached")), "{}", worker.log_tail());
        worker.set_env("FAILPOINTS", None);
        worker.restart().await;
    };
    tokio::join!(plan.deliver(&callbacks, 16, || ()), killed);
    shop.has_settled(&plan, SOON).await;
    let seen: Vec<Seen> = direct.sidecar.published().iter().map(Seen::from).collect();
    let books = Books::compare(&plan, &shop.pool, &seen, &direct.warehouse.calls()).await;
    assert!(books.violations.is_empty(), "killed at {place}: {books}");
}

/// A plan that is published through real daprd and Redis while things die.
struct Day {
    stack: Stack,
    shop: Shop,
    worker: Worker,
    plan: Plan,
}

impl Day {
    async fn start(name: &str, orders: usize) -> Day {
        Day::start_on(Stack::start(name, WORKER).await, orders).await
    }

    async fn start_on(mut stack: Stack, orders: usize) -> Day {
        stack.worker = short_leases(stack.worker);
        let shop = Shop::open(&stack.worker.database_url).await;
        let plan = Plan::new("o", orders, orders as u64);
        rig::orders::place(&shop.pool, &plan.orders.keys().cloned().collect::<Vec<_>>()).await;
        let worker = Worker::start(stack.worker.clone()).await;
        stack.daprd.wait_subscribed("payment.failed").await;
        Day { stack, shop, worker, plan }
    }

    /// Publishes everything while `fault` happens, which begins once events are in hand.
    async fn survives(&self, fault: impl Future<Output = ()>) {
        let fault = async {
            self.until_in_hand(self.plan.messages.len()).await;
            fault.await;
        };
        tokio::join!(self.plan.publish(&self.stack.publisher, 16, || ()), fault);
        self.conserved().await;
    }

    /// Waits until rows are in hand, or so many messages have come that none will be.
    async fn until_in_hand(&self, messages: usize) {
        let busy = "select (select count(*) from order_worker.pending where state = 'ready')
                         + (select count(*) from order_worker.workers where cardinality(in_hand) > 0)";
        let in_hand = async || self.shop.count(busy).await > 0 || self.shop.deliveries().await >= messages;
        wait::until_or("rows in hand", SOON, || self.worker.log_tail(), in_hand).await;
    }

    /// Everything is done and conserved: by the subscriber's book, and by the topic's own stream.
    async fn conserved(&self) {
        self.shop.has_settled(&self.plan, REDELIVERED).await;
        let announced = self.shop.count("select count(*) from order_worker.outbox where channel = 'dapr'").await;
        let received = || self.stack.subscriber.received().into_iter().map(|received| received.event_id);
        let all = async || i64::try_from(received().collect::<HashSet<_>>().len()).unwrap() >= announced;
        wait::until("the subscriber to have received everything", REDELIVERED, all).await;
        // The stream's order, not the subscriber's: a sidecar delivers entries side by side.
        let stream: Vec<Seen> = self.stack.redis.stream(STATUS_CHANGED).await.iter().map(Seen::from).collect();
        let known: HashSet<_> = stream.iter().map(|seen| seen.event_id.clone()).collect();
        assert!(received().all(|id| known.contains(&id)), "the subscriber received what is not in the stream");
        let calls = self.stack.warehouse.calls();
        Books::compare(&self.plan, &self.shop.pool, &stream, &calls).await.assert_conserved();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_kills_under_load_lose_and_double_nothing() {
    let day = Day::start("thirty_kills", 3000).await;
    let mut rng = fastrand::Rng::with_seed(30);
    let mut published = 0;
    for messages in day.plan.messages.chunks(day.plan.messages.len().div_ceil(30)) {
        published += messages.len();
        let load = async {
            let publish = |message: &Message| {
                let (publisher, message) = (day.stack.publisher.clone(), message.clone());
                async move { publisher.publish(&message).await.unwrap() }
            };
            futures::stream::iter(messages).map(publish).buffer_unordered(16).collect::<()>().await;
        };
        let kill = async {
            day.worker.wait_ready().await;
            day.until_in_hand(published).await;
            tokio::time::sleep(Duration::from_millis(rng.u64(0..60))).await;
            day.worker.kill9();
            day.worker.restart_without_waiting();
        };
        tokio::join!(load, kill);
    }
    day.conserved().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_is_killed_and_started_again_loses_nothing() {
    // What it had in hand is delivered again after processingTimeout: the shipped minute would be a minute of waiting here.
    let sooner = |spec: &mut DaprdSpec| spec.processing_timeout = Some("5s".into());
    let day = Day::start_on(Stack::start_with("sidecar_killed", WORKER, sooner).await, 1000).await;
    day.survives(day.stack.daprd.restart()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_away_for_twenty_seconds_with_its_sidecar_up_loses_nothing() {
    let day = Day::start("worker_away", 1000).await;
    day.survives(async {
        day.worker.kill9();
        // The fault is the time itself.
        tokio::time::sleep(Duration::from_secs(20)).await;
        day.worker.restart().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_crashes_and_recovers_loses_nothing() {
    let postgres = Postgres::start().await;
    let mut stack = Stack::start("unused", WORKER).await;
    stack.worker.database_url = postgres.database("crashes").await;
    rig::worker::migrate(WORKER, &stack.worker.database_url).await;
    let day = Day::start_on(stack, 1000).await;
    day.survives(postgres.restart_immediate()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_connections_are_all_ended_again_and_again_loses_nothing() {
    let day = Day::start("connections_ended", 1000).await;
    day.survives(async {
        for _ in 0..5 {
            let mine = "select pg_terminate_backend(pid) from pg_stat_activity
                        where application_name = 'order-worker' and datname = current_database()";
            day.shop.execute(mine).await;
            day.until_in_hand(day.plan.messages.len()).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_killed_and_started_again_loses_nothing() {
    let day = Day::start("redis_killed", 1000).await;
    day.survives(day.stack.redis.restart()).await;
}
