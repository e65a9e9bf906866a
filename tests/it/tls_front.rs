//! TLS before a server that has none.

use std::sync::Arc;

use rig::authority::Authority;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// The address, `localhost:port`, at which `plain` is reached by TLS, as HTTP/2 (by ALPN) and as HTTP/1; the certificate is for
/// `localhost`.
pub async fn behind_tls(plain: &str, authority: &Authority) -> String {
    let identity = authority.sign(&["localhost"]);
    let certificate = CertificateDer::from_pem_slice(identity.cert.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let provider = rustls::crypto::ring::default_provider().into();
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let (tls, plain) = (TlsAcceptor::from(Arc::new(tls)), plain.to_owned());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (tls, plain) = (tls.clone(), plain.clone());
            tokio::spawn(async move {
                // A client that does not trust the certificate ends the handshake.
                let Ok(mut client) = tls.accept(client).await else { return };
                let mut server = TcpStream::connect(plain).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    format!("localhost:{port}")
}
