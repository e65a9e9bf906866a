//! One trace from the publisher to the subscriber and the warehouse, as a collector gets it; and what stands in the log.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use rig::behaviour::Behaviour;
use rig::callback::Event;
use rig::payment::{CONFIRMED, FAILED, confirmed, failed, json};
use rig::server::Server;
use rig::wait;
use rig::worker::WorkerSpec;
use serde_json::Value;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};

use crate::scene::{SOON, Scene, confirmation};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PUBLISHER: &str = "00f067aa0ba902b7";

fn published(event_id: &str, order: &str) -> Event {
    let traceparent = Some(format!("00-{TRACE}-{PUBLISHER}-01"));
    Event { traceparent, ..confirmation(event_id, event_id, order) }
}

/// A collector: the spans that it was sent.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Kept {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans.into_iter();
        let spans = resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans);
        self.0.lock().unwrap().extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

struct Collector {
    kept: Kept,
    server: Server,
}

impl Collector {
    fn start() -> Collector {
        let kept = Kept::default();
        Collector { server: Server::start(Routes::new(TraceServiceServer::new(kept.clone()))), kept }
    }

    /// The spans by name; the worker is stopped, so that it sends them all.
    async fn spans(&self, scene: &Scene) -> BTreeMap<String, Span> {
        scene.worker.terminate();
        assert!(scene.worker.wait_exit(SOON).await.success());
        self.kept.0.lock().unwrap().iter().map(|span| (span.name.clone(), span.clone())).collect()
    }
}

async fn traced(name: &str) -> (Scene, Collector) {
    let collector = Collector::start();
    let addr = collector.server.addr();
    let traced = |spec: WorkerSpec| {
        spec.env("ORDER_WORKER_TELEMETRY_OTLPENDPOINT", addr).env("ORDER_WORKER_TELEMETRY_LOGFORMAT", "json")
    };
    (Scene::start_with(name, traced).await, collector)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(span: &Span) -> BTreeMap<String, String> {
    let text = |value: Option<Attribute>| match value {
        Some(Attribute::StringValue(text)) => text,
        Some(Attribute::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    let attributes = span.attributes.iter().cloned();
    attributes.map(|kv| (kv.key, text(kv.value.and_then(|value| value.value)))).collect()
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
    let (receive, process) = (&spans["receive payment.confirmed"], &spans["process payment.confirmed"]);
    let (send, call) = (&spans["send orders.order.status_changed"], &spans[CALL]);
    for span in [receive, process, send, call] {
        assert_eq!(hex(&span.trace_id), TRACE, "{span:?}");
        assert_eq!(span.status.clone().unwrap_or_default().code, 0, "{span:?}");
    }
    let parents = [receive, process, send, call].map(|span| hex(&span.parent_span_id));
    let processed = hex(&process.span_id);
    assert_eq!(parents, [PUBLISHER.to_owned(), hex(&receive.span_id), processed.clone(), processed.clone()]);
    let kinds = [receive, process, send, call].map(Span::kind);
    assert_eq!(kinds, [SpanKind::Consumer, SpanKind::Consumer, SpanKind::Producer, SpanKind::Client]);

    let announced = &scene.direct.sidecar.published()[0];
    let id = announced.event_id().unwrap();
    assert_eq!(attributes(receive), messaging(["receive", "receive"], CONFIRMED, "e1"));
    assert_eq!(attributes(process), messaging(["process", "process"], CONFIRMED, "e1"));
    assert_eq!(attributes(send), messaging(["send", "publish"], ANNOUNCED, id));
    let rpc = [
        ("rpc.system", "grpc"),
        ("rpc.service", "warehouse.v1.WarehouseService"),
        ("rpc.method", "ConfirmReservation"),
        ("rpc.grpc.status_code", "0"),
    ];
    assert_eq!(attributes(call), rpc.map(|(key, value)| (key.to_owned(), value.to_owned())).into());

    let onward = |span: &Span| Some(format!("00-{TRACE}-{}-01", hex(&span.span_id)));
    assert_eq!(announced.metadata.get("cloudevent.traceparent").cloned(), onward(send));
    assert_eq!(scene.direct.warehouse.calls()[0].traceparent, onward(call));
    assert_eq!(processing(&scene)["trace_id"], TRACE, "the log names the trace");
    assert_eq!(processing(&scene)["span_id"], processed);
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
    for (name, kind) in [(CALL, "NotFound"), ("send orders.order.status_changed", "Unavailable")] {
        let span = &spans[name];
        assert_eq!(span.status.clone().unwrap_or_default().code, 2, "{span:?}");
        assert_eq!(attributes(span)["error.type"], kind);
    }
    assert_eq!(attributes(&spans[CALL])["rpc.grpc.status_code"], "5");
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
    let process = &collector.spans(&scene).await["process payment.confirmed"];
    assert_eq!(process.status.clone().unwrap_or_default().code, 2, "{process:?}");
    assert_eq!(attributes(process)["error.type"], "rolled_back");
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
    let line =
        " INFO order_worker::inbox::apply: Processing payment confirmed: payment_id=e1, order_id=o1, amount=10.1";
    wait::until_or("the log line", SOON, || scene.worker.log_tail(), async || scene.worker.logs().contains(line)).await;
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
