//! docs/replacing.md, walked on real daprd, Redis and Postgres with every command of it: from a worker in another language to this one,
//! and back. The other worker is played: an app behind a sidecar of its own, that writes into tables of its own shape.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Output};

use rig::daprd::{Daprd, DaprdSpec};
use rig::payment::{CONFIRMED, FAILED, confirmed, json};
use rig::postgres::Postgres;
use rig::publisher::{Message, Publisher};
use rig::redis::Redis;
use rig::subscriber::{STATUS_CHANGED, Subscriber};
use rig::wait;
use rig::warehouse::Warehouse;
use rig::worker::{Worker, WorkerSpec};

use crate::adoption::OWN_TABLES;
use crate::main_path::WORKER;
use crate::scene::SOON;
use crate::shop::Shop;

const PAGE: &str = include_str!("../../docs/replacing.md");

/// The page's blocks of `sh` and `sql` that are still to be run, in its order.
struct Blocks(std::vec::IntoIter<String>);

impl Blocks {
    fn read() -> Blocks {
        let mut blocks = Vec::new();
        for part in PAGE.split("\n```").skip(1).step_by(2) {
            let (language, block) = part.split_once('\n').unwrap();
            if ["sh", "sql"].contains(&language) {
                blocks.push(block.to_owned());
            }
        }
        Blocks(blocks.into_iter())
    }

    /// The next one, which begins with these words.
    #[track_caller]
    fn next(&mut self, begins: &str) -> String {
        let block = self.0.next().unwrap_or_default();
        assert!(block.starts_with(begins), "the next block does not begin with {begins}: {block}");
        block
    }
}

/// Somebody who follows the page: a shell in which `order-worker` and `redis-cli` are those of this scene.
struct Follower {
    bin: tempfile::TempDir,
    redis: String,
}

impl Follower {
    fn new(redis: &Redis) -> Follower {
        let bin = tempfile::tempdir().unwrap();
        symlink(WORKER, bin.path().join("order-worker")).unwrap();
        let client = bin.path().join("redis-cli");
        std::fs::write(&client, format!("#!/bin/sh\nexec /usr/bin/redis-cli -p {} \"$@\"\n", redis.port())).unwrap();
        std::fs::set_permissions(&client, PermissionsExt::from_mode(0o755)).unwrap();
        Follower { bin, redis: redis.addr() }
    }

    fn shell(&self, script: &str, database: &str, warehouse: &Warehouse) -> Output {
        let path = format!("{}:/usr/bin:/bin", self.bin.path().display());
        let mut shell = Command::new("sh");
        shell.args(["-e", "-c", script]).env_clear().env("PATH", path).env("DATABASE_URL", database);
        shell.env("ORDER_WORKER_OPERATOR", "ada");
        shell.env("REDIS_ADDR", &self.redis);
        shell.env("ORDER_EXTERNALSERVICES_WAREHOUSESERVICE_GRPCENDPOINT", warehouse.addr());
        shell.output().unwrap()
    }
}

/// Everything around the two workers.
struct Scene {
    blocks: Blocks,
    follower: Follower,
    url: String,
    shop: Shop,
    redis: Redis,
    publisher: Publisher,
    _publisher_daprd: Daprd,
    fulfillment: Subscriber,
    warehouse: Warehouse,
}

impl Scene {
    async fn start(name: &str) -> Scene {
        let redis = Redis::start().await;
        let url = Postgres::shared().await.database(name).await;
        let shop = tables(&url).await;
        let addr = redis.addr();
        let (publisher_daprd, fulfillment) = tokio::join!(
            Daprd::start(DaprdSpec::new("payment-service", &addr)),
            Subscriber::start("fulfillment", &addr, &[STATUS_CHANGED])
        );
        let publisher = Publisher::new(publisher_daprd.grpc_port());
        let follower = Follower::new(&redis);
        let warehouse = Warehouse::start();
        let blocks = Blocks::read();
        Scene {
            blocks,
            follower,
            url,
            shop,
            redis,
            publisher,
            _publisher_daprd: publisher_daprd,
            fulfillment,
            warehouse,
        }
    }

    /// Runs the next block, which begins with these words and has to succeed; what it printed.
    #[track_caller]
    fn follow(&mut self, begins: &str) -> String {
        let url = self.url.clone();
        self.follow_on(begins, "OLD-GROUP", &url)
    }

    #[track_caller]
    fn follow_on(&mut self, begins: &str, old_group: &str, url: &str) -> String {
        // The doctor finds warnings in a scene as small as this one.
        let script = self
            .blocks
            .next(begins)
            .replace("OLD-GROUP", old_group)
            .replace("order-worker doctor", "order-worker doctor || true");
        let output = self.follower.shell(&script, url, &self.warehouse);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && !said.contains("ERR "), "{script}\n{said}");
        said
    }

    async fn pay(&self, order: &str) {
        let payment = json(&confirmed(&format!("p-{order}"), order, "10.10"));
        self.publisher.publish(&Message::new(CONFIRMED, &format!("e-{order}"), payment)).await.unwrap();
    }

    /// A worker of ours behind a sidecar of its own.
    async fn ours(&self, url: &str, app_id: &str, mode: &str) -> (Daprd, Worker) {
        let mut spec = WorkerSpec::new(WORKER, url, 0)
            .env("ORDER_WORKER_RECONCILE_EVERY", "1s")
            .env("ORDER_WORKER_RECONCILE_GROUP", app_id);
        spec.mode = mode.to_owned();
        let mut sidecar = DaprdSpec::new(app_id, &self.redis.addr());
        sidecar.app_port = Some(spec.eventbus_port);
        sidecar.app_health = true;
        let daprd = Daprd::start(sidecar).await;
        spec.dapr_grpc_port = daprd.grpc_port();
        spec.redis_addr = Some(self.redis.addr());
        spec.warehouse_addr = Some(self.warehouse.addr());
        (daprd, Worker::start(spec).await)
    }

    async fn old(&self, app_id: &str) -> Subscriber {
        Subscriber::start(app_id, &self.redis.addr(), &[CONFIRMED, FAILED]).await
    }
}

/// The order service's own tables, with orders as the old worker finds them: it keeps no status of reservations.
async fn tables(url: &str) -> Shop {
    let shop = Shop::open(url).await;
    shop.execute(OWN_TABLES).await;
    shop.place(&["paid", "lost", "cancelled", "meanwhile", "back"].map(str::to_owned)).await;
    shop.execute("update order_items set reservation_status = null").await;
    shop
}

/// What the old worker writes, and at the end what a customer does.
async fn old_writes(shop: &Shop) {
    shop.execute(
        "with paid as (update orders set status = 'payment_confirmed' where id in ('paid', 'cancelled') returning id)
         insert into order_status_history (order_id, old_status, new_status, reason) select id, 'pending', 'payment_confirmed', 'Payment confirmed' from paid",
    )
    .await;
    shop.execute("update orders set status = 'cancelled' where id = 'cancelled'").await;
}

/// From the old worker, which reads as `old_group`, to ours and back.
async fn walk(name: &str, old_group: &str) {
    let mut scene = Scene::start(name).await;
    let same_group = old_group == "order-worker";
    let old = scene.old(old_group).await;
    // `lost` is acknowledged by the old worker, and never written: what it does when it dies.
    for order in ["paid", "lost", "cancelled"] {
        scene.pay(order).await;
    }
    wait::until("the old worker to have its payments", SOON, async || old.count() == 3).await;
    wait::until("Dapr to know", SOON, async || scene.redis.unfinished(CONFIRMED, old_group).await == 0).await;
    old_writes(&scene.shop).await;

    let told = scene.follow("order-worker migrate --dry-run");
    assert!(told.contains("public.orders exists: adopted as it is"), "{told}");
    let told = scene.follow("redis-cli XINFO GROUPS");
    assert!(told.lines().any(|line| line == old_group), "{told}");

    // The rehearsal, on a copy.
    let copy = Postgres::shared().await.database(&format!("{name}_copy")).await;
    let copied = tables(&copy).await;
    old_writes(&copied).await;
    scene.follow_on("order-worker migrate\norder-worker queue pause dapr", "", &copy);
    let (sidecar, rehearsal) = scene.ours(&copy, "order-worker-rehearsal", "event").await;
    let decided =
        "select count(*) from order_worker.inbox_status where outcome in ('applied', 'superseded', 'rejected')";
    let all = async || copied.count(decided).await == 3;
    wait::until_or("the rehearsal to have decided", SOON, || rehearsal.log_tail(), all).await;
    let told = scene.follow_on("order-worker inbox list --since 1d --group", "", &copy);
    assert!(told.contains("superseded") && told.contains("applied"), "{told}");
    assert_eq!(copied.status("lost").await, "payment_confirmed");
    drop((rehearsal, sidecar));
    assert!(scene.fulfillment.received().is_empty(), "a rehearsal announces nothing");
    assert!(scene.warehouse.calls().is_empty(), "a rehearsal asks for nothing");
    assert_eq!(scene.shop.status("lost").await, "pending");
    scene.follow("redis-cli XGROUP DESTROY");

    scene.follow("order-worker migrate");
    scene.follow("order-worker cron pause order_cleanup");
    drop(old);
    scene.pay("meanwhile").await;
    let url = scene.url.clone();
    scene.follow_on("redis-cli XPENDING", old_group, &url);
    if same_group {
        scene.blocks.next("from=");
    } else {
        scene.follow("from=");
    }
    let written = scene.blocks.next("update order_items");
    scene.shop.execute(&written).await;
    let reservation = "select coalesce(reservation_status, 'none') from order_items where order_id = $1";
    for (order, status) in [("paid", "confirmed"), ("cancelled", "released"), ("lost", "none")] {
        assert_eq!(scene.shop.text(reservation, order).await, status, "{order}");
    }

    let (sidecar, worker) = scene.ours(&url, "order-worker", "all").await;
    let through = async || scene.shop.count(decided).await == 4 && scene.shop.unsettled().await == 0;
    wait::until_or("all four payments to be decided", SOON, || worker.log_tail(), through).await;
    for order in ["paid", "lost", "meanwhile"] {
        assert_eq!(scene.shop.status(order).await, "payment_confirmed", "{order}");
        assert_eq!(scene.shop.history(order).await, ["payment_confirmed"], "{order}: once");
    }
    let outcome = async |event: &str| scene.shop.outcomes(event).await[0].0.clone();
    assert_eq!((outcome("e-paid").await, outcome("e-lost").await), ("superseded".to_owned(), "applied".to_owned()));
    assert_eq!(scene.shop.incidents("cancelled").await, ["paid_cancelled"]);
    // Said of what the old worker's group was given: under a new group Dapr delivers that itself.
    let said = "Events saved that Dapr had dropped";
    assert_eq!(worker.logs().contains(said), same_group, "{}", worker.log_tail());
    let announced = async || scene.fulfillment.count() == 2;
    wait::until_or("what ours has changed to be announced, and no more", SOON, || worker.log_tail(), announced).await;
    let mut confirmed: Vec<_> = scene.warehouse.confirmed().into_values().map(|effect| effect.reservation_id).collect();
    confirmed.sort();
    assert_eq!(confirmed, ["res-lost", "res-meanwhile"]);
    assert!(scene.warehouse.released().is_empty());

    let told = scene.follow("order-worker inbox list --since 1h --group");
    assert!(told.contains("paid_cancelled"), "{told}");
    scene.follow("order-worker inbox reconcile --since 7d");
    let told = scene.follow("order-worker cron run order_cleanup --dry-run");
    assert!(!told.is_empty());

    // And back.
    scene.follow("order-worker queue list");
    wait::until("Dapr to know", SOON, async || scene.redis.unfinished(CONFIRMED, "order-worker").await == 0).await;
    worker.terminate();
    worker.wait_exit(SOON).await;
    drop((worker, sidecar));
    if same_group {
        scene.blocks.next("for topic");
    } else {
        scene.follow_on("for topic", old_group, &url);
    }
    let old = scene.old(old_group).await;
    scene.pay("back").await;
    wait::until("the old worker to go on", SOON, async || old.count() > 0).await;
    wait::until("Dapr to know", SOON, async || scene.redis.unfinished(CONFIRMED, old_group).await == 0).await;
    let events: Vec<String> = old.received().into_iter().map(|event| event.event_id).collect();
    assert_eq!(events, ["e-back"]);
    assert!(scene.blocks.0.next().is_none(), "blocks that nobody has run");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_leads_from_a_worker_of_the_same_app_id_to_this_one_and_back() {
    walk("replacing_same", "order-worker").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_leads_from_a_worker_with_a_group_of_its_own_to_this_one_and_back() {
    walk("replacing_other", "payments-go").await;
}
