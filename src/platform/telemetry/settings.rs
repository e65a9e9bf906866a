//! `worker.telemetry`: logs, traces and metrics.

use serde::Deserialize;

use super::filter;
use super::losses::Signal;
use super::otlp::OtlpEndpoint;
use crate::platform::settings::Key;
use crate::platform::settings::rule::{Malformed, Rule, optional};

/// What is logged and how, and where traces and metrics go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// How log lines are written.
    pub log_format: LogFormat,
    /// What is logged: directives of `EnvFilter`.
    pub log_level: String,
    /// The most lines a second of one warning or error; 0: all.
    pub log_limit: u32,
    /// Where traces and metrics go by OTLP; `None`: nowhere.
    #[serde(deserialize_with = "optional")]
    pub otlp_endpoint: Option<OtlpEndpoint>,
    /// How they get there.
    pub otlp_protocol: OtlpProtocol,
    /// File of the CAs that may have signed an `https://` endpoint's certificate; empty: the system's.
    pub otlp_ca_file: String,
    /// What goes there.
    pub otlp_signals: OtlpSignals,
    /// The name under which this worker shows in traces and metrics.
    pub service_name: String,
}

impl Telemetry {
    /// The keys of this section.
    pub const KEYS: &[Key] = &[
        Key::value("log_format", Rule::Choice(&["text", "json"])),
        Key::value(
            "log_level",
            Rule::Text {
                allowed: "off, error, warn, info, debug or trace, then module=level after commas",
                check: log_level,
                optional: false,
            },
        ),
        Key::value("log_limit", Rule::integer(0, 1_000_000)),
        Key::value("otlp_endpoint", Rule::optional_text::<OtlpEndpoint>(OtlpEndpoint::ALLOWED)),
        Key::value("otlp_protocol", Rule::Choice(&["grpc", "http/protobuf"])),
        Key::value("otlp_ca_file", Rule::Text { allowed: "the path of a file", check: |_| Ok(()), optional: true }),
        Key::value("otlp_signals", Rule::Choice(&["both", "traces", "metrics"])),
        Key::value("service_name", Rule::name()),
    ];
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For eyes.
    Text,
    /// One JSON object a line.
    Json,
}

/// How spans and metrics reach the collector, by OpenTelemetry's own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum OtlpProtocol {
    /// gRPC, port 4317 by custom.
    #[serde(rename = "grpc")]
    Grpc,
    /// Protobuf over HTTP, port 4318 by custom.
    #[serde(rename = "http/protobuf")]
    Http,
}

/// What is sent to the collector.
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
