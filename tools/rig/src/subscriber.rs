//! A subscriber of announcements behind a sidecar of its own, with a book of what it received.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use dapr::dapr::proto::common::v1::{InvokeRequest, InvokeResponse};
use dapr::dapr::proto::runtime::v1::app_callback_health_check_server::{
    AppCallbackHealthCheck, AppCallbackHealthCheckServer,
};
use dapr::dapr::proto::runtime::v1::app_callback_server::{AppCallback, AppCallbackServer};
use dapr::dapr::proto::runtime::v1::{
    BindingEventRequest, BindingEventResponse, HealthCheckResponse, JobEventRequest, JobEventResponse,
    ListInputBindingsResponse, ListTopicSubscriptionsResponse, TopicEventBulkRequest, TopicEventBulkResponse,
    TopicEventRequest, TopicEventResponse, TopicSubscription,
};
use prost_types::value::Kind;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::behaviour::{Behaviour, Behaviours};
use crate::callback::PUBSUB;
use crate::daprd::{Daprd, DaprdSpec};
use crate::server::Server;

/// The topic of the worker's announcements.
pub const STATUS_CHANGED: &str = "orders.order.status_changed";

/// Every topic of the worker's announcements.
pub const ANNOUNCEMENTS: [&str; 8] = [
    STATUS_CHANGED,
    "order.return.requested",
    "order.return.approved",
    "order.return.rejected",
    "order.return.completed",
    "order.exchange.requested",
    "order.exchange.approved",
    "order.exchange.completed",
];

/// A plain subscription: CloudEvents, one at a time, no dead-letter topic.
pub fn subscription(topic: &str) -> TopicSubscription {
    TopicSubscription { pubsub_name: PUBSUB.into(), topic: topic.into(), ..Default::default() }
}

/// A subscription that takes whatever stands in the stream: its bytes are the event's `body`, its id is new at each delivery.
pub fn raw_subscription(topic: &str) -> TopicSubscription {
    TopicSubscription { metadata: [("rawPayload".to_owned(), "true".to_owned())].into(), ..subscription(topic) }
}

/// One event as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// The topic.
    pub topic: String,
    /// CloudEvent id.
    pub event_id: String,
    /// CloudEvent source.
    pub source: String,
    /// CloudEvent type.
    pub event_type: String,
    /// CloudEvent extensions that are texts: `traceparent`, `subject` where the sidecar hands it on, …
    pub extensions: std::collections::BTreeMap<String, String>,
    /// The data's `order_id`; empty when it has none.
    pub order_id: String,
    /// The data's `old_status`; empty when it has none.
    pub old_status: String,
    /// The data's `new_status`; empty when it has none.
    pub new_status: String,
    /// The data as JSON; null when it is none.
    pub data: serde_json::Value,
    /// The data's bytes.
    pub body: Vec<u8>,
    /// When it arrived.
    pub at: SystemTime,
}

/// The subscriber, its sidecar and its book.
#[derive(Debug)]
pub struct Subscriber {
    // Dropped first, so that it does not log a lost app.
    daprd: Daprd,
    server: Server,
    desk: Desk,
}

#[derive(Clone, Debug)]
struct Desk {
    subscriptions: Vec<TopicSubscription>,
    behaviours: Behaviours,
    book: Arc<Mutex<Vec<Received>>>,
}

impl Subscriber {
    /// Starts the app `app_id` (for example `fulfillment`) and its sidecar; subscribed to all topics when this returns.
    pub async fn start(app_id: &str, redis_addr: &str, topics: &[&str]) -> Subscriber {
        let subscriptions = topics.iter().map(|topic| subscription(topic)).collect();
        Subscriber::start_with(DaprdSpec::new(app_id, redis_addr), subscriptions).await
    }

    /// The same with a sidecar (its `app_port` is filled in) and subscriptions of the caller's making.
    pub async fn start_with(mut spec: DaprdSpec, subscriptions: Vec<TopicSubscription>) -> Subscriber {
        let desk = Desk { subscriptions, behaviours: Behaviours::default(), book: Arc::default() };
        let mut routes = Routes::builder();
        routes
            .add_service(AppCallbackServer::new(desk.clone()).max_decoding_message_size(64 << 20))
            .add_service(AppCallbackHealthCheckServer::new(desk.clone()));
        let server = Server::start(routes.routes());
        spec.app_port = Some(server.port());
        let daprd = Daprd::start(spec).await;
        for subscription in &desk.subscriptions {
            daprd.wait_subscribed(&subscription.topic).await;
        }
        Subscriber { daprd, server, desk }
    }

    /// Its sidecar.
    pub fn daprd(&self) -> &Daprd {
        &self.daprd
    }

    /// The port of its app.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Its app goes away, its sidecar stays: connections are dropped, new ones refused. The book is kept.
    pub fn stop(&self) {
        self.server.stop();
    }

    /// Its app comes back on the same port.
    pub fn start_again(&self) {
        self.server.start_again();
    }

    /// How it answers deliveries from now on; see also [`Behaviours::set_for`] with an order id.
    pub fn behaviours(&self) -> &Behaviours {
        &self.desk.behaviours
    }

    /// How it answers deliveries from now on, every one.
    pub fn set(&self, behaviour: Behaviour) {
        self.desk.behaviours.set(behaviour);
    }

    /// Everything received and acknowledged, in that order, repetitions included.
    pub fn received(&self) -> Vec<Received> {
        self.desk.book.lock().unwrap().clone()
    }

    /// How many there are: cheap enough to poll.
    pub fn count(&self) -> usize {
        self.desk.book.lock().unwrap().len()
    }
}

impl Desk {
    async fn receive(&self, event: TopicEventRequest) -> Result<(), Status> {
        let data: serde_json::Value = serde_json::from_slice(&event.data).unwrap_or_default();
        let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
        let extensions = event.extensions.unwrap_or_default().fields.into_iter();
        let received = Received {
            topic: event.topic,
            event_id: event.id,
            source: event.source,
            event_type: event.r#type,
            extensions: extensions
                .filter_map(|(name, value)| match value.kind {
                    Some(Kind::StringValue(value)) => Some((name, value)),
                    _ => None,
                })
                .collect(),
            order_id: text("order_id"),
            old_status: text("old_status"),
            new_status: text("new_status"),
            data,
            body: event.data,
            at: SystemTime::now(),
        };
        self.behaviours.act(|| Some(received.order_id.clone())).await?;
        self.book.lock().unwrap().push(received);
        Ok(())
    }
}

fn absent<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("the subscriber only takes topic events"))
}

#[tonic::async_trait]
impl AppCallback for Desk {
    async fn list_topic_subscriptions(
        &self,
        _: Request<()>,
    ) -> Result<Response<ListTopicSubscriptionsResponse>, Status> {
        Ok(Response::new(ListTopicSubscriptionsResponse { subscriptions: self.subscriptions.clone() }))
    }

    async fn on_topic_event(
        &self,
        request: Request<TopicEventRequest>,
    ) -> Result<Response<TopicEventResponse>, Status> {
        self.receive(request.into_inner()).await?;
        Ok(Response::new(TopicEventResponse::default()))
    }

    async fn list_input_bindings(&self, _: Request<()>) -> Result<Response<ListInputBindingsResponse>, Status> {
        Ok(Response::new(ListInputBindingsResponse::default()))
    }

    async fn on_invoke(&self, _: Request<InvokeRequest>) -> Result<Response<InvokeResponse>, Status> {
        absent()
    }

    async fn on_binding_event(
        &self,
        _: Request<BindingEventRequest>,
    ) -> Result<Response<BindingEventResponse>, Status> {
        absent()
    }

    async fn on_bulk_topic_event(
        &self,
        _: Request<TopicEventBulkRequest>,
    ) -> Result<Response<TopicEventBulkResponse>, Status> {
        absent()
    }

    async fn on_job_event(&self, _: Request<JobEventRequest>) -> Result<Response<JobEventResponse>, Status> {
        absent()
    }
}

#[tonic::async_trait]
impl AppCallbackHealthCheck for Desk {
    async fn health_check(&self, _: Request<()>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse {}))
    }
}
