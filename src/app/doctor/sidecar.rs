//! The Dapr sidecar: what it has loaded and subscribed, and what keeps it from losing messages.

use std::time::Duration;

use super::Findings;
use crate::app::config::Config;
use crate::app::runs::topics;
use crate::dapr::sidecar::{self, Metadata};
use crate::platform::connection::{InvalidAddress, connection};

const LIMIT: Duration = Duration::from_secs(3);

pub(super) async fn examine(config: &Config, findings: &mut Findings) {
    let endpoint = &config.worker.dapr.grpc_endpoint;
    match metadata(config).await {
        Ok(metadata) => {
            let seen = format!("daprd {} at {endpoint}, app id {}", metadata.version, metadata.id);
            findings.ok("sidecar", seen);
            loaded(config, &metadata, findings);
            subscribed(config, &metadata, findings);
            policies(&metadata, findings);
            health(&metadata, findings);
        }
        Err(error) => {
            let next = "see that it was injected (dapr.io/enabled, two containers in the pod), and that worker.dapr.grpc_endpoint or DAPR_GRPC_PORT names it";
            findings.broken("sidecar", format!("{endpoint}: {error}"), next);
        }
    }
}

/// Why the sidecar's metadata is not there.
#[derive(Debug, thiserror::Error)]
enum NoMetadata {
    #[error("{0}")]
    Address(#[from] InvalidAddress),
    #[error("DAPR_API_TOKEN has characters that no header may have")]
    Token,
    #[error("{0}")]
    Refused(#[from] sidecar::Error),
    #[error("no answer in {LIMIT:?}")]
    NoAnswer(#[from] tokio::time::error::Elapsed),
}

async fn metadata(config: &Config) -> Result<Metadata, NoMetadata> {
    let channel = connection(&config.worker.dapr.grpc_endpoint)?;
    let token = config.worker.dapr.api_token.as_ref().map(|token| token.expose().parse()).transpose();
    let token = token.map_err(|_| NoMetadata::Token)?;
    Ok(tokio::time::timeout(LIMIT, sidecar::metadata(channel, token.as_ref())).await??)
}

fn policies(metadata: &Metadata, findings: &mut Findings) {
    let (about, next) = (
        "resiliency policy",
        "apply dapr/resiliency.yaml: without it a message is given up after one failed delivery; kubectl get resiliencies",
    );
    match metadata.resiliencies() {
        None => findings.warning(about, format!("Dapr {} does not tell; 1.18 does", metadata.version), next),
        Some(names) if names.is_empty() => findings.broken(about, "none is loaded", next),
        Some(names) => findings.ok(about, format!("loaded: {}", names.join(", "))),
    }
}

fn loaded(config: &Config, metadata: &Metadata, findings: &mut Findings) {
    for name in std::collections::BTreeSet::from([&config.worker.dapr.pubsub, &config.worker.eventbus.pubsub]) {
        match metadata.components.iter().find(|component| component.name == *name) {
            Some(component) => findings.ok("component", format!("{name} ({})", component.r#type)),
            None => {
                let known: Vec<_> = metadata.components.iter().map(|component| component.name.as_str()).collect();
                let next = "apply dapr/components, see its scopes and secrets, and the sidecar's log";
                findings.broken("component", format!("{name} is not loaded, only: {}", known.join(", ")), next);
            }
        }
    }
}

fn subscribed(config: &Config, metadata: &Metadata, findings: &mut Findings) {
    let topics = topics(config);
    let wanted: Vec<&str> = topics.all().collect();
    let missing: Vec<_> = wanted.iter().copied().filter(|topic| !metadata.subscribes(topic)).collect();
    let cooked = metadata.subscriptions.iter().filter(|one| {
        wanted.contains(&one.topic.as_str()) && one.metadata.get("rawPayload").is_none_or(|raw| raw != "true")
    });
    let cooked: Vec<_> = cooked.map(|one| one.topic.as_str()).collect();
    if missing.is_empty() && cooked.is_empty() {
        findings.ok("subscriptions", wanted.join(", "));
    } else if missing.is_empty() {
        let seen = format!(
            "not raw: {}; their data is handed over where it is JSON or text by its content type, and else comes from the stream",
            cooked.join(", ")
        );
        findings.warning("subscriptions", seen, "metadata rawPayload: \"true\" in the Subscription that declares them");
    } else {
        let next =
            "run a worker in mode event or all before its sidecar gives up asking, and restart the pod if it has";
        findings.broken("subscriptions", format!("missing: {}", missing.join(", ")), next);
    }
}

fn health(metadata: &Metadata, findings: &mut Findings) {
    match metadata.app.as_ref() {
        Some(app) if app.health.is_some() => findings.ok("app health check", format!("switched on, for port {}", app.port)),
        Some(_) => findings.warning(
            "app health check",
            "switched off",
            "dapr.io/enable-app-health-check: \"true\": without it messages are delivered to a worker that cannot store them",
        ),
        None => findings.broken("app health check", "the sidecar knows no app", "dapr.io/app-port: \"5005\", dapr.io/app-protocol: grpc"),
    }
}
