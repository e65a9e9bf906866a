//! Test stand-ins: a log that is kept in memory, a collector that is a list.

use std::io;
use std::sync::{Arc, Mutex};

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tracing::Dispatch;

use super::flood::Flood;
use super::losses::Losses;
use super::settings::{LogFormat, OtlpProtocol, OtlpSignals, Telemetry};
use super::subscriber::dispatch;

/// Logs and spans of the code run [`within`](Captured::within).
pub(crate) struct Captured {
    pub(crate) dispatch: Dispatch,
    pub(super) flood: Flood,
    pub(super) losses: Losses,
    log: Memory,
    spans: Collector,
}

impl Captured {
    pub(crate) fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        tracing::dispatcher::with_default(&self.dispatch, work)
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap()
    }

    pub(crate) fn spans(&self) -> Vec<SpanData> {
        self.spans.0.lock().unwrap().clone()
    }
}

pub(crate) fn settings() -> Telemetry {
    Telemetry {
        log_format: LogFormat::Text,
        log_level: "info".to_owned(),
        log_limit: 0,
        otlp_endpoint: None,
        otlp_protocol: OtlpProtocol::Grpc,
        otlp_ca_file: String::new(),
        otlp_signals: OtlpSignals::Both,
        service_name: "order-worker".to_owned(),
    }
}

fn captured(settings: Telemetry, traced: bool) -> Captured {
    let (log, spans, losses) = (Memory::default(), Collector::default(), Losses::default());
    let provider = traced.then(|| SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build());
    let flood = Flood::new(settings.log_limit, losses.clone());
    let dispatch = dispatch(&settings, log.clone(), false, provider.as_ref(), flood.clone()).unwrap();
    Captured { dispatch, flood, losses, log, spans }
}

/// Logs alone, as without an OTLP endpoint.
pub(crate) fn logs(settings: Telemetry) -> Captured {
    captured(settings, false)
}

/// Logs and spans.
pub(crate) fn traces(settings: Telemetry) -> Captured {
    captured(settings, true)
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl io::Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Memory {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[derive(Clone, Debug, Default)]
struct Collector(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}
