//! GET over plain HTTP: readiness, metrics, a sidecar's health.

use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tonic::codegen::Bytes;

/// Status and body of `http://127.0.0.1:<port><path>`; an error for a connection that fails or an answer that takes over 5 s.
pub async fn get(port: u16, path: &str) -> Result<(u16, String), String> {
    let uri = format!("http://127.0.0.1:{port}{path}").parse().map_err(|e| format!("{path}: {e}"))?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let fetch = async {
        let response = client.get(uri).await.map_err(|e| e.to_string())?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    tokio::time::timeout(Duration::from_secs(5), fetch).await.unwrap_or_else(|_| Err("no answer within 5 s".into()))
}
