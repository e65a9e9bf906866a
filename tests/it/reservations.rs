//! Reservations that several items share, answers that come late, and refusals: what the warehouse hears, and what items and people learn.

use rig::behaviour::Behaviour;
use rig::callback::Event;
use rig::payment::{FAILED, failed, json};
use rig::wait;
use rig::warehouse::Method;
use tonic::Code;

use crate::cron::only;
use crate::scene::{SOON, Scene};
use crate::shop::Shop;

const STATUSES: &str =
    "select string_agg(coalesce(reservation_status, 'none'), ' ' order by id) from order_items where order_id = $1";

/// An order with three items, of which the first two share `res-<order>`.
async fn place_shared(shop: &Shop, order: &str) {
    shop.place_one(order).await;
    shop.execute(&format!(
        "insert into order_items (order_id, sku, quantity, reservation_id, reserved_at, reservation_status)
         values ('{order}', 'SKU-2', 1, 'res-{order}', now(), null), ('{order}', 'SKU-3', 2, 'other-{order}', now(), 'reserved')"
    ))
    .await;
}

/// What the warehouse heard, in its order.
fn heard(scene: &Scene) -> Vec<(Method, String)> {
    scene.direct.warehouse.calls().into_iter().map(|call| (call.method, call.reservation_id)).collect()
}

async fn fail(scene: &Scene, event_id: &str, payment_id: &str, order_id: &str) {
    let body = json(&failed(payment_id, order_id, "10.10", "card declined"));
    scene.deliver(&Event::new(FAILED, event_id, body)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn items_that_share_a_reservation_are_confirmed_and_released_by_one_call() {
    let scene = Scene::start_with("shared", |spec| only(spec, &["order_cleanup"], "* * * * * *")).await;
    for order in ["paid", "failed", "by-hand", "cancelled", "sold", "unpaid"] {
        place_shared(&scene.shop, order).await;
    }
    scene.confirm("e1", "p1", "paid").await;
    fail(&scene, "e2", "p2", "failed").await;
    scene
        .shop
        .execute(
            "select order_worker.confirm_order('by-hand', null, 'c1');
             select order_worker.cancel_order('cancelled', 'Changed my mind', 'c2');
             select order_worker.confirm_order('sold', null, 'c3');
             update orders set created_at = now() - interval '25 hours' where id = 'unpaid'",
        )
        .await;
    wait::until_or(
        "order_cleanup",
        SOON,
        || scene.worker.log_tail(),
        async || scene.shop.status("unpaid").await == "cancelled",
    )
    .await;
    scene.settled().await;
    scene.shop.execute("select order_worker.cancel_order('sold', 'Changed my mind', 'c4')").await;
    scene.settled().await;
    for (order, statuses) in [
        ("paid", "confirmed confirmed confirmed"),
        ("failed", "released released released"),
        ("by-hand", "confirmed confirmed confirmed"),
        ("cancelled", "released released released"),
        ("sold", "released released released"),
        ("unpaid", "released released released"),
    ] {
        assert_eq!(scene.shop.text(STATUSES, order).await, statuses, "{order}");
        let calls = heard(&scene).into_iter().filter(|(_, reservation)| reservation == &format!("res-{order}")).count();
        assert_eq!(calls, if order == "sold" { 2 } else { 1 }, "{order}: {:?}", heard(&scene));
    }
    assert_eq!(heard(&scene).len(), 14);
    assert_eq!(scene.shop.count("select count(*) from order_worker.incidents").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_written_to_every_item_and_each_refused_reservation_is_an_incident() {
    let scene = Scene::start("shared_refused").await;
    for order in ["o1", "o2"] {
        place_shared(&scene.shop, order).await;
        for reservation in [format!("res-{order}"), format!("other-{order}")] {
            let refuse = Behaviour::Refuse(Code::FailedPrecondition);
            scene.direct.warehouse.behaviours().set_for(reservation, refuse);
        }
    }
    scene.confirm("e1", "p1", "o1").await;
    fail(&scene, "e2", "p2", "o2").await;
    scene.settled().await;
    assert_eq!(scene.shop.text(STATUSES, "o1").await, "refused refused refused");
    assert_eq!(scene.shop.incidents("o1").await, ["paid_unreserved", "paid_unreserved"]);
    assert_eq!(scene.shop.text(STATUSES, "o2").await, "refused refused refused");
    assert_eq!(scene.shop.incidents("o2").await, ["not_released", "not_released"]);
    let told =
        "select string_agg(reference, ' ' order by reference) from order_worker.incident_journal where subject = $1";
    assert_eq!(scene.shop.text(told, "o1").await, "other-o1 res-o1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_warehouse_did_late_is_done() {
    let scene = Scene::start("late").await;
    for (order, code) in [
        ("sold", Code::AlreadyExists),
        ("given-back", Code::AlreadyExists),
        ("gone", Code::NotFound),
        ("lost", Code::NotFound),
    ] {
        scene.shop.place_one(order).await;
        scene.direct.warehouse.behaviours().set_for(format!("res-{order}"), Behaviour::Refuse(code));
    }
    scene.confirm("e1", "p1", "sold").await;
    fail(&scene, "e2", "p2", "given-back").await;
    fail(&scene, "e3", "p3", "gone").await;
    scene.confirm("e4", "p4", "lost").await;
    scene.settled().await;
    for (order, status, incidents) in [
        ("sold", "confirmed", vec![]),
        ("given-back", "released", vec![]),
        ("gone", "released", vec![]),
        ("lost", "refused", vec!["paid_unreserved"]),
    ] {
        assert_eq!(scene.shop.text(STATUSES, order).await, status, "{order}");
        assert_eq!(scene.shop.incidents(order).await, incidents, "{order}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_name_one_reservation_each_make_their_calls_in_order_and_learn_their_own_answers() {
    let scene = Scene::start("two_orders").await;
    for order in ["a", "b"] {
        scene.shop.place_one(order).await;
    }
    scene.shop.execute("update order_items set reservation_id = 'shared'").await;
    scene.confirm("e1", "p1", "a").await;
    scene.settled().await;
    // The warehouse knows the reservation as a sale: it does not give it back for the other order.
    scene.direct.warehouse.behaviours().set_for("shared", Behaviour::Refuse(Code::FailedPrecondition));
    fail(&scene, "e2", "p2", "b").await;
    scene.settled().await;
    assert_eq!(heard(&scene), [(Method::Confirm, "shared".to_owned()), (Method::Release, "shared".to_owned())]);
    let keys: std::collections::BTreeSet<_> =
        scene.direct.warehouse.calls().into_iter().map(|call| call.idempotency_key).collect();
    assert_eq!(keys.len(), 2, "each under a key of its own");
    assert_eq!(scene.shop.text(STATUSES, "a").await, "confirmed");
    assert_eq!(scene.shop.text(STATUSES, "b").await, "refused");
    assert_eq!(
        (scene.shop.incidents("a").await, scene.shop.incidents("b").await),
        (vec![], vec!["not_released".into()])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_without_a_reservation_is_not_asked_about() {
    let scene = Scene::start("unreserved").await;
    scene.shop.place_one("o1").await;
    scene.shop.execute("update order_items set reservation_id = ''").await;
    scene.confirm("e1", "p1", "o1").await;
    scene.settled().await;
    scene.shop.execute("select order_worker.cancel_order('o1', 'Changed my mind', 'c1')").await;
    scene.settled().await;
    assert_eq!(scene.shop.history("o1").await, ["payment_confirmed", "cancelled"]);
    assert!(heard(&scene).is_empty(), "{:?}", heard(&scene));
}
