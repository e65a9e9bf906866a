//! The way of spans and metrics to an OTLP collector.
//!
//! Finished spans wait in a bounded buffer (2,048) that a thread of its own empties; a full buffer drops spans, it never makes
//! anybody wait. Metrics are read once a minute by another thread. Both send what they have within [`EXPORT_TIMEOUT`], unless
//! `OTEL_EXPORTER_OTLP_TIMEOUT` says otherwise. What is one signal's own (`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` and its like) comes
//! before the settings. What the SDK reads from the environment holds: sampling (`OTEL_TRACES_SAMPLER`), batching (`OTEL_BSP_…`), the time between two readings
//! (`OTEL_METRIC_EXPORT_INTERVAL`), headers (`OTEL_EXPORTER_OTLP_HEADERS`).

mod connection;
mod endpoint;
mod post;
mod watched;

use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::PeriodicReader;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::resource::{ResourceDetector, SdkProvidedResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter as _};
use tokio::runtime::Handle;
use tonic::transport::Channel;

pub use endpoint::OtlpEndpoint;

use super::environment::Environment;
use strum::VariantArray;

use super::losses::{Losses, Signal};
use super::settings::{OtlpProtocol, Telemetry};
use super::{TelemetryError, chain};
use crate::platform::tls;
use post::Post;
use watched::{Reason, Watched};

/// A connection to the collector; without a limit a silent network holds the thread for minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// One export, retries included.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// `worker.telemetry.service_name` where nobody has set it.
const DEFAULT_NAME: &str = "order-worker";

/// The reader that exports the metrics.
pub(super) type MetricsReader = PeriodicReader<Watched<MetricExporter>>;

/// A collector and the way to it. It is connected to when there is something to send.
#[derive(Debug)]
pub(super) struct Collector {
    signal: Signal,
    /// Where it is, as it is told of.
    shown: String,
    way: Way,
    /// Where HTTP posts to.
    url: String,
    timeout: Duration,
    reason: Reason,
    losses: Losses,
    resource: Resource,
}

#[derive(Clone, Debug)]
enum Way {
    Grpc(Channel),
    Http(Box<Post>),
}

impl Collector {
    /// The collector of a signal; `None`: there is none. What it does not take is added to `losses`.
    ///
    /// # Errors
    /// When there is no tokio runtime, or the endpoint or its CAs cannot be used.
    pub(super) fn new(
        settings: &Telemetry,
        environment: &Environment,
        signal: Signal,
        losses: Losses,
    ) -> Result<Option<Self>, TelemetryError> {
        let own = environment.of(signal);
        if !own.exported || !settings.otlp_signals.include(signal) {
            return Ok(None);
        }
        let (endpoint, url) = if let Some((variable, text)) = &own.endpoint {
            let endpoint = OtlpEndpoint::try_from(text.clone())
                .map_err(|reason| TelemetryError::Variable { variable: variable.clone(), reason })?;
            let url = endpoint.as_it_is();
            (endpoint, url)
        } else {
            let Some(endpoint) = settings.otlp_endpoint.clone() else { return Ok(None) };
            let url = endpoint.of_signal(signal.as_str());
            (endpoint, url)
        };
        let runtime = Handle::try_current().map_err(|_| TelemetryError::NoRuntime)?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let ca_file = own.ca_file.as_deref().unwrap_or(&settings.otlp_ca_file);
        let tls =
            tls::client(endpoint.is_encrypted().then_some(ca_file)).map_err(|reason| TelemetryError::Cas { reason })?;
        let reason = Reason::default();
        let timeout = own.timeout.unwrap_or(EXPORT_TIMEOUT);
        let way = match own.protocol.unwrap_or(settings.otlp_protocol) {
            OtlpProtocol::Grpc => Way::Grpc(connection::channel(&endpoint, tls, tcp, timeout)?),
            OtlpProtocol::Http => Way::Http(Box::new(Post::new(tls, tcp, runtime, reason.clone(), timeout))),
        };
        let (shown, resource) = (endpoint.to_string(), resource(&settings.service_name, environment));
        Ok(Some(Self { signal, shown, way, url, timeout, reason, losses, resource }))
    }

    /// Who sends.
    pub(super) const fn resource(&self) -> &Resource {
        &self.resource
    }

    fn span_exporter(&self) -> Result<SpanExporter, ExporterBuildError> {
        // The protocol is decided here: the SDK would ask its variable again.
        match self.way.clone() {
            Way::Grpc(channel) => SpanExporter::builder()
                .with_tonic()
                .with_channel(channel)
                .with_protocol(Protocol::Grpc)
                .with_timeout(self.timeout)
                .build(),
            Way::Http(post) => SpanExporter::builder()
                .with_http()
                .with_http_client(*post)
                .with_protocol(Protocol::HttpBinary)
                .with_endpoint(self.url.clone())
                .with_timeout(self.timeout)
                .build(),
        }
    }

    fn metric_exporter(&self) -> Result<MetricExporter, ExporterBuildError> {
        // The protocol is decided here: the SDK would ask its variable again.
        match self.way.clone() {
            Way::Grpc(channel) => MetricExporter::builder()
                .with_tonic()
                .with_channel(channel)
                .with_protocol(Protocol::Grpc)
                .with_timeout(self.timeout)
                .build(),
            Way::Http(post) => MetricExporter::builder()
                .with_http()
                .with_http_client(*post)
                .with_protocol(Protocol::HttpBinary)
                .with_endpoint(self.url.clone())
                .with_timeout(self.timeout)
                .build(),
        }
    }

    /// The provider whose spans go to the collector.
    ///
    /// # Errors
    /// When the exporter cannot be built.
    pub(super) fn traces(&self) -> Result<SdkTracerProvider, TelemetryError> {
        let exporter = self.watched(self.span_exporter()?);
        Ok(SdkTracerProvider::builder().with_resource(self.resource.clone()).with_batch_exporter(exporter).build())
    }

    /// The reader that exports the metrics to the collector.
    ///
    /// # Errors
    /// When the exporter cannot be built.
    pub(super) fn metrics(&self) -> Result<MetricsReader, TelemetryError> {
        Ok(PeriodicReader::builder(self.watched(self.metric_exporter()?)).build())
    }

    /// Sends an empty export.
    async fn send_nothing(&self) -> Result<(), ExportError> {
        let taken = match self.signal {
            Signal::Traces => self.span_exporter()?.export(Vec::new()).await,
            Signal::Metrics => self.metric_exporter()?.export(&ResourceMetrics::default()).await,
        };
        taken.map_err(|error| ExportError::Refused(self.reason.of(&error)))
    }

    fn watched<E>(&self, exporter: E) -> Watched<E> {
        Watched::new(exporter, self.signal, self.shown.clone(), self.reason.clone(), self.losses.clone())
    }
}

/// An empty export that failed.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("{0}")]
    Build(#[from] ExporterBuildError),
    #[error("{0}")]
    Refused(String),
}

/// The answer of a collector to an empty export.
#[derive(Debug)]
pub struct CollectorCheck {
    /// Its address; empty where the address cannot be used.
    pub endpoint: String,
    /// The error, with its signal; `None`: it takes them.
    pub error: Option<String>,
}

/// Sends an empty export to each collector: whether it is there, trusted, and takes the signal. One check for each signal; a collector of
/// both signals has one check where all is well with it.
pub async fn check_collectors(settings: &Telemetry) -> Vec<CollectorCheck> {
    let environment = Environment::of_process();
    let mut checks: Vec<CollectorCheck> = Vec::new();
    for signal in Signal::VARIANTS.iter().copied() {
        match Collector::new(settings, &environment, signal, Losses::default()) {
            Ok(None) => {}
            Ok(Some(collector)) => {
                let error = collector.send_nothing().await.err().map(|error| format!("{signal}: {error}"));
                let known = |other: &CollectorCheck| {
                    other.endpoint == collector.shown && (error.is_none() || other.error.is_some())
                };
                if !checks.iter().any(known) {
                    checks.push(CollectorCheck { endpoint: collector.shown, error });
                }
            }
            Err(error) => {
                let error = Some(chain(&error).to_string());
                if !checks.iter().any(|other| other.error == error) {
                    checks.push(CollectorCheck { endpoint: String::new(), error });
                }
            }
        }
    }
    // Where one signal is refused, only that is reported.
    let failed: Vec<String> = checks.iter().filter(|one| one.error.is_some()).map(|one| one.endpoint.clone()).collect();
    checks.retain(|one| one.error.is_some() || !failed.contains(&one.endpoint));
    checks
}

/// Who sends: the environment's attributes come before the program's own, but the name of the settings before theirs, unless it is the
/// default.
fn resource(service_name: &str, environment: &Environment) -> Resource {
    let detectors: [Box<dyn ResourceDetector>; 2] =
        [Box::new(SdkProvidedResourceDetector), Box::new(TelemetryResourceDetector)];
    let said = environment.attributes.iter();
    let named = said.clone().any(|(key, value)| key == "service.name" && !value.is_empty());
    let resource = Resource::builder_empty()
        .with_detectors(&detectors)
        .with_service_name(service_name.to_owned())
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance_id()),
        ])
        .with_attributes(said.map(|(key, value)| KeyValue::new(key.clone(), value.clone())));
    if named && service_name == DEFAULT_NAME {
        return resource.build();
    }
    resource.with_service_name(service_name.to_owned()).build()
}

/// The pod's name, so that a person finds the pod, and a random part, since a restarted container
/// keeps the name.
fn instance_id() -> String {
    let random = fastrand::u32(..);
    match std::env::var("HOSTNAME") {
        Ok(host) if !host.is_empty() => format!("{host}-{random:08x}"),
        _ => format!("{random:08x}"),
    }
}
