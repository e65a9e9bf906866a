//! The way in: the gRPC server that the Dapr sidecar calls (AppCallback).
//!
//! An event is answered SUCCESS once it is committed, whatever it contains, and an error only when it could not be stored: then
//! Dapr delivers it again. Nothing is answered RETRY or DROP.

mod callback;
mod delivered;
mod envelope;
mod large;
mod message;
pub mod settings;

use std::time::Duration;

use dapr::dapr::proto::runtime::v1::app_callback_alpha_server::AppCallbackAlphaServer;
use dapr::dapr::proto::runtime::v1::app_callback_health_check_server::AppCallbackHealthCheckServer;
use dapr::dapr::proto::runtime::v1::app_callback_server::AppCallbackServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

pub use callback::Callback;
pub use delivered::Delivered;
pub(crate) use message::published;

use large::LargeMessages;
use settings::EventBus;

/// The flow-control window of one HTTP/2 stream, in bytes: what a call may send before it is read.
const STREAM_WINDOW: u32 = 64 << 10;

/// Serves until `stop`; then finishes the calls in hand.
///
/// # Errors
///
/// When the server cannot go on.
pub async fn serve(
    listener: TcpListener,
    callback: Callback,
    settings: &EventBus,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(Duration::from_secs(60)));
    let largest = settings.max_message_bytes;
    // Calls that wait for a slot are not read: their windows must not use up the connection's, which the small ones need.
    let connection_window = STREAM_WINDOW.saturating_mul(settings.max_streams.saturating_add(16));
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(connection_window.min((1 << 31) - 1))
        .max_concurrent_streams(settings.max_streams)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .layer(LargeMessages::new(settings.large_messages, largest))
        .add_service(AppCallbackServer::new(callback.clone()).max_decoding_message_size(largest))
        .add_service(AppCallbackAlphaServer::new(callback.clone()).max_decoding_message_size(largest))
        .add_service(AppCallbackHealthCheckServer::new(callback))
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await
}
