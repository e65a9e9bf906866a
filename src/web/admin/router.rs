//! The answer of each path.

use std::time::Duration;

use axum::extract::{Request, State as Shared};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::State;
use crate::platform::health::Condition;

/// The longest time that an answer may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

const PATHS: [&str; 4] = ["/healthz", "/readyz", "/metrics", "/dapr/subscribe"];

/// The paths, each with a time limit. `GET` answers `HEAD` too.
pub(super) fn router(state: State) -> Router {
    Router::new()
        .route("/healthz", get("ok"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/dapr/subscribe", get(subscribe))
        .fallback(async || known_paths(StatusCode::NOT_FOUND, "there is nothing at this path"))
        .method_not_allowed_fallback(async || {
            known_paths(StatusCode::METHOD_NOT_ALLOWED, "this path answers GET and HEAD only")
        })
        .layer(middleware::from_fn(limit))
        .with_state(state)
}

#[derive(Serialize)]
struct Readiness {
    worker: Condition,
    database: Condition,
    schema: Condition,
    sidecar: Condition,
}

async fn readyz(Shared(state): Shared<State>) -> Response {
    let health = state.health;
    let readiness = Readiness {
        worker: health.worker.borrow().clone(),
        database: health.database.borrow().clone(),
        schema: health.schema.borrow().clone(),
        sidecar: health.sidecar.borrow().clone(),
    };
    let Readiness { worker, database, schema, sidecar } = &readiness;
    let ready = [worker, database, schema, sidecar].iter().all(|part| part.ok);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn metrics(Shared(state): Shared<State>) -> Response {
    match state.metrics.render() {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn subscribe(Shared(state): Shared<State>) -> Response {
    ([(CONTENT_TYPE, "application/json")], state.subscriptions.json()).into_response()
}

#[derive(Serialize)]
struct Misdirected {
    error: &'static str,
    paths: [&'static str; 4],
}

fn known_paths(status: StatusCode, error: &'static str) -> Response {
    (status, Json(Misdirected { error, paths: PATHS })).into_response()
}

/// Ends a request that takes too long, and keeps answers out of caches: each is of this moment.
async fn limit(request: Request, next: Next) -> Response {
    let mut response = match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "no answer in time").into_response(),
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
