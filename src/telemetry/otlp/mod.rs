//! The way of spans and metrics to an OTLP collector.
//!
//! Finished spans wait in a bounded buffer (2,048) that a thread of its own empties; a full buffer drops spans, it never makes
//! anybody wait. Metrics are read once a minute by another thread. Both send what they have within [`EXPORT_TIMEOUT`]. What the SDK
//! reads from the environment holds: sampling (`OTEL_TRACES_SAMPLER`), batching (`OTEL_BSP_…`), the time between two readings
//! (`OTEL_METRIC_EXPORT_INTERVAL`), headers (`OTEL_EXPORTER_OTLP_HEADERS`).

mod connection;
mod endpoint;
mod post;
mod watched;

use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::PeriodicReader;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter as _};
use tokio::runtime::Handle;
use tonic::transport::Channel;

pub use endpoint::OtlpEndpoint;

use super::labels::Signal;
use super::losses::Losses;
use super::settings::{OtlpProtocol, Telemetry};
use super::{TelemetryError, chain};
use crate::tls;
use post::Post;
use watched::{Reason, Watched};

/// A connection to the collector; without a limit a silent network holds the thread for minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// One export, retries included.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// What metrics leave by.
pub(super) type MetricsReader = PeriodicReader<Watched<MetricExporter>>;

/// A collector and the way to it. It is connected to when there is something to send.
#[derive(Debug)]
pub(super) struct Collector {
    endpoint: OtlpEndpoint,
    way: Way,
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
    /// The collector of the settings; `None`: there is none. What it does not take is added to `losses`.
    ///
    /// # Errors
    /// When there is no tokio runtime, or the endpoint or its CAs cannot be used.
    pub(super) fn new(settings: &Telemetry, losses: Losses) -> Result<Option<Self>, TelemetryError> {
        let Some(endpoint) = settings.otlp_endpoint.clone() else { return Ok(None) };
        let runtime = Handle::try_current().map_err(|_| TelemetryError::NoRuntime)?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let trusts = endpoint.is_encrypted().then_some(settings.otlp_ca_file.as_str());
        let tls = tls::client(trusts).map_err(|reason| TelemetryError::Cas { reason })?;
        let reason = Reason::default();
        let way = match settings.otlp_protocol {
            OtlpProtocol::Grpc => Way::Grpc(connection::channel(&endpoint, tls, tcp)?),
            OtlpProtocol::Http => Way::Http(Box::new(Post::new(tls, tcp, runtime, reason.clone()))),
        };
        Ok(Some(Self { endpoint, way, reason, losses, resource: resource(&settings.service_name) }))
    }

    /// Who sends.
    pub(super) const fn resource(&self) -> &Resource {
        &self.resource
    }

    fn span_exporter(&self) -> Result<SpanExporter, ExporterBuildError> {
        match self.way.clone() {
            Way::Grpc(channel) => {
                SpanExporter::builder().with_tonic().with_channel(channel).with_timeout(EXPORT_TIMEOUT).build()
            }
            Way::Http(post) => SpanExporter::builder()
                .with_http()
                .with_http_client(*post)
                .with_endpoint(self.endpoint.of_signal("traces"))
                .with_timeout(EXPORT_TIMEOUT)
                .build(),
        }
    }

    fn metric_exporter(&self) -> Result<MetricExporter, ExporterBuildError> {
        match self.way.clone() {
            Way::Grpc(channel) => {
                MetricExporter::builder().with_tonic().with_channel(channel).with_timeout(EXPORT_TIMEOUT).build()
            }
            Way::Http(post) => MetricExporter::builder()
                .with_http()
                .with_http_client(*post)
                .with_endpoint(self.endpoint.of_signal("metrics"))
                .with_timeout(EXPORT_TIMEOUT)
                .build(),
        }
    }

    /// The provider whose spans go to the collector.
    ///
    /// # Errors
    /// When the exporter cannot be built.
    pub(super) fn traces(&self) -> Result<SdkTracerProvider, TelemetryError> {
        let exporter = self.watched(Signal::Traces, self.span_exporter()?);
        Ok(SdkTracerProvider::builder().with_resource(self.resource.clone()).with_batch_exporter(exporter).build())
    }

    /// What reads the metrics and sends them to the collector.
    ///
    /// # Errors
    /// When the exporter cannot be built.
    pub(super) fn metrics(&self) -> Result<MetricsReader, TelemetryError> {
        Ok(PeriodicReader::builder(self.watched(Signal::Metrics, self.metric_exporter()?)).build())
    }

    /// Sends none of `signal`.
    async fn knock(&self, signal: Signal) -> Result<(), String> {
        let built = |error: ExporterBuildError| error.to_string();
        let taken = match signal {
            Signal::Traces => self.span_exporter().map_err(built)?.export(Vec::new()).await,
            Signal::Metrics => self.metric_exporter().map_err(built)?.export(&ResourceMetrics::default()).await,
        };
        taken.map_err(|error| self.reason.of(&error))
    }

    fn watched<E>(&self, signal: Signal, exporter: E) -> Watched<E> {
        Watched::new(exporter, signal, self.endpoint.to_string(), self.reason.clone(), self.losses.clone())
    }
}

/// Sends to the collector of the settings what it would be sent, but none of it: whether it is there, trusted, and takes it. `None`:
/// there is no collector.
///
/// # Errors
/// Which signal it does not take, and why.
pub async fn knock(settings: &Telemetry) -> Option<Result<(), String>> {
    let collector = match Collector::new(settings, Losses::default()) {
        Ok(collector) => collector?,
        Err(error) => return Some(Err(chain(&error).to_string())),
    };
    for signal in Signal::ALL.iter().copied().filter(|signal| settings.otlp_signals.include(*signal)) {
        if let Err(error) = collector.knock(signal).await {
            return Some(Err(format!("{signal}: {error}")));
        }
    }
    Some(Ok(()))
}

fn resource(service_name: &str) -> Resource {
    Resource::builder()
        .with_service_name(service_name.to_owned())
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance_id()),
        ])
        .build()
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
