//! gRPC connections: made when they are needed, and made again; one that died without a word is noticed.

use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use crate::config::GrpcEndpoint;

/// An address that no connection can be made of.
#[derive(Debug, thiserror::Error)]
#[error("{uri}: {source}")]
pub struct BadAddress {
    uri: String,
    source: tonic::transport::Error,
}

/// A connection to a configured endpoint.
///
/// # Errors
///
/// [`BadAddress`]; whether anybody is there shows when it is used.
pub fn connection(at: &GrpcEndpoint) -> Result<Channel, BadAddress> {
    Ok(endpoint(at.uri())?.connect_lazy())
}

/// A far end of such a connection, `http://host:port`.
///
/// # Errors
///
/// [`BadAddress`].
pub fn endpoint(uri: String) -> Result<Endpoint, BadAddress> {
    let endpoint = Endpoint::from_shared(uri.clone()).map_err(|source| BadAddress { uri, source })?;
    Ok(endpoint
        .connect_timeout(Duration::from_secs(3))
        .tcp_nodelay(true)
        .tcp_keepalive(Some(Duration::from_secs(30)))
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5)))
}
