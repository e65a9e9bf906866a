//! `worker.telemetry`: logs, traces and metrics.

use serde::Deserialize;

use super::filter;
use super::losses::Signal;
use super::otlp::OtlpEndpoint;
use crate::platform::settings::rule::{Malformed, optional};
use crate::platform::settings::{Rule, section};

section! {
    /// Logs, traces and metrics.
    pub struct Telemetry {
        log_format: LogFormat = Rule::Choice(&["text", "json"]),
        log_level: String = Rule::Text {
            allowed: "off, error, warn, info, debug or trace, then module=level after commas",
            check: log_level,
            optional: false,
        },
        log_limit: u32 = Rule::integer(0, 1_000_000),
        #[serde(deserialize_with = "optional")]
        otlp_endpoint: Option<OtlpEndpoint> = Rule::optional_text::<OtlpEndpoint>(OtlpEndpoint::ALLOWED),
        otlp_protocol: OtlpProtocol = Rule::Choice(&["grpc", "http/protobuf"]),
        otlp_ca_file: String = Rule::path(),
        otlp_signals: OtlpSignals = Rule::Choice(&["both", "traces", "metrics"]),
        service_name: String = Rule::name(),
    }
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For eyes.
    Text,
    /// One JSON object a line.
    Json,
}

/// The protocol to the collector, by OpenTelemetry's own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum OtlpProtocol {
    /// gRPC, port 4317 by custom.
    #[serde(rename = "grpc")]
    Grpc,
    /// Protobuf over HTTP, port 4318 by custom.
    #[serde(rename = "http/protobuf")]
    Http,
}

/// The signals that are sent to the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OtlpSignals {
    /// Traces and metrics.
    Both,
    /// Traces alone.
    Traces,
    /// Metrics alone.
    Metrics,
}

impl OtlpSignals {
    /// Whether this is sent.
    #[must_use]
    pub fn include(self, signal: Signal) -> bool {
        match self {
            Self::Both => true,
            Self::Traces => signal == Signal::Traces,
            Self::Metrics => signal == Signal::Metrics,
        }
    }
}

fn log_level(text: &str) -> Result<(), Malformed> {
    filter::parse(text).map(drop)
}
