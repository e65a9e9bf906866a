//! Consul, where there is one: whether it answers, and whom it names.

use super::Findings;
use crate::app::config::Config;
use crate::platform::consul::{Client, service_of};
use crate::platform::telemetry::Metrics;

pub(super) async fn examine(config: &Config, findings: &mut Findings) {
    const ABOUT: &str = "Consul";
    let settings = &config.worker.consul;
    let Some(addr) = &settings.addr else { return };
    let client = match Metrics::new().map(|metrics| Client::new(settings, metrics)) {
        Ok(Ok(Some(client))) => client,
        Ok(Ok(None)) => return,
        Ok(Err(error)) => return findings.broken(ABOUT, error.to_string(), "see worker.consul"),
        Err(error) => return findings.broken(ABOUT, error.to_string(), "see worker.consul"),
    };
    match client.leader().await {
        Ok(leader) if leader.is_empty() => {
            return findings.broken(ABOUT, format!("{addr}: its cluster has no leader"), "see its servers");
        }
        Ok(_) => {}
        Err(error) => {
            let next =
                "see worker.consul.addr or CONSUL_ADDR, the agent, and the network policy; work goes on without it";
            return findings.broken(ABOUT, format!("{addr}: {error}"), next);
        }
    }
    let Some(service) = service_of(&config.external_services.warehouse_service.grpc_endpoint) else {
        return findings.ok(ABOUT, format!("{addr}; the warehouse is configured by address and not looked for"));
    };
    match client.count(service).await {
        Ok(0) => findings.warning(
            ABOUT,
            format!("{addr} names no instance of {service} that takes gRPC without TLS: the configured endpoint is used"),
            "see that the warehouse registers under this name, and its checks",
        ),
        Ok(count) => findings.ok(ABOUT, format!("{addr} names {count} of {service}")),
        Err(error) => findings.broken(
            ABOUT,
            format!("{addr}, {service}: {error}"),
            "403 asks for a token (worker.consul.token, CONSUL_HTTP_TOKEN) with service:read of it and node:read, and service:write of worker.consul.service_name",
        ),
    }
}
