//! Exporters that say once that the collector does not answer, and once that it does again, and count what it did not take.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use crate::platform::telemetry::chain;
use crate::platform::telemetry::losses::Losses;
use crate::platform::telemetry::losses::Signal;
use crate::platform::tls;

/// Why nothing could be sent, as far as the SDK does not say it itself. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Reason(Arc<Mutex<String>>);

impl Reason {
    pub(super) fn set(&self, reason: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// Why an export failed with `error`.
    pub(super) fn of(&self, error: &OTelSdkError) -> String {
        let reason = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if reason.is_empty() { chain(error).to_string() } else { reason }
    }
}

/// An exporter of spans or of metrics under watch.
#[derive(Debug)]
pub(crate) struct Watched<E> {
    exporter: E,
    signal: Signal,
    endpoint: String,
    reason: Reason,
    losses: Losses,
    failing: AtomicBool,
}

impl<E> Watched<E> {
    pub(super) fn new(exporter: E, signal: Signal, endpoint: String, reason: Reason, losses: Losses) -> Self {
        Self { exporter, signal, endpoint, reason, losses, failing: AtomicBool::new(false) }
    }

    fn seen(&self, result: OTelSdkResult) -> OTelSdkResult {
        let (endpoint, signal) = (&self.endpoint, self.signal);
        if result.is_err() {
            self.losses.export(signal);
        }
        match (&result, self.failing.swap(result.is_err(), Ordering::Relaxed)) {
            (Err(error), false) => {
                let mut error = self.reason.of(error);
                if let Some(hint) = tls::hint(&error, "worker.telemetry.otlp_ca_file") {
                    error = format!("{error}; {hint}");
                }
                tracing::warn!(endpoint, error, "OTLP collector takes no {signal}, they are dropped until it does");
            }
            (Ok(()), true) => tracing::info!(endpoint, "OTLP collector takes {signal} again"),
            _ => {}
        }
        result
    }
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.seen(self.exporter.export(batch).await)
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

impl<E: PushMetricExporter> PushMetricExporter for Watched<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.seen(self.exporter.export(metrics).await)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
