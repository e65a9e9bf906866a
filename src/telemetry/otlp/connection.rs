//! TLS to the collector, and gRPC's connection.

use hyper_rustls::{ConfigBuilderExt, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tonic::transport::{Channel, Endpoint};
use tower::{Service, service_fn};

use super::{CONNECT_TIMEOUT, EXPORT_TIMEOUT, OtlpEndpoint};
use crate::telemetry::TelemetryError;

/// Trusts the CAs of the file, or those of the system (or of the file that SSL_CERT_FILE names); nobody where nobody is asked.
///
/// # Errors
/// When there are no CAs to trust.
pub(super) fn tls(endpoint: &OtlpEndpoint, ca_file: &str) -> Result<ClientConfig, TelemetryError> {
    let no_cas = |reason: String| TelemetryError::Cas { reason };
    let builder = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| no_cas(error.to_string()))?;
    let builder = match (endpoint.is_encrypted(), ca_file) {
        (false, _) => builder.with_root_certificates(RootCertStore::empty()),
        (true, "") => builder
            .with_native_roots()
            .map_err(|error| no_cas(format!("it is empty, and the system has no certificates to trust ({error})")))?,
        (true, file) => {
            let unusable = |error: &dyn std::fmt::Display| no_cas(format!("{file}: {error}"));
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unusable(&error))? {
                roots.add(certificate.map_err(|error| unusable(&error))?).map_err(|error| unusable(&error))?;
            }
            if roots.is_empty() {
                return Err(unusable(&"it holds no certificate (PEM)"));
            }
            builder.with_root_certificates(roots)
        }
    };
    Ok(builder.with_no_client_auth())
}

/// A connection that is made when it is needed, and made again.
///
/// # Errors
/// When the endpoint is none that gRPC can use.
pub(super) fn channel(
    endpoint: &OtlpEndpoint,
    tls: ClientConfig,
    tcp: HttpConnector,
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
    Ok(plain.connect_timeout(CONNECT_TIMEOUT).timeout(EXPORT_TIMEOUT).connect_with_connector_lazy(connect))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_cannot_be_trusted_or_reached_is_refused_with_the_way_out() {
        let endpoint = |text: &str| OtlpEndpoint::try_from(text.to_owned()).unwrap();
        let encrypted = endpoint("https://collector:4317");
        let file = tempfile::NamedTempFile::new().unwrap();
        for (path, says) in [
            ("/nowhere/ca.crt", "worker.telemetry.otlp_ca_file: /nowhere/ca.crt: "),
            (file.path().to_str().unwrap(), "it holds no certificate (PEM)"),
        ] {
            let refusal = tls(&encrypted, path).unwrap_err().to_string();
            assert!(refusal.contains(says) && refusal.contains("name a readable file"), "{refusal}");
        }
        // Without TLS nobody is asked for.
        let plain = tls(&endpoint("collector:4317"), "/nowhere/ca.crt").unwrap();
        let refusal = channel(&endpoint("http://collector:4317/otlp"), plain, HttpConnector::new()).unwrap_err();
        assert!(refusal.to_string().contains("set worker.telemetry.otlp_protocol to http/protobuf"), "{refusal}");
    }
}
