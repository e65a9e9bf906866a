//! Reconciliation over streams as a sidecar without a policy leaves them: given to the group, acknowledged, and delivered to nobody.

use std::time::{Duration, SystemTime};

use rig::payment::{CONFIRMED, FAILED, confirmed, json};
use rig::redis::Redis;
use rig::stack::Direct;
use rig::wait;
use rig::worker::{Worker, WorkerSpec, run};
use serde_json::{Value, json};

use crate::main_path::WORKER;
use crate::scene::SOON;
use crate::shop::Shop;

const HOUR: u64 = 3_600_000;

/// A Redis whose streams tests write, and a worker's settings with which it looks at them each second.
struct Broker {
    redis: Redis,
    shop: Shop,
    spec: WorkerSpec,
    _direct: Direct,
}

fn now() -> u64 {
    u64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

/// A payment as the publisher's sidecar writes it into the broker.
fn stored(order: &str, more: usize) -> Vec<u8> {
    let mut payment: Value = serde_json::from_slice(&json(&confirmed(&format!("p-{order}"), order, "10.10"))).unwrap();
    payment["padding"] = "x".repeat(more).into();
    json!({ "id": format!("e-{order}"), "source": "payments", "type": "com.dapr.event.sent", "specversion": "1.0", "topic": CONFIRMED,
            "pubsubname": "pubsub-redis", "datacontenttype": "application/json", "data": payment })
    .to_string()
    .into_bytes()
}

async fn command(redis: &Redis, words: &[&str]) {
    let mut command = redis::cmd(words[0]);
    words[1..].iter().for_each(|word| {
        command.arg(*word);
    });
    command.query_async::<redis::Value>(&mut redis.connect().await.unwrap()).await.unwrap();
}

/// What a sidecar leaves in Redis when it subscribes: each stream with the worker's group.
async fn subscribed(redis: &Redis) {
    for stream in [CONFIRMED, FAILED, "order-worker.dead-letter"] {
        command(redis, &["XGROUP", "CREATE", stream, "order-worker", "0", "MKSTREAM"]).await;
    }
}

/// Payments of these orders, one a second from a moment on; given to the group and acknowledged.
async fn dropped(redis: &Redis, orders: &[&str], from: u64, more: usize) {
    let mut connection = redis.connect().await.unwrap();
    for (n, order) in orders.iter().enumerate() {
        let mut add = redis::cmd("XADD");
        add.arg(CONFIRMED).arg(format!("{}-0", from + n as u64 * 1_000)).arg("data").arg(stored(order, more));
        add.query_async::<String>(&mut connection).await.unwrap();
    }
    command(redis, &["XGROUP", "SETID", CONFIRMED, "order-worker", "$"]).await;
}

impl Broker {
    async fn start(name: &str) -> Broker {
        let direct = Direct::start(name, WORKER).await;
        let redis = Redis::start().await;
        subscribed(&redis).await;
        let mut spec = direct.worker.clone().env("ORDER_WORKER_RECONCILE_EVERY", "1s");
        spec.redis_addr = Some(redis.addr());
        let shop = Shop::open(&spec.database_url).await;
        Broker { redis, shop, spec, _direct: direct }
    }

    async fn settled_at(&self, worker: &Worker, events: i64) {
        let applied = "select count(*) from order_worker.inbox_status where outcome = 'applied'";
        let all = async || self.shop.count(applied).await == events;
        wait::until_or("all to be applied", SOON, || worker.log_tail(), all).await;
    }

    async fn reconcile(&self, args: &[&str], env: &[(&str, &str)]) -> (i32, Value, String) {
        let redis = self.spec.redis_addr.clone().unwrap();
        let url = self.spec.database_url.as_str();
        let own = [("DATABASE_URL", url), ("REDIS_ADDR", &redis), ("ORDER_WORKER_OPERATOR", "ada")];
        let env = [&own[..], env].concat();
        let output = run(WORKER, &[&["inbox", "reconcile", "-o", "json"], args].concat(), &env).await;
        let stderr = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap_or(Value::Null), stderr)
    }

    async fn saved(&self) -> i64 {
        self.shop.count("select coalesce(sum((detail ->> 'saved')::bigint), 0)::bigint from order_worker.audit_log where action = 'inbox reconcile'").await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_dropped_in_an_hour_without_a_worker_is_saved_once() {
    let broker = Broker::start("streams_hour").await;
    let orders: Vec<String> = (0..70).map(|n| format!("o{n}")).collect();
    broker.shop.place(&orders).await;
    let orders: Vec<&str> = orders.iter().map(String::as_str).collect();
    dropped(&broker.redis, &orders[..3], now() - 2 * HOUR, 0).await;
    // The overlap of ten minutes does not reach so far back; a person's look does.
    let worker = Worker::start(broker.spec.clone()).await;
    let looked =
        "select count(*) from order_worker.stream_cursors where stream = 'payment.confirmed' and last_id <> '0-0'";
    wait::until("a look", SOON, async || broker.shop.count(looked).await == 1).await;
    broker.reconcile(&["--since", "3h", "--accept"], &[]).await;
    broker.settled_at(&worker, 3).await;
    worker.kill9();

    // Nobody is there from then on, and what comes for an hour is acknowledged and delivered to nobody.
    dropped(&broker.redis, &orders[3..], now() - HOUR, 0).await;
    worker.restart().await;
    broker.settled_at(&worker, 70).await;
    assert_eq!(broker.saved().await, 70);
    let fresh = "select count(*) from order_worker.stream_cursors where stream = 'payment.confirmed' and watermark > now() - interval '30 seconds'";
    wait::until("the watermark", SOON, async || broker.shop.count(fresh).await == 1).await;
    assert_eq!(broker.shop.count("select sum(duplicates)::bigint from order_worker.inbox_keys").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_from_another_redis_until_somebody_says_that_it_is_the_one() {
    let mut broker = Broker::start("streams_other").await;
    broker.shop.place(&["o1", "o2", "o3"].map(str::to_owned)).await;
    dropped(&broker.redis, &["o1"], now() - 60_000, 0).await;
    let worker = Worker::start(broker.spec.clone()).await;
    broker.settled_at(&worker, 1).await;
    let run_id = "select count(*) from order_worker.stream_cursors where run_id is not null and last_id <> '0-0'";
    wait::until("the place to be kept", SOON, async || broker.shop.count(run_id).await == 1).await;
    worker.kill9();

    // Somebody else's payments, newer and more of them, delivered to somebody else's worker.
    let other = Redis::start().await;
    subscribed(&other).await;
    dropped(&other, &["o2", "o2-a", "o2-b", "o2-c"], now() - 10_000, 0).await;
    command(&other, &["XADD", FAILED, "*", "data", "{}"]).await;
    let ours = std::mem::replace(&mut broker.redis, other);
    broker.spec.redis_addr = Some(broker.redis.addr());
    let worker = Worker::start(broker.spec.clone()).await;
    let alerts =
        async || broker.shop.count("select count(*) from order_worker.stream_cursors where alert is not null").await;
    wait::until_or("the alerts", SOON, || worker.log_tail(), async || alerts().await == 3).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(alerts().await, 3, "it stays another one at every look");
    assert!(worker.logs().contains("nothing is taken from it"), "{}", worker.log_tail());
    let (code, streams, _) = broker.reconcile(&["--since", "1h"], &[]).await;
    assert_eq!((code, &streams[0]["missing"], &streams[0]["read"]), (3, &Value::Null, &0.into()), "{streams}");
    assert_eq!(broker.shop.status("o2").await, "pending");

    // Back again, restarted with its data: the same one.
    worker.kill9();
    ours.restart().await;
    broker.spec.redis_addr = Some(ours.addr());
    let worker = Worker::start(broker.spec.clone()).await;
    wait::until_or("no alert", SOON, || worker.log_tail(), async || alerts().await == 0).await;
    assert!(worker.logs().contains("Redis was restarted, and the stream has its data"), "{}", worker.log_tail());
    worker.kill9();

    // Said to be the one, it is read from there on; what is in it already is taken when somebody asks for that.
    broker.spec.redis_addr = Some(broker.redis.addr());
    assert_eq!(broker.reconcile(&["--accept"], &[]).await.0, 0);
    let worker = Worker::start(broker.spec.clone()).await;
    dropped(&broker.redis, &["o3"], now(), 0).await;
    wait::until_or(
        "the new one",
        SOON,
        || worker.log_tail(),
        async || broker.shop.status("o3").await == "payment_confirmed",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_too_large_for_dapr_and_for_the_callback_is_taken_from_the_stream() {
    let broker = Broker::start("streams_large").await;
    broker.shop.place(&["big", "small"].map(str::to_owned)).await;
    // Above worker.eventbus.max_message_bytes.
    dropped(&broker.redis, &["big"], now() - 2_000, 9 << 20).await;
    dropped(&broker.redis, &["small"], now() - 1_000, 0).await;
    let worker = Worker::start(broker.spec.clone()).await;
    broker.settled_at(&worker, 2).await;
    assert_eq!(broker.shop.status("big").await, "payment_confirmed");
    assert_eq!(broker.saved().await, 2);
}

/// Whatever way an event comes, the first body under an id counts and another one is quarantined: also when both are in one look, when
/// the first came before, and when its id has what Postgres cannot store.
#[tokio::test(flavor = "multi_thread")]
async fn of_an_id_with_two_bodies_the_second_is_quarantined_by_a_look_too() {
    let broker = Broker::start("streams_two_bodies").await;
    broker.shop.place(&["a", "b", "c", "d"].map(str::to_owned)).await;
    let add = async |id: &str, order: &str| {
        let payment: Value = serde_json::from_slice(&json(&confirmed(&format!("p-{order}"), order, "10.10"))).unwrap();
        let event =
            json!({ "id": id, "source": "payments", "specversion": "1.0", "topic": CONFIRMED, "data": payment });
        command(&broker.redis, &["XADD", CONFIRMED, "*", "data", &event.to_string()]).await;
    };
    add("twice", "a").await;
    add("twice", "b").await;
    add("no\0text", "c").await;
    command(&broker.redis, &["XGROUP", "SETID", CONFIRMED, "order-worker", "$"]).await;
    let worker = Worker::start(broker.spec.clone()).await;
    broker.settled_at(&worker, 2).await;
    let quarantined = "select count(*) from order_worker.inbox_status where outcome = 'quarantined'";
    wait::until("the second body", SOON, async || broker.shop.count(quarantined).await == 1).await;
    assert_eq!(
        (broker.shop.status("a").await, broker.shop.status("b").await),
        ("payment_confirmed".into(), "pending".into())
    );
    assert_eq!(broker.saved().await, 3, "the audit log keeps all of them: {}", worker.log_tail());

    add("no\0text", "d").await;
    command(&broker.redis, &["XGROUP", "SETID", CONFIRMED, "order-worker", "$"]).await;
    wait::until("the other body", SOON, async || broker.shop.count(quarantined).await == 2).await;
    worker.kill9();
    let (code, streams, _) = broker.reconcile(&["--since", "1h", "--accept"], &[]).await;
    assert_eq!((code, streams[0]["accepted"].as_i64()), (0, Some(0)), "nothing is found again: {streams}");
    assert_eq!(broker.shop.status("d").await, "pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_look_at_once_save_each_event_once_and_count_it_once() {
    let broker = Broker::start("streams_at_once").await;
    let orders: Vec<String> = (0..200).map(|n| format!("o{n}")).collect();
    broker.shop.place(&orders).await;
    let orders: Vec<&str> = orders.iter().map(String::as_str).collect();
    dropped(&broker.redis, &orders, now() - HOUR, 0).await;
    let args = ["--since", "2h", "--accept"];
    let (one, other) = tokio::join!(broker.reconcile(&args, &[]), broker.reconcile(&args, &[]));
    let accepted = one.1[0]["accepted"].as_i64().unwrap() + other.1[0]["accepted"].as_i64().unwrap();
    assert_eq!((one.0, other.0, accepted, broker.saved().await), (0, 0, 200, 200), "{one:?} {other:?}");
    assert_eq!(broker.shop.count("select count(*) from order_worker.inbox_keys").await, 200);
    assert_eq!(broker.shop.count("select sum(duplicates)::bigint from order_worker.inbox_keys").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_with_a_consumer_id_of_its_own_is_read_by_that_group() {
    let broker = Broker::start("streams_group").await;
    broker.shop.place_one("o1").await;
    dropped(&broker.redis, &["o1"], now() - 60_000, 0).await;
    for stream in [CONFIRMED, FAILED, "order-worker.dead-letter"] {
        command(&broker.redis, &["XGROUP", "DESTROY", stream, "order-worker"]).await;
        command(&broker.redis, &["XGROUP", "CREATE", stream, "orders", "$"]).await;
    }
    let (code, streams, _) = broker.reconcile(&["--since", "1h"], &[]).await;
    assert_eq!((code, &streams[0]["missing"]), (3, &Value::Null), "{streams}");
    assert!(streams[0]["alert"].as_str().unwrap().contains("worker.reconcile.group"), "{streams}");
    let group = [("ORDER_WORKER_RECONCILE_GROUP", "orders")];
    let (code, streams, _) = broker.reconcile(&["--since", "1h"], &group).await;
    assert_eq!((code, &streams[0]["missing"][0]["event"]), (0, &"e-o1".into()), "{streams}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_one_stream_was_never_looked_at_no_order_is_given_up() {
    let broker = Broker::start("streams_unknown").await;
    broker.shop.place_one("unpaid").await;
    broker.shop.execute("update orders set created_at = now() - interval '2 days'").await;
    broker
        .shop
        .execute(
            "insert into order_worker.stream_cursors (stream, claimed_until) values ('payment.confirmed', now() + interval '35 seconds')",
        )
        .await;
    let worker = Worker::start(crate::cron::only(broker.spec.clone(), &[], "* * * * * *")).await;
    let others = "select count(*) from order_worker.stream_cursors where watermark is not null";
    wait::until_or("the others", SOON, || worker.log_tail(), async || broker.shop.count(others).await == 2).await;
    // The claim lasts for half a minute at the most: anew, so that nobody looks at the first stream while the job runs.
    broker.shop.execute("update order_worker.stream_cursors set claimed_until = now() + interval '35 seconds' where stream = 'payment.confirmed'").await;
    let redis = broker.redis.addr();
    let env = [("DATABASE_URL", broker.spec.database_url.as_str()), ("REDIS_ADDR", &redis)];
    let cleanup = async || run(WORKER, &["cron", "run", "order_cleanup", "--as", "ada"], &env).await.status.success();
    assert!(cleanup().await);
    assert_eq!(broker.shop.status("unpaid").await, "pending");
    broker.shop.execute("update order_worker.stream_cursors set claimed_until = '-infinity'").await;
    wait::until_or("all three", SOON, || worker.log_tail(), async || broker.shop.count(others).await == 3).await;
    assert!(cleanup().await);
    assert_eq!(broker.shop.status("unpaid").await, "cancelled");
}
