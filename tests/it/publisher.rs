//! Announcing in the caller's transaction: the library, and the SQL functions under it.

use chrono::{DateTime, Utc};
use order_worker::announcements::{
    ExchangeEvent, PublishError, Publisher, ReturnEvent, ReturnItem, StatusChangedEvent,
};
use rig::sidecar::Published;
use rig::wait;
use serde_json::{Value, json};
use sqlx::postgres::PgDatabaseError;

use crate::scene::{SOON, Scene};

fn moment() -> DateTime<Utc> {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn items() -> Vec<ReturnItem> {
    vec![ReturnItem { order_item_id: 7.into(), sku: "SKU-1".into(), quantity: 2 }]
}

fn returned(status: &str) -> ReturnEvent {
    ReturnEvent {
        return_id: "r1".into(),
        order_id: "o1".into(),
        order_number: "N-o1".into(),
        status: status.into(),
        items: items(),
        reason: Some("too small".into()),
        timestamp: moment(),
    }
}

fn exchanged(status: &str) -> ExchangeEvent {
    ExchangeEvent {
        exchange_id: "x1".into(),
        order_id: "o1".into(),
        order_number: "N-o1".into(),
        status: status.into(),
        items: items(),
        reason: None,
        timestamp: moment(),
    }
}

/// A scene with the order `o1`.
async fn with_order(name: &str) -> Scene {
    let scene = Scene::start(name).await;
    scene.shop.place_one("o1").await;
    scene
}

/// Everything that was published, once so much was.
async fn published(scene: &Scene, count: usize) -> Vec<Published> {
    scene.settled().await;
    let published = scene.direct.sidecar.published();
    assert_eq!(published.len(), count, "{published:?}");
    published
}

/// What Postgres said, and its hint.
fn refusal(error: &sqlx::Error) -> (String, String) {
    let error = error.as_database_error().unwrap().downcast_ref::<PgDatabaseError>();
    (error.message().to_owned(), error.hint().unwrap_or_default().to_owned())
}

async fn refused(scene: &Scene, sql: &'static str) -> (String, String) {
    refusal(&sqlx::query(sql).execute(&scene.shop.pool).await.unwrap_err())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_announced_is_published_if_and_only_if_the_callers_transaction_commits() {
    let scene = with_order("only_if").await;
    let mut given_up = scene.shop.pool.begin().await.unwrap();
    Publisher::new(&mut given_up, "return-1").publish_return_requested(&returned("requested")).await.unwrap();
    given_up.rollback().await.unwrap();
    assert_eq!(scene.shop.count("select count(*) from order_worker.outbox_keys").await, 0);

    let mut ids = Vec::new();
    // The second time as after a COMMIT of unknown outcome: all is said again.
    for _ in 0..2 {
        let mut transaction = scene.shop.pool.begin().await.unwrap();
        let mut publisher = Publisher::new(&mut transaction, "return-1");
        ids.push(publisher.publish_return_requested(&returned("requested")).await.unwrap());
        transaction.commit().await.unwrap();
    }
    let published = published(&scene, 1).await;
    assert_eq!(ids, [published[0].event_id().unwrap(), published[0].event_id().unwrap()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_cause_with_another_body_is_an_error_with_a_hint() {
    let scene = with_order("other_body_out").await;
    let mut transaction = scene.shop.pool.begin().await.unwrap();
    let mut publisher = Publisher::new(&mut transaction, "return-1");
    let id = publisher.publish_return_requested(&returned("requested")).await.unwrap();
    let again = publisher.publish_return_requested(&returned("something else")).await.unwrap_err();
    let PublishError::Database(error) = &again else { panic!("{again:?}") };
    let (message, hint) = refusal(error);
    let said = format!("outbox: order.return.requested of o1 was written before under id {id}, with another body");
    assert_eq!(message, said);
    assert_eq!(hint, "cause 'return-1' stands for one message: give another cause, or the same body");
    transaction.commit().await.unwrap();
    assert_eq!(scene.shop.count("select count(*) from order_worker.outbox_keys").await, 0, "the transaction is void");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_publishes_on_its_topic_with_its_fields() {
    let scene = with_order("each_call").await;
    let mut transaction = scene.shop.pool.begin().await.unwrap();
    let mut publisher = Publisher::new(&mut transaction, "case-1");
    let (requested, approved, rejected, completed) =
        (returned("requested"), returned("approved"), returned("rejected"), returned("completed"));
    let mut said = vec![
        ("order.return.requested", "requested", publisher.publish_return_requested(&requested).await.unwrap()),
        ("order.return.approved", "approved", publisher.publish_return_approved(&approved).await.unwrap()),
        ("order.return.rejected", "rejected", publisher.publish_return_rejected(&rejected).await.unwrap()),
        ("order.return.completed", "completed", publisher.publish_return_completed(&completed).await.unwrap()),
    ];
    let (requested, approved, completed) = (exchanged("requested"), exchanged("approved"), exchanged("completed"));
    said.extend([
        ("order.exchange.requested", "requested", publisher.publish_exchange_requested(&requested).await.unwrap()),
        ("order.exchange.approved", "approved", publisher.publish_exchange_approved(&approved).await.unwrap()),
        ("order.exchange.completed", "completed", publisher.publish_exchange_completed(&completed).await.unwrap()),
    ]);
    transaction.commit().await.unwrap();

    let published = published(&scene, 7).await;
    for (published, (topic, status, id)) in published.iter().zip(&said) {
        let mut body = json!({
            "event_type": topic, "order_id": "o1", "order_number": "N-o1", "status": status,
            "items": [{"order_item_id": 7, "sku": "SKU-1", "quantity": 2}], "timestamp": "2026-01-02T03:04:05Z",
        });
        if topic.starts_with("order.return") {
            body["return_id"] = "r1".into();
            body["reason"] = "too small".into();
        } else {
            body["exchange_id"] = "x1".into();
        }
        assert_eq!((published.topic.as_str(), published.json()), (*topic, body));
        let metadata = |key: &str| published.metadata.get(key).map_or("", String::as_str);
        assert_eq!((metadata("cloudevent.id"), metadata("cloudevent.subject")), (id.as_str(), "o1"));
        assert_eq!((metadata("cloudevent.source"), metadata("cloudevent.type")), ("order-worker", *topic));
        assert_eq!((published.pubsub.as_str(), published.content_type.as_str()), ("pubsub-redis", "application/json"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_change_that_somebody_else_made_can_be_announced_and_so_can_any_event() {
    let scene = with_order("any_event").await;
    let changed = StatusChangedEvent {
        order_id: "o1".into(),
        order_number: "N-o1".into(),
        old_status: "pending".into(),
        new_status: "on_hold".into(),
        timestamp: moment(),
        user_id: None,
        reason: None,
    };
    let mut transaction = scene.shop.pool.begin().await.unwrap();
    let mut publisher = Publisher::new(&mut transaction, "hold-1");
    publisher.publish_order_status_changed(&changed).await.unwrap();
    publisher.publish("shop.gift", &json!({"order_id": "o1", "gift": true})).await.unwrap();
    let lost = publisher.publish("shop.gift", &json!({"gift": true})).await.unwrap_err();
    assert_eq!(lost.to_string(), "the event for `shop.gift` has no order_id: an announcement belongs to an order");
    transaction.commit().await.unwrap();
    let published = published(&scene, 2).await;
    assert_eq!(published[0].topic, "orders.order.status_changed");
    assert_eq!(published[0].json()["event_type"], "order.status_changed");
    assert_eq!(published[1].json(), json!({"order_id": "o1", "gift": true}));
    assert_eq!(published[1].metadata["cloudevent.type"], "shop.gift");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_announced_is_refused_in_words() {
    let scene = with_order("refused_words").await;
    for (sql, message) in [
        ("select order_worker.announce('t', 'o9', '{}', 'c')", "order o9 does not exist"),
        ("select order_worker.order_created('o9', 'c')", "order o9 does not exist"),
        ("select order_worker.change_order('o9', 'confirmed', null, null, 'c')", "order o9 does not exist"),
        ("select order_worker.announce('', 'o1', '{}', 'c')", "announce: topic and cause have 1 to 255 characters"),
        ("select order_worker.announce('t', 'o1', '{}', null)", "announce: topic and cause have 1 to 255 characters"),
        ("select order_worker.announce('t', 'o1', '[]', 'c')", "announce: the body is a JSON object, not array"),
        ("select order_worker.announce('t', 'o1', null, 'c')", "announce: the body is a JSON object, not nothing"),
    ] {
        assert_eq!(refused(&scene, sql).await.0, message, "{sql}");
    }
    assert_eq!(scene.shop.count("select count(*) from order_worker.outbox_keys").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_illegal_move_is_refused_with_both_statuses_and_a_legal_one_is_announced() {
    let scene = with_order("moves").await;
    let illegal = refused(&scene, "select order_worker.change_order('o1', 'delivered', null, null, 'c1')").await;
    assert_eq!(illegal.0, "order o1 is pending: it cannot become delivered");
    assert_eq!(illegal.1, "the legal moves are in order_worker.legal_moves");
    let unknown = refused(&scene, "select order_worker.change_order('o1', 'on_hold', null, null, 'c1')").await;
    assert_eq!(unknown.0, "order o1 is pending: it cannot become on_hold");
    assert_eq!(scene.shop.history("o1").await, [""; 0]);

    scene.shop.execute("select order_worker.order_created('o1', 'checkout-1')").await;
    for status in ["confirmed", "shipped", "delivered"] {
        let change =
            format!("select order_worker.change_order('o1', '{status}', 'By hand', 'desk 3', 'move-{status}')");
        scene.shop.execute(&change).await;
    }
    let moves: Vec<Value> = published(&scene, 4).await.iter().map(Published::json).collect();
    let pairs: Vec<_> = moves.iter().map(|body| (body["old_status"].as_str(), body["new_status"].as_str())).collect();
    let expected = [("", "pending"), ("pending", "confirmed"), ("confirmed", "shipped"), ("shipped", "delivered")];
    assert_eq!(pairs, expected.map(|(old, new)| (Some(old), Some(new))));
    assert_eq!((&moves[3]["reason"], &moves[3]["user_id"]), (&"By hand".into(), &"user-1".into()));
    assert_eq!(scene.shop.history("o1").await, ["pending", "confirmed", "shipped", "delivered"]);
    let ended = refused(&scene, "select order_worker.change_order('o1', 'cancelled', null, null, 'c2')").await;
    assert_eq!(ended.0, "order o1 is delivered: it cannot become cancelled");
    let created = refused(&scene, "select order_worker.order_created('o1', 'checkout-2')").await;
    assert_eq!(created.0, "order o1 is delivered: a new order is pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_does_not_know_how_its_commit_ended_may_ask_again() {
    let scene = with_order("again").await;
    let create = "select order_worker.order_created('o1', 'checkout-1')";
    let confirm = "select order_worker.change_order('o1', 'confirmed', 'By hand', null, 'desk-1')";
    for sql in [create, create, confirm, confirm, create] {
        scene.shop.execute(sql).await;
    }
    assert_eq!(published(&scene, 2).await.len(), 2);
    assert_eq!(scene.shop.history("o1").await, ["pending", "confirmed"]);

    scene.shop.place_one("o2").await;
    scene.shop.execute("select order_worker.order_created('o2', 'checkout-2')").await;
    let other = refused(&scene, "select order_worker.order_created('o2', 'checkout-3')").await;
    assert_eq!(other.0, "order o2 was announced as created before, by another cause");
}

#[tokio::test(flavor = "multi_thread")]
async fn announcements_of_one_order_come_in_the_order_of_commits_whoever_races() {
    let scene = with_order("race").await;
    scene.shop.execute("create sequence commits").await;
    let callers = (0..40).map(async |caller: u64| {
        let mut transaction = scene.shop.pool.begin().await.unwrap();
        let event = json!({"order_id": "o1", "caller": caller});
        Publisher::new(&mut transaction, format!("caller-{caller}")).publish("shop.race", &event).await.unwrap();
        // The order's row is ours until the commit, so that this is the order of commits.
        let commit: i64 = sqlx::query_scalar("select nextval('commits')").fetch_one(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
        (commit, caller)
    });
    let mut committed = futures::future::join_all(callers).await;
    committed.sort_unstable();
    wait::until("all announcements", SOON, async || scene.direct.sidecar.count() == 40).await;
    let published = scene.direct.sidecar.published();
    let order: Vec<u64> = published.iter().map(|one| one.json()["caller"].as_u64().unwrap()).collect();
    assert_eq!(order, committed.iter().map(|(_, caller)| *caller).collect::<Vec<_>>());
}
