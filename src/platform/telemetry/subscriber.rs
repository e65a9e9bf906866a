//! Puts logs and traces together and installs them for the process.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Dispatch, Level};
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, fmt};

use super::environment::Environment;
use super::flood::{Flood, Limited};
use super::json::JsonLine;
use super::losses::Losses;
use super::losses::Signal;
use super::otlp::Collector;
use super::settings::{LogFormat, Telemetry};
use super::text::TextFields;
use super::{Metrics, TelemetryError, filter, trace};

/// The limit of the last export, when the process ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Installs logs (and, with an endpoint, traces) for the whole process. Call it once, in main,
/// within the tokio runtime, and keep the guard until the end.
///
/// # Errors
/// Names the setting at fault; see [`TelemetryError`].
pub fn init(settings: &Telemetry) -> Result<Guard, TelemetryError> {
    let guard = Guard::new(settings)?;
    let ansi = io::stdout().is_terminal();
    let dispatch = dispatch(settings, io::stdout, ansi, guard.traces.as_ref(), guard.flood.clone())?;
    tracing::dispatcher::set_global_default(dispatch).map_err(|_| TelemetryError::AlreadySet)?;
    for ignored in super::ignored() {
        tracing::warn!("Variable of OpenTelemetry ignored: {ignored}");
    }
    tokio::spawn(guard.flood.clone().keep_saying());
    Ok(guard)
}

/// Says what was left out of the log and sends the spans and metrics in hand when it goes, within two seconds, whatever the
/// collector does.
#[derive(Debug)]
#[must_use = "spans in hand are lost when nobody keeps the guard"]
pub struct Guard {
    losses: Losses,
    flood: Flood,
    /// Where metrics go.
    collector: Option<Collector>,
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
}

impl Guard {
    pub(super) fn new(settings: &Telemetry) -> Result<Self, TelemetryError> {
        let losses = Losses::default();
        let environment = Environment::of_process();
        if !environment.propagates {
            trace::stop_at_the_edge();
        }
        let collector = |signal| Collector::new(settings, &environment, signal, losses.clone());
        let traces = collector(Signal::Traces)?.as_ref().map(Collector::traces).transpose()?;
        let collector = collector(Signal::Metrics)?;
        let flood = Flood::new(settings.log_limit, losses.clone());
        Ok(Self { losses, flood, collector, traces, metrics: None })
    }

    /// The metrics of this process, which go to the collector as well, where there is one.
    ///
    /// # Errors
    /// When an exporter cannot be built.
    pub fn metrics(&mut self) -> Result<Metrics, TelemetryError> {
        let mut provider = SdkMeterProvider::builder();
        if let Some(collector) = &self.collector {
            provider = provider.with_reader(collector.metrics()?).with_resource(collector.resource().clone());
        }
        let metrics = Metrics::build(provider, self.losses.clone())?;
        self.metrics = self.collector.as_ref().map(|_| metrics.provider());
        Ok(metrics)
    }

    /// Sends what is in hand without holding a thread of the runtime; at most two seconds.
    pub async fn shutdown(self) {
        // A join error means a panic while flushing; there is nobody left to tell.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

impl Drop for Guard {
    /// Side by side, and for no longer than agreed: the SDK gives metrics 5 s of its own.
    fn drop(&mut self) {
        self.flood.say();
        let (sending, sent) = channel();
        if let Some(traces) = self.traces.take() {
            aside(&sending, move || traces.shutdown_with_timeout(FLUSH_TIMEOUT));
        }
        if let Some(metrics) = self.metrics.take() {
            aside(&sending, move || metrics.shutdown_with_timeout(FLUSH_TIMEOUT));
        }
        drop(sending);
        // Nothing is ever sent: it ends as soon as nobody holds the other end.
        let _ = sent.recv_timeout(FLUSH_TIMEOUT);
    }
}

/// Flushes on a thread of its own, which holds `sending` until it is done.
fn aside(sending: &Sender<()>, flush: impl FnOnce() -> OTelSdkResult + Send + 'static) {
    let sending = sending.clone();
    thread::spawn(move || {
        // The exporter has said it when the collector does not answer; the process ends regardless.
        let _ = flush();
        drop(sending);
    });
}

/// The subscriber of `settings`, writing to `writer`.
///
/// Log lines carry no spans, so without a provider nothing looks at spans: there the filters hold
/// for the whole subscriber, and a span is disabled at its callsite. With a provider each layer has
/// its own filter, and the level of the log does not decide what is traced.
pub(super) fn dispatch<W>(
    settings: &Telemetry,
    writer: W,
    ansi: bool,
    provider: Option<&SdkTracerProvider>,
    flood: Flood,
) -> Result<Dispatch, TelemetryError>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let level = filter::parse(&settings.log_level)?;
    let events = filter_fn(|metadata| metadata.is_event());
    let logs = Limited { flood, lines: lines(settings.log_format, writer, ansi) };
    let Some(provider) = provider else {
        return Ok(Dispatch::new(Registry::default().with(logs).with(level).with(events)));
    };
    let traces = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("order-worker"))
        .with_location(false)
        .with_tracked_inactivity(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false)
        // This crate's own spans only: the exporter's connection makes spans too.
        .with_filter(filter_fn(|metadata| {
            *metadata.level() <= Level::INFO && metadata.target().starts_with("order_worker")
        }));
    let logs = logs.with_filter(level.and(events));
    Ok(Dispatch::new(Registry::default().with(logs).with(traces)))
}

/// The layer that writes a line an event.
fn lines<W>(format: LogFormat, writer: W, ansi: bool) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(writer).with_ansi(ansi);
    match format {
        LogFormat::Text => layer.fmt_fields(TextFields).boxed(),
        LogFormat::Json => layer.fmt_fields(fmt::format::JsonFields::new()).event_format(JsonLine::new()).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};
    use std::sync::{Arc, Mutex};
    use std::time::Instant;

    use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
    use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
    use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
    use serde_json::Value;
    use tonic::transport::server::TcpIncoming;
    use tracing::{info, info_span, warn};

    use super::super::{capture, chain};
    use super::*;
    use crate::platform::telemetry::settings::OtlpProtocol;

    fn sent_to(collector: SocketAddr, otlp_protocol: OtlpProtocol) -> Telemetry {
        let otlp_endpoint = Some(collector.to_string().try_into().unwrap());
        Telemetry { otlp_endpoint, otlp_protocol, ..capture::settings() }
    }

    fn json() -> Telemetry {
        Telemetry { log_format: LogFormat::Json, ..capture::settings() }
    }

    #[test]
    fn a_text_line_reads_as_the_users() {
        let log = capture::logs(capture::settings());
        log.within(|| {
            let (payment_id, order_id) = ("pay-1", "order-1");
            info!(payment_id, order_id, amount = %"99.90", "Processing payment confirmed");
            info!("Starting cron jobs...");
        });
        let lines: Vec<_> = log.log().lines().map(str::to_owned).collect();
        assert!(
            lines[0].ends_with(" INFO order_worker::platform::telemetry::subscriber::tests: Processing payment confirmed: payment_id=pay-1, order_id=order-1, amount=99.90"),
            "{}",
            lines[0]
        );
        assert!(lines[1].ends_with(": Starting cron jobs..."), "{}", lines[1]);
        assert!(!log.log().contains('\u{1b}'), "colours where there is no terminal");
    }

    #[test]
    fn nothing_from_outside_forges_a_line() {
        let log = capture::logs(capture::settings());
        log.within(|| {
            let order_id = "x\nERROR all is lost, really=\"yes\" \\ \u{1b}[31m\u{2028}";
            warn!(order_id, empty = "", "Order \r\n{}", "a\nb");
        });
        let text = log.log();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.contains(
                r#"Order \r\na\nb: order_id="x\nERROR all is lost, really=\"yes\" \\ \u{1b}[31m\u{2028}", empty="""#
            ),
            "{text}"
        );
    }

    #[test]
    fn an_error_is_logged_with_its_causes() {
        let log = capture::logs(capture::settings());
        let error = TelemetryError::Metrics("x".to_owned());
        log.within(|| warn!(error = %chain(&error), "Away"));
        assert!(log.log().ends_with("Away: error=\"the metrics could not be registered: x\"\n"), "{}", log.log());
    }

    #[test]
    fn a_json_line_is_one_object_with_its_fields() {
        let log = capture::logs(json());
        log.within(|| {
            let _span = info_span!("work", secret = 1).entered();
            info!(order_id = "o\n1", rows = 3, "Applied");
        });
        let line: Value = serde_json::from_str(&log.log()).unwrap();
        assert_eq!(line["message"], "Applied");
        assert_eq!(line["order_id"], "o\n1");
        assert_eq!(line["rows"], 3);
        assert_eq!(line["level"], "INFO");
        assert!(line["target"].as_str().unwrap().starts_with("order_worker"));
        assert!(line.get("trace_id").is_none() && line.get("spans").is_none(), "{line}");
    }

    #[test]
    fn a_json_line_within_a_trace_names_it() {
        let traced = capture::traces(json());
        traced.within(|| {
            info_span!("work").in_scope(|| info!("Inside"));
            info!("Outside");
        });
        let lines: Vec<Value> = traced.log().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let spans = traced.spans();
        assert_eq!(lines[0]["trace_id"], spans[0].span_context.trace_id().to_string());
        assert_eq!(lines[0]["span_id"], spans[0].span_context.span_id().to_string());
        assert!(lines[1].get("trace_id").is_none());
    }

    #[test]
    fn traces_are_kept_whatever_the_level_of_the_log() {
        let traced = capture::traces(Telemetry { log_level: "error".to_owned(), ..capture::settings() });
        traced.within(|| info_span!("work").in_scope(|| info!("quiet")));
        assert_eq!(traced.spans().len(), 1);
        assert_eq!(traced.log(), "");
    }

    #[test]
    fn a_bad_level_and_a_missing_runtime_are_named() {
        let settings = Telemetry { log_level: "inof".to_owned(), ..capture::settings() };
        let message =
            dispatch(&settings, io::sink, false, None, Flood::new(0, Losses::default())).unwrap_err().to_string();
        assert!(message.contains("worker.telemetry.log_level") && message.contains("\"info\"?"), "{message}");
        let settings = sent_to("127.0.0.1:4317".parse().unwrap(), OtlpProtocol::Grpc);
        assert!(matches!(Guard::new(&settings), Err(TelemetryError::NoRuntime)));
    }

    /// What one export that hangs takes by itself.
    const ONE_EXPORT: Duration = Duration::from_secs(5);

    /// Makes more spans than the buffer holds, then ends; the collector is `endpoint`.
    async fn work_and_stop(endpoint: SocketAddr, protocol: OtlpProtocol) -> (Duration, Duration) {
        let settings = sent_to(endpoint, protocol);
        let mut guard = Guard::new(&settings).unwrap();
        let metrics = guard.metrics().unwrap();
        let dispatch = dispatch(&settings, io::sink, false, guard.traces.as_ref(), guard.flood.clone()).unwrap();
        let start = Instant::now();
        tracing::dispatcher::with_default(&dispatch, || {
            for _ in 0..10_000 {
                info_span!("work").in_scope(|| metrics.database_up(true));
            }
        });
        let worked = start.elapsed();
        let start = Instant::now();
        guard.shutdown().await;
        (worked, start.elapsed())
    }

    /// A collector: what it was sent.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<ResourceSpans>>>);

    #[tonic::async_trait]
    impl TraceService for Kept {
        async fn export(
            &self,
            request: tonic::Request<ExportTraceServiceRequest>,
        ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
            self.0.lock().unwrap().extend(request.into_inner().resource_spans);
            Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn spans_in_hand_reach_the_collector_at_shutdown() {
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = incoming.local_addr().unwrap();
        let kept = Kept::default();
        let service = TraceServiceServer::new(kept.clone());
        let server = tonic::transport::Server::builder().add_service(service);
        let server = tokio::spawn(server.serve_with_incoming(incoming));

        let settings = sent_to(addr, OtlpProtocol::Grpc);
        let guard = Guard::new(&settings).unwrap();
        let dispatch = dispatch(&settings, io::sink, false, guard.traces.as_ref(), guard.flood.clone()).unwrap();
        tracing::dispatcher::with_default(&dispatch, || info_span!("work").in_scope(|| ()));
        guard.shutdown().await;

        let sent = kept.0.lock().unwrap().clone();
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert_eq!(sent[0].scope_spans[0].spans[0].name, "work");
        let resource = format!("{:?}", sent[0].resource);
        for part in ["service.name", "order-worker", "service.version", "1.0.0", "service.instance.id"] {
            assert!(resource.contains(part), "{part} is not in {resource}");
        }
        server.abort();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_collector_that_is_away_holds_nobody() {
        for protocol in [OtlpProtocol::Grpc, OtlpProtocol::Http] {
            let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let (worked, stopped) = work_and_stop(closed, protocol).await;
            assert!(worked < ONE_EXPORT, "{protocol:?}: {worked:?}");
            assert!(stopped < ONE_EXPORT, "{protocol:?}: {stopped:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_collector_that_never_answers_holds_nobody() {
        for protocol in [OtlpProtocol::Grpc, OtlpProtocol::Http] {
            let silent = TcpListener::bind("127.0.0.1:0").unwrap();
            let (worked, stopped) = work_and_stop(silent.local_addr().unwrap(), protocol).await;
            assert!(worked < ONE_EXPORT, "{protocol:?}: {worked:?}");
            assert!(stopped < ONE_EXPORT, "{protocol:?}: {stopped:?}");
        }
    }
}
