//! The operator's word: by whose settings something is done, and that what a person decided stays decided.

use std::time::Duration;

use rig::worker::{Worker, WorkerSpec};
use serde_json::{Value, json};

use crate::commands::Desk;

/// What workers have registered: kind and terms.
async fn registered(desk: &Desk) -> Vec<(String, Value)> {
    let sql = "select kind, terms from order_worker.worker_terms order by kind";
    sqlx::query_as(sql).fetch_all(&desk.shop.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_registers_by_what_it_judges_and_the_last_started_stands() {
    let desk = Desk::start("word_terms").await;
    assert_eq!(registered(&desk).await, []);
    let spec = |mode: &str| WorkerSpec { name: mode.into(), mode: mode.into(), ..desk.direct.worker.replica() };
    let jobs = Worker::start(spec("cron").env("ORDER_BUSINESS_ORDER_AUTOCANCELMINUTES", 4320)).await;
    let [(kind, terms)] = registered(&desk).await.try_into().unwrap();
    assert_eq!((kind.as_str(), &terms["order_minutes"], &terms["cod_too"]), ("jobs", &json!(4320), &json!(false)));

    let events = Worker::start(spec("event").env("ORDER_WORKER_INBOX_AMOUNTMISMATCH", "hold")).await;
    let [(kind, terms), _] = registered(&desk).await.try_into().unwrap();
    let expected = json!({ "amount_mismatch": "hold", "wait_for_order": "1day" });
    assert_eq!((kind.as_str(), terms), ("events", expected));
    let drains =
        "select string_agg(distinct drains::text, ' ' order by drains::text) from order_worker.workers where $1 = ''";
    assert_eq!(desk.shop.text(drains, "").await, "{dapr,warehouse,cron} {inbox,dapr,warehouse}");

    // A rollout: what the new one says stands, and goes on standing when the old one ends after it.
    let _new = Worker::start(spec("all").env("ORDER_BUSINESS_ORDER_AUTOCANCELMINUTES", 60)).await;
    for old in [jobs, events] {
        old.terminate();
        old.wait_exit(Duration::from_secs(15)).await;
    }
    let [(_, events), (_, jobs)] = registered(&desk).await.try_into().unwrap();
    assert_eq!((&events["amount_mismatch"], &jobs["order_minutes"]), (&json!("apply"), &json!(60)));
}
