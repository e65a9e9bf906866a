//! Ignorance is not knowledge: jobs give up only orders of which it is known that nobody paid in time, and say so where they do not.

use std::time::Duration;

use rig::daprd::DaprdSpec;
use rig::payment::{CONFIRMED, FAILED, confirmed, json};
use rig::postgres::Postgres;
use rig::publisher::Message;
use rig::redis::Redis;
use rig::stack::{Direct, Stack};
use rig::wait;
use rig::worker::{Worker, WorkerSpec, migrate, run};
use serde_json::{Value, json};

use crate::cron::only;
use crate::main_path::WORKER;
use crate::scene::{SOON, Scene};
use crate::shop::Shop;

const CLEANUPS: [&str; 2] = ["order_cleanup", "reservation_cleanup"];

fn names(orders: usize) -> Vec<String> {
    (0..orders).map(|n| format!("o{n}")).collect()
}

/// Orders whose time is up, with a reservation each.
async fn overdue(shop: &Shop, orders: &[String]) {
    shop.place(orders).await;
    shop.execute(
        "update orders set created_at = now() - interval '30 hours';
         update order_items set reserved_at = now() - interval '30 hours'",
    )
    .await;
}

/// Waits until each job has made a run that began after this moment, and returns what the last runs passed over.
async fn have_run(shop: &Shop, worker: &Worker) -> Vec<String> {
    let since: String = shop.text("select clock_timestamp()::text where $1 = ''", "").await;
    let sql = "select count(distinct job) from order_worker.cron_runs where outcome = 'succeeded' and started_at > $1::timestamptz
               and job in ('order_cleanup', 'reservation_cleanup')";
    let both = async || sqlx::query_scalar::<_, i64>(sql).bind(&since).fetch_one(&shop.pool).await.unwrap() == 2;
    wait::until_or("both jobs to run", SOON, || worker.log_tail(), both).await;
    sqlx::query_scalar("select distinct on (job) coalesce(result::text, '') from order_worker.cron_runs where outcome = 'succeeded' order by job, id desc")
        .fetch_all(&shop.pool)
        .await
        .unwrap()
}

async fn cancelled(shop: &Shop) -> i64 {
    shop.count("select count(*) from orders where status = 'cancelled'").await
}

async fn released(shop: &Shop) -> i64 {
    shop.count("select count(*) from order_items where reservation_status in ('releasing', 'released')").await
}

/// The command's exit code and JSON, in the worker's environment.
async fn command(spec: &WorkerSpec, args: &[&str], more: &[(&str, &str)]) -> (i32, Value) {
    let redis = spec.redis_addr.clone().unwrap_or_default();
    let of_spec = [
        ("DATABASE_URL", spec.database_url.as_str()),
        ("REDIS_ADDR", redis.as_str()),
        ("ORDER_WORKER_OPERATOR", "ada"),
    ];
    let env = [&of_spec, more].concat();
    let output = run(WORKER, &[args, &["-o", "json"]].concat(), &env).await;
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap_or(Value::Null))
}

/// State and words of what the doctor says about something.
async fn doctor(spec: &WorkerSpec, about: &str, more: &[(&str, &str)]) -> String {
    let (_, findings) = command(spec, &["doctor"], more).await;
    let found = findings.as_array().unwrap().iter().find(|one| one["about"] == about);
    assert!(found.is_some(), "{findings}");
    let found = found.unwrap_or(&Value::Null);
    format!("{}: {}", found["state"].as_str().unwrap(), found["seen"].as_str().unwrap())
}

/// Nothing is given up, and that is said: by the runs, the doctor, the gauges. `words` say why.
async fn nothing_is_given_up(shop: &Shop, worker: &Worker, spec: &WorkerSpec, reason: &str, words: &str) {
    let runs = have_run(shop, worker).await;
    assert!(runs.iter().all(|run| run.contains(words) && run.contains("spared")), "{runs:?}");
    assert_eq!((cancelled(shop).await, released(shop).await), (0, 0));
    let blocked = format!("order_worker_cleanup_blocked{{reason=\"{reason}\"}}");
    let told = async || worker.metrics().await.get(&blocked) == Some(&1.0);
    wait::until_or("the gauge", SOON, || worker.log_tail(), told).await;
    assert_eq!(worker.metric("order_worker_reconcile_watermark_age_seconds").await, -1.0);
    let said = doctor(spec, "reconciliation", &[]).await;
    assert!(said.starts_with("broken") && said.contains(words), "{said}");
    // The last run may just have begun.
    let listed = async || {
        let (_, listed) = command(spec, &["cron", "list"], &[]).await;
        let job = listed.as_array().unwrap().iter().find(|job| job["job"] == "order_cleanup").unwrap().clone();
        job["last_spared"]["because"][0].as_str().is_some_and(|because| because.contains(words))
    };
    wait::until("the list", SOON, listed).await;
    let (_, runs) = command(spec, &["cron", "history", "order_cleanup", "--limit", "3"], &[]).await;
    assert!(runs.as_array().unwrap().iter().any(|run| run["spared"]["spared"].as_u64() > Some(0)), "{runs}");
}

/// A Redis whose streams tests write, in a sidecar's place, and a worker beside it whose jobs run each second.
struct Broker {
    redis: Redis,
    shop: Shop,
    spec: WorkerSpec,
    direct: Direct,
}

fn stored(order: &str) -> Vec<u8> {
    let payment: Value = serde_json::from_slice(&json(&confirmed(&format!("p-{order}"), order, "10.10"))).unwrap();
    json!({ "id": format!("e-{order}"), "source": "payments", "type": "com.dapr.event.sent", "specversion": "1.0", "topic": CONFIRMED,
            "pubsubname": "pubsub-redis", "datacontenttype": "application/json", "data": payment })
    .to_string()
    .into_bytes()
}

async fn ask(redis: &Redis, words: &[&str]) {
    let mut command = redis::cmd(words[0]);
    words[1..].iter().for_each(|word| {
        command.arg(*word);
    });
    command.query_async::<redis::Value>(&mut redis.connect().await.unwrap()).await.unwrap();
}

/// What a sidecar leaves in Redis when it subscribes.
async fn subscribed(redis: &Redis, prefix: &str, group: &str) {
    for topic in [CONFIRMED, FAILED, "order-worker.dead-letter"] {
        ask(redis, &["XGROUP", "CREATE", &format!("{prefix}{topic}"), group, "0", "MKSTREAM"]).await;
    }
}

/// Publishes payments; who reads the stream is away.
async fn publish(redis: &Redis, orders: &[String]) {
    let mut connection = redis.connect().await.unwrap();
    for order in orders {
        let mut add = redis::cmd("XADD");
        add.arg(CONFIRMED).arg("*").arg("data").arg(stored(order));
        add.query_async::<String>(&mut connection).await.unwrap();
    }
}

/// As a sidecar without a policy does: everything is given to the group and acknowledged.
async fn drop_all(redis: &Redis) {
    ask(redis, &["XGROUP", "SETID", CONFIRMED, "order-worker", "$"]).await;
}

impl Broker {
    async fn start(name: &str) -> Broker {
        let direct = Direct::start(name, WORKER).await;
        let redis = Redis::start().await;
        subscribed(&redis, "", "order-worker").await;
        let mut spec = only(direct.worker.clone().env("ORDER_WORKER_RECONCILE_EVERY", "1s"), &CLEANUPS, "* * * * * *");
        spec.redis_addr = Some(redis.addr());
        let shop = Shop::open(&spec.database_url).await;
        Broker { redis, shop, spec, direct }
    }

    async fn looked(&self, worker: &Worker) {
        let known = "select count(*) from order_worker.stream_cursors where alert is null and watermark between now() - interval '10 seconds' and now()";
        let all = async || self.shop.count(known).await == 3;
        wait::until_or("a look", SOON, || worker.log_tail(), all).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_was_never_reached_gives_nothing_up() {
    let mut broker = Broker::start("proof_never").await;
    let orders = names(3);
    overdue(&broker.shop, &orders).await;
    publish(&broker.redis, &orders).await;
    drop_all(&broker.redis).await;
    let reachable = broker.spec.clone();
    broker.spec.redis_addr = Some("127.0.0.1:1".into());
    let worker = Worker::start(broker.spec.clone()).await;
    nothing_is_given_up(&broker.shop, &worker, &broker.spec, "cannot_look", "cannot be looked at").await;
    worker.kill9();
    // It is reached: what waited there is found, as far back as somebody has wanted to look.
    let worker = Worker::start(reachable).await;
    let paid = "select count(*) from orders where status = 'payment_confirmed'";
    wait::until_or("the payments", SOON, || worker.log_tail(), async || broker.shop.count(paid).await == 3).await;
    assert_eq!(cancelled(&broker.shop).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_address_is_no_knowledge() {
    let mut broker = Broker::start("proof_empty").await;
    overdue(&broker.shop, &names(1)).await;
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-redis.yaml");
    std::fs::write(&file, "data:\n  redis:\n    addr: \"\"\n").unwrap();
    broker.spec.redis_addr = None;
    let mut spec = broker.spec.clone().env("ORDER_WORKER_RECONCILE_ENABLED", "true");
    spec.args.extend(["-conf".to_owned(), file.display().to_string()]);
    let worker = Worker::start(spec).await;
    nothing_is_given_up(&broker.shop, &worker, &broker.spec, "cannot_look", "data.redis.addr is empty").await;
}

/// Nineteen payments are published while nobody reads the stream, and then something takes them away, all but `left`.
async fn lost(name: &str, happens: impl AsyncFnOnce(&Redis), words: &str, left: i64) {
    let broker = Broker::start(name).await;
    // One that was read, so that the stream is known.
    broker.shop.place_one("first").await;
    publish(&broker.redis, &["first".to_owned()]).await;
    drop_all(&broker.redis).await;
    let worker = Worker::start(only(broker.spec.clone(), &[], "* * * * * *")).await;
    let paid = async || broker.shop.status("first").await == "payment_confirmed";
    wait::until_or("the first", SOON, || worker.log_tail(), paid).await;
    let orders = names(19);
    publish(&broker.redis, &orders).await;
    // A look that has seen them: they have still to be delivered.
    let seen = "select count(*) from order_worker.stream_cursors where stream = 'payment.confirmed' and entries_added = 20 and alert is null";
    wait::until_or("a look", SOON, || worker.log_tail(), async || broker.shop.count(seen).await == 1).await;
    worker.kill9();
    happens(&broker.redis).await;
    overdue(&broker.shop, &orders).await;
    let worker = Worker::start(broker.spec.clone()).await;
    let alert = "select count(*) from order_worker.stream_cursors where alert_kind = 'lost'";
    wait::until_or("the alert", SOON, || worker.log_tail(), async || broker.shop.count(alert).await >= 1).await;
    nothing_is_given_up(&broker.shop, &worker, &broker.spec, "lost", words).await;
    // It stays one, whatever comes afterwards, until somebody takes note of it.
    let later: Vec<String> = (0..40).map(|n| format!("later{n}")).collect();
    broker.shop.place(&later).await;
    let _ = redis::cmd("XGROUP")
        .arg("CREATE")
        .arg(CONFIRMED)
        .arg("order-worker")
        .arg("0")
        .arg("MKSTREAM")
        .query_async::<redis::Value>(&mut broker.redis.connect().await.unwrap())
        .await;
    publish(&broker.redis, &later).await;
    drop_all(&broker.redis).await;
    let saved = "select count(*) from orders where id like 'later%' and status = 'payment_confirmed'";
    wait::until_or("what comes later", SOON, || worker.log_tail(), async || broker.shop.count(saved).await == 40).await;
    nothing_is_given_up(&broker.shop, &worker, &broker.spec, "lost", "payment.confirmed: the stream").await;
    let (code, streams) = command(&broker.spec, &["inbox", "reconcile"], &[]).await;
    assert_eq!(code, 3, "{streams}");
    for stream in ["payment.failed", "order-worker.dead-letter"] {
        let _ = redis::cmd("XGROUP")
            .arg("CREATE")
            .arg(stream)
            .arg("order-worker")
            .arg("0")
            .arg("MKSTREAM")
            .query_async::<redis::Value>(&mut broker.redis.connect().await.unwrap())
            .await;
    }
    let (code, streams) = command(&broker.spec, &["inbox", "reconcile", "--accept"], &[]).await;
    assert_eq!(code, 0, "{streams}");
    let noted =
        "select count(*) from order_worker.audit_log where action = 'inbox reconcile' and detail ? 'taken_note_of'";
    assert!(broker.shop.count(noted).await >= 1);
    let given_up = "select count(*) from orders where id in (select 'o' || n from generate_series(0, 18) n) and status = 'cancelled'";
    wait::until_or(
        "the jobs to go on",
        SOON,
        || worker.log_tail(),
        async || broker.shop.count(given_up).await == 19 - left,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_trimmed_to_nothing_while_nobody_reads_it_is_an_alert() {
    lost(
        "proof_trimmed",
        async |redis| ask(redis, &["XTRIM", CONFIRMED, "MAXLEN", "0"]).await,
        "19 entries are gone",
        0,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_trimmed_by_some_is_an_alert() {
    lost("proof_some", async |redis| ask(redis, &["XTRIM", CONFIRMED, "MAXLEN", "5"]).await, "14 entries are gone", 5)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_deleted_is_an_alert() {
    lost("proof_deleted", async |redis| ask(redis, &["DEL", CONFIRMED]).await, "is gone", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_was_emptied_and_filled_again_is_an_alert() {
    let again = async |redis: &Redis| {
        ask(redis, &["FLUSHALL"]).await;
        // The sidecar makes its groups anew, and more comes than there ever was.
        subscribed(redis, "", "order-worker").await;
        for _ in 0..30 {
            ask(redis, &["XADD", CONFIRMED, "*", "data", r#"{"order_id": "elsewhere"}"#]).await;
        }
    };
    lost("proof_again", again, "begins anew", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_was_started_again_and_saves_only_now_and_then_is_an_alert() {
    let broker = Broker::start("proof_snapshot").await;
    broker.shop.place_one("first").await;
    publish(&broker.redis, &["first".to_owned()]).await;
    drop_all(&broker.redis).await;
    let worker = Worker::start(only(broker.spec.clone(), &[], "* * * * * *")).await;
    let paid = async || broker.shop.status("first").await == "payment_confirmed";
    wait::until_or("the first", SOON, || worker.log_tail(), paid).await;
    worker.kill9();
    // What was published from here on, a snapshot that is older would not have.
    broker.redis.restart().await;
    ask(&broker.redis, &["CONFIG", "SET", "appendonly", "no"]).await;
    overdue(&broker.shop, &names(3)).await;
    let worker = Worker::start(broker.spec.clone()).await;
    let alert =
        "select count(*) from order_worker.stream_cursors where alert_kind = 'lost' and stream = 'payment.confirmed'";
    wait::until_or("the alert", SOON, || worker.log_tail(), async || broker.shop.count(alert).await == 1).await;
    nothing_is_given_up(&broker.shop, &worker, &broker.spec, "lost", "keeps no append-only file").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_deleted_by_their_ids_are_an_alert() {
    let deleted = async |redis: &Redis| {
        for entry in &redis.stream(CONFIRMED).await[5..8] {
            ask(redis, &["XDEL", CONFIRMED, &entry.id]).await;
        }
    };
    lost("proof_xdel", deleted, "trimmed before it was read", 16).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_was_read_may_be_trimmed() {
    let broker = Broker::start("proof_tail").await;
    let paid = names(20);
    broker.shop.place(&paid).await;
    let worker = Worker::start(broker.spec.clone()).await;
    for orders in paid.chunks(4) {
        publish(&broker.redis, orders).await;
        drop_all(&broker.redis).await;
        let read = "select count(*) from orders where status <> 'payment_confirmed'";
        let left = i64::try_from(paid.len()).unwrap()
            - paid.iter().position(|one| *one == orders[3]).map_or(0, |at| i64::try_from(at).unwrap() + 1);
        wait::until_or("them to be saved", SOON, || worker.log_tail(), async || broker.shop.count(read).await == left)
            .await;
        let place = "select count(*) from order_worker.stream_cursors where stream = 'payment.confirmed' and last_id = seen_id and read = entries_added";
        wait::until_or("the place", SOON, || worker.log_tail(), async || broker.shop.count(place).await == 1).await;
        // As maxLenApprox does at the next publish.
        ask(&broker.redis, &["XTRIM", CONFIRMED, "MAXLEN", "2"]).await;
    }
    overdue(&broker.shop, &["unpaid".to_owned()]).await;
    let unpaid = async || broker.shop.status("unpaid").await == "cancelled";
    wait::until_or("the unpaid one", SOON, || worker.log_tail(), unpaid).await;
    assert_eq!(broker.shop.count("select count(*) from order_worker.stream_cursors where alert is not null").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_cannot_be_looked_at_and_that_is_said() {
    let mut broker = Broker::start("proof_cluster").await;
    overdue(&broker.shop, &names(3)).await;
    let [node, _holder] = Redis::start_cluster().await;
    broker.spec.redis_addr = Some(node.addr());
    let worker = Worker::start(broker.spec.clone()).await;
    nothing_is_given_up(&broker.shop, &worker, &broker.spec, "cannot_look", "Redis is a cluster").await;
    let said = doctor(&broker.spec, "stream payment.confirmed", &[]).await;
    assert!(said.starts_with("broken: Redis is a cluster"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_cannot_be_looked_at() {
    let mut broker = Broker::start("proof_replica").await;
    overdue(&broker.shop, &names(1)).await;
    let replica = Redis::start().await;
    ask(&replica, &["REPLICAOF", "127.0.0.1", &broker.redis.port().to_string()]).await;
    let groups = async || {
        redis::cmd("EXISTS").arg(CONFIRMED).query_async::<bool>(&mut replica.connect().await.unwrap()).await.unwrap()
    };
    wait::until("the replica to follow", SOON, groups).await;
    broker.spec.redis_addr = Some(replica.addr());
    let worker = Worker::start(broker.spec.clone()).await;
    nothing_is_given_up(&broker.shop, &worker, &broker.spec, "cannot_look", "a replica answers").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_the_component_does_not_use_prove_nothing() {
    let stack = Stack::start_with("proof_namespace", WORKER, namespaced).await;
    let mut publisher = DaprdSpec::new("payment-service", &stack.redis.addr());
    namespaced(&mut publisher);
    stack.publisher_daprd.restart_with(|spec| *spec = publisher).await;
    let shop = Shop::open(&stack.worker.database_url).await;
    let orders = names(5);
    let plain = only(stack.worker.clone().env("ORDER_WORKER_RECONCILE_EVERY", "1s"), &CLEANUPS, "* * * * * *");
    let quiet = only(plain.clone(), &[], "* * * * * *");
    let worker = Worker::start(quiet).await;
    stack.daprd.wait_subscribed(CONFIRMED).await;
    worker.kill9();
    // Dapr drops them all: there is nobody, and no policy.
    for order in &orders {
        let payment = json(&confirmed(&format!("p-{order}"), order, "10.10"));
        stack.publisher.publish(&Message::new(CONFIRMED, &format!("e-{order}"), payment)).await.unwrap();
    }
    let (stream, group) = ("shoppayment.confirmed", "shop.order-worker-order-worker");
    let through =
        async || stack.redis.stream_len(stream).await == 5 && stack.redis.unfinished(stream, group).await == 0;
    wait::until("Dapr to be through", SOON, through).await;
    overdue(&shop, &orders).await;

    let worker = Worker::start(plain.clone()).await;
    let alert = "select count(*) from order_worker.stream_cursors where alert_kind = 'cannot_look'";
    wait::until_or("the alert", SOON, || worker.log_tail(), async || shop.count(alert).await == 3).await;
    nothing_is_given_up(&shop, &worker, &plain, "cannot_look", "there is no such stream").await;
    let said = doctor(&plain, "stream payment.confirmed", &[]).await;
    assert!(said.starts_with("warning") && said.contains(stream), "{said}");
    worker.kill9();

    let named = plain.env("ORDER_WORKER_RECONCILE_STREAMPREFIX", "shop").env("ORDER_WORKER_RECONCILE_GROUP", group);
    let worker = Worker::start(named.clone()).await;
    let paid = "select count(*) from orders where status = 'payment_confirmed'";
    wait::until_or("what Dapr has dropped", SOON, || worker.log_tail(), async || shop.count(paid).await == 5).await;
    overdue(&shop, &["unpaid".to_owned()]).await;
    wait::until_or("the unpaid one", SOON, || worker.log_tail(), async || shop.status("unpaid").await == "cancelled")
        .await;
    let more = [("ORDER_WORKER_RECONCILE_STREAMPREFIX", "shop"), ("ORDER_WORKER_RECONCILE_GROUP", group)];
    assert!(doctor(&named, "reconciliation", &more).await.starts_with("ok"));
    assert!(doctor(&named, "stream payment.confirmed", &more).await.starts_with("ok"));
}

/// A component with the namespace in its consumerID, and a sidecar that gives a message up after its first delivery.
fn namespaced(spec: &mut DaprdSpec) {
    spec.with_resiliency = false;
    spec.app_health = false;
    spec.env.push(("NAMESPACE".into(), "shop".into()));
    spec.metadata.push(("consumerID".into(), "{namespace}-order-worker".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_of_another_broker_cannot_be_looked_at() {
    let broker = Broker::start("proof_component").await;
    overdue(&broker.shop, &names(1)).await;
    broker.direct.sidecar.has_component("pubsub-redis", "pubsub.kafka");
    let worker = Worker::start(broker.spec.clone()).await;
    nothing_is_given_up(&broker.shop, &worker, &broker.spec, "cannot_look", "which is not Redis").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_clock_that_was_a_day_ahead_leaves_nothing_behind() {
    let postgres = Postgres::start_with_clock().await;
    let url = postgres.database("ahead").await;
    migrate(WORKER, &url).await;
    let direct = Direct::start("proof_clock", WORKER).await;
    let redis = Redis::start().await;
    subscribed(&redis, "", "order-worker").await;
    let mut spec = only(direct.worker.clone().env("ORDER_WORKER_RECONCILE_EVERY", "1s"), &CLEANUPS, "* * * * * *");
    spec.redis_addr = Some(redis.addr());
    spec.database_url = url.clone();
    let shop = Shop::open(&url).await;
    let worker = Worker::start(spec.clone()).await;
    let known = "select count(*) from order_worker.stream_cursors where alert is null and watermark between now() - interval '10 seconds' and now()";
    let looked = async || shop.count(known).await == 3;
    wait::until_or("a look", SOON, || worker.log_tail(), looked).await;

    // Placed two hours ago, paid in time; nobody takes the payments out of the stream.
    let orders = names(3);
    shop.place(&orders).await;
    shop.execute(
        "update orders set created_at = now() - interval '2 hours'; update order_items set reserved_at = now()",
    )
    .await;
    publish(&redis, &orders).await;
    postgres.move_clock("+1d");
    let alert = "select count(*) from order_worker.stream_cursors where alert like '%clock%'";
    wait::until_or("the clock to be noticed", SOON, || worker.log_tail(), async || shop.count(alert).await == 3).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((cancelled(&shop).await, released(&shop).await), (0, 0), "while it is ahead");
    // As a look, a run and an event leave it that saw nothing of it.
    shop.execute(
        "update order_worker.stream_cursors set watermark = clock_timestamp(), alert = null, alert_kind = null,
                claimed_until = clock_timestamp() + interval '20 seconds';
         insert into order_worker.pending (queue, id, day, lane, key, state, due)
         select 'inbox', -1, order_worker.today(), 0, 'none', 'waiting', clock_timestamp() + interval '5 seconds'",
    )
    .await;
    postgres.move_clock("+0");
    let plausible = "select count(*) from order_worker.stream_cursors where alert is null and watermark <= now()";
    let healed = async || {
        shop.count(plausible).await == 3
            && shop.count("select count(*) from order_worker.cron_jobs where next_tick > now() + interval '1 minute'").await == 0
            && shop.count("select count(*) from order_worker.stream_cursors where claimed_until > now() + interval '1 minute'").await == 0
            && shop.count("select count(*) from order_worker.pending where id = -1 and state = 'waiting' and due > now() + interval '1 hour'").await == 0
    };
    wait::until_or("all to heal", SOON, || worker.log_tail(), healed).await;
    have_run(&shop, &worker).await;
    assert_eq!((cancelled(&shop).await, released(&shop).await), (0, 0));
    assert!(doctor(&spec, "reconciliation", &[]).await.contains("all that was published until"));
    // Now they are delivered after all.
    drop_all(&redis).await;
    let paid = "select count(*) from orders where status = 'payment_confirmed'";
    wait::until_or("the payments", SOON, || worker.log_tail(), async || shop.count(paid).await == 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_vouches_for_what_it_saw_when_it_began() {
    let broker = Broker::start("proof_began").await;
    broker.shop.place_one("o1").await;
    // Not so often that another look ends between this one and the test's.
    let spec = broker.spec.clone().env("ORDER_WORKER_RECONCILE_EVERY", "5s");
    let worker = Worker::start(only(spec, &[], "* * * * * *")).await;
    broker.looked(&worker).await;
    // A look that finds something waits for its turn.
    let mut turn = broker.shop.pool.begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(hashtext('order_worker.reconcile'))").execute(&mut *turn).await.unwrap();
    publish(&broker.redis, &["o1".to_owned()]).await;
    drop_all(&broker.redis).await;
    let waits = "select count(*) from pg_locks where locktype = 'advisory' and not granted
                 and database = (select oid from pg_database where datname = current_database())";
    wait::until_or("a look to wait", SOON, || worker.log_tail(), async || broker.shop.count(waits).await == 1).await;
    let began: f64 = sqlx::query_scalar("select extract(epoch from clock_timestamp())::float8")
        .fetch_one(&broker.shop.pool)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    turn.rollback().await.unwrap();
    let saved = "select extract(epoch from watermark)::float8 from order_worker.stream_cursors where saved = 1";
    let look = async || sqlx::query_scalar::<_, f64>(saved).fetch_optional(&broker.shop.pool).await.unwrap();
    let watermark = wait::until_or("the look", SOON, || worker.log_tail(), look).await;
    assert!(watermark <= began - 1.0, "{watermark} {began}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_nobody_can_read_protects_its_order_and_is_shown() {
    let scene = Scene::start_with("proof_unreadable", |spec| only(spec, &CLEANUPS, "* * * * * *")).await;
    let orders = ["told", "nested", "number", "camel", "broken", "unpaid"].map(str::to_owned);
    overdue(&scene.shop, &orders).await;
    for (order, body) in [
        ("told", r#"{"order_id":"told","payment_id":"p1","amount":"ten","currency":"USD"}"#),
        ("nested", r#"{"specversion":"1.0","data":{"order_id":"nested"}}"#),
        ("camel", r#"{"orderId":"camel"}"#),
        ("broken", r#"{"order_id":"broken","amount":"#),
    ] {
        scene.deliver(&rig::callback::Event::new(CONFIRMED, &format!("e-{order}"), body.as_bytes().to_vec())).await;
    }
    scene.deliver(&rig::callback::Event::new(CONFIRMED, "e-number", br#"{"order_id":4711}"#.to_vec())).await;
    let given_up =
        async || scene.shop.status("unpaid").await == "cancelled" && scene.shop.status("number").await == "cancelled";
    wait::until_or("the others", SOON, || scene.worker.log_tail(), given_up).await;
    have_run(&scene.shop, &scene.worker).await;
    let spec = &scene.direct.worker;
    for order in ["told", "nested", "camel", "broken"] {
        assert_eq!(scene.shop.status(order).await, "pending", "{order}");
        let (_, events) = command(spec, &["inbox", "list", "--order", order], &[]).await;
        assert_eq!((events.as_array().unwrap().len(), &events[0]["outcome"]), (1, &"dead".into()), "{events}");
        let (_, story) = command(spec, &["order", "show", order], &[]).await;
        assert!(story.to_string().contains(&format!("e-{order}")), "{story}");
    }
    let (_, events) = command(spec, &["inbox", "list", "--order", "4711"], &[]).await;
    assert_eq!(events[0]["event_id"], "e-number", "{events}");
    assert_eq!(released(&scene.shop).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_order_nobody_can_tell_protects_those_that_were_there_before_it() {
    let scene = Scene::start_with("proof_any", |spec| only(spec, &CLEANUPS, "* * * * * *")).await;
    // Their time is up only once the event is there: the jobs run all the time.
    scene.shop.place(&names(2)).await;
    scene.deliver(&rig::callback::Event::new(CONFIRMED, "e1", b"nonsense".to_vec())).await;
    scene.shop.execute("update order_worker.pending set created_at = now() - interval '40 hours' where queue = 'inbox';
                        update orders set created_at = now() - interval '30 hours'; update order_items set reserved_at = now() - interval '30 hours'").await;
    // It came before either was placed: it speaks of neither.
    let both = async || cancelled(&scene.shop).await == 2;
    wait::until_or("both", SOON, || scene.worker.log_tail(), both).await;

    scene.shop.execute("delete from order_worker.pending where queue = 'inbox'").await;
    scene.shop.place_one("later").await;
    scene.deliver(&rig::callback::Event::new(CONFIRMED, "e2", b"nonsense too".to_vec())).await;
    scene.shop.execute("update orders set created_at = now() - interval '30 hours' where id = 'later'; update order_items set reserved_at = now() - interval '30 hours' where order_id = 'later'").await;
    let runs = have_run(&scene.shop, &scene.worker).await;
    assert!(runs.iter().all(|run| run.contains("1 events whose order nobody can tell")), "{runs:?}");
    assert_eq!(scene.shop.status("later").await, "pending");
    let blocked = "order_worker_cleanup_blocked{reason=\"unreadable\"}";
    let told = async || scene.worker.metrics().await.get(blocked) == Some(&1.0);
    wait::until("the gauge", SOON, told).await;
    let off = [("ORDER_WORKER_RECONCILE_ENABLED", "false")];
    let said = doctor(&scene.direct.worker, "unreadable events", &off).await;
    assert!(said.starts_with("warning: 1 events"), "{said}");
    // Somebody decides, and the order is judged again.
    let skip = ["dead", "skip", "--queue", "inbox", "--reason", "no payment of ours"];
    assert_eq!(command(&scene.direct.worker, &skip, &off).await.0, 0);
    let later = async || scene.shop.status("later").await == "cancelled";
    wait::until_or("the order", SOON, || scene.worker.log_tail(), later).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_event_is_ever_taken_in_the_jobs_go_by_the_clock_and_where_somebody_says_so() {
    let mut broker = Broker::start("proof_lone").await;
    overdue(&broker.shop, &["lone".to_owned()]).await;
    broker.spec.redis_addr = Some("127.0.0.1:1".into());
    let cron = WorkerSpec { mode: "cron".into(), name: "cron".into(), ..broker.spec.replica() };
    let worker = Worker::start(cron).await;
    let lone = async || broker.shop.status("lone").await == "cancelled";
    wait::until_or("the lone one", SOON, || worker.log_tail(), lone).await;
    let said = doctor(&broker.spec, "reconciliation", &[]).await;
    assert!(said.starts_with("warning: no worker in mode event or all was ever registered"), "{said}");

    // From the first worker that takes events on, there is something to wait for.
    let events =
        Worker::start(WorkerSpec { mode: "event".into(), name: "events".into(), ..broker.spec.replica() }).await;
    overdue(&broker.shop, &["waits".to_owned()]).await;
    let runs = have_run(&broker.shop, &worker).await;
    assert!(runs.iter().any(|run| run.contains("spared")), "{runs:?}");
    assert_eq!(broker.shop.status("waits").await, "pending");
    events.kill9();
    worker.kill9();

    let off = broker.spec.replica().env("ORDER_WORKER_RECONCILE_ENABLED", "false");
    let worker = Worker::start(off).await;
    let waits = async || broker.shop.status("waits").await == "cancelled";
    wait::until_or("the other", SOON, || worker.log_tail(), waits).await;
    let said = doctor(&broker.spec, "reconciliation", &[("ORDER_WORKER_RECONCILE_ENABLED", "false")]).await;
    assert!(said.starts_with("warning: switched off"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_is_still_pending_with_the_sidecar_is_no_loss() {
    let broker = Broker::start("proof_pending").await;
    let orders = names(3);
    broker.shop.place(&orders).await;
    let worker = Worker::start(broker.spec.clone()).await;
    broker.looked(&worker).await;
    publish(&broker.redis, &orders).await;
    // Given to the group, and not acknowledged.
    ask(&broker.redis, &["XREADGROUP", "GROUP", "order-worker", "order-worker", "STREAMS", CONFIRMED, ">"]).await;
    let looked = "select count(*) from order_worker.stream_cursors where stream = 'payment.confirmed' and entries_added = 3 and alert is null";
    wait::until_or("a look", SOON, || worker.log_tail(), async || broker.shop.count(looked).await == 1).await;
    // They are trimmed while they are pending: nobody delivers them any more.
    ask(&broker.redis, &["XTRIM", CONFIRMED, "MAXLEN", "0"]).await;
    let alert = "select count(*) from order_worker.stream_cursors where stream = 'payment.confirmed' and alert like '%3 entries are gone%'";
    wait::until_or("the alert", SOON, || worker.log_tail(), async || broker.shop.count(alert).await == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_left_over_proves_nothing_once_events_come_from_elsewhere() {
    let broker = Broker::start("proof_left_over").await;
    let worker = Worker::start(broker.spec.clone()).await;
    broker.looked(&worker).await;
    // The component writes elsewhere by now; the old streams, with the worker's group, look well for ever.
    let callback = rig::callback::Callback::new(worker.eventbus_port());
    callback.event(&crate::scene::confirmation("e1", "p1", "another")).await.unwrap();
    let alert = "select count(*) from order_worker.stream_cursors where alert_kind = 'lost' and alert like '1 events were delivered that are not from this stream%'";
    wait::until_or("the alert", SOON, || worker.log_tail(), async || broker.shop.count(alert).await == 1).await;
    overdue(&broker.shop, &names(2)).await;
    nothing_is_given_up(&broker.shop, &worker, &broker.spec, "lost", "not from this stream").await;
}
