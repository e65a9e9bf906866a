//! Sessions that are broken, refused or lent: nothing that was asked in one is to blame, and the next is sound.

use std::time::Instant;

use rig::pooler::Pooler;
use rig::postgres::Postgres;
use rig::stack::Direct;
use rig::wait;
use rig::worker::{Worker, migrate, run};

use crate::main_path::WORKER;
use crate::scene::{SOON, Scene, assert_not_held_up};
use crate::shop::Shop;

fn names(prefix: &str, orders: usize) -> Vec<String> {
    (0..orders).map(|n| format!("{prefix}{n}")).collect()
}

/// Runs a command; whether it succeeded, and what it said.
async fn said(database_url: &str, args: &[&str]) -> (bool, String) {
    let done = run(WORKER, args, &[("DATABASE_URL", database_url)]).await;
    let told = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    (done.status.success(), told)
}

impl Scene {
    /// Pays these orders, all at once, and waits until all of it is done; nothing may have been blamed.
    async fn pay(&self, orders: &[String]) {
        for order in orders {
            self.confirm(&format!("e-{order}"), &format!("p-{order}"), order).await;
        }
        self.settled().await;
        let applied =
            "select count(*) from order_worker.inbox_status where outcome = 'applied' and event_id = 'e-' || order_id";
        let dead = "select count(*) from order_worker.pending where attempts > 0 or state = 'dead'";
        assert_eq!(self.shop.count(dead).await, 0, "{}", self.worker.log_tail());
        assert!(self.shop.count(applied).await >= i64::try_from(orders.len()).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_who_alters_a_shared_column_costs_no_event_an_attempt() {
    let scene = Scene::start("altered").await;
    let (before, after, later) = (names("a", 20), names("b", 20), names("c", 20));
    for orders in [&before, &after, &later] {
        scene.shop.place(orders).await;
    }
    let began = Instant::now();
    scene.pay(&before).await;
    let without = began.elapsed();
    scene.shop.execute("alter table public.orders alter column payment_method type varchar(32)").await;
    let began = Instant::now();
    scene.pay(&after).await;
    assert_not_held_up(without, began.elapsed());
    scene.shop.execute("alter table public.order_items alter column sku type varchar(300)").await;
    scene.pay(&later).await;
    let counted = scene.worker.logs().matches("Event failed").count();
    assert_eq!(counted, 0, "{}", scene.worker.log_tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_were_ended_under_load_cost_no_event_an_attempt() {
    let scene = Scene::start("ended").await;
    let orders = names("o", 60);
    scene.shop.place(&orders).await;
    for (n, order) in orders.iter().enumerate() {
        if n % 20 == 10 {
            // Those of the worker alone: the test has sessions too.
            scene
                .shop
                .execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'order-worker'")
                .await;
        }
        scene.confirm(&format!("e-{order}"), &format!("p-{order}"), order).await;
    }
    scene.settled().await;
    assert_eq!(scene.shop.count("select count(*) from order_worker.pending").await, 0);
    assert_eq!(scene.shop.count("select count(*) from orders where status = 'payment_confirmed'").await, 60);
}

/// What the default of a database is for its transactions.
async fn default(shop: &Shop, setting: &str) {
    shop.execute(&format!(
        "do $$ begin execute format($f$alter database %I set {setting}$f$, current_database()); end $$"
    ))
    .await;
}

const END_SESSIONS: &str = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name like 'order-worker%'";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_read_only_for_a_moment_is_worked_with_again() {
    let scene = Scene::start("read_only").await;
    let orders = names("o", 2);
    scene.shop.place(&orders).await;
    scene.pay(&orders[..1]).await;

    default(&scene.shop, "default_transaction_read_only = on").await;
    scene.shop.execute(END_SESSIONS).await;
    let unready = async || {
        let (status, body) = scene.worker.get("/readyz").await.unwrap();
        status == 503 && body.contains("read-only")
    };
    wait::until_or("the worker to be unready", SOON, || scene.worker.log_tail(), unready).await;
    assert_eq!(scene.worker.metric("order_worker_database_up").await, 0.0);
    let (_, told) = said(&scene.direct.worker.database_url, &["doctor"]).await;
    assert!(told.contains("read-only"), "{told}");

    // Told once, not at every try of the pool.
    assert!(scene.worker.logs().matches("default_transaction_read_only").count() < 5, "{}", scene.worker.log_tail());
    // The test's own session is an old one, which may write.
    default(&scene.shop, "default_transaction_read_only = off").await;
    scene.worker.wait_ready().await;
    scene.pay(&orders[1..]).await;
    assert_eq!(scene.worker.metric("order_worker_database_up").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_become_read_only_are_thrown_away_and_nothing_is_blamed() {
    // The whole server: one of its own.
    let server = Postgres::start().await;
    let url = server.database("became_read_only").await;
    migrate(WORKER, &url).await;
    let mut direct = Direct::start("became_read_only", WORKER).await;
    direct.worker.database_url = url;
    let shop = Shop::open(&direct.worker.database_url).await;
    let (worker, callback) = direct.worker().await;
    let scene = Scene { callback, worker, shop, direct };
    let orders = names("o", 40);
    scene.shop.place(&orders).await;
    scene.pay(&orders[..20]).await;
    server.sql("alter system set default_transaction_read_only = on").await.unwrap();
    server.sql("select pg_reload_conf()").await.unwrap();
    let away = async || scene.worker.metric("order_worker_database_up").await == 0.0;
    wait::until_or("the database to be seen as away", SOON, || scene.worker.log_tail(), away).await;
    let mut writer = server.connect(&scene.direct.worker.database_url).await.unwrap();
    for sql in ["set default_transaction_read_only = off", "alter system reset default_transaction_read_only"] {
        sqlx::raw_sql(sql).execute(&mut writer).await.unwrap();
    }
    sqlx::raw_sql("select pg_reload_conf()").execute(&mut writer).await.unwrap();
    scene.worker.wait_ready().await;
    scene.pay(&orders[20..]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_waited_for_until_it_is_promoted() {
    let primary = Postgres::start().await;
    let url = primary.database("promoted").await;
    migrate(WORKER, &url).await;
    let standby = primary.standby().await;
    let mut direct = Direct::start("promoted", WORKER).await;
    direct.worker.database_url = standby.url(url.rsplit('/').next().unwrap());
    let worker = Worker::spawn(direct.worker.clone());
    let waits = async || worker.logs().contains("the database is read-only: it is a standby");
    wait::until_or("the worker to say what it waits for", SOON, || worker.log_tail(), waits).await;
    let (_, told) = said(&direct.worker.database_url, &["doctor"]).await;
    assert!(told.contains("read-only: this is a standby"), "{told}");
    primary.stop().await;
    standby.promote().await;
    worker.wait_ready().await;
    let shop = Shop::open(&direct.worker.database_url).await;
    let callback = rig::callback::Callback::new(worker.eventbus_port());
    let scene = Scene { callback, worker, shop, direct };
    scene.shop.place_one("o1").await;
    scene.pay(&["o1".to_owned()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_refuses_a_parameter_is_named_with_what_it_has_to_let_through() {
    let direct = Direct::start("refusing_pooler", WORKER).await;
    let pooler = Pooler::start(&direct.worker.database_url, "session", &[]).await;
    let url = format!("{}?options=-c%20search_path%3Dpublic", pooler.url(&direct.worker.database_url));
    for command in [&["doctor"][..], &["queue", "list"]] {
        let (done, told) = said(&url, command).await;
        assert!(
            !done && told.contains("unsupported startup parameter") && told.contains("ignore_startup_parameters"),
            "{told}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn isolation_levels_of_the_database_change_no_outcome_and_not_the_speed() {
    let mut took = Vec::new();
    for level in ["read committed", "repeatable read", "serializable"] {
        let direct = Direct::start(&format!("isolation_{}", level.replace(' ', "_")), WORKER).await;
        let shop = Shop::open(&direct.worker.database_url).await;
        default(&shop, &format!("default_transaction_isolation = '{level}'")).await;
        let (worker, callback) = direct.worker().await;
        let scene = Scene { callback, worker, shop, direct };
        let orders = names("o", 200);
        scene.shop.place(&orders).await;
        let began = Instant::now();
        scene.pay(&orders).await;
        took.push(began.elapsed());
        assert_eq!(scene.shop.count("select count(*) from orders where status = 'payment_confirmed'").await, 200);
    }
    assert_not_held_up(took[0], took[1]);
    assert_not_held_up(took[0], took[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_has_no_backend_left_is_named_by_the_doctor_in_time() {
    let direct = Direct::start("full_pooler", WORKER).await;
    let pooler = Pooler::start(
        &direct.worker.database_url,
        "session",
        &["default_pool_size = 1", "ignore_startup_parameters = extra_float_digits"],
    )
    .await;
    let url = pooler.url(&direct.worker.database_url);
    let _held = Shop::open(&url).await.pool.acquire().await.unwrap();
    let output = run(WORKER, &["doctor"], &[("DATABASE_URL", &url)]).await;
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("no session in 15s") && told.contains("default_pool_size"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_in_session_mode_needs_no_setting_and_loses_nothing() {
    let direct = Direct::start("session_pooler", WORKER).await;
    let pooler = Pooler::start(&direct.worker.database_url, "session", &["default_pool_size = 40"]).await;
    let shop = Shop::open(&direct.worker.database_url).await;
    let mut direct = direct;
    direct.worker.database_url = pooler.url(&direct.worker.database_url);
    let (worker, callback) = direct.worker().await;
    let scene = Scene { callback, worker, shop, direct };
    let orders = names("o", 100);
    scene.shop.place(&orders).await;
    scene.pay(&orders).await;
    let (_, told) = said(&scene.direct.worker.database_url, &["doctor"]).await;
    assert!(
        told.contains("a statement ends after 30s, a wait for a lock after 2s, an idle transaction after 8s"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_in_transaction_or_statement_mode_is_refused_with_the_reason() {
    let direct = Direct::start("transaction_pooler", WORKER).await;
    for (mode, lines) in [
        ("transaction", &["default_pool_size = 5"][..]),
        ("transaction", &["default_pool_size = 1"]),
        ("transaction", &["default_pool_size = 5", "server_round_robin = 1"]),
        ("transaction", &["default_pool_size = 5", "ignore_startup_parameters = extra_float_digits,options"]),
        ("statement", &["default_pool_size = 5"]),
    ] {
        let pooler = Pooler::start(&direct.worker.database_url, mode, lines).await;
        let mut spec = direct.worker.replica().env("ORDER_WORKER_DATABASE_STATEMENTCACHE", 0);
        spec.database_url = pooler.url(&direct.worker.database_url);
        let worker = Worker::spawn(spec.clone());
        let status = worker.wait_exit(SOON).await;
        assert_eq!(status.code(), Some(2), "{mode} {lines:?}\n{}", worker.log_tail());
        let log = worker.logs();
        assert!(log.contains("pooler") && log.contains("pool_mode = session"), "{mode} {lines:?}\n{log}");
        for command in [&["doctor"][..], &["queue", "list"], &["migrate"]] {
            let (done, told) = said(&spec.database_url, command).await;
            assert!(!done && told.contains("pool_mode = session"), "{command:?}: {told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_changes_its_mode_under_the_worker_makes_it_unready_and_kills_no_event() {
    let mut direct = Direct::start("changed_pooler", WORKER).await;
    let pooler = Pooler::start(&direct.worker.database_url, "session", &["default_pool_size = 40"]).await;
    let shop = Shop::open(&direct.worker.database_url).await;
    direct.worker.database_url = pooler.url(&direct.worker.database_url);
    let (worker, callback) = direct.worker().await;
    let scene = Scene { callback, worker, shop, direct };
    let orders = names("o", 40);
    scene.shop.place(&orders).await;
    scene.pay(&orders[..10]).await;
    pooler.reconfigure("pool_mode = session", "pool_mode = transaction");
    for order in &orders[10..] {
        let _ = scene
            .callback
            .event(&crate::scene::confirmation(&format!("e-{order}"), &format!("p-{order}"), order))
            .await;
    }
    let dead = "select count(*) from order_worker.pending where attempts > 0 or state = 'dead'";
    assert_eq!(scene.shop.count(dead).await, 0, "{}", scene.worker.log_tail());
    pooler.reconfigure("pool_mode = transaction", "pool_mode = session");
    scene.shop.settled(SOON).await;
    scene.pay(&orders[10..]).await;
    assert_eq!(scene.shop.count("select count(*) from orders where status = 'payment_confirmed'").await, 40);
    assert_eq!(scene.shop.count(dead).await, 0);
}
