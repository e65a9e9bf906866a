//! The main path: a payment comes in, its order changes once, the announcement goes out.

use rig::callback::{Answer, Event};
use rig::payment::{CONFIRMED, FAILED, confirmed, failed, json};
use rig::stack::Direct;
use rig::wait;

use crate::scene::SOON;
use crate::shop::Shop;

pub const WORKER: &str = env!("CARGO_BIN_EXE_order-worker");

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_payment_changes_its_order_is_announced_and_confirms_the_reservation() {
    let direct = Direct::start("confirmed", WORKER).await;
    let shop = Shop::open(&direct.worker.database_url).await;
    shop.place_one("o1").await;
    let (worker, callback) = direct.worker().await;
    let event = Event::new(CONFIRMED, "e1", json(&confirmed("p1", "o1", "10.10")));
    assert_eq!(callback.event(&event).await.unwrap(), Answer::Success);
    shop.settled(SOON).await;

    assert_eq!(shop.status("o1").await, "payment_confirmed");
    assert_eq!(shop.history("o1").await, ["payment_confirmed"]);
    assert_eq!(
        shop.text("select reason || '|' || notes from order_status_history where order_id = $1", "o1").await,
        "Payment confirmed|Payment ID: p1"
    );
    let published = direct.sidecar.published();
    assert_eq!(published.len(), 1);
    let body = published[0].json();
    assert_eq!(body["event_type"], "order.status_changed");
    assert_eq!((&body["old_status"], &body["new_status"]), (&"pending".into(), &"payment_confirmed".into()));
    assert_eq!((&body["order_id"], &body["order_number"]), (&"o1".into(), &"N-o1".into()));
    assert_eq!((&body["user_id"], &body["reason"]), (&"user-1".into(), &"Payment confirmed".into()));
    let confirmed: Vec<_> = direct.warehouse.confirmed().into_values().map(|effect| effect.reservation_id).collect();
    assert_eq!(confirmed, ["res-o1"]);
    assert!(direct.warehouse.released().is_empty());
    assert_eq!(shop.text("select reservation_status from order_items where order_id = $1", "o1").await, "confirmed");
    let line = "Processing payment confirmed: payment_id=p1, order_id=o1, amount=10.10";
    wait::until("the user's log line", SOON, async || worker.logs().contains(line)).await;
    assert_eq!(worker.metric("order_worker_payment_events_consumed_total").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_amount_is_told_with_two_decimals_and_exactly_beside_it_where_that_is_not_all() {
    let direct = Direct::start("amounts_told", WORKER).await;
    let shop = Shop::open(&direct.worker.database_url).await;
    let (worker, callback) = direct.worker().await;
    for (order, amount) in [("o1", "10.1"), ("o2", "10.005")] {
        shop.place_one(order).await;
        let mut paid = confirmed("p1", order, "10.10");
        paid.amount = rig::payment::amount(amount);
        callback.event(&Event::new(CONFIRMED, order, json(&paid))).await.unwrap();
    }
    let line = |order: &str| {
        let begin = format!("Processing payment confirmed: payment_id=p1, order_id={order}, amount=");
        worker.logs().lines().find_map(|line| Some(line.split_once(&begin)?.1.to_owned()))
    };
    wait::until("both lines", SOON, async || line("o1").is_some() && line("o2").is_some()).await;
    let (whole, more) = (line("o1").unwrap(), line("o2").unwrap());
    assert!(whole.starts_with("10.10") && !whole.contains("amount_exact"), "{whole}");
    assert!(more.starts_with("10.01") && more.contains("amount_exact=10.005"), "{more}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_payment_releases_the_reservation_with_its_reason() {
    let direct = Direct::start("failed", WORKER).await;
    let shop = Shop::open(&direct.worker.database_url).await;
    shop.place_one("o1").await;
    let (_worker, callback) = direct.worker().await;
    let event = Event::new(FAILED, "e1", json(&failed("p1", "o1", "10.10", "card declined")));
    callback.event(&event).await.unwrap();
    shop.settled(SOON).await;

    assert_eq!(shop.status("o1").await, "payment_failed");
    let calls = direct.warehouse.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].reason, "Payment failed: card declined");
    assert_eq!(direct.sidecar.published()[0].json()["reason"], "Payment failed: card declined");
}
