//! Refunds: taken in where that is said, a fact, and an incident where somebody has to look.

use rig::callback::Event;
use serde_json::json;

use crate::commands::Desk;
use crate::scene::Scene;

const REFUNDED: &str = "payment.refunded";

fn refund(event_id: &str, refund_id: &str, payment_id: &str, amount: &str) -> Event {
    let body = json!({
        "event_type": REFUNDED, "payment_id": payment_id, "refund_id": refund_id, "order_id": "o1", "amount": amount,
        "currency": "USD", "reason": "broken on arrival", "timestamp": "2026-01-01T00:00:00Z",
    });
    Event::new(REFUNDED, event_id, body.to_string().into_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_nothing_is_subscribed_and_a_refund_that_comes_is_kept_as_dead() {
    let scene = Scene::start("no_refunds").await;
    let topics = scene.callback.subscriptions().await.unwrap();
    let topics: Vec<&str> = topics.iter().map(|one| one.topic.as_str()).collect();
    assert_eq!(topics, ["payment.confirmed", "payment.failed", "order-worker.dead-letter"]);
    scene.shop.place_one("o1").await;
    scene.deliver(&refund("e1", "r1", "p1", "10.10")).await;
    let (outcome, reason) = scene.outcome("e1").await;
    assert_eq!(outcome, "dead");
    assert!(reason.contains("no handler for topic `payment.refunded`"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_is_a_fact_that_is_told_once_and_shown_in_the_orders_story() {
    let desk = Desk::start("refunds").await;
    desk.shop.place_one("o1").await;
    let spec = desk.direct.worker.clone().env("ORDER_WORKER_EVENTBUS_REFUNDS", true);
    let worker = rig::worker::Worker::start(spec).await;
    let callback = rig::callback::Callback::new(worker.eventbus_port());
    let topics = callback.subscriptions().await.unwrap();
    let topics: Vec<&str> = topics.iter().map(|one| one.topic.as_str()).collect();
    assert_eq!(topics, ["payment.confirmed", "payment.failed", REFUNDED, "order-worker.dead-letter"]);

    callback.event(&crate::scene::confirmation("e1", "p1", "o1")).await.unwrap();
    desk.shop.settled(crate::scene::SOON).await;
    for (event, refund_id, payment, amount) in
        [("e2", "r1", "p1", "4.00"), ("e3", "r1", "p1", "4.00"), ("e4", "r2", "p1", "6.10"), ("e5", "r3", "p9", "1.00")]
    {
        callback.event(&refund(event, refund_id, payment, amount)).await.unwrap();
        desk.shop.settled(crate::scene::SOON).await;
    }
    let outcomes = desk.json(&["inbox", "list", "--order", "o1"]).await;
    let of = |event: &str| {
        let found = outcomes.as_array().unwrap().iter().find(|one| one["event_id"] == event);
        found.unwrap()["outcome"].as_str().unwrap().to_owned()
    };
    assert_eq!(["e2", "e3", "e4", "e5"].map(of), ["applied", "superseded", "applied", "applied"]);
    assert_eq!(desk.shop.history("o1").await, ["payment_confirmed"], "no status changes");
    assert_eq!(desk.shop.incidents("o1").await, ["refund_unknown", "refunded_alive"]);

    let story = desk.says(&["order", "show", "o1"]).await;
    assert!(story.contains("refund") && story.contains("r2") && story.contains("6.10 USD"), "{story}");
    desk.says(&["inbox", "replay", "--order", "o1", "--since", "1h", "--dry-run"]).await;
    desk.says(&["audit"]).await;
}
