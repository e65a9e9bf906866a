//! The collector of traces and metrics, where there is one: whether it takes them.

use super::Findings;
use crate::app::config::Config;
use crate::platform::telemetry::{self, CollectorCheck};
use crate::platform::tls;

pub(super) async fn examine(config: &Config, findings: &mut Findings) {
    const ABOUT: &str = "OTLP collector";
    for CollectorCheck { endpoint, error } in telemetry::check_collectors(&config.worker.telemetry).await {
        let Some(error) = error else {
            findings.ok(ABOUT, format!("{endpoint} takes what is sent"));
            continue;
        };
        let next = tls::hint(&error, "worker.telemetry.otlp_ca_file").unwrap_or_else(|| {
            "see worker.telemetry.otlp_endpoint and otlp_protocol, OpenTelemetry's variables, and the network policy; work goes on without it"
                .to_owned()
        });
        findings.warning(ABOUT, if endpoint.is_empty() { error } else { format!("{endpoint}: {error}") }, next);
    }
    for ignored in telemetry::ignored() {
        findings.warning("OpenTelemetry's variables", ignored, "see docs/tracing.md");
    }
}
