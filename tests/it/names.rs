//! The names of the enums, against the CHECKs and tables that hold them: a name that only one side knows fails at its first use.

use std::collections::BTreeSet;

use order_worker::engine::{inbox, queue, runs};
use order_worker::parts::{IncidentKind, PaymentKind, QUEUES, decision};
use rig::postgres::Postgres;
use strum::VariantNames;

use crate::migrations::Migrated;
use crate::shop::Shop;

/// The texts that the CHECK of this column allows.
async fn checked(shop: &Shop, table: &str, column: &str) -> BTreeSet<String> {
    let names: Vec<String> = sqlx::query_scalar(
        "select m[1]
         from pg_constraint c
         join pg_attribute a on a.attrelid = c.conrelid and c.conkey = array[a.attnum]
         cross join lateral regexp_matches(pg_get_constraintdef(c.oid), '''([a-z_]+)''::text', 'g') m
         where c.contype = 'c' and c.conrelid = $1::regclass and a.attname = $2",
    )
    .bind(table)
    .bind(column)
    .fetch_all(&shop.pool)
    .await
    .unwrap();
    names.into_iter().collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_enum_has_the_names_that_the_schema_allows() {
    let url = Postgres::shared().await.database("names").await;
    Migrated::of(&url).await;
    let shop = Shop::open(&url).await;
    let queues = QUEUES.map(queue::Queue::as_str);
    for (table, column, names) in [
        ("order_worker.inbox_outcomes", "outcome", inbox::Outcome::VARIANTS),
        ("order_worker.outbox_outcomes", "outcome", queue::Outcome::VARIANTS),
        ("order_worker.pending", "state", queue::State::VARIANTS),
        ("order_worker.pending", "queue", queues.as_slice()),
        ("order_worker.cron_runs", "kind", runs::RunKind::VARIANTS),
        ("order_worker.cron_runs", "outcome", runs::RunOutcome::VARIANTS),
        ("order_worker.decisions", "verb", decision::Verb::VARIANTS),
        ("order_worker.payment_facts", "kind", PaymentKind::VARIANTS),
    ] {
        assert_eq!(checked(&shop, table, column).await, set(names), "{table}.{column}: the schema's names, the code's");
    }
    let kinds: Vec<String> =
        sqlx::query_scalar("select kind from order_worker.incident_kinds").fetch_all(&shop.pool).await.unwrap();
    assert_eq!(BTreeSet::from_iter(kinds), set(IncidentKind::VARIANTS), "order_worker.incident_kinds");
}
