//! gRPC connections: made when they are needed, and made again; one that died without a word is noticed.
//!
//! It is TCP that notices: by its keepalives while nothing is sent, by its user timeout while something is not taken. HTTP/2 pings
//! would notice too, but a gRPC server with the defaults ends a connection that is pinged more than twice within five minutes
//! ("too_many_pings"), and with it each call that takes its time.

use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use tonic::transport::{Channel, Endpoint};

use crate::platform::settings::GrpcEndpoint;

/// A connection is made within this time.
const CONNECT: Duration = Duration::from_secs(3);
/// A connection on which nothing was heard for so long is asked whether it is there, and again after each [`ASK_AGAIN`].
const QUIET: Duration = Duration::from_secs(10);
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// Data that is not acknowledged within this time shows that the connection is dead.
const TAKEN: Duration = Duration::from_secs(20);

/// An address that no connection can be made of.
#[derive(Debug, thiserror::Error)]
#[error("{uri}: {source}")]
pub struct InvalidAddress {
    uri: String,
    source: tonic::transport::Error,
}

/// A connection to a configured endpoint.
///
/// # Errors
///
/// [`InvalidAddress`]; whether anybody is there shows when it is used.
pub fn connection(at: &GrpcEndpoint) -> Result<Channel, InvalidAddress> {
    connect(at.uri())
}

/// The same to `http://host:port`.
///
/// # Errors
///
/// [`InvalidAddress`].
pub fn connect(uri: String) -> Result<Channel, InvalidAddress> {
    let endpoint = Endpoint::from_shared(uri.clone()).map_err(|source| InvalidAddress { uri, source })?;
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp.set_keepalive(Some(QUIET));
    tcp.set_keepalive_interval(Some(ASK_AGAIN));
    tcp.set_keepalive_retries(Some(2));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(TAKEN));
    Ok(endpoint.connect_timeout(CONNECT).connect_with_connector_lazy(tcp))
}
