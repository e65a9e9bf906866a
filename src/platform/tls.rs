//! Whom a TLS connection trusts, and what a refused one means to whoever has to mend it.

use hyper_rustls::ConfigBuilderExt;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Trusts the CAs of the file (PEM); with an empty name those of the system, or of the file that SSL_CERT_FILE names. `None`: nobody,
/// where nothing is encrypted.
///
/// # Errors
/// Why there is nobody to trust.
pub fn client(ca_file: Option<&str>) -> Result<ClientConfig, String> {
    let provider = rustls::crypto::ring::default_provider();
    let builder = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match ca_file {
        None => builder.with_root_certificates(RootCertStore::empty()),
        Some("") => builder.with_native_roots().map_err(|error| {
            format!("the system has no certificates to trust ({error}): name a file of them in SSL_CERT_FILE")
        })?,
        Some(file) => builder.with_root_certificates(roots(file).map_err(|reason| format!("{file}: {reason}"))?),
    };
    Ok(builder.with_no_client_auth())
}

fn roots(file: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| error.to_string())? {
        roots.add(certificate.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() { Err("it holds no certificate (PEM)".to_owned()) } else { Ok(roots) }
}

/// The way out, for the words of an error: libraries wrap the cause of a failed handshake too differently to match on types.
/// `ca` names the setting that holds the CAs.
#[must_use]
pub fn hint(error: &str, ca: &str) -> Option<String> {
    // The names are rustls' own (`CertificateError`).
    let has = |words: &[&str]| words.iter().any(|word| error.contains(word));
    if has(&["UnknownIssuer", "BadSignature"]) {
        Some(format!(
            "the server's certificate is signed by a CA that is not known here: name that CA's certificate in {ca}"
        ))
    } else if has(&["NotValidForName", "not valid for name"]) {
        Some("the server's certificate is not for this host: connect by a name that it carries, or let it be issued for this one".into())
    } else if has(&["Expired", "certificate expired", "NotValidYet"]) {
        Some("the server's certificate is out of its time: renew it, and see that the clocks agree".into())
    } else if has(&["server does not support TLS"]) {
        Some("Postgres has ssl switched off: switch it on, or take sslmode out of the database URL".into())
    } else if has(&["InvalidContentType"]) {
        Some("the server does not speak TLS on this port: name its TLS port, or switch TLS off here".into())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{client, hint};

    #[test]
    fn a_file_that_holds_no_ca_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(client(Some(path)).unwrap_err(), format!("{path}: it holds no certificate (PEM)"));
        let refusal = client(Some("/nowhere/ca.crt")).unwrap_err();
        assert!(refusal.starts_with("/nowhere/ca.crt: "), "{refusal}");
    }

    #[test]
    fn an_error_that_is_not_of_tls_has_no_way_out_here() {
        assert_eq!(hint("connection refused", "x"), None);
        assert!(
            hint("invalid peer certificate: UnknownIssuer", "data.redis.ca_file")
                .unwrap()
                .contains("data.redis.ca_file")
        );
    }
}
