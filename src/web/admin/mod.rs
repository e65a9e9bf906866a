//! The admin listener: health, metrics and subscriptions over HTTP.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 `ok` while the process can answer at all; a database that is away is no reason to kill it |
//! | `/readyz` | 200, or 503 when the worker itself (it starts or stops), database, schema or sidecar is not ok; which and why, as JSON |
//! | `/metrics` | Prometheus' text format |
//! | `/dapr/subscribe` | the topics the worker consumes, as Dapr's HTTP apps answer it |
//!
//! Nothing here waits for a part: the probe has looked before, and the answer tells what it saw.

mod connections;
mod health;
mod router;
pub mod settings;
mod subscriptions;

use axum::http::header::{self, HeaderMap, HeaderValue};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::platform::telemetry::Metrics;
use connections::Limits;

pub(crate) use connections::Peer;

pub use health::{Health, Reporter};
pub use subscriptions::Subscriptions;

/// The state that the answers are made of.
#[derive(Debug, Clone)]
pub struct State {
    /// Behind `/readyz`.
    pub health: Health,
    /// Behind `/metrics`.
    pub metrics: Metrics,
    /// Behind `/dapr/subscribe`.
    pub subscriptions: Subscriptions,
}

/// Answers on `listener` until `shutdown`, then finishes the requests in hand, within five seconds.
///
/// Connections are few (64, the oldest gives way), short (a minute) and small (headers of 8 KiB,
/// read within 5 s), so that no client can take more of the process than that.
pub async fn serve(listener: TcpListener, state: State, shutdown: CancellationToken) {
    serve_router(listener, router::router(state), shutdown).await;
}

/// The same for the pages of another listener.
pub(crate) async fn serve_router(listener: TcpListener, router: axum::Router, shutdown: CancellationToken) {
    connections::serve(listener, router, Limits::default(), shutdown).await;
}

/// Sets the security headers of an answer to a browser: the files that its page may load, and that nobody may frame it.
pub(crate) fn protect(headers: &mut HeaderMap, policy: &'static str) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests;
