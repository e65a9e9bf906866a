//! Connections of the listener, bounded in number, size and time.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// Headers of one request, in bytes; more is answered with 431.
const HEADER_BYTES: usize = 8 * 1024;
const HEADERS: usize = 64;
/// Memory of one connection, in bytes.
const BUFFER_BYTES: usize = 16 * 1024;
/// The pause when the process has no file descriptor for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The address at the other end of the connection, for the handlers of its requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Limits of one client, and of all together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections at once. For another one the oldest is closed: a liveness probe must not wait
    /// behind clients that hold on to theirs.
    pub(super) connections: usize,
    /// From the beginning of a request to the end of its headers; also an idle connection.
    pub(super) headers: Duration,
    /// A connection in all, so that reading an answer slowly ends as well.
    pub(super) connection: Duration,
    /// To finish the requests in hand when a connection or the listener ends.
    pub(super) finish: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            headers: Duration::from_secs(5),
            connection: Duration::from_secs(60),
            finish: Duration::from_secs(5),
        }
    }
}

/// Accepts until `shutdown`, then waits for the connections in hand, at most `limits.finish`.
pub(super) async fn serve(listener: TcpListener, router: Router, limits: Limits, shutdown: CancellationToken) {
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            // Takes up what has ended, so that the set does not grow.
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok((stream, addr)) => (stream, Peer(addr.ip())),
            Err(error) => {
                tracing::debug!(%error, "The admin listener could not accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        oldest_first.retain(|connection| !connection.is_finished());
        if oldest_first.len() >= limits.connections
            && let Some(oldest) = oldest_first.pop_front()
        {
            oldest.abort();
        }
        oldest_first.push_back(connections.spawn(answer(
            stream,
            router.clone().layer(Extension(peer)),
            limits,
            shutdown.clone(),
        )));
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    // What is left after the limit is dropped with the set.
    let _ = tokio::time::timeout(limits.finish, finished).await;
}

/// One connection, until it ends, is too old, or the listener stops.
async fn answer(stream: TcpStream, router: Router, limits: Limits, shutdown: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers)
        .max_headers(HEADERS)
        .max_header_size(HEADER_BYTES)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    // An error is the client's: it has been answered with a status, or is gone.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = shutdown.cancelled() => {}
        () = tokio::time::sleep(limits.connection) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(limits.finish, connection).await;
}
