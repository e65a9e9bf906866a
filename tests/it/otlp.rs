//! Traces and metrics on their way to a collector: by gRPC and by HTTP, away and back.

use std::collections::BTreeSet;

use rig::authority::Authority;
use rig::callback::Event;
use rig::postgres::Postgres;
use rig::wait;
use rig::worker::WorkerSpec;

use crate::collector::{Collector, attributes, hex, value};
use crate::scene::{SOON, Scene, confirmation};
use crate::tls::found;

/// Sends metrics often, and says who it is.
fn sends(spec: WorkerSpec, collector: &Collector, protocol: &str) -> WorkerSpec {
    spec.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", collector.server.addr()))
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=shop%20secret")
        .env("OTEL_METRIC_EXPORT_INTERVAL", "200")
        .env("OTEL_BSP_SCHEDULE_DELAY", "200")
}

async fn sends_what_is_shown(protocol: &str) {
    let collector = Collector::start();
    let name = format!("otlp_{}", &protocol[..4]);
    let scene = Scene::start_with(&name, |spec| sends(spec, &collector, protocol)).await;
    scene.shop.place_one("o1").await;
    scene.confirm("e1", "p1", "o1").await;
    scene.settled().await;
    // What is counted, and what is looked at now and then.
    let shown = async || {
        let metrics = scene.worker.metrics().await;
        metrics.get(r#"order_worker_queue_pending{queue="inbox"}"#) == Some(&0.0)
            && scene.worker.metric("order_worker_announcements_published_total").await == 1.0
    };
    wait::until("the announcement to be counted", SOON, shown).await;
    let spans = collector.spans(&scene).await;
    for name in ["accept payment.confirmed", "apply inbox", "COMMIT", "publish orders.order.status_changed"] {
        assert!(spans.contains_key(name), "{protocol}: {name} is not among {:?}", spans.keys());
    }
    let metrics = collector.metrics();
    let topic = ("topic", "payment.confirmed");
    assert_eq!(value(&metrics["order_worker_payment_events_consumed_total"], topic), Some(1.0), "{protocol}");
    assert_eq!(value(&metrics["order_worker_queue_pending"], ("queue", "inbox")), Some(0.0), "{protocol}");
    assert_eq!(metrics["order_worker_accept_seconds"].unit, "s");
    assert_eq!(collector.tenants(), BTreeSet::from(["shop secret".to_owned()]), "{protocol}");
    assert!(!scene.worker.logs().contains("secret"), "a header is a secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_and_metrics_reach_a_collector_by_grpc() {
    sends_what_is_shown("grpc").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_and_metrics_reach_a_collector_by_http() {
    sends_what_is_shown("http/protobuf").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_is_called_by_tls_where_its_certificate_is_known_and_else_refused_with_the_way_out() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for protocol in ["grpc", "http/protobuf"] {
        let collector = Collector::start();
        let addr = collector.behind_tls(&authority).await;
        let trusting = async |whom: &Authority| {
            let trusts = |spec| {
                sends(spec, &collector, protocol)
                    .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("https://{addr}"))
                    .env("OTEL_EXPORTER_OTLP_CERTIFICATE", whom.file().display())
            };
            let scene = Scene::start_with(&format!("otlp_tls_{}", &protocol[..4]), trusts).await;
            scene.shop.place_one("o1").await;
            scene.confirm("e1", "p1", "o1").await;
            scene.settled().await;
            scene
        };
        let scene = trusting(&stranger).await;
        let said = "signed by a CA that is not known here: name that CA's certificate in worker.telemetry.otlp_ca_file";
        // Of traces and of metrics.
        let both = async || scene.worker.logs().matches(said).count() == 2;
        wait::until_or("the stranger to be refused", SOON, || scene.worker.log_tail(), both).await;
        assert!(!collector.has_metrics(), "{protocol}");

        let scene = trusting(&authority).await;
        assert!(collector.spans(&scene).await.contains_key("COMMIT"), "{protocol}: {}", scene.worker.log_tail());
        assert!(collector.has_metrics(), "{protocol}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_says_whether_the_collector_takes_what_it_would_be_sent() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let database = Postgres::shared().await.database("otlp_doctor").await;
    let collector = Collector::start();
    let encrypted = format!("https://{}", collector.behind_tls(&authority).await);
    let plain = collector.server.addr();
    let known = authority.file().display().to_string();
    let unknown = stranger.file().display().to_string();
    for protocol in ["grpc", "http/protobuf"] {
        let said = async |endpoint: &str, ca: &str| {
            let env = [
                ("DATABASE_URL", database.as_str()),
                ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", ca),
            ];
            found("OTLP collector", &env).await
        };
        for (endpoint, ca) in [(&encrypted, &known), (&plain, &String::new())] {
            let [state, seen, _] = said(endpoint, ca).await;
            assert!(state == "ok" && seen.ends_with("takes what is sent"), "{protocol} {endpoint}: {state} {seen}");
        }
        for (endpoint, ca, says) in [
            (&encrypted, unknown.as_str(), "name that CA's certificate in worker.telemetry.otlp_ca_file"),
            (&encrypted, "/nowhere/ca.crt", "see worker.telemetry.otlp_endpoint"),
            (&"http://127.0.0.1:9".to_owned(), "", "see worker.telemetry.otlp_endpoint"),
        ] {
            let [state, seen, next] = said(endpoint, ca).await;
            assert!(state == "warning" && next.contains(says), "{protocol} {endpoint} {ca}: {state} {seen} {next}");
        }
    }
    assert!(collector.metrics().is_empty(), "the doctor sends nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_metrics_go_to_the_collector_as_to_prometheus() {
    let collector = Collector::start();
    let scene = Scene::start_with("otlp_same", |spec| sends(spec, &collector, "grpc")).await;
    let shown = async || -> BTreeSet<String> {
        let (_, text) = scene.worker.get("/metrics").await.unwrap();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    let same = async || shown().await == collector.metrics().into_keys().collect();
    let differ = || format!("{:?}", collector.metrics().keys());
    wait::until_or("the collector to know all metrics", SOON, differ, same).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_is_told_of_once_and_costs_no_event() {
    for protocol in ["grpc", "http/protobuf"] {
        let collector = Collector::start();
        collector.server.stop();
        let name = format!("otlp_away_{}", &protocol[..4]);
        let scene = Scene::start_with(&name, |spec| sends(spec, &collector, protocol)).await;
        for number in 0..20 {
            let order = format!("o{number}");
            scene.shop.place_one(&order).await;
            scene.confirm(&format!("e{number}"), &format!("p{number}"), &order).await;
        }
        scene.settled().await;
        let said = |what: &str| scene.worker.logs().matches(what).count();
        let (no_traces, no_metrics) = ("OTLP collector takes no traces", "OTLP collector takes no metrics");
        let tail = || scene.worker.log_tail();
        wait::until_or("both to be told of", SOON, tail, async || said(no_traces) == 1 && said(no_metrics) == 1).await;
        assert!(scene.worker.logs().contains("onnection refused"), "it says why: {}", scene.worker.log_tail());
        for signal in ["traces", "metrics"] {
            let series = format!(r#"order_worker_otlp_exports_failed_total{{signal="{signal}"}}"#);
            let counted = async || scene.worker.metrics().await.get(&series).is_some_and(|count| *count >= 1.0);
            wait::until_or("failures to be counted", SOON, || series.clone(), counted).await;
        }

        collector.server.start_again();
        // An event makes spans to send.
        scene.shop.place_one("again").await;
        scene.confirm("again", "again", "again").await;
        let again = ["OTLP collector takes traces again", "OTLP collector takes metrics again"];
        wait::until_or("both to be back", SOON, tail, async || again.iter().all(|line| said(line) == 1)).await;
        assert!(collector.has_metrics());
        assert_eq!((said(no_traces), said(no_metrics)), (1, 1), "once: {}", scene.worker.log_tail());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_publisher_decides_what_is_traced_and_else_the_sampler_of_the_environment() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let collector = Collector::start();
    let sampled = |spec| {
        sends(spec, &collector, "grpc")
            .env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
            .env("OTEL_TRACES_SAMPLER_ARG", "0")
    };
    let scene = Scene::start_with("otlp_sampled", sampled).await;
    scene.shop.place(&["o1".into(), "o2".into(), "o3".into()]).await;
    scene.confirm("e1", "p1", "o1").await;
    for (event, order, flag) in [("e2", "o2", "00"), ("e3", "o3", "01")] {
        let traceparent = Some(format!("00-{TRACE}-00f067aa0ba902b7-{flag}"));
        scene.deliver(&Event { traceparent, ..confirmation(event, event, order) }).await;
    }
    scene.settled().await;
    let spans = collector.all_spans(&scene).await;
    let accepted: Vec<_> = spans.iter().filter(|span| span.name == "accept payment.confirmed").collect();
    assert_eq!(accepted.len(), 1, "{accepted:?}");
    assert_eq!(attributes(&accepted[0].attributes)["messaging.message.id"], "e3");
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE), "{spans:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_signal_alone_can_be_sent() {
    let collector = Collector::start();
    let traces_alone = |spec| sends(spec, &collector, "grpc").env("ORDER_WORKER_TELEMETRY_OTLPSIGNALS", "traces");
    let scene = Scene::start_with("otlp_traces", traces_alone).await;
    scene.shop.place_one("o1").await;
    scene.confirm("e1", "p1", "o1").await;
    scene.settled().await;
    assert!(collector.spans(&scene).await.contains_key("COMMIT"));
    assert!(!collector.has_metrics());

    let collector = Collector::start();
    let metrics_alone = |spec| sends(spec, &collector, "grpc").env("ORDER_WORKER_TELEMETRY_OTLPSIGNALS", "metrics");
    let scene = Scene::start_with("otlp_metrics", metrics_alone).await;
    scene.shop.place_one("o1").await;
    scene.confirm("e1", "p1", "o1").await;
    scene.settled().await;
    wait::until("metrics", SOON, async || collector.has_metrics()).await;
    assert!(collector.spans(&scene).await.is_empty());
}

/// A payment of a publisher whose trace is sampled and has a state.
async fn pay_in_a_trace(scene: &Scene) -> Event {
    scene.shop.place_one("o1").await;
    let traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
    let event = Event { traceparent, tracestate: Some("rojo=1".to_owned()), ..confirmation("e1", "p1", "o1") };
    scene.deliver(&event).await;
    scene.settled().await;
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn each_signal_may_have_a_collector_protocol_and_path_of_its_own() {
    let (traces, metrics) = (Collector::start(), Collector::start());
    let apart = |spec| {
        sends(spec, &metrics, "grpc")
            .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("http://{}/v1/traces", traces.server.addr()))
            .env("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
            .env("OTEL_SERVICE_NAME", "")
            .env("OTEL_RESOURCE_ATTRIBUTES", "service.name=orders%2Dwest,team=a%2Cb,service.instance.id=one")
    };
    let scene = Scene::start_with("otlp_apart", apart).await;
    pay_in_a_trace(&scene).await;
    wait::until("metrics", SOON, async || metrics.has_metrics()).await;
    assert!(traces.spans(&scene).await.contains_key("COMMIT"), "{}", scene.worker.log_tail());
    assert!(!traces.has_metrics() && metrics.spans(&scene).await.is_empty());
    let resource = traces.resource();
    for (key, value) in [("service.name", "orders-west"), ("team", "a,b"), ("service.instance.id", "one")] {
        assert_eq!(resource[key], value, "{resource:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_disabled_sends_nothing_and_hands_the_publishers_trace_on_as_it_came() {
    for variables in
        [&[("OTEL_SDK_DISABLED", "true")][..], &[("OTEL_TRACES_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "none")]]
    {
        let collector = Collector::start();
        let disabled =
            |spec| variables.iter().fold(sends(spec, &collector, "grpc"), |spec, (name, value)| spec.env(name, value));
        let scene = Scene::start_with("otlp_disabled", disabled).await;
        let event = pay_in_a_trace(&scene).await;
        let announced = &scene.direct.sidecar.published()[0];
        let sent = |name: &str| announced.metadata.get(name).cloned();
        assert_eq!(
            [sent("cloudevent.traceparent"), sent("cloudevent.tracestate")],
            [event.traceparent, event.tracestate]
        );
        assert!(collector.spans(&scene).await.is_empty() && !collector.has_metrics(), "{variables:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_propagators_no_trace_comes_in_and_none_goes_out() {
    let collector = Collector::start();
    let alone = |spec| sends(spec, &collector, "grpc").env("OTEL_PROPAGATORS", "none");
    let scene = Scene::start_with("otlp_alone", alone).await;
    let event = pay_in_a_trace(&scene).await;
    let announced = &scene.direct.sidecar.published()[0];
    assert!(!announced.metadata.keys().any(|name| name.contains("trace")), "{:?}", announced.metadata);
    let call = &scene.direct.warehouse.calls()[0];
    assert_eq!([&announced.traceparent, &call.traceparent, &call.tracestate], [&None; 3]);
    let spans = collector.spans(&scene).await;
    let trace = |name: &str| hex(&spans[name].trace_id);
    assert_ne!(trace("accept payment.confirmed"), event.traceparent.unwrap()[3..35]);
    assert_eq!(trace("accept payment.confirmed"), trace("publish orders.order.status_changed"), "its own trace is one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_cannot_be_used_is_named_and_stops_nothing() {
    let collector = Collector::start();
    let wrong = [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "5s"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_TRACES_SAMPLER", "xray"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_RESOURCE_ATTRIBUTES", "100%"),
    ];
    let with_them =
        |spec| wrong.iter().fold(sends(spec, &collector, "grpc"), |spec, (name, value)| spec.env(name, value));
    let scene = Scene::start_with("otlp_wrong", with_them).await;
    pay_in_a_trace(&scene).await;
    let logs = scene.worker.logs();
    for (name, _) in wrong {
        assert!(logs.contains(&format!("Variable of OpenTelemetry ignored: {name}")), "{name}: {logs}");
    }
    assert!(collector.spans(&scene).await.contains_key("COMMIT"));
    let env = [("DATABASE_URL", scene.direct.worker.database_url.as_str()), wrong[0]];
    let [state, seen, _] = found("OpenTelemetry's variables", &env).await;
    assert_eq!(state, "warning");
    assert!(seen.starts_with("OTEL_BSP_MAX_QUEUE_SIZE=many"), "{seen}");
}
