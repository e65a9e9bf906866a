//! A collector of spans and metrics that keeps what it gets, by gRPC and by HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use hyper::body::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use rig::authority::Authority;
use rig::server::Server;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::scene::{SOON, Scene};
use crate::tls_front::behind_tls;

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Record>>);

#[derive(Default)]
struct Record {
    spans: Vec<Span>,
    /// Who sent them last.
    resource: Vec<KeyValue>,
    /// As they were sent last.
    metrics: Vec<Metric>,
    /// Header x-tenant of each request.
    tenants: BTreeSet<String>,
}

impl Kept {
    fn spans(&self, tenant: Option<&str>, request: ExportTraceServiceRequest) {
        let mut record = self.0.lock().unwrap();
        let resource = request.resource_spans.first().and_then(|spans| spans.resource.clone());
        record.resource = resource.map(|resource| resource.attributes).unwrap_or_default();
        let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        record.spans.extend(scopes.flat_map(|scope| scope.spans));
        record.tenants.extend(tenant.map(str::to_owned));
    }

    fn metrics(&self, tenant: Option<&str>, request: ExportMetricsServiceRequest) {
        let mut record = self.0.lock().unwrap();
        let scopes = request.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
        record.metrics = scopes.flat_map(|scope| scope.metrics).collect();
        record.tenants.extend(tenant.map(str::to_owned));
    }
}

#[tonic::async_trait]
impl TraceService for Kept {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let tenant = request.metadata().get("x-tenant").map(|value| value.to_str().unwrap().to_owned());
        self.spans(tenant.as_deref(), request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Kept {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let tenant = request.metadata().get("x-tenant").map(|value| value.to_str().unwrap().to_owned());
        self.metrics(tenant.as_deref(), request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

fn tenant(headers: &HeaderMap) -> Option<&str> {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    headers.get("x-tenant").map(|value| value.to_str().unwrap())
}

async fn post_traces(State(kept): State<Kept>, headers: HeaderMap, body: Bytes) {
    kept.spans(tenant(&headers), ExportTraceServiceRequest::decode(body).unwrap());
}

async fn post_metrics(State(kept): State<Kept>, headers: HeaderMap, body: Bytes) {
    kept.metrics(tenant(&headers), ExportMetricsServiceRequest::decode(body).unwrap());
}

/// The collector; it ends with the test.
pub struct Collector {
    kept: Kept,
    pub server: Server,
}

impl Collector {
    pub fn start() -> Collector {
        let kept = Kept::default();
        let posts = Router::new().route("/v1/traces", post(post_traces)).route("/v1/metrics", post(post_metrics));
        let routes = Routes::from(posts.with_state(kept.clone()))
            .add_service(TraceServiceServer::new(kept.clone()))
            .add_service(MetricsServiceServer::new(kept.clone()));
        Collector { server: Server::start(routes), kept }
    }

    /// Its address behind TLS, as gRPC (by ALPN) and as HTTP/1; the certificate is for `localhost`.
    pub async fn behind_tls(&self, authority: &Authority) -> String {
        behind_tls(&self.server.addr(), authority).await
    }

    /// The spans; the worker is stopped, so that it sends them all.
    pub async fn all_spans(&self, scene: &Scene) -> Vec<Span> {
        scene.worker.terminate();
        assert!(scene.worker.wait_exit(SOON).await.success());
        self.kept.0.lock().unwrap().spans.clone()
    }

    /// The same by name, one of each.
    pub async fn spans(&self, scene: &Scene) -> BTreeMap<String, Span> {
        self.all_spans(scene).await.into_iter().map(|span| (span.name.clone(), span)).collect()
    }

    pub fn has_metrics(&self) -> bool {
        !self.kept.0.lock().unwrap().metrics.is_empty()
    }

    /// Each metric by its name.
    pub fn metrics(&self) -> BTreeMap<String, Metric> {
        let metrics = self.kept.0.lock().unwrap().metrics.clone();
        metrics.into_iter().map(|metric| (metric.name.clone(), metric)).collect()
    }

    /// The attributes of the resource that sent spans.
    pub fn resource(&self) -> BTreeMap<String, String> {
        attributes(&self.kept.0.lock().unwrap().resource.clone())
    }

    pub fn tenants(&self) -> BTreeSet<String> {
        self.kept.0.lock().unwrap().tenants.clone()
    }
}

/// The value of a counter's or gauge's series with this label.
pub fn value(metric: &Metric, label: (&str, &str)) -> Option<f64> {
    let points = match metric.data.as_ref()? {
        Data::Sum(sum) => &sum.data_points,
        Data::Gauge(gauge) => &gauge.data_points,
        _ => return None,
    };
    let has = |point: &&NumberDataPoint| attributes(&point.attributes).get(label.0).is_some_and(|text| text == label.1);
    match points.iter().find(has)?.value? {
        Value::AsDouble(number) => Some(number),
        #[expect(clippy::cast_precision_loss, reason = "small")]
        Value::AsInt(number) => Some(number as f64),
    }
}

pub fn attributes(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: Option<Attribute>| match value {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().cloned().map(|kv| (kv.key, text(kv.value.and_then(|value| value.value)))).collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
