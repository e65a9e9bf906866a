//! gRPC's connection to the collector.

use std::time::Duration;

use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::ClientConfig;
use tonic::transport::{Channel, Endpoint};
use tower::{Service, service_fn};

use super::{CONNECT_TIMEOUT, OtlpEndpoint};
use crate::platform::telemetry::TelemetryError;

/// A connection that is made when it is needed, and made again.
///
/// # Errors
/// When the endpoint is none that gRPC can use.
pub(super) fn channel(
    endpoint: &OtlpEndpoint,
    tls: ClientConfig,
    tcp: HttpConnector,
    timeout: Duration,
) -> Result<Channel, TelemetryError> {
    if endpoint.has_path() {
        return Err(TelemetryError::Path { endpoint: endpoint.to_string() });
    }
    let unusable = |source| TelemetryError::Endpoint { endpoint: endpoint.to_string(), source };
    let collector = Endpoint::from_shared(endpoint.to_string()).map_err(unusable)?;
    let uri = collector.uri().clone();
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http2().wrap_connector(tcp);
    // tonic refuses https on a connection that it has not encrypted itself: it is told of none.
    let plain = Endpoint::from_shared(endpoint.without_tls()).map_err(unusable)?.origin(uri.clone());
    let connect = service_fn(move |_| connector.clone().call(uri.clone()));
    Ok(plain.connect_timeout(CONNECT_TIMEOUT).timeout(timeout).connect_with_connector_lazy(connect))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::tls;

    #[tokio::test]
    async fn a_path_is_refused_with_the_way_out() {
        let endpoint = |text: &str| OtlpEndpoint::try_from(text.to_owned()).unwrap();
        let plain = tls::client(None).unwrap();
        let refusal =
            channel(&endpoint("http://collector:4317/otlp"), plain, HttpConnector::new(), CONNECT_TIMEOUT).unwrap_err();
        assert!(refusal.to_string().contains("set worker.telemetry.otlp_protocol to http/protobuf"), "{refusal}");
    }
}
