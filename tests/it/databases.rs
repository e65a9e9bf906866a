//! Databases as they are: narrow columns, restored sequences, publications, a year of days, old rows that are kept.

use rig::postgres::Postgres;

use crate::commands::Desk;
use crate::migrations::Migrated;
use crate::scene::{SOON, confirmation};
use crate::shop::Shop;

/// An order service's own orders, with this status column.
fn orders(status: &str) -> String {
    format!(
        "create table orders (id varchar(64) primary key, order_number varchar(32) not null unique, user_id varchar(64), {status},
            payment_method varchar(16) not null, delivered boolean not null default false, currency varchar(3) not null,
            total_amount numeric(12, 2) not null, created_at timestamptz not null default now(), updated_at timestamptz not null default now());
         create index on orders (created_at)"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_a_column_does_not_take_is_named_before_anything_is_made() {
    let url = Postgres::shared().await.database("narrow").await;
    let shop = Shop::open(&url).await;
    shop.execute(&orders("status varchar(16) not null default 'pending'")).await;
    let refused = Migrated::run(&[], &[("DATABASE_URL", &url)]).await;
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("public.orders.status does not take `payment_confirmed`: value too long"),
        "{}",
        refused.stderr
    );
    assert!(!refused.stderr.contains("`payment_failed`"), "14 characters fit: {}", refused.stderr);
    assert_eq!(shop.count("select count(*) from pg_tables where schemaname = 'order_worker'").await, 0);
    shop.execute("alter table orders alter column status type varchar(32)").await;
    Migrated::of(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_the_order_services_own_that_lacks_a_status_is_named() {
    let url = Postgres::shared().await.database("own_check").await;
    let shop = Shop::open(&url).await;
    let check = "status varchar(32) not null default 'pending' check (status in ('pending', 'payment_confirmed', 'confirmed', 'shipped', 'delivered', 'cancelled'))";
    shop.execute(&orders(check)).await;
    let refused = Migrated::run(&[], &[("DATABASE_URL", &url)]).await;
    assert!(refused.stderr.contains("public.orders.status does not take `payment_failed`"), "{}", refused.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_must_always_say_something_is_named() {
    let desk = Desk::start("never_null").await;
    desk.shop.execute("alter table order_status_history alter column notes set not null").await;
    let (code, stdout, _) = desk.run(&["doctor"]).await;
    assert!(code == 3 && stdout.contains("public.order_status_history.notes does not take NULL"), "{stdout}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_narrowed_later_is_the_doctors_to_tell() {
    let desk = Desk::start("narrowed").await;
    desk.shop
        .execute("alter table order_items drop constraint order_items_reservation_status_check; alter table order_items alter reservation_status type varchar(9)")
        .await;
    let (code, stdout, _) = desk.run(&["doctor"]).await;
    assert_eq!(code, 3);
    assert!(stdout.contains("public.order_items.reservation_status does not take `confirming`"), "{stdout}");
    let migrated = Migrated::of(&desk.direct.worker.database_url).await;
    assert!(migrated.contains("note: public.order_items.reservation_status does not take `confirming`"), "{migrated}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_that_a_restore_left_behind_is_told_and_set() {
    let desk = Desk::start("restored").await;
    desk.shop.place(&["o1".into(), "o2".into(), "o3".into()]).await;
    let (worker, callback) = desk.direct.worker().await;
    callback.event(&confirmation("e1", "p1", "o1")).await.unwrap();
    desk.shop.settled(SOON).await;
    worker.terminate();
    worker.wait_exit(SOON).await;
    desk.shop
        .execute("select setval('order_worker.journal_id', 1), setval('order_status_history_id_seq', 1, false)")
        .await;
    let (_, stdout, _) = desk.run(&["doctor"]).await;
    assert!(stdout.contains("order_worker.journal_id stands at 1, behind"), "{stdout}");
    assert!(stdout.contains("order_status_history_id_seq stands at"), "{stdout}");
    let migrated = Migrated::of(&desk.direct.worker.database_url).await;
    assert!(migrated.contains("as a restore leaves it: set"), "{migrated}");
    let (_, told) = migrated.split_once("its owner: ").unwrap();
    desk.shop.execute(told.lines().next().unwrap()).await;
    worker.restart().await;
    callback.event(&confirmation("e2", "p2", "o2")).await.unwrap();
    desk.shop.settled(SOON).await;
    assert_eq!(desk.shop.status("o2").await, "payment_confirmed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_forbids_what_the_worker_does_is_told() {
    let desk = Desk::start("published").await;
    desk.shop.execute("create publication everything for all tables").await;
    let (_, stdout, _) = desk.run(&["doctor"]).await;
    assert!(stdout.contains("public.cart_items has no primary key, and everything publishes its changes"), "{stdout}");
    desk.shop.execute("alter table cart_items replica identity full").await;
    let (_, stdout, _) = desk.run(&["doctor"]).await;
    assert!(stdout.contains("none forbids what the worker does"), "{stdout}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_year_of_days_stays_within_the_lock_table_and_ends_a_few_at_a_time() {
    let desk = Desk::start("a_year").await;
    desk.shop
        .execute(
            "do $$ declare j text; begin
                 foreach j in array array['inbox', 'inbox_outcomes', 'outbox', 'outbox_outcomes'] loop
                     for w in 1..52 loop
                         execute format('create table order_worker.%I partition of order_worker.%I for values from (%L) to (%L)',
                             j || '_' || to_char(date_trunc('week', order_worker.today())::date - 7 * w, 'YYYYMMDD'), j,
                             date_trunc('week', order_worker.today())::date - 7 * w, date_trunc('week', order_worker.today())::date - 7 * w + 7);
                     end loop;
                 end loop; end $$",
        )
        .await;
    let mut tx = desk.shop.pool.begin().await.unwrap();
    sqlx::query("select from order_worker.outbox_status where event_id = 'x'").execute(&mut *tx).await.unwrap();
    let locks: i64 = sqlx::query_scalar("select count(*) from pg_locks where pid = pg_backend_pid()")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    tx.rollback().await.unwrap();
    assert!(locks < 400, "{locks} locks");
    desk.shop.place_one("o1").await;
    let (_worker, callback) = desk.direct.worker().await;
    callback.event(&confirmation("e1", "p1", "o1")).await.unwrap();
    desk.shop.settled(SOON).await;
    // The worker does the same beside it.
    loop {
        let names: Vec<String> = sqlx::query_scalar("select order_worker.drop_expired_partitions(interval '30 days')")
            .fetch_all(&desk.shop.pool)
            .await
            .unwrap();
        assert!(names.len() <= 8, "{names:?}");
        if names.is_empty() {
            break;
        }
    }
    let old = "select count(*) from order_worker.partitions() where upper <= order_worker.today() - 30";
    assert_eq!(desk.shop.count(old).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_a_caller_announces_in_its_own_words_breaks_no_rule() {
    let desk = Desk::start("own_words").await;
    desk.shop.place_one("o1").await;
    let body = r#"{"event_type": "order.status_changed", "order_id": "o1", "new_status": "payment_confirmed", "timestamp": "2026-01-01T00:00:00.000000Z"}"#;
    desk.shop
        .execute(&format!("select order_worker.announce('orders.order.status_changed', 'o1', '{body}', 'by-hand')"))
        .await;
    let (_worker, callback) = desk.direct.worker().await;
    callback.event(&confirmation("e1", "p1", "o1")).await.unwrap();
    desk.shop.settled(SOON).await;
    desk.says(&["audit"]).await;
    assert_eq!(desk.direct.sidecar.count(), 2);
}
