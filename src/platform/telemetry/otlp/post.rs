//! OTLP over HTTP: protobuf by POST.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_http::{HttpClient, HttpError};
use rustls::ClientConfig;
use tokio::runtime::Handle;
use tonic::async_trait;

use super::watched::Reason;
use crate::platform::telemetry::chain;

/// The most of an answer that is read, in bytes. OTLP's own is empty, or a line about what was rejected.
const LARGEST: usize = 64 << 10;

/// A client that works on the runtime, whatever thread asks: the SDK's threads have none.
#[derive(Clone, Debug)]
pub(super) struct Post {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    runtime: Handle,
    reason: Reason,
    timeout: Duration,
}

impl Post {
    pub(super) fn new(
        tls: ClientConfig,
        tcp: HttpConnector,
        runtime: Handle,
        reason: Reason,
        timeout: Duration,
    ) -> Self {
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        Self { client: Client::builder(TokioExecutor::new()).build(connector), runtime, reason, timeout }
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = self.client.request(request.map(Full::from)).await?.into_parts();
        let body = Limited::new(body, LARGEST).collect().await?.to_bytes();
        Ok(Response::from_parts(head, body))
    }
}

#[async_trait]
impl HttpClient for Post {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let post = self.clone();
        let timeout = self.timeout;
        let exchange = self.runtime.spawn(async move { tokio::time::timeout(timeout, post.exchange(request)).await });
        let answer = match exchange.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(format!("no answer within {timeout:?}").into()),
            Err(stopped) => Err(stopped.into()),
        };
        // The SDK says of these no more than that the network failed.
        self.reason.set(answer.as_ref().err().map(|error| chain(&**error).to_string()).unwrap_or_default());
        answer
    }
}
