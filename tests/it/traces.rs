//! One trace from the publisher to the subscriber and the warehouse, as a collector gets it; and what stands in the log.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use rig::behaviour::Behaviour;
use rig::callback::Event;
use rig::payment::{CONFIRMED, FAILED, confirmed, failed, json};
use rig::wait;
use rig::worker::{WorkerSpec, run};
use serde_json::Value;
use tonic::Code;

use crate::collector::{self, Collector, hex};
use crate::main_path::WORKER;
use crate::scene::{SOON, Scene, confirmation};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PUBLISHER: &str = "00f067aa0ba902b7";
const STATE: &str = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";

fn published(event_id: &str, order: &str) -> Event {
    let traceparent = Some(format!("00-{TRACE}-{PUBLISHER}-01"));
    Event { traceparent, tracestate: Some(STATE.into()), ..confirmation(event_id, event_id, order) }
}

async fn traced(name: &str) -> (Scene, Collector) {
    let collector = Collector::start();
    let addr = collector.server.addr();
    let traced = |spec: WorkerSpec| {
        spec.env("ORDER_WORKER_TELEMETRY_OTLPENDPOINT", addr).env("ORDER_WORKER_TELEMETRY_LOGFORMAT", "json")
    };
    (Scene::start_with(name, traced).await, collector)
}

fn attributes(span: &Span) -> BTreeMap<String, String> {
    collector::attributes(&span.attributes)
}

/// The messaging attributes by their semantic conventions: operation's type and name, destination, message id.
fn messaging(operation: [&str; 2], destination: &str, id: &str) -> BTreeMap<String, String> {
    let entries = [
        ("messaging.system", "dapr"),
        ("messaging.operation.type", operation[0]),
        ("messaging.operation.name", operation[1]),
        ("messaging.destination.name", destination),
        ("messaging.message.id", id),
    ];
    entries.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

const CALL: &str = "warehouse.v1.WarehouseService/ConfirmReservation";
const ANNOUNCED: &str = "orders.order.status_changed";

#[tokio::test(flavor = "multi_thread")]
async fn the_publishers_trace_goes_through_to_the_announcement_and_the_warehouse() {
    let (scene, collector) = traced("traced").await;
    scene.shop.place_one("o1").await;
    scene.deliver(&published("e1", "o1")).await;
    scene.settled().await;
    let spans = collector.spans(&scene).await;
    let steps = ["accept payment.confirmed", "apply payment.confirmed", "publish orders.order.status_changed", CALL];
    let [accept, apply, publish, call] = steps.map(|name| &spans[name]);
    for span in [accept, apply, publish, call] {
        assert_eq!(hex(&span.trace_id), TRACE, "{span:?}");
        assert_eq!(span.status.clone().unwrap_or_default().code, 0, "{span:?}");
    }
    let parents = [accept, apply, publish, call].map(|span| hex(&span.parent_span_id));
    let applied = hex(&apply.span_id);
    assert_eq!(parents, [PUBLISHER.to_owned(), hex(&accept.span_id), applied.clone(), applied.clone()]);
    let kinds = [accept, apply, publish, call].map(Span::kind);
    assert_eq!(kinds, [SpanKind::Consumer, SpanKind::Consumer, SpanKind::Producer, SpanKind::Client]);

    let announced = &scene.direct.sidecar.published()[0];
    let id = announced.event_id().unwrap();
    assert_eq!(attributes(accept), messaging(["process", "accept"], CONFIRMED, "e1"));
    assert_eq!(attributes(apply), messaging(["process", "apply"], CONFIRMED, "e1"));
    assert_eq!(attributes(publish), messaging(["send", "publish"], ANNOUNCED, id));
    let (host, port) = scene.direct.worker.warehouse_addr.as_ref().unwrap().rsplit_once(':').unwrap();
    let rpc = [
        ("rpc.system.name", "grpc"),
        ("rpc.method", CALL),
        ("rpc.response.status_code", "OK"),
        ("server.address", host.trim_start_matches("http://")),
        ("server.port", port),
    ];
    assert_eq!(attributes(call), rpc.map(|(key, value)| (key.to_owned(), value.to_owned())).into());

    // One message: what is asked of Postgres for it is a part of its trace.
    for (batch, parent, queries) in [
        ("store inbox", accept, &["INSERT inbox"][..]),
        ("apply inbox", apply, &["SELECT orders", "UPDATE orders", "COMMIT"]),
    ] {
        let batch = &spans[batch];
        assert_eq!(batch.parent_span_id, parent.span_id);
        assert!(!attributes(batch).contains_key("messaging.batch.message_count"));
        for name in queries {
            let query = &spans[*name];
            assert_eq!((&query.parent_span_id, query.kind()), (&batch.span_id, SpanKind::Client), "{query:?}");
            let tags = attributes(query);
            assert_eq!([&tags["db.system.name"], &tags["db.query.summary"]], ["postgresql", name]);
            assert_eq!(name.split(' ').next(), Some(tags["db.operation.name"].as_str()));
            assert!(scene.direct.worker.database_url.ends_with(&format!("/{}", tags["db.namespace"])), "{tags:?}");
        }
    }

    let onward = |span: &Span| Some(format!("00-{TRACE}-{}-01", hex(&span.span_id)));
    assert_eq!(announced.metadata.get("cloudevent.traceparent").cloned(), onward(publish));
    assert_eq!(scene.direct.warehouse.calls()[0].traceparent, onward(call));
    for state in [
        announced.metadata.get("cloudevent.tracestate").cloned(),
        announced.tracestate.clone(),
        scene.direct.warehouse.calls()[0].tracestate.clone(),
    ] {
        assert_eq!(state.as_deref(), Some(STATE));
    }
    for span in [accept, apply, publish, call] {
        assert_eq!(span.trace_state, STATE, "{span:?}");
    }
    assert_eq!(processing(&scene)["trace_id"], TRACE, "the log names the trace");
    assert_eq!(processing(&scene)["span_id"], applied);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_at_once_for_many_messages_links_them() {
    let (scene, collector) = traced("linked").await;
    let orders: Vec<String> = (0..20).map(|number| format!("o{number}")).collect();
    scene.shop.place(&orders).await;
    // They wait for an operator, and are then applied together.
    let database = [("DATABASE_URL", scene.direct.worker.database_url.as_str())];
    assert!(
        run(WORKER, &["queue", "pause", "inbox", "--reason", "a batch", "--as", "ada"], &database)
            .await
            .status
            .success()
    );
    for order in &orders {
        scene.deliver(&published(&format!("e-{order}"), order)).await;
    }
    assert!(
        run(WORKER, &["queue", "resume", "inbox", "--reason", "a batch", "--as", "ada"], &database)
            .await
            .status
            .success()
    );
    scene.settled().await;
    let spans = collector.all_spans(&scene).await;
    let named = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    for (batch, steps) in [
        ("apply inbox", "apply payment.confirmed"),
        ("send dapr", "apply payment.confirmed"),
        ("send warehouse", "apply payment.confirmed"),
    ] {
        let of_steps: BTreeSet<String> = named(steps).iter().map(|span| hex(&span.span_id)).collect();
        let batches: Vec<&Span> = named(batch).into_iter().filter(|span| !span.links.is_empty()).collect();
        assert!(!batches.is_empty(), "no {batch} of several");
        for span in batches {
            assert_eq!(attributes(span)["messaging.batch.message_count"], span.links.len().to_string());
            assert!(span.parent_span_id.is_empty() && hex(&span.trace_id) != TRACE, "{span:?}");
            for link in &span.links {
                assert_eq!(hex(&link.trace_id), TRACE);
                assert!(of_steps.contains(&hex(&link.span_id)), "{batch} links something else: {link:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_is_marked_on_its_span() {
    let (scene, collector) = traced("failing").await;
    scene.shop.place_one("o1").await;
    scene.direct.warehouse.set(Behaviour::Refuse(Code::NotFound));
    scene.direct.sidecar.set(Behaviour::Refuse(Code::Unavailable));
    scene.deliver(&published("e1", "o1")).await;
    wait::until("both to be refused", SOON, async || {
        scene.worker.logs().contains("Warehouse refused") && scene.worker.logs().contains("Announcement not published")
    })
    .await;
    let spans = collector.spans(&scene).await;
    for (name, kind) in [(CALL, "NOT_FOUND"), ("publish orders.order.status_changed", "UNAVAILABLE")] {
        let span = &spans[name];
        assert_eq!(span.status.clone().unwrap_or_default().code, 2, "{span:?}");
        assert_eq!(attributes(span)["error.type"], kind);
    }
    assert_eq!(attributes(&spans[CALL])["rpc.response.status_code"], "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_transaction_is_rolled_back_is_marked_on_its_span() {
    let (scene, collector) = traced("rolled_back").await;
    scene.shop.place_one("o1").await;
    let refuses = "create function refuse() returns trigger language plpgsql as $$ begin raise 'no'; end $$;
                   create trigger refuse before insert on order_status_history for each row execute function refuse()";
    scene.shop.execute(refuses).await;
    scene.deliver(&published("e1", "o1")).await;
    wait::until("the event to fail", SOON, async || scene.worker.logs().contains("Event failed: error=")).await;
    let spans = collector.spans(&scene).await;
    for (name, kind) in
        [("apply payment.confirmed", "rolled_back"), ("apply inbox", "rolled_back"), ("UPDATE orders", "P0001")]
    {
        let span = &spans[name];
        assert_eq!(span.status.clone().unwrap_or_default().code, 2, "{span:?}");
        assert_eq!(attributes(span)["error.type"], kind);
    }
    assert_eq!(attributes(&spans["UPDATE orders"])["db.response.status_code"], "P0001");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_the_publishers_trace_is_handed_on_as_it_came() {
    let scene = Scene::start("untraced").await;
    scene.shop.place_one("o1").await;
    let event = published("e1", "o1");
    scene.deliver(&event).await;
    scene.settled().await;
    let announced = &scene.direct.sidecar.published()[0];
    assert_eq!(announced.metadata.get("cloudevent.traceparent"), event.traceparent.as_ref());
    assert_eq!(
        (&announced.traceparent, &scene.direct.warehouse.calls()[0].traceparent),
        (&event.traceparent, &event.traceparent)
    );
    let line = " INFO order_worker::shop::payments::handler: Processing payment confirmed: payment_id=e1, order_id=o1, amount=10.1";
    wait::until_or("the log line", SOON, || scene.worker.log_tail(), async || scene.worker.logs().contains(line)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_one_warning_is_cut_off_and_what_was_left_out_is_said() {
    const ORDERS: usize = 200;
    let scene = Scene::start_with("flood", |spec| spec.env("ORDER_WORKER_TELEMETRY_LOGLIMIT", 1)).await;
    let orders: Vec<String> = (0..ORDERS).map(|number| format!("o{number}")).collect();
    scene.shop.place(&orders).await;
    scene.direct.warehouse.set(Behaviour::Refuse(Code::NotFound));
    for order in &orders {
        scene.confirm(&format!("e-{order}"), &format!("p-{order}"), order).await;
    }
    scene.settled().await;
    let left_out = scene.worker.metric("order_worker_log_lines_left_out_total").await;
    scene.worker.terminate();
    assert!(scene.worker.wait_exit(SOON).await.success());
    let logs = scene.worker.logs();
    let lines = |what: &str| logs.lines().filter(|line| line.contains(what)).collect::<Vec<_>>();
    let written = lines(": Warehouse refused: method=").len();
    let said = lines("Log lines left out: ");
    let told: Vec<&str> =
        said.iter().map(|line| line.split("count=").nth(1).unwrap().split(',').next().unwrap()).collect();
    let told: usize = told.iter().map(|count| count.parse::<usize>().unwrap()).sum();
    assert!(written < ORDERS, "all were written");
    assert_eq!((written + told, told as f64), (ORDERS, left_out), "{said:?}");
    assert!(said[0].contains("place=order_worker::shop::warehouse, sample=\"Warehouse refused: method="), "{said:?}");
    assert_eq!(
        lines(": Processing payment confirmed: ").len(),
        ORDERS,
        "what the log says of a payment is never left out"
    );
}

/// The JSON log line about a payment.
fn processing(scene: &Scene) -> Value {
    let logs = scene.worker.logs();
    let mut lines = logs.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .find(|line| line["message"] == "Processing payment confirmed: payment_id=e1, order_id=o1, amount=10.10")
        .unwrap()
}

const PRIVATE: [&str; 8] = [
    "Jane Doe",
    "jane@example.com",
    "4242424242424242",
    "db-hunter2",
    "redis-hunter2",
    "app-hunter2",
    "sidecar-hunter2",
    "postgres://",
];

#[tokio::test(flavor = "multi_thread")]
async fn neither_personal_data_nor_a_secret_is_ever_logged() {
    let told_everything = |spec: WorkerSpec| {
        let url = spec.database_url.replace("postgres@", "postgres:db-hunter2@");
        WorkerSpec { database_url: url, ..spec }
            .env("ORDER_WORKER_TELEMETRY_LOGLEVEL", "debug")
            .env("ORDER_DATA_REDIS_PASSWORD", "redis-hunter2")
            .env("APP_API_TOKEN", "app-hunter2")
            .env("DAPR_API_TOKEN", "sidecar-hunter2")
    };
    let mut scene = Scene::start_with("private", told_everything).await;
    scene.callback = scene.callback.clone().with_token("app-hunter2");
    scene.shop.place(&["o1".into(), "o2".into(), "o3".into()]).await;
    let person = serde_json::json!({"name": "Jane Doe", "email": "jane@example.com", "card": "4242424242424242"});
    let mut payment = confirmed("p1", "o1", "10.10");
    payment.metadata = Some(person.clone());
    scene.deliver(&Event::new(CONFIRMED, "e1", json(&payment))).await;
    scene.deliver(&Event::new(CONFIRMED, "e1", json(&person))).await;
    scene.deliver(&Event::new(CONFIRMED, "e2", json(&person))).await;
    scene.deliver(&Event::new(CONFIRMED, "e3", b"Jane Doe <jane@example.com>".to_vec())).await;
    let mut mismatched = confirmed("p2", "o2", "99.99");
    mismatched.metadata = Some(person);
    scene.deliver(&Event::new(CONFIRMED, "e4", json(&mismatched))).await;
    scene.deliver(&Event::new(FAILED, "e5", json(&failed("p3", "o3", "10.10", "card of Jane Doe declined")))).await;
    scene.settled().await;
    assert_eq!(scene.outcome("e5").await.0, "applied");
    assert_eq!(scene.direct.sidecar.published()[0].api_token.as_deref(), Some("sidecar-hunter2"));
    scene.worker.terminate();
    scene.worker.wait_exit(SOON).await;
    let logs = scene.worker.logs();
    assert!(logs.contains(" DEBUG "), "{}", scene.worker.log_tail());
    for private in PRIVATE {
        let line = logs.lines().find(|line| line.contains(private));
        assert!(line.is_none(), "{private:?} stands in the log: {line:?}");
    }
}
