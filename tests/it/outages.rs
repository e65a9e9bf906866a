//! Parts that are away, refuse or hang, and rows that hold back: who waits, and who does not.

use std::time::{Duration, Instant};

use rig::behaviour::Behaviour;
use rig::callback::Event;
use rig::daprd::DaprdSpec;
use rig::payment::{CONFIRMED, FAILED, confirmed, failed, json};
use rig::sidecar::{component_missing, topic_forbidden};
use rig::stack::Stack;
use rig::wait;
use rig::worker::{Worker, WorkerSpec};
use tonic::Code;

use crate::main_path::WORKER;
use crate::scene::{SOON, Scene, assert_not_held_up};
use crate::shop::Shop;

/// Everything that is pending becomes older by an hour, as after an hour of the outage.
const AN_HOUR_LATER: &str = "update order_worker.pending set created_at = created_at - interval '1 hour'";

fn names(orders: usize) -> Vec<String> {
    (0..orders).map(|n| format!("o{n}")).collect()
}

/// Twenty orders are paid while nothing can be published; an hour passes, and a dozen attempts; then it is mended.
async fn an_hour_of(name: &str, breaks: impl FnOnce(&Scene), mends: impl FnOnce(&Scene)) {
    let scene = Scene::start(name).await;
    let orders = names(20);
    scene.shop.place(&orders).await;
    breaks(&scene);
    for order in &orders {
        scene.confirm(&format!("e-{order}"), &format!("p-{order}"), order).await;
    }
    let paused = async |times: usize| {
        let pauses = async || scene.worker.logs().matches("Queue pauses: ").count() >= times;
        wait::until_or("the queue to pause", SOON, || scene.worker.log_tail(), pauses).await;
    };
    paused(3).await;
    scene.shop.execute(AN_HOUR_LATER).await;
    paused(6).await;
    let states = "select count(*) from order_worker.outbox_status where channel = 'dapr' and state <> 'pending'";
    assert_eq!(scene.shop.count(states).await, 0, "nothing dead, nothing parked");
    assert_eq!(scene.shop.count("select coalesce(max(attempts), 0)::bigint from order_worker.pending").await, 0);
    wait::until("the gauge", SOON, async || scene.worker.metric("order_worker_queue_paused").await == 1.0).await;
    mends(&scene);
    scene.settled().await;
    assert_eq!(scene.direct.sidecar.count(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_without_a_sidecar_makes_nothing_dead() {
    an_hour_of("no_sidecar", |scene| scene.direct.sidecar.stop(), |scene| scene.direct.sidecar.start_again()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_without_the_component_makes_nothing_dead() {
    let answers = |scene: &Scene| scene.direct.sidecar.set(Behaviour::Answer);
    an_hour_of("no_component", |scene| scene.direct.sidecar.set(component_missing()), answers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_of_a_refused_scope_makes_nothing_dead() {
    let answers = |scene: &Scene| scene.direct.sidecar.set(Behaviour::Answer);
    an_hour_of("refused_scope", |scene| scene.direct.sidecar.set(topic_forbidden()), answers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_of_a_broker_that_fails_makes_nothing_dead() {
    let fails = |scene: &Scene| scene.direct.sidecar.set(Behaviour::Refuse(Code::Internal));
    an_hour_of("broker_fails", fails, |scene| scene.direct.sidecar.set(Behaviour::Answer)).await;
}

/// The same through a real sidecar, started again with something changed and then as it is shipped.
async fn an_hour_of_a_real_sidecar(
    name: &str,
    broken: impl FnOnce(&mut DaprdSpec),
    mended: impl FnOnce(&mut DaprdSpec),
) {
    let stack = Stack::start(name, WORKER).await;
    let shop = Shop::open(&stack.worker.database_url).await;
    shop.place(&names(5)).await;
    stack.daprd.restart_with(broken).await;
    let worker = Worker::start(stack.worker.clone()).await;
    for order in names(5) {
        shop.execute(&format!("select order_worker.order_created('{order}', 'checkout-{order}')")).await;
    }
    let refused = async || worker.metric("order_worker_queue_retries_total").await >= 10.0;
    wait::until_or("publishes to be refused", SOON, || worker.log_tail(), refused).await;
    shop.execute(AN_HOUR_LATER).await;
    let again = async || worker.metric("order_worker_queue_retries_total").await >= 20.0;
    wait::until_or("publishes to be refused an hour later", SOON, || worker.log_tail(), again).await;
    assert_eq!(shop.count("select count(*) from order_worker.outbox_status where state = 'pending'").await, 5);
    assert_eq!(shop.count("select max(attempts)::bigint from order_worker.pending").await, 0);
    stack.daprd.restart_with(mended).await;
    shop.settled(SOON).await;
    wait::until("all announcements", SOON, async || stack.subscriber.count() == 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_of_a_real_sidecar_without_the_component_makes_nothing_dead() {
    let (broken, mended) = (|s: &mut DaprdSpec| s.with_component = false, |s: &mut DaprdSpec| s.with_component = true);
    an_hour_of_a_real_sidecar("real_component", broken, mended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_of_a_real_sidecar_whose_scope_forbids_the_topic_makes_nothing_dead() {
    let forbids = |s: &mut DaprdSpec| s.metadata = vec![("publishingScopes".into(), "order-worker=".into())];
    an_hour_of_a_real_sidecar("real_scope", forbids, |spec| spec.metadata.clear()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_another_writer_has_locked_for_thirty_seconds_delays_only_its_own_events() {
    let scene = Scene::start("locked").await;
    let orders = names(200);
    scene.shop.place(&orders).await;
    let mut writer = scene.shop.pool.begin().await.unwrap();
    sqlx::query("select from orders where id = 'o0' for update").execute(&mut *writer).await.unwrap();
    let locked = Instant::now();
    let with = scene.pay_until(&orders[..100], 99).await;
    // The fault is the time itself.
    tokio::time::sleep(Duration::from_secs(30).saturating_sub(locked.elapsed())).await;
    assert_eq!(scene.outcome("e-o0").await, ("pending".into(), "the order is locked by another writer".into()));
    writer.rollback().await.unwrap();
    scene.settled().await;
    let without = scene.pay_until(&orders[100..], 200).await;
    assert_not_held_up(without, with);
    assert_eq!(scene.shop.history("o0").await, ["payment_confirmed"]);
    assert_eq!(scene.outcome("e-o0").await.0, "applied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warehouse_that_hangs_delays_no_announcement() {
    let scene = Scene::start("hanging_warehouse").await;
    let orders = names(300);
    scene.shop.place(&orders).await;
    let without = scene.pay_until(&orders[..150], 150).await;
    scene.settled().await;
    scene.direct.warehouse.set(Behaviour::Hang);
    let began = Instant::now();
    let with = scene.pay_until(&orders[150..], 300).await;
    assert_not_held_up(without, with);
    // The fault is the time itself.
    tokio::time::sleep(Duration::from_secs(60).saturating_sub(began.elapsed())).await;
    assert_eq!(scene.direct.warehouse.confirmed().len(), 150);
    scene.direct.warehouse.set(Behaviour::Answer);
    scene.settled().await;
    assert_eq!(scene.direct.warehouse.confirmed().len(), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warehouse_that_flaps_is_asked_again_under_the_same_key() {
    let scene = Scene::start("flapping_warehouse").await;
    let orders = names(40);
    scene.shop.place(&orders).await;
    scene.direct.warehouse.set(Behaviour::Flap(3));
    for order in &orders {
        scene.confirm(&format!("e-{order}"), &format!("p-{order}"), order).await;
    }
    scene.settled().await;
    assert_eq!(scene.direct.warehouse.confirmed().len(), 40);
    assert!(scene.direct.warehouse.calls().len() > 40);
    assert!(scene.worker.logs().contains("Warehouse call failed, it is tried again: method=ConfirmReservation"));
}

fn three_attempts(spec: WorkerSpec) -> WorkerSpec {
    spec.env("ORDER_WORKER_QUEUE_DAPR_MAXATTEMPTS", "3")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_that_fails_while_others_succeed_is_dead_in_the_end_and_parks_its_order_alone() {
    let scene = Scene::start_with("parked", three_attempts).await;
    scene.shop.place(&names(2)).await;
    scene.direct.sidecar.behaviours().set_for("o0", Behaviour::Refuse(Code::Internal));
    let failed = json(&failed("p-failed", "o0", "10.10", "card declined"));
    scene.deliver(&Event::new(FAILED, "e-failed", failed)).await;
    wait::until("the first change", SOON, async || scene.shop.history("o0").await == ["payment_failed"]).await;
    scene.confirm("e-paid", "p-paid", "o0").await;
    // It counts as its own failure only while others succeed: the API pod announces returns of the other order meanwhile.
    let state = "select string_agg(state, ' ' order by id) from order_worker.outbox_status
                 where channel = 'dapr' and order_id = $1";
    let mut returns = 0;
    wait::until_or("the first to be dead, the next to be parked", SOON, || scene.worker.log_tail(), async || {
        returns += 1;
        let announce = format!(
            "select order_worker.announce('order.return.requested', 'o1', '{{\"return_id\": \"r{returns}\"}}', 'r{returns}')"
        );
        scene.shop.execute(&announce).await;
        scene.shop.text(state, "o0").await == "dead parked"
    })
    .await;
    wait::until("all returns", SOON, async || scene.direct.sidecar.count() == returns).await;
    scene.confirm("e-o1", "p-o1", "o1").await;
    wait::until("the other order's announcement", SOON, async || scene.direct.sidecar.count() == returns + 1).await;
    assert_eq!(scene.shop.text(state, "o0").await, "dead parked");
    assert!(scene.worker.logs().contains("Announcement given up, later ones of this order are parked"));
    wait::until("the gauges", SOON, async || {
        let metrics = scene.worker.metrics().await;
        let gauge = |name: &str| metrics.get(&format!("order_worker_queue_{name}{{queue=\"dapr\"}}")).copied();
        (gauge("dead"), gauge("parked")) == (Some(1.0), Some(1.0))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_warehouse_is_an_answer_and_an_incident() {
    let scene = Scene::start("refusing_warehouse").await;
    scene.shop.place(&names(2)).await;
    scene.direct.warehouse.behaviours().set_for("res-o0", Behaviour::Refuse(Code::NotFound));
    for order in names(2) {
        let paid = json(&confirmed(&format!("p-{order}"), &order, "10.10"));
        scene.deliver(&Event::new(CONFIRMED, &format!("e-{order}"), paid)).await;
    }
    scene.settled().await;
    assert_eq!(scene.direct.sidecar.count(), 2, "a failure of the warehouse never fails the event");
    let status = "select reservation_status from order_items where order_id = $1";
    assert_eq!(scene.shop.text(status, "o0").await, "refused");
    assert_eq!(scene.shop.text(status, "o1").await, "confirmed");
    assert_eq!(scene.shop.incidents("o0").await, ["paid_unreserved"]);
    assert!(
        scene
            .worker
            .logs()
            .contains("Warehouse refused: method=ConfirmReservation, reservation_id=res-o0, order_id=o0")
    );
}
