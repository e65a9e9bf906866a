//! Jobs: what they clean up and leave alone, who runs them, and what happens where a payment meets them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rig::callback::{Answer, Event};
use rig::clock;
use rig::payment::{CONFIRMED, amount, confirmed, json};
use rig::stack::Direct;
use rig::wait;
use rig::warehouse::Effect;
use rig::worker::{Worker, WorkerSpec, run};
use tokio::net::TcpStream;

use crate::main_path::WORKER;
use crate::scene::{SOON, Scene, confirmation};
use crate::shop::Shop;

const JOBS: [&str; 5] = ["session_cleanup", "cart_cleanup", "order_cleanup", "reservation_cleanup", "cod_auto_confirm"];

/// Gives these jobs a schedule, the others none.
pub fn only(mut spec: WorkerSpec, jobs: &[&str], schedule: &str) -> WorkerSpec {
    for job in JOBS {
        let name = |key: &str| format!("ORDER_WORKER_CRON_{}_{key}", job.replace('_', "").to_uppercase());
        spec = spec.env(&name("ENABLED"), jobs.contains(&job)).env(&name("SCHEDULE"), schedule);
    }
    spec
}

/// Every job each second.
pub fn every_second(spec: WorkerSpec) -> WorkerSpec {
    only(spec, &JOBS, "* * * * * *")
}

/// The order service's database, and a worker that runs these jobs each second.
async fn scene_of(name: &str, jobs: &[&str]) -> Scene {
    Scene::start_with(name, |spec| only(spec, jobs, "* * * * * *")).await
}

fn reservations(effects: BTreeMap<String, Effect>) -> Vec<String> {
    let mut reservations: Vec<_> = effects.into_values().map(|effect| effect.reservation_id).collect();
    reservations.sort();
    reservations
}

/// Waits until a run that began after this moment has succeeded.
async fn has_run(shop: &Shop, job: &str) {
    let since: String = shop.text("select clock_timestamp()::text where $1 <> ''", job).await;
    let sql = "select exists (select from order_worker.cron_runs
                              where job = $1 and outcome = 'succeeded' and started_at > $2::timestamptz)";
    wait::until(&format!("{job} to run"), SOON, async || {
        sqlx::query_scalar::<_, bool>(sql).bind(job).bind(&since).fetch_one(&shop.pool).await.unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_carts_go_when_they_are_old_and_only_then() {
    let scene = Scene::start_with("cleanup", |spec| {
        only(spec, &["session_cleanup", "cart_cleanup"], "* * * * * *")
            .env("ORDER_WORKER_CRON_SESSIONCLEANUP_BATCH", 7)
            .env("ORDER_WORKER_CRON_CARTCLEANUP_BATCH", 7)
    })
    .await;
    // Many of one age: the order among them is by id then.
    scene
        .shop
        .execute(
            "insert into sessions select 'old' || n, null, now() - interval '24 hours 1 second' from generate_series(1, 100) n;
             insert into sessions values ('young', null, now() - interval '23 hours 59 minutes'), ('ancient', null, '-infinity');
             insert into carts select 'old' || n, null, false, now() - interval '7 days 1 second' from generate_series(1, 100) n;
             insert into carts values ('young', null, false, now() - interval '6 days 23 hours'),
                                      ('bought', null, true, now() - interval '70 days');
             insert into cart_items select id, 'SKU-1', 1 from carts",
        )
        .await;
    has_run(&scene.shop, "session_cleanup").await;
    has_run(&scene.shop, "cart_cleanup").await;
    let left = "select string_agg(id, ' ' order by id) from (select id from sessions union all select id from carts) l where $1 = ''";
    assert_eq!(scene.shop.text(left, "").await, "bought young young");
    assert_eq!(scene.shop.count("select count(*) from cart_items").await, 2);
    let cleaned = "select sum(items)::bigint from order_worker.cron_runs";
    assert_eq!(scene.shop.count(cleaned).await, 201);
    wait::until("the metric", SOON, async || {
        scene.worker.metrics().await.get(r#"order_worker_cron_items_total{job="session_cleanup"}"#) == Some(&101.0)
    })
    .await;
    let logs = scene.worker.logs();
    let starts = logs.find("Starting cron jobs...").unwrap();
    let registered = logs.find("Registered job: session_cleanup (* * * * * *)").unwrap();
    assert!(starts < registered && logs.contains("Disabled job: order_cleanup"), "{logs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_somebody_holds_is_left_to_the_next_tick() {
    let scene = scene_of("held_session", &["session_cleanup"]).await;
    let mut holder = scene.shop.pool.begin().await.unwrap();
    scene.shop.execute("insert into sessions values ('s1', null, now() - interval '2 days')").await;
    // The first run may have been quicker than this lock: then there is nothing to show.
    sqlx::query("select from sessions where id = 's1' for update").execute(&mut *holder).await.unwrap();
    if scene.shop.count("select count(*) from sessions").await == 1 {
        has_run(&scene.shop, "session_cleanup").await;
        assert_eq!(scene.shop.count("select count(*) from sessions").await, 1);
    }
    holder.rollback().await.unwrap();
    has_run(&scene.shop, "session_cleanup").await;
    assert_eq!(scene.shop.count("select count(*) from sessions").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_nobody_paid_is_cancelled_and_gives_its_goods_back() {
    let scene = Scene::start_with("unpaid", |spec| {
        only(spec, &["order_cleanup"], "* * * * * *").env("ORDER_WORKER_INBOX_AMOUNTMISMATCH", "hold")
    })
    .await;
    scene.shop.place(&["old", "young", "cod", "held", "paid"].map(str::to_owned)).await;
    // A payment that waits for an operator.
    let mut little = confirmed("p-held", "held", "10.10");
    little.amount = amount("10.09");
    scene.deliver(&Event::new(CONFIRMED, "e-held", json(&little))).await;
    scene.confirm("e-paid", "p-paid", "paid").await;
    scene.settled().await;
    scene
        .shop
        .execute(
            "update orders set payment_method = 'cod' where id = 'cod';
             update orders set created_at = now() - interval '24 hours 1 second' where id <> 'young'",
        )
        .await;
    has_run(&scene.shop, "order_cleanup").await;
    has_run(&scene.shop, "order_cleanup").await;
    scene.settled().await;
    for (order, status) in [
        ("old", "cancelled"),
        ("young", "pending"),
        ("cod", "pending"),
        ("held", "pending"),
        ("paid", "payment_confirmed"),
    ] {
        assert_eq!(scene.shop.status(order).await, status, "{order}");
    }
    let reason = scene.shop.text("select reason from order_status_history where order_id = $1", "old").await;
    assert_eq!(reason, "Not paid in time");
    assert_eq!(reservations(scene.direct.warehouse.released()), ["res-old"]);
    let announced: Vec<_> = scene.direct.sidecar.published().iter().map(rig::sidecar::Published::json).collect();
    let cancelled: Vec<_> = announced.iter().filter(|body| body["new_status"] == "cancelled").collect();
    assert_eq!(cancelled.len(), 1);
    assert_eq!((&cancelled[0]["order_id"], &cancelled[0]["old_status"]), (&"old".into(), &"pending".into()));
}

/// No payment changes an order that it does not name exactly, but what may have been meant is not given up meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_a_waiting_payment_may_mean_is_not_cancelled() {
    let scene = scene_of("may_mean", &["order_cleanup"]).await;
    scene.shop.place(&["o1", "7", "8", "o2"].map(str::to_owned)).await;
    for (event, order) in [("e1", " o1 "), ("e2", "007"), ("e3", "+8")] {
        scene.confirm(event, event, order).await;
    }
    let waits = "select count(*) from order_worker.inbox_status where reason = 'the order does not exist yet'";
    wait::until("all to wait", SOON, async || scene.shop.count(waits).await == 3).await;
    scene.shop.execute("update orders set created_at = now() - interval '24 hours 1 second'").await;
    has_run(&scene.shop, "order_cleanup").await;
    has_run(&scene.shop, "order_cleanup").await;
    for (order, status) in [("o1", "pending"), ("7", "pending"), ("8", "pending"), ("o2", "cancelled")] {
        assert_eq!(scene.shop.status(order).await, status, "{order}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cod_orders_are_cancelled_too_where_that_is_set() {
    let scene = Scene::start_with("cod_too", |spec| {
        only(spec, &["order_cleanup"], "* * * * * *").env("ORDER_BUSINESS_ORDER_AUTOCANCELCOD", true)
    })
    .await;
    scene.shop.place_one("cod").await;
    scene.shop.execute("update orders set payment_method = 'COD', created_at = now() - interval '2 days'").await;
    has_run(&scene.shop, "order_cleanup").await;
    assert_eq!(scene.shop.status("cod").await, "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn reservations_expire_where_their_order_does_not_count_on_them() {
    let scene = scene_of("reservations", &["reservation_cleanup"]).await;
    scene.shop.place(&["old", "young", "cod", "paid"].map(str::to_owned)).await;
    scene.confirm("e1", "p1", "paid").await;
    scene.settled().await;
    scene
        .shop
        .execute(
            "update orders set payment_method = 'COD' where id = 'cod';
             insert into order_items (order_id, sku, quantity, reservation_id, reserved_at)
             values ('old', 'SKU-2', 1, 'res-old-young', now() - interval '29 minutes'), ('old', 'SKU-3', 1, 'res-no-time', null);
             update orders set created_at = now() - interval '31 minutes' where id = 'old';
             update order_items set reserved_at = now() - interval '31 minutes' where sku = 'SKU-1' and order_id <> 'young'",
        )
        .await;
    has_run(&scene.shop, "reservation_cleanup").await;
    scene.settled().await;
    assert_eq!(reservations(scene.direct.warehouse.released()), ["res-no-time", "res-old"]);
    assert_eq!(scene.shop.status("old").await, "pending");
    assert_eq!(scene.shop.history("old").await, [""; 0]);
    // A payment after that is applied, with an incident, and confirms no reservation that was released.
    scene.confirm("e2", "p2", "old").await;
    scene.settled().await;
    assert_eq!(scene.shop.status("old").await, "payment_confirmed");
    assert_eq!(scene.shop.incidents("old").await, ["paid_unreserved"]);
    assert_eq!(reservations(scene.direct.warehouse.confirmed()), ["res-old-young", "res-paid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cod_order_is_confirmed_once_it_is_delivered() {
    let scene = scene_of("cod", &["cod_auto_confirm"]).await;
    scene.shop.place(&["delivered", "waiting", "card"].map(str::to_owned)).await;
    scene
        .shop
        .execute(
            "update orders set payment_method = 'COD' where id <> 'card';
             update orders set delivered = true where id <> 'waiting'",
        )
        .await;
    has_run(&scene.shop, "cod_auto_confirm").await;
    has_run(&scene.shop, "cod_auto_confirm").await;
    scene.settled().await;
    for (order, status) in [("delivered", "confirmed"), ("waiting", "pending"), ("card", "pending")] {
        assert_eq!(scene.shop.status(order).await, status, "{order}");
    }
    assert_eq!(scene.shop.history("delivered").await, ["confirmed"]);
    let announced = scene.direct.sidecar.published();
    assert_eq!(announced.len(), 1);
    assert_eq!(
        (announced[0].topic.as_str(), &announced[0].json()["new_status"]),
        ("orders.order.status_changed", &"confirmed".into())
    );
    assert_eq!(reservations(scene.direct.warehouse.confirmed()), ["res-delivered"]);
}

/// One old unpaid order, a worker that runs order_cleanup, and one that takes events; one of the two is stopped at a place.
struct Race {
    shop: Shop,
    direct: Direct,
    jobs: Worker,
    events: Worker,
    callback: rig::callback::Callback,
}

impl Race {
    async fn start(name: &str, jobs_stop_at: &str, events_stop_at: &str) -> Race {
        // What sleeps keeps its locks until the test goes on: the session of whoever sleeps for too long is ended.
        let mut direct = Direct::start(name, WORKER).await;
        direct.worker = direct.worker.env("ORDER_WORKER_QUEUE_LEASE", "90s");
        direct.worker = direct.worker.env("ORDER_WORKER_DATABASE_IDLEINTRANSACTIONTIMEOUT", "60s");
        let shop = Shop::open(&direct.worker.database_url).await;
        shop.place_one("o1").await;
        shop.execute("update orders set created_at = now() - interval '2 days'").await;
        let stop = |place: &str| if place.is_empty() { String::new() } else { format!("{place}=1*return(stop)") };
        let spec = WorkerSpec { name: "events".into(), mode: "event".into(), ..direct.worker.replica() };
        let events = Worker::start(spec.env("FAILPOINTS", stop(events_stop_at))).await;
        let spec = WorkerSpec { name: "jobs".into(), mode: "cron".into(), ..direct.worker.replica() };
        let spec = only(spec, &["order_cleanup"], "* * * * * *").env("FAILPOINTS", stop(jobs_stop_at));
        let jobs = Worker::spawn(spec);
        let callback = rig::callback::Callback::new(events.eventbus_port());
        Race { shop, direct, jobs, events, callback }
    }

    async fn stopped(worker: &Worker) {
        wait::until_or("the worker to stop", SOON, || worker.log_tail(), async || worker.logs().contains(" reached"))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_comes_while_its_order_is_being_cancelled_is_an_incident() {
    let race = Race::start("cancel_first", "cron-before-commit", "").await;
    Race::stopped(&race.jobs).await;
    let answer = race.callback.event(&confirmation("e1", "p1", "o1")).await;
    assert_eq!(answer.ok(), Some(Answer::Success));
    let locked = "select count(*) from order_worker.pending where last_error = 'the order is locked by another writer'";
    wait::until("the payment to find the lock", SOON, async || race.shop.count(locked).await == 1).await;
    race.jobs.cont();
    race.shop.settled(SOON).await;
    assert_eq!(race.shop.history("o1").await, ["cancelled"]);
    assert_eq!(race.shop.incidents("o1").await, ["paid_cancelled"]);
    assert!(race.direct.warehouse.confirmed().is_empty());
    assert_eq!(race.direct.warehouse.released().len(), 1);
    assert_eq!(race.direct.sidecar.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_being_paid_is_not_cancelled() {
    let race = Race::start("pay_first", "cron-after-take", "apply-before-commit").await;
    Race::stopped(&race.jobs).await;
    let answer = race.callback.event(&confirmation("e1", "p1", "o1")).await;
    assert_eq!(answer.ok(), Some(Answer::Success));
    Race::stopped(&race.events).await;
    race.jobs.cont();
    has_run(&race.shop, "order_cleanup").await;
    race.events.cont();
    race.shop.settled(SOON).await;
    has_run(&race.shop, "order_cleanup").await;
    assert_eq!(race.shop.history("o1").await, ["payment_confirmed"]);
    assert!(race.direct.warehouse.released().is_empty());
    assert_eq!(race.direct.warehouse.confirmed().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_worker_was_killed_is_taken_up_and_finishes_its_tick() {
    let direct = Direct::start("taken_up", WORKER).await;
    let shop = Shop::open(&direct.worker.database_url).await;
    shop.execute(
        "insert into sessions select 's' || n, null, now() - interval '2 days' from generate_series(1, 100) n",
    )
    .await;
    let spec = |name: &str, failpoints: &str| {
        let spec = WorkerSpec { name: name.into(), mode: "cron".into(), ..direct.worker.replica() };
        only(spec, &["session_cleanup"], "*/4 * * * * *")
            .env("ORDER_WORKER_CRON_SESSIONCLEANUP_BATCH", 10)
            .env("FAILPOINTS", failpoints)
    };
    // Not waited for: its end may come before it has told that it is ready.
    let killed = Worker::spawn(spec("killed", "cron-before-commit=3*off->1*return"));
    killed.wait_exit(SOON).await;
    assert_eq!(shop.count("select count(*) from sessions").await, 70, "three batches, and nothing of the fourth");
    let tick = shop.text("select tick::text from order_worker.cron_runs where outcome is null and job > $1", "").await;
    let _taker = Worker::start(spec("taker", "")).await;
    wait::until("the sessions to be gone", SOON, async || shop.count("select count(*) from sessions").await == 0).await;
    let run = "select concat_ws(' ', outcome, items, batches) from order_worker.cron_runs where tick = $1::timestamptz";
    wait::until("the run to finish", SOON, async || shop.text(run, &tick).await.contains("succeeded")).await;
    assert_eq!(shop.text(run, &tick).await, "succeeded 100 11");
}

#[tokio::test(flavor = "multi_thread")]
async fn ticks_that_nobody_ran_become_one_run_that_says_so() {
    let direct = Direct::start("missed", WORKER).await;
    let shop = Shop::open(&direct.worker.database_url).await;
    let spec = only(WorkerSpec { mode: "cron".into(), ..direct.worker.replica() }, &["cart_cleanup"], "0 0 * * *");
    let worker = Worker::start(spec).await;
    worker.kill9();
    // As if it had been away for a little over three days.
    shop.execute(
        "update order_worker.cron_jobs set next_tick = date_trunc('day', now()) - interval '3 days' where job = 'cart_cleanup'",
    )
    .await;
    worker.restart().await;
    has_run_once(&shop).await;
    let run = "select concat_ws(' ', kind, missed, tick - missed_from) from order_worker.cron_runs where job = $1";
    assert_eq!(shop.text(run, "cart_cleanup").await, "caught_up 3 3 days");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_database_a_day_ahead_has_written_holds_up_no_job() {
    let direct = Direct::start("clock_was_ahead", WORKER).await;
    let shop = Shop::open(&direct.worker.database_url).await;
    let jobs = &["session_cleanup", "cart_cleanup", "cod_auto_confirm"];
    let spec = only(WorkerSpec { mode: "cron".into(), ..direct.worker.replica() }, jobs, "*/2 * * * * *");
    let worker = Worker::start(spec).await;
    for job in jobs {
        has_run(&shop, job).await;
    }
    // While it is away the clock was a day ahead: a tick was read, a run was made, and another was under way.
    worker.kill9();
    shop.execute(
        "delete from order_worker.pending where queue = 'cron'; delete from order_worker.cron_runs where finished_at is null;
         update order_worker.cron_runs set worker = 'before';
         update order_worker.cron_jobs set next_tick = now() + interval '1 day';
         with run as (
             insert into order_worker.cron_runs (job, tick, kind, started_at, batches)
             values ('cart_cleanup', now() + interval '1 day', 'scheduled', null, 0),
                    ('cod_auto_confirm', now() + interval '1 day', 'scheduled', now() + interval '1 day', 1)
             returning id, job, tick)
         insert into order_worker.pending (queue, id, day, lane, key, due)
         select 'cron', id, order_worker.today(), 0, job, tick from run",
    )
    .await;
    worker.restart().await;
    let again = "select count(distinct job) from order_worker.cron_runs
                 where worker <> 'before' and outcome = 'succeeded' and tick <= now()";
    wait::until_or("all to run again", SOON, || worker.log_tail(), async || shop.count(again).await == 3).await;
    let ahead = "select string_agg(concat_ws(' ', job, outcome, substr(error, 1, 21)), ', ') from order_worker.cron_runs where tick > now() and $1 <> ''";
    assert_eq!(shop.text(ahead, "all").await, "cod_auto_confirm failed its tick has not come");
    assert!(worker.logs().contains("was written by a clock that was ahead"), "{}", worker.log_tail());
    let gaps = "select count(*) from (select coalesce(missed_from, tick) - lag(tick) over (order by tick) as gap
                                      from order_worker.cron_runs where job = 'session_cleanup' and tick <= now()) g where gap <> interval '2 seconds'";
    assert_eq!(shop.count(gaps).await, 0, "each tick once, those while it was away too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_schedule_nobody_has_any_more_is_run_by_whoever_is_there() {
    let scene = scene_of("rollout", &["session_cleanup", "cart_cleanup"]).await;
    has_run(&scene.shop, "session_cleanup").await;
    has_run(&scene.shop, "cart_cleanup").await;
    // An old pod that is started once more: one job on New Year's Day alone, the other not at all.
    let old = only(scene.worker.spec().replica(), &["session_cleanup"], "0 0 1 1 *");
    let old = Worker::start(old).await;
    let registered = async |schedule: &str| {
        scene.shop.text("select string_agg(schedule || ' ' || (next_tick is not null), ';' order by job) from order_worker.cron_jobs where job in ('session_cleanup', 'cart_cleanup') and $1 <> ''", schedule).await
    };
    wait::until("the old pod's jobs", SOON, async || registered("0").await == "0 0 1 1 * false;0 0 1 1 * true").await;
    // It counts for as long as it is there.
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(registered("0").await, "0 0 1 1 * false;0 0 1 1 * true");
    old.kill9();
    let taken = async || registered("*").await == "* * * * * * true;* * * * * * true";
    wait::until_or("the jobs to be taken over", SOON, || scene.worker.log_tail(), taken).await;
    has_run(&scene.shop, "session_cleanup").await;
    has_run(&scene.shop, "cart_cleanup").await;

    // Nobody at all: said.
    scene.worker.kill9();
    scene
        .shop
        .execute("update order_worker.cron_jobs set registered_until = now() - interval '1 second' where registered_until is not null")
        .await;
    let doctor = run(WORKER, &["doctor"], &[("DATABASE_URL", &scene.direct.worker.database_url)]).await;
    let told = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(told.contains("no worker that is alive runs them: cart_cleanup (* * * * * *), session_cleanup"), "{told}");
    let other = WorkerSpec { mode: "event".into(), ..scene.worker.spec().replica() };
    let other = Worker::start(other).await;
    wait::until("the gauge", SOON, async || other.metric("order_worker_cron_overdue_seconds").await > 2.0).await;
}

async fn has_run_once(shop: &Shop) {
    let finished = "select count(*) from order_worker.cron_runs where outcome = 'succeeded'";
    wait::until("a run", SOON, async || shop.count(finished).await == 1).await;
}

/// A worker whose clock is two hours off, beside one whose clock is right: the ticks are the database's.
async fn with_a_clock_off(name: &str, offset: &str) {
    let direct = Direct::start(name, WORKER).await;
    let shop = Shop::open(&direct.worker.database_url).await;
    let spec = only(WorkerSpec { mode: "cron".into(), ..direct.worker.clone() }, &["session_cleanup"], "*/2 * * * * *");
    let began = Instant::now();
    let off = Worker::start(clock::shifted(WorkerSpec { name: "off".into(), ..spec.replica() }, offset)).await;
    let _right = Worker::start(spec.replica()).await;
    let sql = "select count(*) + coalesce(sum(missed), 0)::bigint from order_worker.cron_runs";
    wait::until("some ticks", SOON, async || shop.count(sql).await >= 3).await;
    off.kill9();
    off.restart().await;
    let before = shop.count(sql).await;
    wait::until("some more ticks", SOON, async || shop.count(sql).await >= before + 3).await;
    assert!(off.logs().contains("Registered job"), "{}", off.log_tail());
    let ticks = shop.count(sql).await;
    let gaps = "select count(*) from (select coalesce(missed_from, tick) - lag(tick) over (order by tick) as gap
                                      from order_worker.cron_runs) g where gap <> interval '2 seconds'";
    assert_eq!(shop.count(gaps).await, 0, "each tick once");
    // Every second one of the seconds since the first worker was started, and none of another time.
    let seconds = i64::try_from(began.elapsed().as_secs()).unwrap();
    assert!(ticks <= seconds / 2 + 2, "{ticks} ticks in {seconds} s");
    let off_the_database =
        "select count(*) from order_worker.cron_runs where tick not between now() - $1 * interval '1 second' and now()";
    let off_the_database = sqlx::query_scalar::<_, i64>(off_the_database).bind(seconds + 5).fetch_one(&shop.pool).await;
    assert_eq!(off_the_database.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_two_hours_ahead_doubles_and_loses_no_tick() {
    with_a_clock_off("ahead", "+2h").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_two_hours_behind_doubles_and_loses_no_tick() {
    with_a_clock_off("behind", "-2h").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_does_its_own_part_and_drains_the_outbox() {
    let direct = Direct::start("modes", WORKER).await;
    let shop = Shop::open(&direct.worker.database_url).await;
    shop.place_one("o1").await;
    let mode =
        |mode: &str| WorkerSpec { name: mode.into(), mode: mode.into(), ..every_second(direct.worker.replica()) };
    let announced = async |cause: &str| {
        let before = direct.sidecar.count();
        shop.execute(&format!("select order_worker.announce('orders.return.requested', 'o1', '{{}}', '{cause}')"))
            .await;
        wait::until("the announcement", SOON, async || direct.sidecar.count() > before).await;
    };

    let event = Worker::start(mode("event")).await;
    shop.execute("insert into order_worker.pauses (queue, paused_by) values ('inbox', 'test')").await;
    let callback = rig::callback::Callback::new(event.eventbus_port());
    assert_eq!(callback.event(&confirmation("e1", "p1", "o1")).await.ok(), Some(Answer::Success));
    announced("of-event").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(shop.count("select count(*) from order_worker.cron_runs").await, 0, "event runs no job");
    event.kill9();
    shop.execute("delete from order_worker.pauses").await;

    let cron = Worker::start(mode("cron")).await;
    let port = ("127.0.0.1", cron.eventbus_port());
    assert!(TcpStream::connect(port).await.is_err(), "cron opens no event port");
    announced("of-cron").await;
    has_run(&shop, "order_cleanup").await;
    assert_eq!(
        shop.count("select count(*) from order_worker.pending where queue = 'inbox'").await,
        1,
        "cron leaves the inbox"
    );
    cron.kill9();

    let all = Worker::start(mode("all")).await;
    wait::until("the event", SOON, async || shop.status("o1").await == "payment_confirmed").await;
    has_run(&shop, "order_cleanup").await;
    assert!(TcpStream::connect(("127.0.0.1", all.eventbus_port())).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_can_do_nothing_fails_says_why_and_holds_up_no_other() {
    let scene = scene_of("failing_job", &["session_cleanup", "cart_cleanup"]).await;
    scene
        .shop
        .execute(
            "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no session may go'; end $$;
             create trigger refuse before delete on sessions for each row execute function refuse();
             insert into sessions values ('s1', null, now() - interval '2 days')",
        )
        .await;
    let failed = "select count(*) from order_worker.cron_runs
                  where outcome = 'failed' and passed_over = 1 and error like 's1 passed over: %no session may go%'";
    wait::until("the run to fail", SOON, async || scene.shop.count(failed).await > 0).await;
    has_run(&scene.shop, "cart_cleanup").await;
    assert!(scene.worker.logs().contains("Job failed: session_cleanup, error="), "{}", scene.worker.log_tail());
    scene.shop.execute("drop trigger refuse on sessions").await;
    // The next run makes up for it, and for the ticks meanwhile.
    wait::until("the session to be gone", SOON, async || scene.shop.count("select count(*) from sessions").await == 0)
        .await;
    has_run(&scene.shop, "session_cleanup").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_table_is_away_waits_says_why_and_gives_up_in_the_end() {
    let scene = scene_of("waiting_job", &["session_cleanup", "cart_cleanup"]).await;
    scene.shop.execute("alter table sessions rename to sessions_elsewhere").await;
    let waits = "select count(*) from order_worker.pending p join order_worker.cron_runs r using (id)
                 where p.key = 'session_cleanup' and p.attempts > 2 and r.outcome is null and r.error like '%sessions%'";
    wait::until("the job to wait", SOON, async || scene.shop.count(waits).await == 1).await;
    has_run(&scene.shop, "cart_cleanup").await;
    // Its last attempt.
    scene
        .shop
        .execute("update order_worker.pending set attempts = 9, state = 'ready' where key = 'session_cleanup'")
        .await;
    let failed = "select count(*) from order_worker.cron_runs where outcome = 'failed' and error like '%sessions%'";
    wait::until("the run to fail", SOON, async || scene.shop.count(failed).await == 1).await;
    scene.shop.execute("alter table sessions_elsewhere rename to sessions").await;
    has_run(&scene.shop, "session_cleanup").await;
}
