//! Consul's HTTP API, as far as the worker uses it: bounded in time and size, and never believed to be well-formed.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use hyper::{Method, Request};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use url::Url;

use super::instance::{Entry, Instance};
use super::settings::Consul;
use crate::platform::telemetry::Metrics;
use crate::platform::tls::{self, TlsError};

/// A connection to the agent.
const CONNECT: Duration = Duration::from_secs(3);
/// An answer that is given at once.
const ANSWER: Duration = Duration::from_secs(5);
/// The most of an answer that is read, in bytes: some two thousand instances.
const LARGEST: usize = 4 * 1024 * 1024;
/// The most of a refusal that is told on.
const TOLD: usize = 200;

/// Settings of which no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The token cannot travel in a header.
    #[error("worker.consul.token has characters that no header may have")]
    Token,
    /// The agent's certificate cannot be checked.
    #[error("worker.consul.addr is https: {0}")]
    Tls(TlsError),
}

/// Why there is no answer to work with.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It cannot be reached, or does not answer in time.
    #[error("{0}")]
    Unreachable(String),
    /// It answers, and says no.
    #[error("it answers {status}: {said}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The body, shortened.
        said: String,
    },
    /// It answers what cannot be read, or too much.
    #[error("its answer cannot be read: {0}")]
    Unreadable(String),
}

impl ClientError {
    /// Tells one trouble from another: another kind, or another status.
    pub(super) fn kind(&self) -> (u8, u16) {
        match self {
            Self::Unreachable(_) => (0, 0),
            Self::Refused { status, .. } => (1, *status),
            Self::Unreadable(_) => (2, 0),
        }
    }
}

/// The answer to a query by name.
#[derive(Debug)]
pub(super) struct Listed {
    /// X-Consul-Index.
    pub index: u64,
    /// Those whose checks pass.
    pub instances: Vec<Instance>,
}

/// A client of one agent. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: Http<HttpsConnector<HttpConnector>, Full<Bytes>>,
    agent: Url,
    token: Option<HeaderValue>,
    metrics: Metrics,
}

impl Client {
    /// A client of `worker.consul`; `None` where no agent is named. Opens nothing.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn new(settings: &Consul, metrics: Metrics) -> Result<Option<Self>, SetupError> {
        let Some(agent) = &settings.addr else { return Ok(None) };
        let token = settings.token.as_ref().map(|token| HeaderValue::from_str(token.expose())).transpose();
        let mut token = token.map_err(|_| SetupError::Token)?;
        if let Some(token) = &mut token {
            token.set_sensitive(true);
        }
        let encrypted = agent.url().scheme() == "https";
        let tls = tls::client(encrypted.then_some("")).map_err(SetupError::Tls)?;
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_keepalive(Some(Duration::from_secs(30)));
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(connector);
        let http = Http::builder(TokioExecutor::new()).build(connector);
        Ok(Some(Self { http, agent: agent.url().clone(), token, metrics }))
    }

    /// Registers a service, and replaces what the agent knew under its id.
    pub(super) async fn register(&self, service: &impl Serialize) -> Result<(), ClientError> {
        let query = [("replace-existing-checks", "true")];
        self.put(&["agent", "service", "register"], &query, service).await
    }

    /// Removes a service with its checks.
    pub(super) async fn deregister(&self, id: &str) -> Result<(), ClientError> {
        self.put(&["agent", "service", "deregister", id], &[], &()).await
    }

    /// The heartbeat of a TTL check.
    pub(super) async fn pass(&self, check: &str) -> Result<(), ClientError> {
        let update = serde_json::json!({ "Status": "passing", "Output": "order-worker is alive" });
        self.put(&["agent", "check", "update", check], &[], &update).await
    }

    /// The instances of a service whose checks pass: at once for index 0, else when they have changed since that index, or
    /// after `wait`.
    pub(super) async fn passing(&self, service: &str, index: u64, wait: Duration) -> Result<Listed, ClientError> {
        let (index, wait_seconds) = (index.to_string(), format!("{}s", wait.as_secs()));
        let mut query = vec![("passing", "true")];
        if index != "0" {
            query.extend([("index", index.as_str()), ("wait", wait_seconds.as_str())]);
        }
        // Consul adds up to a sixteenth to the wait, so that not all return at once.
        let limit = wait + wait / 16 + ANSWER;
        let (index, body) = self.ask(Method::GET, &["health", "service", service], &query, Vec::new(), limit).await?;
        let index = index.ok_or_else(|| ClientError::Unreadable("X-Consul-Index is missing or no number".into()))?;
        // `null` is how some proxies write the empty list.
        let entries: Option<Vec<Entry>> =
            serde_json::from_slice(&body).map_err(|error| ClientError::Unreadable(error.to_string()))?;
        let instances = entries.unwrap_or_default().iter().filter_map(Entry::instance).collect();
        Ok(Listed { index, instances })
    }

    /// The number of instances of a service whose checks pass, asked once.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn count(&self, service: &str) -> Result<usize, ClientError> {
        self.passing(service, 0, Duration::ZERO).await.map(|listed| listed.instances.len())
    }

    /// The address of the cluster's leader; empty while there is none. Needs no right.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn leader(&self) -> Result<String, ClientError> {
        let (_, body) = self.ask(Method::GET, &["status", "leader"], &[], Vec::new(), ANSWER).await?;
        serde_json::from_slice(&body).map_err(|error| ClientError::Unreadable(error.to_string()))
    }

    async fn put(&self, path: &[&str], query: &[(&str, &str)], body: &impl Serialize) -> Result<(), ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Unreadable(error.to_string()))?;
        self.ask(Method::PUT, path, query, body, ANSWER).await.map(|_| ())
    }

    async fn ask(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Vec<u8>,
        limit: Duration,
    ) -> Result<(Option<u64>, Bytes), ClientError> {
        let mut url = self.agent.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().push("v1").extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = Request::builder().method(method).uri(url.as_str());
        if let Some(token) = &self.token {
            request = request.header("x-consul-token", token);
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request =
            request.body(Full::from(body)).map_err(|error| ClientError::Unreadable(format!("{url}: {error}")))?;
        let answer = tokio::time::timeout(limit, self.exchange(request)).await;
        let answer = answer.unwrap_or_else(|_| Err(ClientError::Unreachable(format!("no answer in {limit:?}"))));
        self.metrics.consul_up(!matches!(answer, Err(ClientError::Unreachable(_))));
        answer
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(Option<u64>, Bytes), ClientError> {
        let answer = self
            .http
            .request(request)
            .await
            .map_err(|error| ClientError::Unreachable(crate::platform::telemetry::chain(&error).to_string()))?;
        let (head, body) = answer.into_parts();
        let index = head.headers.get("x-consul-index").and_then(|index| index.to_str().ok()?.parse().ok());
        let body = Limited::new(body, LARGEST).collect().await;
        let body = body.map_err(|error| ClientError::Unreadable(error.to_string()))?.to_bytes();
        if head.status.is_success() {
            return Ok((index, body));
        }
        let said: String = String::from_utf8_lossy(&body).trim().chars().take(TOLD).collect();
        Err(ClientError::Refused { status: head.status.as_u16(), said: said.escape_debug().to_string() })
    }
}
