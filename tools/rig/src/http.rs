//! Plain HTTP: readiness, metrics, a sidecar's health, and calls of an app.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tonic::codegen::{Bytes, http};

/// Status and body of `http://127.0.0.1:<port><path>`; an error for a connection that fails or an answer that takes over 5 s.
pub async fn get(port: u16, path: &str) -> Result<(u16, String), String> {
    call(port, "GET", path, "").await
}

/// The same by another method, with a JSON body where it is not empty.
pub async fn call(port: u16, method: &str, path: &str, body: &str) -> Result<(u16, String), String> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut request = http::Request::builder().method(method).uri(format!("http://127.0.0.1:{port}{path}"));
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    let request = request.body(Full::from(body.to_owned())).map_err(|e| format!("{path}: {e}"))?;
    let fetch = async {
        let response = client.request(request).await.map_err(|e| e.to_string())?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    tokio::time::timeout(Duration::from_secs(5), fetch).await.unwrap_or_else(|_| Err("no answer within 5 s".into()))
}
