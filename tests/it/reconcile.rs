//! Reconciliation, on real Redis and daprd: what Dapr has dropped is saved once, and what was lost is never called nothing.

use std::time::Duration;

use rig::daprd::DaprdSpec;
use rig::payment::{CONFIRMED, confirmed, json};
use rig::publisher::Message;
use rig::stack::Stack;
use rig::wait;
use rig::worker::{Worker, WorkerSpec, run};
use serde_json::Value;

use crate::cron::only;
use crate::main_path::WORKER;
use crate::scene::SOON;
use crate::shop::Shop;

fn names(orders: usize) -> Vec<String> {
    (0..orders).map(|n| format!("o{n}")).collect()
}

fn payment(order: &str) -> Message {
    Message::new(CONFIRMED, &format!("e-{order}"), json(&confirmed(&format!("p-{order}"), order, "10.10")))
}

/// Everything real, and the worker's settings with which it looks each second.
struct Scene {
    stack: Stack,
    shop: Shop,
    spec: WorkerSpec,
}

impl Scene {
    async fn start(name: &str, change: impl FnOnce(&mut DaprdSpec)) -> Scene {
        let stack = Stack::start_with(name, WORKER, change).await;
        let shop = Shop::open(&stack.worker.database_url).await;
        let spec = stack.worker.clone().env("ORDER_WORKER_RECONCILE_EVERY", "1s");
        Scene { stack, shop, spec }
    }

    async fn publish(&self, orders: &[String]) {
        for order in orders {
            self.stack.publisher.publish(&payment(order)).await.unwrap();
        }
    }

    /// Waits until Dapr has neither anything pending nor anything to deliver.
    async fn dapr_is_through(&self) {
        let through = async || self.stack.redis.unfinished(CONFIRMED, "order-worker").await == 0;
        wait::until("Dapr to be through", SOON, through).await;
    }

    async fn command(&self, args: &[&str]) -> (i32, Value, String) {
        let redis = self.stack.redis.addr();
        let url = self.stack.worker.database_url.as_str();
        let env = [("DATABASE_URL", url), ("REDIS_ADDR", &redis), ("ORDER_WORKER_OPERATOR", "ada")];
        let output = run(WORKER, &[args, &["-o", "json"]].concat(), &env).await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        (output.status.code().unwrap(), json, stderr)
    }

    async fn watermark_is_known(&self) {
        let known = "select count(*) from order_worker.stream_cursors where watermark > now() - interval '10 seconds'";
        wait::until("the watermark", SOON, async || self.shop.count(known).await == 3).await;
    }
}

/// A sidecar that gives every message up after its first delivery.
fn without_policy(spec: &mut DaprdSpec) {
    spec.with_resiliency = false;
    spec.app_health = false;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_dapr_has_dropped_is_saved_once() {
    let scene = Scene::start("dropped", without_policy).await;
    let orders = names(6);
    scene.shop.place(&orders).await;
    let worker = Worker::start(scene.spec.clone()).await;
    scene.stack.daprd.wait_subscribed(CONFIRMED).await;
    scene.watermark_is_known().await;
    worker.kill9();
    scene.publish(&orders).await;
    scene.dapr_is_through().await;
    assert_eq!(scene.shop.count("select count(*) from order_worker.inbox_keys").await, 0, "all six are dropped");

    // What a person would see, and what changes nothing.
    let (code, streams, _) = scene.command(&["inbox", "reconcile", "--since", "1h"]).await;
    assert_eq!((code, streams[0]["missing"].as_array().unwrap().len()), (0, 6), "{streams}");
    assert_eq!(scene.shop.count("select count(*) from order_worker.inbox_keys").await, 0);

    worker.restart().await;
    scene.shop.settled(SOON).await;
    let applied = "select count(*) from order_worker.inbox_status where outcome = 'applied'";
    wait::until_or("the dropped ones", SOON, || worker.log_tail(), async || scene.shop.count(applied).await == 6).await;
    assert!(worker.logs().contains("Events saved that Dapr had dropped"), "{}", worker.log_tail());
    wait::until("the metric", SOON, async || worker.metric("order_worker_reconcile_saved_total").await == 6.0).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    for order in &orders {
        assert_eq!(scene.shop.history(order).await, ["payment_confirmed"]);
    }
    assert_eq!(scene.shop.count("select sum(duplicates)::bigint from order_worker.inbox_keys").await, 0, "once");
    let audited = scene
        .shop
        .text(
            "select concat_ws(' ', action, target, detail ->> 'saved') from order_worker.audit_log where actor > $1",
            "",
        )
        .await;
    assert_eq!(audited, "inbox reconcile payment.confirmed 6");
}

/// Every part at work with what these settings leave it: an event that Dapr delivers, one that it has dropped, a job, announcements, calls.
async fn works_with(name: &str, settings: &[(&str, &str)]) {
    let scene = Scene::start(name, without_policy).await;
    let orders = names(6);
    scene.shop.place(&orders).await;
    let mut spec = only(scene.spec.clone(), &["session_cleanup", "order_cleanup"], "* * * * * *");
    for (name, value) in settings {
        spec = spec.env(name, value);
    }
    let worker = Worker::start(spec).await;
    scene.stack.daprd.wait_subscribed(CONFIRMED).await;
    scene.watermark_is_known().await;
    worker.kill9();
    scene.publish(&orders[..3]).await;
    scene.dapr_is_through().await;
    worker.restart().await;
    scene.publish(&orders[3..]).await;
    let applied = "select count(*) from order_worker.inbox_status where outcome = 'applied'";
    wait::until_or("all six", SOON, || worker.log_tail(), async || scene.shop.count(applied).await == 6).await;
    let confirmed = "select count(*) from order_items where reservation_status = 'confirmed'";
    let called = async || scene.shop.count(confirmed).await == 6;
    wait::until_or("the warehouse to be called", SOON, || worker.log_tail(), called).await;
    wait::until("all announcements", SOON, async || scene.stack.subscriber.count() >= 6).await;
    let runs = "select count(distinct job) from order_worker.cron_runs where outcome = 'succeeded'";
    wait::until_or("both jobs", SOON, || worker.log_tail(), async || scene.shop.count(runs).await == 2).await;
    assert_eq!(scene.shop.count("select count(*) from order_worker.pending where state = 'dead'").await, 0);
    let (_, streams, told) = scene.command(&["inbox", "reconcile", "--since", "1h"]).await;
    assert_eq!(streams[0]["missing"].as_array().map(Vec::len), Some(0), "{streams} {told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_fewest_connections_that_are_allowed_every_part_works() {
    works_with("fewest_connections", &[("ORDER_WORKER_DATABASE_MAXCONNECTIONS", "3")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_least_of_everything_that_is_allowed_every_part_works() {
    works_with(
        "least_of_everything",
        &[
            ("ORDER_WORKER_DATABASE_MAXCONNECTIONS", "3"),
            ("ORDER_WORKER_DATABASE_ACQUIRETIMEOUT", "100ms"),
            ("ORDER_WORKER_DATABASE_STATEMENTTIMEOUT", "1s"),
            ("ORDER_WORKER_DATABASE_LOCKTIMEOUT", "10ms"),
            ("ORDER_WORKER_DATABASE_IDLEINTRANSACTIONTIMEOUT", "500ms"),
            ("ORDER_WORKER_DATABASE_STATEMENTCACHE", "0"),
            ("ORDER_WORKER_EVENTBUS_LARGEMESSAGES", "1"),
            ("ORDER_WORKER_EVENTBUS_MAXSTREAMS", "1"),
            ("ORDER_WORKER_EVENTBUS_BATCH", "1"),
            ("ORDER_WORKER_EVENTBUS_ACCEPTTIMEOUT", "100ms"),
            ("ORDER_WORKER_QUEUE_POLLINTERVAL", "10ms"),
            ("ORDER_WORKER_QUEUE_LEASE", "1s"),
            ("ORDER_WORKER_QUEUE_INBOX_BATCH", "1"),
            ("ORDER_WORKER_QUEUE_INBOX_CONCURRENCY", "1"),
            ("ORDER_WORKER_QUEUE_DAPR_BATCH", "1"),
            ("ORDER_WORKER_QUEUE_DAPR_CONCURRENCY", "1"),
            ("ORDER_WORKER_QUEUE_WAREHOUSE_BATCH", "1"),
            ("ORDER_WORKER_QUEUE_WAREHOUSE_CONCURRENCY", "1"),
            ("ORDER_WORKER_CRON_ORDERCLEANUP_BATCH", "1"),
            ("ORDER_WORKER_RECONCILE_OVERLAP", "1s"),
            ("ORDER_WORKER_DAPR_TIMEOUT", "100ms"),
            ("ORDER_WORKER_WAREHOUSE_TIMEOUT", "100ms"),
            ("ORDER_WORKER_SHUTDOWN_GRACE", "1s"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_can_look_as_far_back_as_the_stream_goes() {
    let scene = Scene::start("by_hand", without_policy).await;
    let orders = names(3);
    scene.shop.place(&orders).await;
    let worker = Worker::start(scene.spec.clone().env("ORDER_WORKER_RECONCILE_ENABLED", false)).await;
    scene.stack.daprd.wait_subscribed(CONFIRMED).await;
    worker.kill9();
    scene.publish(&orders).await;
    scene.dapr_is_through().await;
    for (accept, missing) in [(false, 3), (true, 3), (false, 0)] {
        let args: &[&str] = if accept {
            &["inbox", "reconcile", "--since", "1h", "--accept"]
        } else {
            &["inbox", "reconcile", "--since", "1h"]
        };
        let (code, streams, stderr) = scene.command(args).await;
        assert_eq!((code, streams[0]["missing"].as_array().unwrap().len()), (0, missing), "{streams}{stderr}");
    }
    assert_eq!(scene.shop.count("select count(*) from order_worker.inbox_keys").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_still_with_dapr_is_not_counted_as_missing() {
    // With the policy: the worker is away, its messages stay pending.
    let scene = Scene::start("with_dapr", |_| ()).await;
    let orders = names(4);
    scene.shop.place(&orders).await;
    let worker = Worker::start(scene.spec.clone()).await;
    scene.stack.daprd.wait_subscribed(CONFIRMED).await;
    scene.watermark_is_known().await;
    worker.kill9();
    scene.publish(&orders).await;
    let (code, streams, _) = scene.command(&["inbox", "reconcile", "--since", "1h"]).await;
    assert_eq!((code, &streams[0]["missing"]), (0, &serde_json::json!([])), "{streams}");
    assert!(streams[0]["with_dapr"].as_u64().unwrap() >= 1, "{streams}");
    worker.restart().await;
    let applied = "select count(*) from order_worker.inbox_status where outcome = 'applied'";
    wait::until("Dapr to deliver them", SOON * 2, async || scene.shop.count(applied).await == 4).await;
    assert_eq!(worker.metric("order_worker_reconcile_saved_total").await, 0.0);
}

/// A scene in which three payments were delivered and looked at, and then something happens to Redis.
async fn after(name: &str, happens: impl AsyncFnOnce(&Scene), words: &str) {
    let scene = Scene::start(name, |_| ()).await;
    let orders = names(3);
    scene.shop.place(&orders).await;
    let worker = Worker::start(scene.spec.clone()).await;
    scene.stack.daprd.wait_subscribed(CONFIRMED).await;
    scene.publish(&orders).await;
    let looked = "select count(*) from order_worker.stream_cursors where stream = 'payment.confirmed' and entries_added >= 3 and alert is null";
    wait::until_or("a look", SOON, || worker.log_tail(), async || scene.shop.count(looked).await == 1).await;
    happens(&scene).await;
    let alert = async || worker.logs().contains("Stream cannot be reconciled: ") && worker.logs().contains(words);
    wait::until_or("the alert", SOON, || worker.log_tail(), alert).await;
    let gauge = async || worker.metric("order_worker_reconcile_stream_alerts").await >= 1.0;
    wait::until("the gauge", SOON, gauge).await;
    let (code, streams, stderr) = scene.command(&["inbox", "reconcile"]).await;
    assert_eq!(code, 3, "{streams}");
    assert!(streams[0]["alert"].as_str().unwrap().contains(words), "{streams}");
    let next = if words.contains("does not read") { "worker.reconcile.group" } else { "order-worker outbox resend" };
    assert!(stderr.contains(next), "{stderr}");
    // Somebody takes note of it, and what follows is looked at again; where nobody reads the stream, it stays an alert.
    if words.contains("does not read") {
        assert_eq!(scene.command(&["inbox", "reconcile", "--accept"]).await.0, 3);
        assert_eq!(scene.command(&["inbox", "reconcile"]).await.0, 3);
    } else {
        // The sidecar, which runs, has to make its groups anew before.
        let noted = async || scene.command(&["inbox", "reconcile", "--accept"]).await.0 == 0;
        wait::until_or("it to be taken note of", SOON, || worker.log_tail(), noted).await;
        assert_eq!(scene.command(&["inbox", "reconcile"]).await.0, 0);
    }
}

async fn redis(scene: &Scene, command: &[&str]) {
    let mut connection = scene.stack.redis.connect().await.unwrap();
    let mut made = redis::cmd(command[0]);
    command[1..].iter().for_each(|argument| {
        made.arg(*argument);
    });
    made.query_async::<redis::Value>(&mut connection).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_trimmed_before_it_was_read_is_an_alert() {
    let trimmed = async |scene: &Scene| {
        let mut connection = scene.stack.redis.connect().await.unwrap();
        // At once, between two looks: five more, of which two are left.
        let mut pipe = redis::pipe();
        pipe.atomic();
        for n in 0..5 {
            pipe.cmd("XADD").arg(CONFIRMED).arg("*").arg("data").arg(format!("nonsense {n}")).ignore();
        }
        pipe.cmd("XTRIM").arg(CONFIRMED).arg("MAXLEN").arg(2).ignore();
        pipe.query_async::<()>(&mut connection).await.unwrap();
    };
    after("trimmed", trimmed, "trimmed before it was read").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_redis_is_an_alert() {
    after(
        "emptied",
        async |scene: &Scene| redis(scene, &["FLUSHALL"]).await,
        "Redis lost its data, or this is another Redis",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_nobody_reads_is_an_alert() {
    let ungrouped = async |scene: &Scene| {
        // A sidecar that runs makes it anew.
        scene.stack.daprd.kill9();
        redis(scene, &["XGROUP", "DESTROY", CONFIRMED, "order-worker"]).await;
    };
    after("ungrouped", ungrouped, "group does not read the stream").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_whose_payment_waits_in_the_stream_is_not_given_up() {
    let scene = Scene::start("watermark", |spec| spec.processing_timeout = Some("5s".into())).await;
    scene.shop.place(&["paid", "unpaid"].map(str::to_owned)).await;
    let worker = Worker::start(WorkerSpec { mode: "event".into(), ..scene.spec.clone() }).await;
    scene.stack.daprd.wait_subscribed(CONFIRMED).await;
    scene.watermark_is_known().await;
    worker.kill9();
    // The payment is published in time, three seconds before the order is given up; nobody takes it.
    scene.publish(&["paid".to_owned()]).await;
    scene
        .shop
        .execute(
            "update orders set created_at = now() - interval '24 hours' + interval '3 seconds';
             update order_worker.stream_cursors set watermark = now() - interval '5 seconds', claimed_until = now() + interval '35 seconds'",
        )
        .await;
    let jobs = WorkerSpec {
        mode: "cron".into(),
        name: "jobs".into(),
        ..only(scene.spec.replica(), &["order_cleanup"], "* * * * * *")
    };
    let _jobs = Worker::start(jobs).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(
        (scene.shop.status("paid").await, scene.shop.status("unpaid").await),
        ("pending".into(), "pending".into())
    );
    // The streams are looked at again: what was paid is paid, and the other is given up.
    scene.shop.execute("update order_worker.stream_cursors set claimed_until = '-infinity'").await;
    worker.restart().await;
    let both = async || {
        scene.shop.status("paid").await == "payment_confirmed" && scene.shop.status("unpaid").await == "cancelled"
    };
    wait::until_or("both to be decided", SOON * 2, || worker.log_tail(), both).await;
    assert_eq!(scene.shop.incidents("paid").await, [""; 0]);
}
