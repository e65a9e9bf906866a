//! The errors of setting up telemetry; nothing fails afterwards.

use crate::platform::settings::rule::Malformed;
use crate::platform::tls::TlsError;

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `log_level` cannot be used. The configuration is checked for this before.
    #[error(
        "worker.telemetry.log_level: {0}; write a level (info), or targets with levels (info,order_worker::engine::inbox=debug)"
    )]
    LogLevel(#[from] Malformed),
    /// OTLP is sent by tasks of the runtime, and there is none.
    #[error("OTLP needs a tokio runtime: set telemetry up within it")]
    NoRuntime,
    /// `otlp_endpoint` is no address that gRPC can use.
    #[error(
        "worker.telemetry.otlp_endpoint: {endpoint} cannot be used; write host:port of the collector, or leave it empty"
    )]
    Endpoint {
        /// The endpoint.
        endpoint: String,
        /// The fault.
        source: tonic::transport::Error,
    },
    /// A variable of OpenTelemetry names no collector.
    #[error("{variable}: {reason}; write http://host:port or https://host:port of the collector, or leave it out")]
    Variable {
        /// Its name.
        variable: String,
        /// The fault.
        reason: Malformed,
    },
    /// `otlp_endpoint` has a path, and gRPC knows none.
    #[error(
        "worker.telemetry.otlp_endpoint: {endpoint} has a path, which the protocol grpc does not know: leave it out, or set worker.telemetry.otlp_protocol to http/protobuf"
    )]
    Path {
        /// The endpoint.
        endpoint: String,
    },
    /// There are no CAs that may have signed the collector's certificate.
    #[error("worker.telemetry.otlp_ca_file: {reason}; name a readable file of the CA's certificates (PEM)")]
    Cas {
        /// The fault.
        reason: TlsError,
    },
    /// An exporter could not be built.
    #[error("worker.telemetry.otlp_endpoint: the exporter could not be built")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// There is already a subscriber in this process: `init` belongs to main, once.
    #[error("logs are already set up in this process")]
    AlreadySet,
    /// The exporter of metrics could not be built.
    #[error("the metrics could not be registered: {0}")]
    Metrics(String),
}
