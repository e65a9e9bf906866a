//! What a person has to look at: each kind is recorded once, with the order left in a legal status.

use rig::callback::Event;
use rig::payment::{CONFIRMED, FAILED, amount, confirmed, failed, json};

use crate::scene::Scene;

async fn fail(scene: &Scene, event_id: &str, payment_id: &str, order_id: &str) {
    let body = json(&failed(payment_id, order_id, "10.10", "card declined"));
    scene.deliver(&Event::new(FAILED, event_id, body)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_for_a_cancelled_order_is_an_incident_and_changes_nothing() {
    let scene = Scene::start("paid_cancelled").await;
    scene.shop.place_one("o1").await;
    scene
        .shop
        .execute("select order_worker.change_order('o1', 'cancelled', 'Changed my mind', null, 'cancel-1')")
        .await;
    scene.confirm("e1", "p1", "o1").await;
    scene.confirm("e1-again", "p1", "o1").await;
    scene.settled().await;
    assert_eq!(scene.shop.history("o1").await, ["cancelled"]);
    assert_eq!(scene.outcome("e1").await.0, "rejected");
    assert_eq!(scene.outcome("e1-again").await.0, "superseded", "the same payment opens no second incident");
    assert_eq!(scene.shop.incidents("o1").await, ["paid_cancelled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_payment_of_a_paid_order_is_an_incident() {
    let scene = Scene::start("paid_twice").await;
    scene.shop.place_one("o1").await;
    scene.confirm("e1", "p1", "o1").await;
    scene.confirm("e2", "p2", "o1").await;
    scene.settled().await;
    assert_eq!(scene.shop.history("o1").await, ["payment_confirmed"]);
    assert_eq!(scene.shop.incidents("o1").await, ["paid_twice"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_after_the_reservation_was_released_is_applied_with_an_incident() {
    let scene = Scene::start("paid_unreserved").await;
    scene.shop.place_one("o1").await;
    fail(&scene, "e1", "p1", "o1").await;
    scene.settled().await;
    scene.confirm("e2", "p2", "o1").await;
    scene.settled().await;
    assert_eq!(scene.shop.history("o1").await, ["payment_failed", "payment_confirmed"]);
    assert_eq!(scene.shop.incidents("o1").await, ["paid_unreserved"]);
    assert!(scene.direct.warehouse.confirmed().is_empty(), "never a Confirm after a Release");
}

async fn pay_too_little(scene: &Scene) {
    scene.shop.place_one("o1").await;
    let mut little = confirmed("p1", "o1", "10.10");
    little.amount = amount("10.09");
    scene.deliver(&Event::new(CONFIRMED, "e1", json(&little))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_amount_is_applied_with_an_incident() {
    let scene = Scene::start("amount_applied").await;
    pay_too_little(&scene).await;
    scene.settled().await;
    assert_eq!(scene.shop.history("o1").await, ["payment_confirmed"]);
    assert_eq!(scene.shop.incidents("o1").await, ["amount_mismatch"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_amount_is_held_where_the_setting_says_so() {
    let scene = Scene::start_with("amount_held", |spec| spec.env("ORDER_WORKER_INBOX_AMOUNTMISMATCH", "hold")).await;
    pay_too_little(&scene).await;
    scene.settled().await;
    assert_eq!(scene.outcome("e1").await.0, "held");
    assert!(scene.shop.history("o1").await.is_empty());
    assert_eq!(scene.shop.incidents("o1").await, ["amount_mismatch"]);
    scene.confirm("e2", "p2", "o1").await;
    scene.settled().await;
    assert_eq!(scene.shop.history("o1").await, ["payment_confirmed"], "the next payment is judged");
}
