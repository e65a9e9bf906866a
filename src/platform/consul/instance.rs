//! Where an instance takes gRPC, by what it registered.

use std::collections::BTreeMap;

use serde::Deserialize;
use url::{Host, Url};

/// An address to call, `host:port`.
pub(super) type Instance = String;

/// One entry of `/v1/health/service`: only what is needed of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Entry {
    #[serde(default)]
    node: Node,
    service: Service,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    #[serde(default)]
    address: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(default)]
    address: String,
    #[serde(default)]
    port: u16,
    #[serde(default)]
    tagged_addresses: Option<BTreeMap<String, Tagged>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tagged {
    #[serde(default)]
    address: String,
    #[serde(default)]
    port: u16,
}

impl Entry {
    /// The address of its gRPC server without TLS; `None` where it has none.
    ///
    /// Kratos services register each of their servers under its scheme, as a URL (`grpc` is `grpc://10.0.0.1:9000`); the
    /// service's own port is then whichever server came first, so it counts only where no scheme is told. Others register a
    /// host and a port.
    pub(super) fn instance(&self) -> Option<Instance> {
        let Service { address, port, tagged_addresses } = &self.service;
        let tagged = tagged_addresses.iter().flatten();
        if let Some((_, grpc)) = tagged.clone().find(|(scheme, _)| *scheme == "grpc") {
            return match grpc.address.contains("://") {
                true => of_url(&grpc.address),
                false => of_host(&grpc.address, grpc.port),
            };
        }
        if tagged.into_iter().any(|(_, tagged)| tagged.address.contains("://")) {
            return None;
        }
        of_host(if address.is_empty() { &self.node.address } else { address }, *port)
    }
}

fn of_url(text: &str) -> Option<Instance> {
    let url = Url::parse(text).ok()?;
    let encrypted = url.query_pairs().any(|(name, value)| name == "isSecure" && value == "true");
    let host = url.host_str()?;
    (url.scheme() == "grpc" && !encrypted).then(|| of_host(host, url.port()?)).flatten()
}

fn of_host(host: &str, port: u16) -> Option<Instance> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let host = match bare.parse::<std::net::Ipv6Addr>() {
        Ok(ip) => Host::Ipv6(ip),
        Err(_) => Host::parse(host).ok()?,
    };
    (port != 0).then(|| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(service: &str) -> Option<String> {
        let entry = format!(r#"{{"Node": {{"Address": "10.9.9.9", "More": 1}}, "Service": {service}, "Checks": []}}"#);
        serde_json::from_str::<Entry>(&entry).unwrap().instance()
    }

    #[test]
    fn the_grpc_server_is_chosen_among_several() {
        let kratos = |grpc: &str| {
            format!(
                r#"{{"Address": "10.0.0.1", "Port": 8000, "TaggedAddresses": {{
                    "http": {{"Address": "http://10.0.0.1:8000", "Port": 8000}},
                    "grpc": {{"Address": "{grpc}", "Port": 9000}},
                    "lan_ipv4": {{"Address": "10.0.0.1", "Port": 8000}}}}}}"#
            )
        };
        assert_eq!(instance(&kratos("grpc://10.0.0.1:9000")).as_deref(), Some("10.0.0.1:9000"));
        assert_eq!(instance(&kratos("grpc://10.0.0.1:9000?isSecure=false")).as_deref(), Some("10.0.0.1:9000"));
        assert_eq!(instance(&kratos("grpc://[fd00::1]:9000")).as_deref(), Some("[fd00::1]:9000"));
        assert_eq!(instance(&kratos("10.0.0.1")).as_deref(), Some("10.0.0.1:9000"));
        assert_eq!(instance(&kratos("grpc://10.0.0.1:9000?isSecure=true")), None, "it wants TLS");
        assert_eq!(instance(&kratos("grpc://10.0.0.1")), None, "no port");
    }

    #[test]
    fn a_service_without_schemes_is_called_at_its_own_port() {
        assert_eq!(instance(r#"{"Address": "10.0.0.1", "Port": 81}"#).as_deref(), Some("10.0.0.1:81"));
        assert_eq!(instance(r#"{"Address": "", "Port": 81}"#).as_deref(), Some("10.9.9.9:81"));
        assert_eq!(instance(r#"{"Address": "fd00::1", "Port": 81}"#).as_deref(), Some("[fd00::1]:81"));
        let lan =
            r#"{"Address": "w", "Port": 81, "TaggedAddresses": {"lan_ipv4": {"Address": "10.0.0.1", "Port": 81}}}"#;
        assert_eq!(instance(lan).as_deref(), Some("w:81"));
        let http =
            r#"{"Address": "w", "Port": 80, "TaggedAddresses": {"http": {"Address": "http://w:80", "Port": 80}}}"#;
        for nobody in [r#"{"Address": "w"}"#, r#"{"Address": "a b", "Port": 1}"#, http] {
            assert_eq!(instance(nobody), None, "{nobody}");
        }
    }
}
