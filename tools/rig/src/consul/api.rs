//! Its HTTP API.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::catalog::duration;
use super::{Agent, Fault};

type Agents = State<Arc<Agent>>;
type Refusal = (StatusCode, String);

pub(super) fn router(agent: Arc<Agent>) -> Router {
    Router::new()
        .route("/v1/agent/service/register", put(register))
        .route("/v1/agent/service/deregister/{id}", put(deregister))
        .route("/v1/agent/check/update/{id}", put(update))
        .route("/v1/agent/check/pass/{id}", put(pass))
        .route("/v1/agent/services", get(services))
        .route("/v1/health/service/{name}", get(health))
        .route("/v1/status/leader", get(async || Json("127.0.0.1:8300")))
        .layer(from_fn_with_state(Arc::clone(&agent), behave))
        .with_state(agent)
}

async fn behave(State(agent): Agents, request: Request, next: Next) -> Response {
    let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let number = {
        let mut calls = agent.calls.lock().unwrap();
        calls.push(format!("{} {path}", request.method()));
        calls.len()
    };
    let token = agent.token.lock().unwrap().clone();
    let shown = request.headers().get("x-consul-token").and_then(|token| token.to_str().ok());
    if token.is_some() && token.as_deref() != shown {
        return (StatusCode::FORBIDDEN, "Permission denied: anonymous token lacks permission").into_response();
    }
    let fault = *agent.fault.lock().unwrap();
    match fault {
        Fault::Flap if number.is_multiple_of(2) => {
            return (StatusCode::INTERNAL_SERVER_ERROR, "rpc error making call: EOF").into_response();
        }
        Fault::NoLeader => return (StatusCode::INTERNAL_SERVER_ERROR, "No cluster leader").into_response(),
        Fault::Garbage => return ([("x-consul-index", "7")], "<html>502</html>").into_response(),
        Fault::Huge => return huge(),
        Fault::Hang => std::future::pending().await,
        Fault::Slow(time) => tokio::time::sleep(time).await,
        _ => {}
    }
    next.run(request).await
}

/// A list of empty places, without an end that anybody should wait for.
fn huge() -> Response {
    let chunks = std::iter::once("[".to_owned()).chain(std::iter::repeat_n(" ".repeat(64 * 1024), 1024));
    let body = Body::from_stream(futures::stream::iter(chunks.map(Ok::<_, std::io::Error>)));
    ([("x-consul-index", "7")], body).into_response()
}

async fn register(State(agent): Agents, Json(told): Json<Value>) -> Result<(), Refusal> {
    let registered = agent.catalog.lock().unwrap().register(&told);
    registered.map_err(|why| (StatusCode::BAD_REQUEST, why))?;
    agent.changed.send_replace(());
    Ok(())
}

async fn deregister(State(agent): Agents, Path(id): Path<String>) -> Result<(), Refusal> {
    if !agent.catalog.lock().unwrap().deregister(&id) {
        let why = format!("Unknown service ID {id:?}. Ensure that the service ID is passed, not the service name.");
        return Err((StatusCode::NOT_FOUND, why));
    }
    agent.changed.send_replace(());
    Ok(())
}

async fn update(State(agent): Agents, Path(id): Path<String>, Json(told): Json<Value>) -> Result<(), Refusal> {
    let status = told["Status"].as_str().unwrap_or_default();
    if !matches!(status, "passing" | "warning" | "critical") {
        return Err((StatusCode::BAD_REQUEST, format!("Invalid check status: '{status}'")));
    }
    beat(&agent, &id, status, told["Output"].as_str().unwrap_or_default())
}

async fn pass(State(agent): Agents, Path(id): Path<String>) -> Result<(), Refusal> {
    beat(&agent, &id, "passing", "")
}

fn beat(agent: &Agent, id: &str, status: &str, output: &str) -> Result<(), Refusal> {
    if !agent.catalog.lock().unwrap().update(id, status, output) {
        let why = format!("Unknown check ID {id:?}. Ensure that the check ID is passed, not the check name.");
        return Err((StatusCode::NOT_FOUND, why));
    }
    agent.changed.send_replace(());
    Ok(())
}

async fn services(State(agent): Agents) -> Json<Value> {
    Json(agent.catalog.lock().unwrap().agent_services())
}

async fn health(
    State(agent): Agents,
    Path(name): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Response, Refusal> {
    let bad = |why: String| (StatusCode::BAD_REQUEST, why);
    let after: u64 =
        query.get("index").map_or(Ok(0), |index| index.parse()).map_err(|_| bad("Invalid index".into()))?;
    let wait = query.get("wait").map_or(Ok(Duration::from_secs(300)), |wait| duration(wait)).map_err(bad)?;
    let passing = query.get("passing").is_some_and(|passing| matches!(passing.as_str(), "" | "1" | "true"));
    if after > 0 {
        // A sixteenth more at random, as Consul has it.
        let limit = wait.min(Duration::from_secs(600)).mul_f64(1.0 + fastrand::f64() / 16.0);
        let mut changed = agent.changed.subscribe();
        let later = changed.wait_for(|()| agent.catalog.lock().unwrap().index_of(&name) > after);
        let _ = tokio::time::timeout(limit, later).await;
    }
    let (mut index, entries) = {
        let catalog = agent.catalog.lock().unwrap();
        (catalog.index_of(&name), catalog.entries(&name, passing))
    };
    if *agent.fault.lock().unwrap() == Fault::Backwards {
        // Below the one that was asked with; without one, somewhere far up.
        index = if after > 1 { after - 1 } else { index + 1_000_000 };
    }
    let headers = [
        ("x-consul-index", index.to_string()),
        ("x-consul-knownleader", "true".to_owned()),
        ("x-consul-lastcontact", "0".to_owned()),
    ];
    Ok((headers, Json(json!(entries))).into_response())
}
