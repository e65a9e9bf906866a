//! Several workers on one database: they share the work, and one that dies or sleeps changes nothing twice.

use std::time::{Duration, Instant};

use futures::future::join_all;
use rig::books::{Books, Seen};
use rig::callback::{Answer, Callback};
use rig::plan::Plan;
use rig::stack::Direct;
use rig::wait;
use rig::worker::{Worker, WorkerSpec};

use crate::main_path::WORKER;
use crate::scene::{SOON, confirmation, short_leases};
use crate::shop::Shop;

/// Two workers on one database, each with a caller in its sidecar's place.
struct Pair {
    direct: Direct,
    shop: Shop,
    workers: [Worker; 2],
    callbacks: [Callback; 2],
}

impl Pair {
    /// `change` makes the second worker differ.
    async fn start(name: &str, change: impl FnOnce(WorkerSpec) -> WorkerSpec) -> Pair {
        let mut direct = Direct::start(name, WORKER).await;
        direct.worker = short_leases(direct.worker);
        let shop = Shop::open(&direct.worker.database_url).await;
        let (first, callback) = direct.worker().await;
        let second = Worker::start(change(WorkerSpec { name: "second".into(), ..direct.worker.replica() })).await;
        let callbacks = [callback, Callback::new(second.eventbus_port())];
        Pair { direct, shop, workers: [first, second], callbacks }
    }

    /// The numbers of lanes that workers hold, smallest first.
    async fn shares(&self, queue: &'static str) -> Vec<i64> {
        sqlx::query_scalar(
            "select count(*) from order_worker.lanes where queue = $1 and owner is not null group by owner order by 1",
        )
        .bind(queue)
        .fetch_all(&self.shop.pool)
        .await
        .unwrap()
    }

    async fn until_shared(&self, shares: &[i64]) {
        for queue in ["dapr", "warehouse"] {
            wait::until("the lanes to be shared", SOON, async || self.shares(queue).await == shares).await;
        }
    }

    async fn conserved(&self, plan: &Plan) {
        self.shop.has_settled(plan, SOON).await;
        let seen: Vec<Seen> = self.direct.sidecar.published().iter().map(Seen::from).collect();
        Books::compare(plan, &self.shop.pool, &seen, &self.direct.warehouse.calls()).await.assert_conserved();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_delivered_ten_times_at_once_over_two_replicas_changes_its_order_once() {
    let pair = Pair::start("ten_times", |spec| spec).await;
    pair.shop.place_one("o1").await;
    let event = confirmation("e1", "p1", "o1");
    let deliveries = pair.callbacks.iter().cycle().take(10).map(|callback| callback.event(&event));
    for answer in join_all(deliveries).await {
        assert_eq!(answer.unwrap(), Answer::Success);
    }
    pair.shop.settled(SOON).await;
    assert_eq!(pair.shop.history("o1").await, ["payment_confirmed"]);
    assert_eq!(pair.shop.count("select sum(duplicates)::bigint from order_worker.inbox_status").await, 9);
    assert_eq!(pair.direct.sidecar.count(), 1);
    assert_eq!(pair.direct.warehouse.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_share_the_lanes_and_those_of_a_dead_one_move_within_two_leases() {
    let lease = Duration::from_secs(10);
    let pair = Pair::start("lanes", |spec| spec.env("ORDER_WORKER_QUEUE_LEASE", format!("{}s", lease.as_secs()))).await;
    pair.until_shared(&[32, 32]).await;
    pair.workers[1].kill9();
    let died = Instant::now();
    pair.until_shared(&[64]).await;
    assert!(died.elapsed() < lease * 2, "{:?}", died.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_gives_its_lanes_back_at_once() {
    let pair = Pair::start("given_back", |spec| spec.env("ORDER_WORKER_QUEUE_LEASE", "15s")).await;
    pair.until_shared(&[32, 32]).await;
    pair.workers[1].terminate();
    assert!(pair.workers[1].wait_exit(SOON).await.success());
    pair.until_shared(&[64]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_payments_of_one_order_the_one_that_was_stored_first_is_judged_first() {
    let mut direct = Direct::start("stored_first", WORKER).await;
    // Whoever sleeps keeps what it has taken until the test goes on.
    direct.worker = direct.worker.env("ORDER_WORKER_QUEUE_LEASE", "90s");
    direct.worker = direct.worker.env("ORDER_WORKER_DATABASE_IDLEINTRANSACTIONTIMEOUT", "60s");
    let shop = Shop::open(&direct.worker.database_url).await;
    shop.place(&["o1", "o2"].map(str::to_owned)).await;
    let spec = |name: &str| WorkerSpec { name: name.into(), mode: "event".into(), ..direct.worker.replica() };
    let sleeper = Worker::start(spec("sleeper").env("FAILPOINTS", "apply-after-take=1*return(stop)")).await;
    let callback = Callback::new(sleeper.eventbus_port());
    let first = tokio::spawn(async move { callback.event(&confirmation("e1", "p1", "o1")).await });
    let asleep = async || sleeper.logs().contains("failpoint apply-after-take reached");
    wait::until_or("the worker to fall asleep", SOON, || sleeper.log_tail(), asleep).await;

    let awake = Worker::start(spec("awake")).await;
    let callback = Callback::new(awake.eventbus_port());
    for (event, payment, order) in [("e2", "p2", "o1"), ("e3", "p3", "o2")] {
        assert_eq!(callback.event(&confirmation(event, payment, order)).await.unwrap(), Answer::Success);
    }
    let other = async || shop.status("o2").await == "payment_confirmed";
    wait::until_or("the other order", SOON, || awake.log_tail(), other).await;
    assert_eq!((shop.status("o1").await.as_str(), &*shop.outcomes("e2").await[0].0), ("pending", "pending"));
    sleeper.cont();
    assert_eq!(first.await.unwrap().unwrap(), Answer::Success);
    shop.settled(SOON).await;
    let outcome = async |event: &str| shop.outcomes(event).await[0].0.clone();
    assert_eq!((outcome("e1").await.as_str(), outcome("e2").await.as_str()), ("applied", "rejected"));
    assert_eq!(shop.history("o1").await, ["payment_confirmed"]);
}

/// The second worker is stopped (SIGSTOP) at a place, for longer than its lease and its transaction may last; the first does
/// everything meanwhile; the second goes on where it was.
async fn sleeps_at(place: &str, passages: u32) {
    let name = format!("sleeps_{}", place.replace('-', "_"));
    let failpoints = format!("{place}={passages}*off->1*return(stop)->off");
    let pair = Pair::start(&name, |spec| spec.env("FAILPOINTS", failpoints)).await;
    pair.until_shared(&[32, 32]).await;
    let plan = Plan::new("o", 150, 7);
    rig::orders::place(&pair.shop.pool, &plan.orders.keys().cloned().collect::<Vec<_>>()).await;

    let reached = format!("failpoint {place} reached");
    let sleeper = async {
        let sleeping = async || pair.workers[1].logs().contains(&reached);
        wait::until_or("the worker to fall asleep", SOON, || pair.workers[1].log_tail(), sleeping).await;
        pair.until_shared(&[64]).await;
        // Everything that the other one can do is done: what the sleeper had in hand, too.
        pair.shop.settled(SOON).await;
        pair.workers[1].cont();
    };
    // Calls that the sleeper has taken are answered when it is awake.
    tokio::join!(plan.deliver(&pair.callbacks, 32, || ()), sleeper);
    pair.until_shared(&[32, 32]).await;
    pair.conserved(&plan).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_slept_past_its_lease_inside_a_transaction_changes_nothing_twice() {
    sleeps_at("apply-before-commit", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_slept_past_its_lease_before_a_send_changes_nothing_twice() {
    sleeps_at("send-before", 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_slept_past_its_lease_after_a_send_repeats_it_under_its_own_id_at_the_most() {
    sleeps_at("send-after", 10).await;
}
