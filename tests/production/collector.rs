//! Traces and metrics at the OpenTelemetry Collector itself, through the real sidecars: the trace that the publisher began, whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use rig::authority::Authority;
use rig::daprd::DaprdSpec;
use rig::payment::{CONFIRMED, confirmed, json};
use rig::process::{Process, Spec};
use rig::publisher::Message;
use rig::run_dir::{RunDir, checkout};
use rig::stack::Stack;
use rig::worker::{Worker, WorkerSpec, run};
use rig::{ports, wait};
use serde_json::Value;
use tokio::net::TcpStream;

const LIMIT: Duration = Duration::from_secs(60);
const WORKER: &str = env!("CARGO_BIN_EXE_order-worker");
const ANNOUNCED: &str = "publish orders.order.status_changed";

/// The Collector, in whose files its exporter writes what it got.
struct Collector {
    process: Process,
    dir: RunDir,
    authority: Authority,
    /// By TLS, for the worker.
    grpc: u16,
    http: u16,
    /// Without it, for the sidecars.
    plain: u16,
}

/// A span as the Collector wrote it.
#[derive(Clone, Debug)]
struct Span {
    /// Who made it: `order-worker`, or Dapr's own name.
    by: String,
    name: String,
    id: String,
    trace: String,
    parent: String,
    links: BTreeSet<String>,
}

impl Collector {
    async fn start() -> Collector {
        let (dir, authority) = (RunDir::new("otelcol"), Authority::new());
        let (cert, key) = authority.sign_to_files(&["localhost"]);
        let [grpc, http, plain] = [ports::free(), ports::free(), ports::free()];
        let tls = format!("tls: {{ cert_file: '{}', key_file: '{}' }}", cert.display(), key.display());
        let config = format!(
            "receivers:
  otlp:
    protocols:
      grpc: {{ endpoint: 'localhost:{grpc}', {tls} }}
      http: {{ endpoint: 'localhost:{http}', {tls} }}
  otlp/sidecars:
    protocols:
      grpc: {{ endpoint: '127.0.0.1:{plain}' }}
exporters:
  file/traces: {{ path: traces.json, append: true, flush_interval: 200ms }}
  file/metrics: {{ path: metrics.json, append: true, flush_interval: 200ms }}
service:
  pipelines:
    traces: {{ receivers: [otlp, otlp/sidecars], exporters: [file/traces] }}
    metrics: {{ receivers: [otlp], exporters: [file/metrics] }}
"
        );
        dir.write("config.yaml", &config);
        let binary = checkout().join("target/otelcol/otelcol").canonicalize();
        let binary = binary.unwrap_or_else(|error| panic!("target/otelcol: {error}: make test-production builds it"));
        let process = Process::spawn(Spec::new("otelcol", &binary, dir.path(), ["--config", "file:config.yaml"]));
        let collector = Collector { process, dir, authority, grpc, http, plain };
        collector.listens().await;
        collector
    }

    async fn listens(&self) {
        for port in [self.grpc, self.http, self.plain] {
            let connects = async || {
                assert!(self.process.is_running(), "{}", self.process.log_tail());
                TcpStream::connect(("localhost", port)).await.is_ok()
            };
            wait::until("the Collector to listen", LIMIT, connects).await;
        }
    }

    /// The worker sends to it by TLS, compressed and often.
    fn takes_from(&self, worker: WorkerSpec, protocol: &str) -> WorkerSpec {
        let port = if protocol == "grpc" { self.grpc } else { self.http };
        worker
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("https://localhost:{port}"))
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .env("OTEL_EXPORTER_OTLP_CERTIFICATE", self.authority.file().display())
            .env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
            .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=tried")
            .env("OTEL_METRIC_EXPORT_INTERVAL", "500")
            .env("OTEL_BSP_SCHEDULE_DELAY", "200")
    }

    /// The sidecar too, by the lines that dapr/config.yaml has for it.
    fn takes_from_sidecar(&self, sidecar: &mut DaprdSpec) {
        let shipped = fs::read_to_string(checkout().join("dapr/config.yaml")).unwrap();
        let switched_on = shipped
            .replace("    # otel:", "    otel:")
            .replace(
                "    #   endpointAddress: otel-collector:4317",
                &format!("      endpointAddress: 127.0.0.1:{}", self.plain),
            )
            .replace("    #   isSecure: false", "      isSecure: false")
            .replace("    #   protocol: grpc", "      protocol: grpc");
        let file = self.dir.write("dapr.yaml", &switched_on);
        sidecar.with_config = false;
        sidecar.args = vec!["--config".to_owned(), file.display().to_string()];
    }

    /// The lines of a file that are whole.
    fn lines(&self, file: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.dir.path().join(file)).unwrap_or_default();
        text.split_inclusive('\n').filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn spans(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        for resource in self.lines("traces.json").iter().flat_map(|line| all(&line["resourceSpans"])) {
            let scopes = all(&resource["scopeSpans"]).iter();
            for (scope, span) in scopes.flat_map(|of| all(&of["spans"]).iter().map(|span| (&of["scope"], span))) {
                let text = |field: &str| span[field].as_str().unwrap_or_default().to_owned();
                let links = all(&span["links"]).iter().map(|link| link["spanId"].as_str().unwrap().to_owned());
                spans.push(Span {
                    by: scope["name"].as_str().unwrap_or_default().to_owned(),
                    name: text("name"),
                    id: text("spanId"),
                    trace: text("traceId"),
                    parent: text("parentSpanId"),
                    links: links.collect(),
                });
            }
        }
        spans
    }

    /// The value of a sum's series with this attribute, as it was sent last.
    fn sum(&self, metric: &str, with: (&str, &str)) -> Option<i64> {
        let lines = self.lines("metrics.json");
        let resources = lines.iter().flat_map(|line| all(&line["resourceMetrics"]));
        let scopes = resources.flat_map(|resource| all(&resource["scopeMetrics"]));
        let metrics = scopes.flat_map(|scope| all(&scope["metrics"])).filter(|one| one["name"] == metric);
        let mut points = metrics.flat_map(|metric| all(&metric["sum"]["dataPoints"]));
        let value = points.rfind(|point| attribute(point, with.0) == with.1)?;
        value["asInt"].as_str()?.parse().ok()
    }
}

fn all(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

fn attribute(of: &Value, key: &str) -> String {
    let found = all(&of["attributes"]).iter().find(|attribute| attribute["key"] == key);
    found.and_then(|found| found["value"]["stringValue"].as_str()).unwrap_or_default().to_owned()
}

fn payment(number: usize, traceparent: &str) -> Message {
    let data = json(&confirmed(&format!("p{number}"), &format!("o{number}"), "10.10"));
    Message { traceparent: Some(traceparent.to_owned()), ..Message::new(CONFIRMED, &format!("e{number}"), data) }
}

fn trace(number: usize) -> String {
    format!("4bf92f3577b34da6a3ce929d0e0e{number:04x}")
}

/// Publishes the payments of these orders, each in a trace of its own, and waits for their announcements.
async fn paid(stack: &Stack, worker: &Worker, orders: std::ops::Range<usize>) {
    for number in orders.clone() {
        let traceparent = format!("00-{}-00f067aa0ba902b7-01", trace(number));
        stack.publisher.publish(&payment(number, &traceparent)).await.unwrap();
    }
    let received =
        || stack.subscriber.received().into_iter().map(|received| received.order_id).collect::<BTreeSet<_>>();
    let announced = async || orders.clone().all(|number| received().contains(&format!("o{number}")));
    wait::until_or("the announcements", LIMIT, || worker.log_tail(), announced).await;
}

async fn arrives_whole(protocol: &str) {
    let collector = Collector::start().await;
    let mut stack =
        Stack::start_with(&format!("otelcol_{}", &protocol[..4]), WORKER, |spec| collector.takes_from_sidecar(spec))
            .await;
    stack.worker = collector.takes_from(stack.worker, protocol);
    let url = stack.worker.database_url.clone();
    let shop = sqlx::PgPool::connect(&url).await.unwrap();
    let orders: Vec<String> = (0..30).map(|number| format!("o{number}")).collect();
    rig::orders::place(&shop, &orders).await;
    let worker = Worker::start(stack.worker.clone()).await;
    stack.daprd.wait_subscribed("payment.failed").await;

    // One payment: one trace, in which every span has its parent.
    paid(&stack, &worker, 0..1).await;
    let called = async || stack.warehouse.calls().len() == 1;
    wait::until("the warehouse to be called", LIMIT, called).await;
    const CALL: &str = "warehouse.v1.WarehouseService/ConfirmReservation";
    let path = [
        ("accept payment.confirmed", "the publisher"),
        ("store inbox", "accept payment.confirmed"),
        ("INSERT inbox", "store inbox"),
        ("apply payment.confirmed", "accept payment.confirmed"),
        ("apply inbox", "apply payment.confirmed"),
        ("SELECT orders", "apply inbox"),
        ("UPDATE orders", "apply inbox"),
        ("COMMIT", "apply inbox"),
        (ANNOUNCED, "apply payment.confirmed"),
        (CALL, "apply payment.confirmed"),
    ];
    let of_worker = || -> BTreeMap<String, Span> {
        let spans = collector.spans().into_iter().filter(|span| span.by == "order-worker" && span.trace == trace(0));
        spans.map(|span| (span.name.clone(), span)).collect()
    };
    let arrived = async || path.iter().all(|(name, _)| of_worker().contains_key(*name));
    let seen = || format!("{:?}\n{}\n{}", of_worker().keys(), collector.process.log_tail(), worker.log_tail());
    wait::until_or("the whole trace", LIMIT, seen, arrived).await;
    let spans = of_worker();
    for (name, parent) in path {
        let parent = spans.get(parent).map_or("00f067aa0ba902b7", |span| span.id.as_str());
        assert_eq!(spans[name].parent, parent, "{name}");
    }
    let resources = collector.lines("traces.json");
    let mut resources = resources.iter().flat_map(|line| all(&line["resourceSpans"])).map(|one| &one["resource"]);
    assert!(resources.any(|resource| attribute(resource, "deployment.environment.name") == "tried"));
    let onward = |span: &str| format!("00-{}-{}-01", trace(0), spans[span].id);
    assert_eq!(stack.warehouse.calls()[0].traceparent, Some(onward(CALL)));
    assert_eq!(stack.subscriber.received()[0].extensions.get("traceparent"), Some(&onward(ANNOUNCED)));
    // The sidecar's own span of what it published is in the same trace. It makes none of what it delivers raw, without looking into it.
    let of_sidecar = || -> BTreeSet<(String, String)> {
        let spans = collector.spans().into_iter().filter(|span| span.by != "order-worker" && span.trace == trace(0));
        spans.map(|span| (span.name, span.parent)).collect()
    };
    let expected =
        BTreeSet::from([("/dapr.proto.runtime.v1.Dapr/PublishEvent".to_owned(), spans[ANNOUNCED].id.clone())]);
    let seen = || format!("{:?}", of_sidecar());
    wait::until_or("the sidecar's span", LIMIT, seen, async || of_sidecar() == expected).await;

    let probes = collector.spans().iter().filter(|span| span.name.ends_with("/GetMetadata")).count();
    assert_eq!(probes, 0, "a probe of the sidecar makes no trace");

    let consumed = || collector.sum("order_worker_payment_events_consumed_total", ("topic", CONFIRMED));
    let counted = async || consumed() == Some(1);
    wait::until_or("the counter", LIMIT, || format!("{:?}", consumed()), counted).await;

    // Many at once: what is done for all links each.
    let database = [("DATABASE_URL", url.as_str())];
    assert!(
        run(WORKER, &["queue", "pause", "inbox", "--reason", "a batch", "--as", "ada"], &database)
            .await
            .status
            .success()
    );
    for number in 1..21 {
        let traceparent = format!("00-{}-00f067aa0ba902b7-01", trace(number));
        stack.publisher.publish(&payment(number, &traceparent)).await.unwrap();
    }
    let waiting = async || consumed() == Some(21);
    wait::until_or("20 to wait", LIMIT, || format!("{:?}", consumed()), waiting).await;
    assert!(
        run(WORKER, &["queue", "resume", "inbox", "--reason", "a batch", "--as", "ada"], &database)
            .await
            .status
            .success()
    );
    let applied = || -> BTreeSet<String> {
        let spans = collector.spans().into_iter().filter(|span| span.name == "apply payment.confirmed");
        spans.filter(|span| span.trace != trace(0)).map(|span| span.id).collect()
    };
    let linked = || -> BTreeSet<String> {
        let batches = collector.spans().into_iter().filter(|span| span.name == "apply inbox" && span.parent.is_empty());
        batches.flat_map(|span| span.links).collect()
    };
    let seen = || format!("{:?}\n{:?}\n{}", applied(), linked(), worker.log_tail());
    wait::until_or("all 20 to be linked", LIMIT, seen, async || applied().len() == 20 && linked() == applied()).await;

    // Without it work goes on; what it missed is counted, and it gets the rest once it is back.
    collector.process.terminate();
    assert!(collector.process.wait_exit(LIMIT).await.success());
    paid(&stack, &worker, 21..25).await;
    let failed = async || worker.metric("order_worker_otlp_exports_failed_total").await > 0.0;
    wait::until_or("the failure to be counted", LIMIT, || worker.log_tail(), failed).await;
    collector.process.restart();
    collector.listens().await;
    paid(&stack, &worker, 25..26).await;
    let back = async || collector.spans().iter().any(|span| span.name == ANNOUNCED && span.trace == trace(25));
    wait::until_or("it to be back", LIMIT, || worker.log_tail(), back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payments_trace_and_the_metrics_arrive_whole_by_grpc() {
    arrives_whole("grpc").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payments_trace_and_the_metrics_arrive_whole_by_http() {
    arrives_whole("http/protobuf").await;
}
