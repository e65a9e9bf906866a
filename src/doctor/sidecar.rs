//! The Dapr sidecar: what it has loaded and subscribed, and what keeps it from losing messages.

use std::time::Duration;

use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use dapr::dapr::proto::runtime::v1::{GetMetadataRequest, GetMetadataResponse};
use tonic::Request;

use super::Findings;
use crate::config::Config;
use crate::inbox::{CONFIRMED_TOPIC, FAILED_TOPIC};
use crate::worker::connection;

const LIMIT: Duration = Duration::from_secs(3);

pub(super) async fn examine(config: &Config, findings: &mut Findings) {
    let endpoint = &config.worker.dapr.grpc_endpoint;
    match metadata(config).await {
        Ok(metadata) => {
            let seen = format!("daprd {} at {endpoint}, app id {}", metadata.runtime_version, metadata.id);
            findings.ok("sidecar", seen);
            loaded(config, &metadata, findings);
            subscribed(config, &metadata, findings);
            health(&metadata, findings);
        }
        Err(error) => {
            let next = "see that it was injected (dapr.io/enabled, two containers in the pod), and that worker.dapr.grpc_endpoint or DAPR_GRPC_PORT names it";
            findings.broken("sidecar", format!("{endpoint}: {error}"), next);
        }
    }
    // The API does not tell which policies are loaded.
    findings.warning(
        "resiliency policy",
        "not to be seen through the sidecar's API",
        "kubectl get resiliencies: dapr/resiliency.yaml has to be there; without it a message is given up after one failed delivery",
    );
}

async fn metadata(config: &Config) -> Result<GetMetadataResponse, String> {
    let channel = connection(&config.worker.dapr.grpc_endpoint).map_err(|error| error.to_string())?;
    let mut request = Request::new(GetMetadataRequest {});
    if let Some(token) = &config.worker.dapr.api_token {
        let token =
            token.expose().parse().map_err(|_| "DAPR_API_TOKEN has characters that no header may have".to_owned())?;
        request.metadata_mut().insert("dapr-api-token", token);
    }
    let asked = tokio::time::timeout(LIMIT, async move { DaprClient::new(channel).get_metadata(request).await }).await;
    match asked {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(format!("{:?}: {}", status.code(), status.message())),
        Err(_) => Err(format!("no answer in {LIMIT:?}")),
    }
}

fn loaded(config: &Config, metadata: &GetMetadataResponse, findings: &mut Findings) {
    for name in std::collections::BTreeSet::from([&config.worker.dapr.pubsub, &config.worker.eventbus.pubsub]) {
        match metadata.registered_components.iter().find(|component| component.name == *name) {
            Some(component) => findings.ok("component", format!("{name} ({})", component.r#type)),
            None => {
                let known: Vec<_> =
                    metadata.registered_components.iter().map(|component| component.name.as_str()).collect();
                let next = "apply dapr/components, see its scopes and secrets, and the sidecar's log";
                findings.broken("component", format!("{name} is not loaded, only: {}", known.join(", ")), next);
            }
        }
    }
}

fn subscribed(config: &Config, metadata: &GetMetadataResponse, findings: &mut Findings) {
    let wanted = [CONFIRMED_TOPIC, FAILED_TOPIC, &config.worker.eventbus.dead_letter_topic];
    let missing: Vec<_> =
        wanted.into_iter().filter(|topic| !metadata.subscriptions.iter().any(|one| one.topic == *topic)).collect();
    if missing.is_empty() {
        findings.ok("subscriptions", wanted.join(", "));
    } else {
        let next =
            "run a worker in mode event or all before its sidecar gives up asking, and restart the pod if it has";
        findings.broken("subscriptions", format!("missing: {}", missing.join(", ")), next);
    }
}

fn health(metadata: &GetMetadataResponse, findings: &mut Findings) {
    match metadata.app_connection_properties.as_ref() {
        Some(app) if app.health.is_some() => findings.ok("app health check", format!("switched on, for port {}", app.port)),
        Some(_) => findings.warning(
            "app health check",
            "switched off",
            "dapr.io/enable-app-health-check: \"true\": without it messages are delivered to a worker that cannot store them",
        ),
        None => findings.broken("app health check", "the sidecar knows no app", "dapr.io/app-port: \"5005\", dapr.io/app-protocol: grpc"),
    }
}
