//! Events as people send them, through real Redis and daprd: whatever decides nothing is taken, and every way that an event may come
//! ends alike.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::routing::{get, post};
use rig::daprd::{AppProtocol, Daprd, DaprdSpec};
use rig::payment::{CONFIRMED, FAILED, confirmed, json};
use rig::publisher::Message;
use rig::stack::Stack;
use rig::subscriber::STATUS_CHANGED;
use rig::wait;
use rig::worker::{Worker, run};
use serde_json::{Value, json};

use crate::main_path::WORKER;
use crate::scene::{SOON, Scene};
use crate::shop::Shop;

const DEAD_LETTER: &str = "order-worker.dead-letter";

/// A body of the field, as other languages write it: what is odd about it, topic, body, and the order's status after it.
const FIELD: [(&str, &str, &str, &str); 12] = [
    (
        "s1",
        CONFIRMED,
        r#"{"event_type":"payment.confirmed","payment_id":"pay-s1","order_id":"s1","currency":"USD","status":"confirmed","timestamp":"2026-01-01T12:00:00Z","amount":10.10,"metadata":[]}"#,
        "payment_confirmed",
    ),
    (
        "s2",
        CONFIRMED,
        r#"{"event_type":"payment.confirmed","payment_id":"pay-s2","order_id":"s2","currency":"USD","status":"confirmed","timestamp":"2026-01-01T12:00:00Z","amount":10.10,"order_number":1001}"#,
        "payment_confirmed",
    ),
    (
        "s3",
        CONFIRMED,
        r#"{"event_type":"payment.confirmed","payment_id":"pay-s3","order_id":"s3","currency":"USD","status":"confirmed","timestamp":"2026-01-01T12:00:00Z","amount":"10.10"}"#,
        "payment_confirmed",
    ),
    (
        "s4",
        CONFIRMED,
        r#"{"event_type":"payment.confirmed","payment_id":"pay-s4","order_id":"s4","currency":"USD","status":"confirmed","timestamp":"2026-01-01T12:00:00","amount":10.10}"#,
        "payment_confirmed",
    ),
    (
        "s5",
        CONFIRMED,
        r#"{"event_type":"payment.confirmed","payment_id":"pay-s5","order_id":"s5","amount":10.10,"currency":"USD","status":"confirmed","timestamp":"2026-01-01T12:00:00+0000"}"#,
        "payment_confirmed",
    ),
    (
        "s6",
        FAILED,
        r#"{"event_type":"payment.failed","payment_id":"pay-s6","order_id":"s6","amount":10.10,"currency":"USD","failure_reason":null,"timestamp":"2026-01-01T12:00:00Z"}"#,
        "payment_failed",
    ),
    (
        "s7",
        CONFIRMED,
        r#"{"event_type":"payment.confirmed","payment_id":"pay-s7","order_id":"s7","amount":10.10,"currency":"USD","status":null,"timestamp":"2026-01-01T12:00:00Z"}"#,
        "payment_confirmed",
    ),
    (
        "s8",
        CONFIRMED,
        r#"{"event_type":"PaymentConfirmed","payment_id":8,"order_id":"s8","amount":10.10,"currency":"usd"}"#,
        "payment_confirmed",
    ),
    (
        "1001",
        FAILED,
        r#"{"payment_id":"pay-1001","order_id":1001,"amount":10.10,"currency":"USD","failure_reason":{"code":51}}"#,
        "payment_failed",
    ),
    (
        "№-7",
        CONFIRMED,
        r#"{"payment_id":"pay-№","order_id":"№-7","amount":10.10,"currency":"USD","timestamp":1767268800}"#,
        "payment_confirmed",
    ),
    (
        "c3",
        CONFIRMED,
        r#"{"event_type":"payment.failed","payment_id":"pay-c3","order_id":"c3","amount":10.10,"currency":"USD"}"#,
        "pending",
    ),
    ("c4", CONFIRMED, r#"{"payment_id":"pay-c4","order_id":"c4","amount":"10,10","currency":"USD"}"#, "pending"),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_people_send_is_taken_where_nothing_that_decides_is_wrong() {
    let scene = Scene::start("field").await;
    scene.shop.place(&FIELD.map(|(order, ..)| order.to_owned())).await;
    for (order, topic, body, _) in FIELD {
        scene.deliver(&rig::callback::Event::new(topic, &format!("e-{order}"), body.as_bytes().to_vec())).await;
    }
    scene.settled().await;
    for (order, _, _, status) in FIELD {
        assert_eq!(scene.shop.status(order).await, status, "{order}: {:?}", scene.outcome(&format!("e-{order}")).await);
        assert_eq!(scene.shop.incidents(order).await, [""; 0], "{order}");
    }
    let reasons = "select string_agg(reason, '; ' order by order_id) from order_status_history where new_status = $1";
    assert_eq!(scene.shop.text(reasons, "payment_failed").await, r#"Payment failed: {"code":51}; Payment failed"#);
    assert!(scene.outcome("e-c3").await.1.contains("the two contradict each other"));
    assert!(scene.outcome("e-c4").await.1.starts_with("field `amount` is a text that is no number, expected a number"));
}

fn cloud_event(order: &str, changes: &Value) -> Vec<u8> {
    let payment: Value = serde_json::from_slice(&json(&confirmed(&format!("p-{order}"), order, "10.10"))).unwrap();
    let mut event = json!({"specversion": "1.0", "id": format!("e-{order}"), "source": "/payments", "type": CONFIRMED, "data": payment});
    event.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    event.to_string().into_bytes()
}

/// What the payment service hands to its sidecar for this order, by content type.
fn published(order: &str) -> Vec<(&'static str, Message)> {
    let payment = |of: &str| json(&confirmed(&format!("p-{of}"), of, "10.10"));
    let message = |name: &str, content_type: &str, data: Vec<u8>| {
        let id = format!("e-{order}-{name}");
        Message { content_type: content_type.into(), ..Message::new(CONFIRMED, &id, data) }
    };
    let of = |name: &str| format!("{order}-{name}");
    let whole =
        |name: &str, changes: Value| message(name, "application/cloudevents+json", cloud_event(&of(name), &changes));
    vec![
        ("json", message("json", "application/json", payment(&of("json")))),
        ("vnd", message("vnd", "application/vnd.shop.payment+json", payment(&of("vnd")))),
        ("text", message("text", "text/plain", payment(&of("text")))),
        ("bytes", message("bytes", "application/octet-stream", payment(&of("bytes")))),
        ("none", message("none", "", payment(&of("none")))),
        ("whole", whole("whole", json!({"datacontenttype": "application/json"}))),
        ("whole-none", whole("whole-none", json!({}))),
        ("whole-vnd", whole("whole-vnd", json!({"datacontenttype": "application/vnd.shop.payment+json"}))),
        ("raw", Message { raw: true, id: None, ..message("raw", "application/json", payment(&of("raw"))) }),
        // A header that no gRPC call can carry: the sidecar refuses the message to every subscriber, its dead letter too.
        (
            "accent",
            Message {
                metadata: vec![("customer".into(), "Ünal".into())],
                ..message("accent", "application/json", payment(&of("accent")))
            },
        ),
        (
            "expired",
            Message {
                metadata: vec![("ttlInSeconds".into(), "1".into())],
                ..message("expired", "application/json", payment(&of("expired")))
            },
        ),
    ]
}

async fn applied(shop: &Shop, worker: &Worker, orders: &[String]) {
    let paid = "select count(*) from orders where status = 'payment_confirmed'";
    let all = i64::try_from(orders.len()).unwrap();
    wait::until_or("every order to be paid", SOON, || worker.log_tail(), async || shop.count(paid).await == all).await;
    let ended = "select string_agg(concat_ws(' ', event_id, order_id, outcome, reason), '; ') from order_worker.inbox_status where outcome <> $1";
    let other: Option<String> = sqlx::query_scalar(ended).bind("applied").fetch_one(&shop.pool).await.unwrap();
    assert_eq!(other, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_ends_alike_delivered_or_saved_from_the_stream_whatever_its_content_type() {
    // A sidecar that gives every message up after its first delivery, and a broker whose streams are looked at each second.
    let stack = Stack::start_with("ways", WORKER, |spec| {
        spec.with_resiliency = false;
        spec.app_health = false;
    })
    .await;
    let shop = Shop::open(&stack.worker.database_url).await;
    let orders: Vec<String> = ["delivered", "saved"]
        .iter()
        .flat_map(|way| published(way).into_iter().map(move |(name, _)| format!("{way}-{name}")))
        .collect();
    shop.place(&orders).await;
    let worker = Worker::start(stack.worker.clone().env("ORDER_WORKER_RECONCILE_EVERY", "1s")).await;
    stack.daprd.wait_subscribed(CONFIRMED).await;
    for (_, message) in published("delivered") {
        stack.publisher.publish(&message).await.unwrap();
    }
    applied(&shop, &worker, &orders[..orders.len() / 2]).await;
    let known = "select count(*) from order_worker.stream_cursors where watermark > now() - interval '10 seconds'";
    wait::until("the watermark", SOON, async || shop.count(known).await == 3).await;

    worker.kill9();
    for (_, message) in published("saved") {
        stack.publisher.publish(&message).await.unwrap();
    }
    let through = async || stack.redis.unfinished(CONFIRMED, "order-worker").await == 0;
    wait::until("Dapr to give them up", SOON, through).await;
    worker.restart().await;
    applied(&shop, &worker, &orders).await;
    // Both copies of what became a dead letter as well: once.
    assert_eq!(shop.count("select count(*) from order_worker.inbox").await, i64::try_from(orders.len()).unwrap());
    assert_eq!(shop.count("select count(*) from order_worker.incidents").await, 0);
    let expires = "select (headers ? 'expiration')::text from order_worker.inbox where subject = $1";
    assert_eq!(shop.text(expires, "delivered-expired").await, "true", "a time to live is shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_publisher_gives_to_dapr_beside_its_event_locks_nothing_out_and_is_shown() {
    let stack = Stack::start_with("metadata", WORKER, |spec| {
        spec.env.push(("APP_API_TOKEN".into(), "the-sidecars".into()));
    })
    .await;
    let shop = Shop::open(&stack.worker.database_url).await;
    shop.place(&["token", "ttl"].map(str::to_owned)).await;
    let worker = Worker::start(stack.worker.clone().env("APP_API_TOKEN", "the-sidecars")).await;
    stack.daprd.wait_subscribed(CONFIRMED).await;
    for (order, name, value) in [("token", "dapr-api-token", "hunter2"), ("ttl", "ttlInSeconds", "3600")] {
        let body = json(&confirmed(&format!("p-{order}"), order, "10.10"));
        let metadata = vec![(name.to_owned(), value.to_owned()), ("customer".to_owned(), "Ada".to_owned())];
        let message = Message { metadata, ..Message::new(CONFIRMED, &format!("e-{order}"), body) };
        stack.publisher.publish(&message).await.unwrap();
    }
    applied(&shop, &worker, &["token", "ttl"].map(str::to_owned)).await;
    let show = async |event: &str| {
        let env = [("DATABASE_URL", stack.worker.database_url.as_str())];
        let output = run(WORKER, &["inbox", "show", event, "-o", "json"], &env).await;
        serde_json::from_slice::<Value>(&output.stdout).unwrap()[0]["headers"].clone()
    };
    let (token, ttl) = (show("e-token").await, show("e-ttl").await);
    assert_eq!(token["publisher_metadata"], json!({"dapr-api-token": "***", "customer": "***"}), "{token}");
    assert_eq!(ttl["publisher_metadata"], json!({"ttlinseconds": "3600", "customer": "***"}), "{ttl}");
    assert!(ttl["expiration"].as_str().unwrap().starts_with("20"), "{ttl}");
    let kept = "select count(*) from order_worker.inbox where headers::text like '%hunter2%' or headers::text like '%the-sidecars%'";
    assert_eq!(shop.count(kept).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_reaches_grpc_and_http_subscribers_whatever_the_orders_id() {
    let stack = Stack::start("attributes", WORKER).await;
    // A subscriber by HTTP behind a sidecar of its own.
    let book: Arc<Mutex<Vec<Value>>> = Arc::default();
    let taken = Arc::clone(&book);
    let app = axum::Router::new()
        .route(
            "/dapr/subscribe",
            get(|| async {
                Json(json!([{"pubsubname": "pubsub-redis", "topic": STATUS_CHANGED, "route": "/changed"}]))
            }),
        )
        .route(
            "/changed",
            post(async move |Json(event): Json<Value>| {
                taken.lock().unwrap().push(event);
                Json(json!({"status": "SUCCESS"}))
            }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let mut spec = DaprdSpec::new("notification", &stack.redis.addr());
    (spec.app_port, spec.app_protocol) = (Some(port), AppProtocol::Http);
    let daprd = Daprd::start(spec).await;
    daprd.wait_subscribed(STATUS_CHANGED).await;

    let orders = ["№-7", "a b\"c%", "日本-1", "plain"].map(str::to_owned);
    let shop = Shop::open(&stack.worker.database_url).await;
    shop.place(&orders).await;
    let worker = Worker::start(stack.worker.clone()).await;
    stack.daprd.wait_subscribed(CONFIRMED).await;
    for (n, order) in orders.iter().enumerate() {
        let body = json(&confirmed(&format!("p-{n}"), order, "10.10"));
        stack.publisher.publish(&Message::new(CONFIRMED, &format!("e-{n}"), body)).await.unwrap();
    }
    applied(&shop, &worker, &orders).await;
    // Each at least once.
    let by_grpc = || -> BTreeSet<String> { stack.subscriber.received().into_iter().map(|one| one.order_id).collect() };
    let by_http = || -> BTreeSet<String> {
        book.lock().unwrap().iter().map(|one| one["data"]["order_id"].as_str().unwrap().to_owned()).collect()
    };
    let both = async || by_grpc().len() >= orders.len() && by_http().len() >= orders.len();
    wait::until_or("both subscribers", SOON, || worker.log_tail(), both).await;
    let (expected, events) = (BTreeSet::from(orders), book.lock().unwrap().clone());
    assert_eq!((&by_grpc(), &by_http()), (&expected, &expected), "the body stays as it is");
    let subject = events.iter().find(|one| one["data"]["order_id"] == "№-7").map(|one| one["subject"].clone());
    assert_eq!(subject, Some(json!("%E2%84%96-7")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_without_its_data_says_why_and_gets_it_from_whoever_has_it() {
    let scene = Scene::start("no_data").await;
    scene.shop.place(&["late", "edited", "other"].map(str::to_owned)).await;
    let without = |order: &str| rig::callback::Event {
        content_type: "application/vnd.shop.payment+json".into(),
        ..rig::callback::Event::new(CONFIRMED, &format!("e-{order}"), Vec::new())
    };
    for order in ["late", "edited", "other"] {
        scene.deliver(&without(order)).await;
    }
    let (outcome, reason) = scene.outcome("e-late").await;
    assert_eq!(outcome, "dead");
    assert!(
        reason.starts_with("the event has no data: its content type is `application/vnd.shop.payment+json`"),
        "{reason}"
    );
    assert!(reason.contains("order-worker dead edit"), "{reason}");

    // The whole message comes, as a dead letter, or saved from the stream: the event has its data, and is no other body.
    let data = json(&confirmed("p-late", "late", "10.10"));
    let payment: Value = serde_json::from_slice(&data).unwrap();
    let message = json!({"specversion": "1.0", "id": "e-late", "source": "payment-service", "type": "t", "topic": CONFIRMED,
        "datacontenttype": "application/vnd.shop.payment+json", "data": payment});
    let whole = rig::callback::Event::new(DEAD_LETTER, "random", message.to_string().into_bytes());
    scene.deliver(&whole).await;
    scene.settled().await;
    assert_eq!(scene.outcome("e-late").await.0, "applied");
    assert_eq!(scene.shop.status("late").await, "payment_confirmed");
    // Again without data, again with it: nothing new.
    scene.deliver(&without("late")).await;
    scene.deliver(&whole).await;
    scene.settled().await;
    assert_eq!(scene.shop.outcomes("e-late").await, [("applied".to_owned(), None)]);
    assert_eq!(scene.shop.incidents("late").await, [""; 0]);

    // An operator gave it another one meanwhile: that stands.
    let edited = "select order_worker.edit_row(p.id, convert_to('{\"payment_id\": \"p-edited\", \"order_id\": \"edited\", \"amount\": 10.10, \"currency\": \"USD\"}', 'UTF8'), 'edited', 'p-edited', 'ada', 'by mail')
                  from order_worker.pending p join order_worker.inbox i on i.day = p.day and i.id = p.id where i.event_id = 'e-edited'";
    scene.shop.execute(edited).await;
    scene.settled().await;
    let later = json(&confirmed("p-other", "other", "10.10"));
    scene.deliver(&rig::callback::Event::new(CONFIRMED, "e-edited", later)).await;
    scene.settled().await;
    assert_eq!(scene.shop.outcomes("e-edited").await, [("applied".to_owned(), None)]);
    assert_eq!(
        (scene.shop.status("edited").await, scene.shop.status("other").await),
        ("payment_confirmed".into(), "pending".into())
    );
}
