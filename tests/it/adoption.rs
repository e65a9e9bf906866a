//! The order service's own tables: adopted as they are, or refused with every difference.

use rig::postgres::Postgres;
use rig::stack::Direct;

use crate::main_path::WORKER;
use crate::migrations::{Migrated, newest};
use crate::scene::{SOON, confirmation};
use crate::shop::Shop;

/// Tables as an order service may have made them: other text types, more columns, serial ids, indexes and rules of its own.
pub const OWN_TABLES: &str = "
    create table orders (
        id varchar(64) primary key, order_number varchar(32) not null, user_id varchar(64), status varchar(32) not null,
        payment_method varchar(16) not null, delivered boolean not null default false, currency varchar(3) not null,
        total_amount numeric(12, 2) not null, created_at timestamptz not null default now(),
        updated_at timestamptz not null default now(), shipping_address jsonb, version integer not null default 1);
    create unique index own_order_number on orders (order_number);
    create index own_user on orders (user_id, created_at desc);
    create table order_items (
        id bigserial primary key, order_id varchar(64) not null references orders (id), sku varchar(64) not null,
        quantity integer not null, reservation_id varchar(64), reserved_at timestamptz, reservation_status varchar(32),
        unit_price numeric(12, 2));
    create table order_status_history (
        id bigserial primary key, order_id varchar(64) not null references orders (id), old_status varchar(32),
        new_status varchar(32) not null, reason text, notes text, created_at timestamptz not null default now(),
        created_by varchar(64));
    create index own_history on order_status_history (order_id, created_at);
    insert into orders (id, order_number, status, payment_method, currency, total_amount)
    select 'old-' || n, 'OLD-' || n, status, 'CARD', 'USD', 10.10
    from unnest(array['on_hold', 'on_hold', 'refunded', 'pending']) with ordinality t (status, n);";

/// Everything in schema `public` that a migration could change, and the rows.
const LOOKS: &str = "
    select string_agg(line, e'\\n' order by line) from (
        select concat_ws(' ', 'column', table_name, ordinal_position, column_name, data_type, character_maximum_length,
                         numeric_precision, numeric_scale, is_nullable, column_default, is_identity) as line
        from information_schema.columns where table_schema = 'public' and table_name = any($1)
        union all select concat_ws(' ', 'index', indexdef) from pg_indexes where schemaname = 'public' and tablename = any($1)
        union all select concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid))
        from pg_constraint where conrelid::regclass::text = any($1)
        union all select concat_ws(' ', 'trigger', tgrelid::regclass, tgname) from pg_trigger
        where tgrelid::regclass::text = any($1)
        union all select concat_ws(' ', 'order', o.*) from orders o) looks";

async fn looks(shop: &Shop) -> String {
    let tables = ["orders", "order_items", "order_status_history"].map(str::to_owned);
    sqlx::query_scalar(LOOKS).bind(tables.as_slice()).fetch_one(&shop.pool).await.unwrap()
}

async fn with_own_tables(name: &str, change: &str) -> (String, Shop) {
    let url = Postgres::shared().await.database(name).await;
    let shop = Shop::open(&url).await;
    shop.execute(OWN_TABLES).await;
    shop.execute(change).await;
    (url, shop)
}

const NOTES: [&str; 7] = [
    "note: public.orders exists: adopted as it is",
    "note: public.order_items exists: adopted as it is",
    "note: public.order_status_history exists: adopted as it is",
    "note: orders with the unknown status `on_hold`: 2; payments for them are rejected",
    "note: orders with the unknown status `refunded`: 1; payments for them are rejected",
    "note: public.orders has no index that begins with created_at, by which order_cleanup and cod_auto_confirm read: \
     create index concurrently on public.orders (created_at, id) where status = 'pending'",
    "note: public.order_items has no index that begins with reserved_at, by which reservation_cleanup reads: \
     create index concurrently on public.order_items (coalesce(reserved_at, '-infinity'), id) \
     where reservation_id is not null and coalesce(reservation_status, 'reserved') = 'reserved'",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_order_services_own_tables_are_adopted_unchanged_and_unknown_statuses_are_counted() {
    let (url, shop) = with_own_tables("own_tables", "").await;
    let before = looks(&shop).await;
    let dry = Migrated::run(&["--dry-run"], &[("DATABASE_URL", &url)]).await;
    assert_eq!(dry.stdout.lines().skip(newest()).collect::<Vec<_>>(), NOTES, "{}", dry.stderr);
    let said = Migrated::of(&url).await;
    assert_eq!(said.lines().skip(newest()).collect::<Vec<_>>(), NOTES);
    assert_eq!(looks(&shop).await, before);

    let again = Migrated::of(&url).await;
    let expected: Vec<_> = ["the schema is up to date"].into_iter().chain(NOTES.into_iter().skip(3)).collect();
    assert_eq!(again.lines().collect::<Vec<_>>(), expected, "adopted once, what is to be mended told each time");
    for note in &NOTES[5..] {
        let (_, index) = note.split_once("create index concurrently").unwrap();
        shop.execute(&format!("create index {index}")).await;
    }
    assert_eq!(Migrated::of(&url).await.lines().count(), 3, "an index that is there is not asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_flow_through_adopted_tables_and_are_rejected_for_an_unknown_status() {
    let (url, shop) = with_own_tables("own_tables_flow", "").await;
    Migrated::of(&url).await;
    let mut direct = Direct::start("own_flow", WORKER).await;
    direct.worker.database_url = url;
    let (_worker, callback) = direct.worker().await;
    shop.place_one("o1").await;
    for (event, order) in [("e1", "o1"), ("e2", "old-1"), ("e3", "old-4")] {
        callback.event(&confirmation(event, event, order)).await.unwrap();
    }
    shop.settled(SOON).await;
    for order in ["o1", "old-4"] {
        assert_eq!(shop.history(order).await, ["payment_confirmed"]);
    }
    assert_eq!(shop.text("select reservation_status from order_items where order_id = $1", "o1").await, "confirmed");
    assert_eq!(shop.status("old-1").await, "on_hold");
    let (outcome, reason) = shop.outcomes("e2").await.remove(0);
    assert_eq!(outcome, "rejected");
    assert!(reason.as_ref().unwrap().contains("on_hold"), "{reason:?}");
    let mut announced: Vec<String> =
        direct.sidecar.published().iter().map(|p| p.json()["order_id"].as_str().unwrap().to_owned()).collect();
    announced.sort_unstable();
    assert_eq!(announced, ["o1", "old-4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_differ_are_refused_with_every_difference_and_nothing_is_created() {
    let (url, shop) = with_own_tables(
        "other_tables",
        "alter table orders drop column currency, alter total_amount type double precision;
         alter table orders alter created_at type timestamp;
         create type own_status as enum ('on_hold', 'refunded', 'pending');
         alter table orders alter status type own_status using status::own_status;
         alter table order_items drop column reservation_status;
         alter table order_status_history alter id drop default, add column actor text not null;",
    )
    .await;
    let before = looks(&shop).await;
    for args in [[].as_slice(), &["--dry-run"]] {
        let refused = Migrated::run(args, &[("DATABASE_URL", &url)]).await;
        assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
        let lines: Vec<&str> = refused.stderr.lines().collect();
        assert_eq!(lines.len(), 2, "{}", refused.stderr);
        let differences: Vec<&str> = lines[0].split("nothing was changed: ").last().unwrap().split("; ").collect();
        let expected = [
            "public.orders.status is own_status, text or character varying is expected",
            "public.orders has no column currency (text)",
            "public.orders.total_amount is double precision, numeric is expected",
            "public.orders.created_at is timestamp without time zone, timestamp with time zone is expected",
            "public.order_items has no column reservation_status (text)",
            "public.order_status_history.id must have a default, the worker gives it no value",
            "public.order_status_history.actor must have a default, the worker gives it no value",
        ];
        assert_eq!(differences, expected);
        assert!(lines[1].starts_with("hint: bring these columns to the contract"), "{}", refused.stderr);
    }
    assert_eq!(looks(&shop).await, before);
    assert_eq!(shop.count("select count(*) from pg_namespace where nspname = 'order_worker'").await, 0);
    assert_eq!(shop.count("select count(*) from pg_tables where schemaname = 'public'").await, 3);
}
