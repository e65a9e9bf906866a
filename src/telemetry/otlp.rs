//! The way of spans to an OTLP collector.
//!
//! Finished spans wait in a bounded buffer (2,048) that a thread of its own empties; a full
//! buffer drops spans, it never makes anybody wait. The SDK's environment variables for
//! sampling (`OTEL_TRACES_SAMPLER`), batching (`OTEL_BSP_…`) and headers
//! (`OTEL_EXPORTER_OTLP_HEADERS`) hold.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData};
use tokio::runtime::Handle;
use tonic::transport::Endpoint;

use super::{TelemetryError, chain};
use crate::config::GrpcEndpoint;

/// A TCP connection to the collector; without a limit a silent network holds the thread for minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// One export, retries included.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// The provider that sends the spans of this process to the collector at `endpoint`, connecting
/// when the first spans are sent.
///
/// # Errors
/// When there is no tokio runtime, or the endpoint cannot be used.
pub(super) fn provider(service_name: &str, endpoint: &GrpcEndpoint) -> Result<SdkTracerProvider, TelemetryError> {
    if Handle::try_current().is_err() {
        return Err(TelemetryError::NoRuntime);
    }
    let channel = Endpoint::from_shared(endpoint.uri())
        .map_err(|source| TelemetryError::Endpoint { endpoint: endpoint.to_string(), source })?
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(EXPORT_TIMEOUT)
        .connect_lazy();
    let exporter = SpanExporter::builder().with_tonic().with_channel(channel).with_timeout(EXPORT_TIMEOUT).build()?;

    Ok(SdkTracerProvider::builder()
        .with_resource(resource(service_name))
        .with_batch_exporter(Watched::new(exporter, endpoint.to_string()))
        .build())
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

/// An exporter that says once that the collector is away, and once that it is back.
#[derive(Debug)]
struct Watched<E> {
    exporter: E,
    endpoint: String,
    away: AtomicBool,
}

impl<E> Watched<E> {
    fn new(exporter: E, endpoint: String) -> Self {
        Self { exporter, endpoint, away: AtomicBool::new(false) }
    }
}

impl<E: opentelemetry_sdk::trace::SpanExporter> opentelemetry_sdk::trace::SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        match (&result, self.away.swap(result.is_err(), Ordering::Relaxed)) {
            (Err(error), false) => {
                tracing::warn!(endpoint = self.endpoint, error = %chain(error), "OTLP collector is unreachable, traces are dropped");
            }
            (Ok(()), true) => tracing::info!(endpoint = self.endpoint, "OTLP collector is back"),
            _ => {}
        }
        result
    }

    // Both, since an exporter may implement either.
    fn shutdown(&self) -> OTelSdkResult {
        self.exporter.shutdown()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
