//! The order of what goes out: whatever happens to a row, nothing later of its key is sent before it.

use std::time::{Duration, Instant};

use rig::behaviour::{Behaviour, Gate};
use rig::callback::Callback;
use rig::wait;
use rig::warehouse::Method;
use rig::worker::Worker;
use tonic::Code;

use crate::commands::Desk;
use crate::scene::{SOON, Scene, witness};

/// Two reads of a lane from its very start lie behind after this time, and its floor has gone past what waits.
const FLOOR_PASSES: Duration = Duration::from_millis(2_500);

/// Orders whose announcements share a lane with those of the first.
async fn neighbours(scene: &Scene, count: usize) -> Vec<String> {
    let sql = "select 'n' || n from generate_series(1, 100000) n where order_worker.lane('n' || n) = order_worker.lane($1) limit $2";
    let names = sqlx::query_scalar(sql).bind("late").bind(i64::try_from(count).unwrap());
    names.fetch_all(&scene.shop.pool).await.unwrap()
}

/// Other announcements of the lane go out, one after the other, until its floor has gone past what waits in it.
async fn traffic(scene: &Scene, orders: &[String]) {
    let began = Instant::now();
    for order in orders {
        scene.shop.execute(&format!("select order_worker.order_created('{order}', 'checkout-{order}')")).await;
        tokio::time::sleep(FLOOR_PASSES / u32::try_from(orders.len()).unwrap()).await;
    }
    wait::until("the lane's floor to pass", SOON, async || began.elapsed() > FLOOR_PASSES).await;
}

/// The statuses of an order in the order in which they were published first.
fn published(scene: &Scene, order: &str) -> Vec<String> {
    let mut statuses: Vec<String> = Vec::new();
    for one in scene.direct.sidecar.published() {
        let body = one.json();
        let status = body["new_status"].as_str().unwrap_or_default().to_owned();
        if body["order_id"] == order && !statuses.contains(&status) {
            statuses.push(status);
        }
    }
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_that_is_ready_again_is_not_overtaken() {
    let scene = Scene::start("ready_again").await;
    let orders = neighbours(&scene, 40).await;
    scene.shop.place_one("late").await;
    scene.shop.place(&orders).await;
    let (early, later) = orders.split_at(5);
    scene.direct.sidecar.behaviours().set_for("late", Behaviour::Refuse(Code::Internal));
    for order in early {
        scene.shop.execute(&format!("select order_worker.order_created('{order}', 'checkout-{order}')")).await;
    }
    scene.shop.execute("select order_worker.order_created('late', 'checkout-late')").await;
    let waits = "select count(*) from order_worker.pending where key = 'late' and state = 'waiting'";
    wait::until("the announcement to wait", SOON, async || scene.shop.count(waits).await == 1).await;
    scene.shop.execute("update order_worker.pending set due = now() + interval '1 hour' where key = 'late'").await;
    traffic(&scene, later).await;
    scene.direct.sidecar.behaviours().clear();
    // It becomes ready in the same moment in which a later one comes; the same again for the row that this blocks.
    scene
        .shop
        .execute(
            "begin;
             update order_worker.pending set state = 'ready' where key = 'late';
             select order_worker.change_order('late', 'payment_confirmed', 'by hand', null, 'first');
             select order_worker.change_order('late', 'confirmed', 'by hand', null, 'second');
             commit",
        )
        .await;
    scene.settled().await;
    assert_eq!(published(&scene, "late"), ["pending", "payment_confirmed", "confirmed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_that_commits_late_is_not_overtaken() {
    let scene = Scene::start("commits_late").await;
    let orders = neighbours(&scene, 40).await;
    scene.shop.place_one("late").await;
    scene.shop.place(&orders).await;
    let mut slow = scene.shop.pool.begin().await.unwrap();
    sqlx::query("select order_worker.order_created('late', 'checkout-late')").execute(&mut *slow).await.unwrap();
    traffic(&scene, &orders).await;
    slow.commit().await.unwrap();
    scene.shop.execute("select order_worker.change_order('late', 'payment_confirmed', 'by hand', null, 'first')").await;
    scene.settled().await;
    assert_eq!(published(&scene, "late"), ["pending", "payment_confirmed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn announcements_at_random_moments_of_failure_keep_their_order() {
    let scene = Scene::start("random_failures").await;
    let orders: Vec<String> = (0..24).map(|n| format!("o{n}")).collect();
    scene.shop.place(&orders).await;
    scene.direct.sidecar.set(Behaviour::Flap(3));
    for status in ["pending", "payment_confirmed", "confirmed", "shipped", "delivered"] {
        for order in &orders {
            let call = match status {
                "pending" => format!("select order_worker.order_created('{order}', 'checkout-{order}')"),
                _ => format!("select order_worker.change_order('{order}', '{status}', null, null, '{status}-{order}')"),
            };
            scene.shop.execute(&call).await;
        }
        tokio::time::sleep(Duration::from_millis(u64::from(fastrand::u8(..)) * 4)).await;
    }
    scene.direct.sidecar.set(Behaviour::Answer);
    scene.settled().await;
    for order in &orders {
        assert_eq!(published(&scene, order), ["pending", "payment_confirmed", "confirmed", "shipped", "delivered"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_while_a_slow_answer_is_awaited_is_not_settled_by_it() {
    let scene = Scene::start("slow_settle").await;
    scene.shop.place(&["o1".into(), "o2".into()]).await;
    let gate = Gate::new();
    scene.direct.sidecar.behaviours().set_for("o1", Behaviour::Held(gate.clone()));
    scene.shop.execute("select order_worker.order_created('o1', 'checkout-1')").await;
    let in_hand = "select count(*) from order_worker.workers where cardinality(in_hand) = 1";
    wait::until("the announcement to be in hand", SOON, async || scene.shop.count(in_hand).await == 1).await;
    // Another worker has settled it meanwhile, and an operator has had it sent again.
    for statement in [
        "with gone as (delete from order_worker.pending where key = 'o1' returning *)
         insert into order_worker.outbox_outcomes (day, id, outcome, attempts) select day, id, 'sent', 1 from gone",
        "insert into order_worker.pending (queue, id, day, lane, key, edition, state, due)
         select 'dapr', id, day, order_worker.lane('o1'), 'o1', 7, 'waiting', now() + interval '1 hour' from order_worker.outbox",
    ] {
        scene.shop.execute(statement).await;
    }
    gate.open();
    wait::until("the slow answer", SOON, async || scene.direct.sidecar.count() == 1).await;
    scene.shop.execute("select order_worker.order_created('o2', 'checkout-2')").await;
    let settled = "select count(*) from order_worker.outbox_outcomes";
    wait::until("another announcement", SOON, async || scene.shop.count(settled).await == 2).await;
    assert_eq!(scene.shop.count("select count(*) from order_worker.pending where edition = 7").await, 1);
    scene.direct.sidecar.behaviours().clear();
    scene.shop.execute("update order_worker.pending set due = now() where key = 'o1'").await;
    scene.settled().await;
    assert_eq!(scene.direct.sidecar.count(), 3, "o1 twice");
}

const DEAD: &str = "select count(*) from order_worker.pending where queue = 'warehouse' and state = 'dead'";

/// A paid order whose Confirm was given up.
async fn dead_confirm(name: &str) -> Desk {
    let mut desk = Desk::start(name).await;
    desk.direct.worker = desk.direct.worker.clone().env("ORDER_WORKER_QUEUE_WAREHOUSE_MAXATTEMPTS", 1);
    desk.shop.place_one("o1").await;
    desk
}

/// Waits until the call that fails is given up.
async fn given_up(desk: &Desk, worker: &Worker, callback: &Callback) {
    let dead = async || {
        witness(&desk.shop, callback).await;
        desk.shop.count(DEAD).await == 1
    };
    wait::until_or("the call to be given up", SOON, || worker.log_tail(), dead).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirm_that_nobody_wants_any_more_is_not_made_and_the_proof_knows_it() {
    let desk = dead_confirm("obsolete").await;
    let (worker, callback) = desk.direct.worker().await;
    desk.direct.warehouse.behaviours().set_for("res-o1", Behaviour::Refuse(Code::Internal));
    callback.event(&crate::scene::confirmation("e1", "p1", "o1")).await.unwrap();
    given_up(&desk, &worker, &callback).await;
    desk.shop.execute("select order_worker.cancel_order('o1', 'changed my mind', 'cancel-1')").await;
    desk.direct.warehouse.behaviours().clear();
    let released = "select count(*) from order_items where order_id = 'o1' and reservation_status = 'released'";
    wait::until("the release", SOON, async || desk.shop.count(released).await == 1).await;
    desk.says(&["dead", "redrive", "--all", "--reason", "the warehouse is back"]).await;
    desk.shop.settled(SOON).await;
    let calls = desk.direct.warehouse.calls();
    let of_o1: Vec<Method> =
        calls.iter().filter(|c| c.reservation_id == "res-o1" && c.answered).map(|c| c.method).collect();
    assert_eq!(of_o1, [Method::Release]);
    let outcome = "select outcome from order_worker.outbox_outcomes join order_worker.outbox using (day, id)
                   where topic = 'ConfirmReservation' and subject = $1";
    assert_eq!(desk.shop.text(outcome, "o1").await, "obsolete");
    desk.says(&["audit"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_given_up_leaves_no_item_that_waits_for_it() {
    let desk = dead_confirm("given_up").await;
    let (worker, callback) = desk.direct.worker().await;
    let failed = || desk.direct.warehouse.behaviours().set_for("res-o1", Behaviour::Refuse(Code::Internal));
    failed();
    let item = "select reservation_status from order_items where order_id = $1";
    let give_up = async || {
        given_up(&desk, &worker, &callback).await;
        desk.says(&["dead", "skip", "--queue", "warehouse", "--reason", "done by telephone"]).await;
        wait::until("the skip", SOON, async || desk.shop.count(DEAD).await == 0).await;
    };
    callback.event(&crate::scene::confirmation("e1", "p1", "o1")).await.unwrap();
    give_up().await;
    assert_eq!(desk.shop.text(item, "o1").await, "reserved", "nothing was asked of the warehouse that stands");
    desk.shop.execute("select order_worker.cancel_order('o1', 'changed my mind', 'cancel-1')").await;
    give_up().await;
    assert_eq!(desk.shop.text(item, "o1").await, "released", "nobody releases it again");
    desk.says(&["audit"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirm_that_may_have_been_heard_is_answered_before_the_release_is_made() {
    let desk = Desk::start("in_doubt").await;
    desk.shop.place_one("o1").await;
    let mut spec = desk.direct.worker.clone().env("ORDER_WORKER_WAREHOUSE_TIMEOUT", "500ms");
    spec.name = "in_doubt".into();
    let worker = Worker::start(spec).await;
    let callback = Callback::new(worker.eventbus_port());
    desk.direct.warehouse.set(Behaviour::Hang);
    callback.event(&crate::scene::confirmation("e1", "p1", "o1")).await.unwrap();
    let tried = async || !desk.direct.warehouse.calls().is_empty();
    wait::until_or("the confirm", SOON, || worker.log_tail(), tried).await;
    desk.shop.execute("select order_worker.cancel_order('o1', 'changed my mind', 'cancel-1')").await;
    let again = async || desk.direct.warehouse.calls().len() >= 2;
    wait::until_or("a second try", SOON, || worker.log_tail(), again).await;
    desk.direct.warehouse.set(Behaviour::Answer);
    desk.shop.settled(SOON).await;
    let calls: Vec<Method> = desk.direct.warehouse.calls().into_iter().map(|call| call.method).collect();
    assert_eq!(calls.last(), Some(&Method::Release));
    assert_eq!(calls.iter().filter(|method| **method == Method::Release).count(), 1, "{calls:?}");
    let status = "select reservation_status from order_items where order_id = $1";
    assert_eq!(desk.shop.text(status, "o1").await, "released");
    desk.says(&["audit"]).await;
}
