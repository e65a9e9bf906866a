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
    for event_id in ["e1", "e1-again"] {
        scene.confirm(event_id, "p1", "o1").await;
        scene.settled().await;
    }
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

/// A payment of this much.
fn of(payment: &str, order: &str, total: &str, currency: &str) -> Event {
    let mut body = confirmed(payment, order, total);
    body.currency = currency.to_owned();
    Event::new(CONFIRMED, &format!("e-{payment}"), json(&body))
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_is_held_and_a_tolerated_difference_is_none_where_the_settings_say_so() {
    let scene = Scene::start_with("underpaid", |spec| {
        spec.env("ORDER_WORKER_INBOX_UNDERPAID", "hold").env("ORDER_WORKER_INBOX_AMOUNTTOLERANCE", "0.05")
    })
    .await;
    let orders = ["cent", "tolerated", "little", "more", "foreign", "odd"].map(str::to_owned);
    scene.shop.place(&orders).await;
    scene.shop.execute("update orders set total_amount = 1000 where id = 'cent'; update orders set total_amount = 12.345 where id = 'odd'").await;
    for (order, total, currency) in [
        ("cent", "0.01", "USD"),
        ("tolerated", "10.05", "USD"),
        ("little", "10.04", "USD"),
        ("more", "11", "USD"),
        ("foreign", "10.10", "EUR"),
        ("odd", "12.30", "usd"),
    ] {
        scene.deliver(&of(order, order, total, currency)).await;
    }
    scene.settled().await;
    for (order, outcome, incidents) in [
        ("cent", "held", vec!["amount_mismatch"]),
        ("tolerated", "applied", vec![]),
        ("little", "held", vec!["amount_mismatch"]),
        ("more", "applied", vec!["amount_mismatch"]),
        ("foreign", "held", vec!["amount_mismatch"]),
        // 12.345 is 12.35 in cents.
        ("odd", "applied", vec![]),
    ] {
        assert_eq!(scene.outcome(&format!("e-{order}")).await.0, outcome, "{order}");
        assert_eq!(scene.shop.incidents(order).await, incidents, "{order}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_with_more_places_than_money_is_paid_by_what_a_provider_makes_of_it() {
    let scene = Scene::start("half_a_cent").await;
    scene.shop.place(&["right", "wrong", "plain"].map(str::to_owned)).await;
    scene.shop.execute("update orders set total_amount = 12.345").await;
    for (order, total) in [("right", "12.35"), ("wrong", "12.34"), ("plain", "12.345")] {
        scene.deliver(&of(order, order, total, "USD")).await;
    }
    scene.settled().await;
    assert_eq!(scene.shop.incidents("right").await, [""; 0]);
    assert_eq!(scene.shop.incidents("wrong").await, ["amount_mismatch"]);
    assert_eq!(scene.shop.incidents("plain").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_money_for_an_order_that_was_confirmed_by_hand_or_is_on_its_way_is_an_incident() {
    let scene = Scene::start_with("late_money", |spec| spec.env("ORDER_WORKER_INBOX_AMOUNTMISMATCH", "hold")).await;
    let odd = [("10.09", "USD"), ("101.00", "USD"), ("10.10", "EUR"), ("1", "JPY")];
    for (n, status) in ["confirmed", "shipped", "delivered"].into_iter().enumerate() {
        for (m, (total, currency)) in odd.into_iter().chain([("10.1", "USD")]).enumerate() {
            let order = format!("{status}-{m}");
            scene.shop.place_one(&order).await;
            for (k, step) in ["confirm", "ship", "deliver"].into_iter().enumerate().take(n + 1) {
                scene
                    .shop
                    .execute(&format!("select order_worker.{step}_order('{order}', null, 'c-{order}-{k}')"))
                    .await;
            }
            scene.deliver(&of(&order, &order, total, currency)).await;
            scene.settled().await;
            let (outcome, reason) = scene.outcome(&format!("e-{order}")).await;
            assert_eq!((outcome.as_str(), reason), ("superseded", format!("the order is {status} already")));
            let expected = if m < odd.len() { vec!["amount_mismatch"] } else { vec![] };
            assert_eq!(scene.shop.incidents(&order).await, expected, "{order}");
        }
    }
    assert_eq!(scene.shop.count("select count(*) from order_worker.incidents").await, 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_for_an_order_in_an_unknown_status_changes_nothing_and_is_an_incident() {
    let scene = Scene::start("unknown_status").await;
    scene.shop.place_one("o1").await;
    scene
        .shop
        .execute("alter table orders drop constraint orders_status_check; update orders set status = 'on_hold'")
        .await;
    scene.confirm("e1", "p1", "o1").await;
    fail(&scene, "e2", "p2", "o1").await;
    scene.settled().await;
    assert_eq!(scene.outcome("e1").await, ("rejected".into(), "unknown order status `on_hold`".into()));
    assert_eq!(scene.outcome("e2").await.0, "rejected");
    assert_eq!(scene.shop.status("o1").await, "on_hold");
    assert_eq!(scene.shop.incidents("o1").await, ["unknown_status", "unknown_status"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_is_told_again_with_other_money_is_an_incident() {
    let scene = Scene::start("told_again").await;
    scene.shop.place_one("o1").await;
    for (n, total) in ["10.10", "10.1", "20.20"].into_iter().enumerate() {
        let again = Event { id: format!("e{n}"), ..of("p1", "o1", total, "USD") };
        scene.deliver(&again).await;
        scene.settled().await;
    }
    assert_eq!(scene.shop.history("o1").await, ["payment_confirmed"]);
    assert_eq!(scene.shop.incidents("o1").await, ["amount_mismatch"]);
    let detail = "select detail from order_worker.incidents where order_id = $1";
    assert_eq!(scene.shop.text(detail, "o1").await, "payment p1 of 20.20 USD was told before, of 10.10 USD");
}
