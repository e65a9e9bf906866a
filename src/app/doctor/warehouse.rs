//! The warehouse: whether somebody listens there.

use std::time::Duration;

use tokio::net::TcpStream;

use super::Findings;
use crate::app::config::Config;

const LIMIT: Duration = Duration::from_secs(3);

pub(super) async fn examine(config: &Config, findings: &mut Findings) {
    let endpoint = &config.external_services.warehouse_service.grpc_endpoint;
    let uri: tonic::transport::Uri = endpoint.uri().parse().unwrap_or_default();
    let addr = (uri.host().unwrap_or_default().to_owned(), uri.port_u16().unwrap_or(80));
    let next = "see external_services.warehouse_service.grpc_endpoint, the service, and the network policy";
    match tokio::time::timeout(LIMIT, TcpStream::connect((addr.0.as_str(), addr.1))).await {
        Ok(Ok(_)) => findings.ok("warehouse", format!("{endpoint} is listening")),
        Ok(Err(error)) => findings.broken("warehouse", format!("{endpoint}: {error}"), next),
        Err(_) => findings.broken("warehouse", format!("{endpoint}: no answer in {LIMIT:?}"), next),
    }
}
