//! Plain HTTP: readiness, metrics, a sidecar's health, and calls of an app.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tonic::codegen::{Bytes, http};

use crate::wait::SOON;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, names in lower case; of several with one name the last.
    pub headers: std::collections::BTreeMap<String, String>,
    /// Its body.
    pub body: String,
}

/// Status and body of `http://127.0.0.1:<port><path>`; an error for a connection that fails or an answer that does not come [`SOON`].
pub async fn get(port: u16, path: &str) -> Result<(u16, String), String> {
    call(port, "GET", path, "").await
}

/// The same by another method, with a JSON body where it is not empty.
pub async fn call(port: u16, method: &str, path: &str, body: &str) -> Result<(u16, String), String> {
    let headers: &[(&str, &str)] = if body.is_empty() { &[] } else { &[("content-type", "application/json")] };
    exchange(port, method, path, headers, body).await.map(|answer| (answer.status, answer.body))
}

/// The same with headers, both ways. Redirects are not followed.
pub async fn exchange(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Answer, String> {
    within(SOON, port, method, path, headers, body).await
}

/// The same with another limit.
pub async fn within(
    limit: Duration,
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Answer, String> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut request = http::Request::builder().method(method).uri(format!("http://127.0.0.1:{port}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::from(body.to_owned())).map_err(|e| format!("{path}: {e}"))?;
    let fetch = async {
        let response = client.request(request).await.map_err(|e| e.to_string())?;
        let status = response.status().as_u16();
        let headers = response.headers().iter();
        let headers =
            headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        let headers = headers.collect();
        let body = response.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
        Ok(Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
    };
    tokio::time::timeout(limit, fetch).await.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))
}
