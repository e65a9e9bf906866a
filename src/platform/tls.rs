//! The certificates that a TLS connection trusts, and hints for one that is refused.

use hyper_rustls::ConfigBuilderExt;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};

/// There are no certificates to trust.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The provider of cryptography knows no version of TLS.
    #[error("{0}")]
    Versions(#[from] rustls::Error),
    /// The system has none.
    #[error("the system has no certificates to trust ({0}): name a file of them in SSL_CERT_FILE")]
    System(std::io::Error),
    /// The file has none.
    #[error("{file}: {reason}")]
    File {
        /// Its path.
        file: String,
        /// The fault.
        reason: FileError,
    },
}

/// A file that cannot be used as a list of CAs.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read, or is not PEM.
    #[error("{0}")]
    Pem(#[from] pem::Error),
    /// A certificate in it is of no use.
    #[error("{0}")]
    Certificate(#[from] rustls::Error),
    /// It is empty of certificates.
    #[error("it holds no certificate (PEM)")]
    Empty,
}

/// Trusts the CAs of the file (PEM); with an empty name those of the system, or of the file that SSL_CERT_FILE names. `None`: nobody,
/// where nothing is encrypted.
///
/// # Errors
/// [`TlsError`].
pub fn client(ca_file: Option<&str>) -> Result<ClientConfig, TlsError> {
    let provider = rustls::crypto::ring::default_provider();
    let builder = ClientConfig::builder_with_provider(provider.into()).with_safe_default_protocol_versions()?;
    let builder = match ca_file {
        None => builder.with_root_certificates(RootCertStore::empty()),
        Some("") => builder.with_native_roots().map_err(TlsError::System)?,
        Some(file) => builder
            .with_root_certificates(roots(file).map_err(|reason| TlsError::File { file: file.to_owned(), reason })?),
    };
    Ok(builder.with_no_client_auth())
}

fn roots(file: &str) -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file)? {
        roots.add(certificate?)?;
    }
    if roots.is_empty() { Err(FileError::Empty) } else { Ok(roots) }
}

/// A hint for an error of a TLS connection, by its words: libraries wrap the cause of a failed handshake too differently to match on types.
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
        assert_eq!(client(Some(path)).unwrap_err().to_string(), format!("{path}: it holds no certificate (PEM)"));
        let refusal = client(Some("/nowhere/ca.crt")).unwrap_err().to_string();
        assert!(refusal.starts_with("/nowhere/ca.crt: "), "{refusal}");
    }

    #[test]
    fn an_error_that_is_not_of_tls_has_no_hint_here() {
        assert_eq!(hint("connection refused", "x"), None);
        assert!(
            hint("invalid peer certificate: UnknownIssuer", "data.redis.ca_file")
                .unwrap()
                .contains("data.redis.ca_file")
        );
    }
}
