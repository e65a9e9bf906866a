//! The measure: takes an event and publishes one, with nothing between. No worker can be faster on the same way.

use std::net::Ipv4Addr;

use dapr::dapr::proto::common::v1::{InvokeRequest, InvokeResponse};
use dapr::dapr::proto::runtime::v1::app_callback_health_check_server::{
    AppCallbackHealthCheck, AppCallbackHealthCheckServer,
};
use dapr::dapr::proto::runtime::v1::app_callback_server::{AppCallback, AppCallbackServer};
use dapr::dapr::proto::runtime::v1::{
    BindingEventRequest, BindingEventResponse, HealthCheckResponse, JobEventRequest, JobEventResponse,
    ListInputBindingsResponse, ListTopicSubscriptionsResponse, TopicEventBulkRequest, TopicEventBulkResponse,
    TopicEventRequest, TopicEventResponse,
};
use rig::payment::CONFIRMED;
use rig::process::{Process, Spec};
use rig::publisher::{Message, Publisher};
use rig::run_dir::RunDir;
use rig::subscriber::{STATUS_CHANGED, subscription};
use rig::wait;
use rig::worker::WorkerSpec;
use tonic::{Request, Response, Status};

/// A relay in a process of its own, as the worker is; killed on drop.
#[derive(Debug)]
pub struct Relay {
    _process: Process,
    _dir: RunDir,
}

impl Relay {
    /// Starts it in the place of this worker.
    pub async fn start(worker: &WorkerSpec) -> Relay {
        let dir = RunDir::new("relay");
        let ports = [worker.eventbus_port, worker.dapr_grpc_port].map(|port| port.to_string());
        let args = std::iter::once("relay".to_owned()).chain(ports);
        let process = Process::spawn(Spec::new("relay", &crate::this_program(), dir.path(), args));
        let addr = (Ipv4Addr::LOCALHOST, worker.eventbus_port);
        let limit = std::time::Duration::from_secs(10);
        wait::until("the relay to listen", limit, async || tokio::net::TcpStream::connect(addr).await.is_ok()).await;
        Relay { _process: process, _dir: dir }
    }
}

/// Takes events on a port and publishes each to the sidecar at another.
pub async fn serve(port: u16, sidecar: u16) {
    let relay = Forward { publisher: Publisher::new(sidecar) };
    tonic::transport::Server::builder()
        .add_service(AppCallbackServer::new(relay.clone()))
        .add_service(AppCallbackHealthCheckServer::new(relay))
        .serve((Ipv4Addr::LOCALHOST, port).into())
        .await
        .unwrap();
}

#[derive(Clone, Debug)]
struct Forward {
    publisher: Publisher,
}

#[tonic::async_trait]
impl AppCallback for Forward {
    async fn on_topic_event(
        &self,
        request: Request<TopicEventRequest>,
    ) -> Result<Response<TopicEventResponse>, Status> {
        let event = request.into_inner();
        self.publisher.publish(&Message::new(STATUS_CHANGED, &event.id, event.data)).await?;
        Ok(Response::new(TopicEventResponse::default()))
    }

    async fn list_topic_subscriptions(
        &self,
        _: Request<()>,
    ) -> Result<Response<ListTopicSubscriptionsResponse>, Status> {
        Ok(Response::new(ListTopicSubscriptionsResponse { subscriptions: vec![subscription(CONFIRMED)] }))
    }

    async fn on_bulk_topic_event(
        &self,
        _: Request<TopicEventBulkRequest>,
    ) -> Result<Response<TopicEventBulkResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn on_invoke(&self, _: Request<InvokeRequest>) -> Result<Response<InvokeResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn list_input_bindings(&self, _: Request<()>) -> Result<Response<ListInputBindingsResponse>, Status> {
        Ok(Response::new(ListInputBindingsResponse::default()))
    }

    async fn on_binding_event(
        &self,
        _: Request<BindingEventRequest>,
    ) -> Result<Response<BindingEventResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn on_job_event(&self, _: Request<JobEventRequest>) -> Result<Response<JobEventResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }
}

#[tonic::async_trait]
impl AppCallbackHealthCheck for Forward {
    async fn health_check(&self, _: Request<()>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse {}))
    }
}
