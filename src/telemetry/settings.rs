//! `worker.telemetry`: logs, traces and metrics.

use serde::Deserialize;

use super::filter;
use crate::config::GrpcEndpoint;
use crate::config::rule::{Malformed, Rule, optional};
use crate::config::schema::Key;

/// What is logged and how, and where traces go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// How log lines are written.
    pub log_format: LogFormat,
    /// What is logged: directives of `EnvFilter`.
    pub log_level: String,
    /// Where traces go by OTLP over gRPC; `None`: nowhere.
    #[serde(deserialize_with = "optional")]
    pub otlp_endpoint: Option<GrpcEndpoint>,
    /// The name under which this worker shows in traces.
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
        Key::value("otlp_endpoint", Rule::optional_text::<GrpcEndpoint>(GrpcEndpoint::ALLOWED)),
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

fn log_level(text: &str) -> Result<(), Malformed> {
    filter::parse(text).map(drop)
}
