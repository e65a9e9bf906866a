//! The collector of traces and metrics, where there is one: whether it takes them.

use super::Findings;
use crate::config::Config;
use crate::{telemetry, tls};

pub(super) async fn examine(config: &Config, findings: &mut Findings) {
    const ABOUT: &str = "OTLP collector";
    let settings = &config.worker.telemetry;
    let Some(endpoint) = &settings.otlp_endpoint else { return };
    match telemetry::knock(settings).await {
        None => {}
        Some(Ok(())) => findings.ok(ABOUT, format!("{endpoint} takes what is sent")),
        Some(Err(error)) => {
            let next = tls::way_out(&error, "worker.telemetry.otlp_ca_file").unwrap_or_else(|| {
                "see worker.telemetry.otlp_endpoint and otlp_protocol, and the network policy; work goes on without it"
                    .to_owned()
            });
            findings.warning(ABOUT, format!("{endpoint}: {error}"), next);
        }
    }
}
