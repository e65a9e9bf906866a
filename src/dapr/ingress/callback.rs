//! Dapr's AppCallback services.

use std::sync::Arc;

use dapr::dapr::proto::common::v1::{InvokeRequest, InvokeResponse};
use dapr::dapr::proto::runtime::v1::app_callback_alpha_server::AppCallbackAlpha;
use dapr::dapr::proto::runtime::v1::app_callback_health_check_server::AppCallbackHealthCheck;
use dapr::dapr::proto::runtime::v1::app_callback_server::AppCallback;
use dapr::dapr::proto::runtime::v1::topic_event_response::TopicEventResponseStatus::Success;
use dapr::dapr::proto::runtime::v1::{
    BindingEventRequest, BindingEventResponse, HealthCheckResponse, JobEventRequest, JobEventResponse,
    ListInputBindingsResponse, ListTopicSubscriptionsResponse, TopicEventBulkRequest, TopicEventBulkResponse,
    TopicEventBulkResponseEntry, TopicEventRequest, TopicEventResponse, TopicRoutes, TopicSubscription,
};
use subtle::{Choice, ConstantTimeEq};
use tokio::sync::watch;
use tonic::metadata::{KeyAndValueRef, MetadataMap};
use tonic::{Request, Response, Status, async_trait};

use super::delivered::Delivered;
use super::envelope::{event, events, note_metadata};
use super::settings::EventBus;
use crate::dapr::Topics;
use crate::engine::inbox::{Accept, Event};
use crate::platform::health::Condition;
use crate::platform::settings::Secret;
use crate::platform::telemetry::{spans, trace};

/// The service that Dapr calls.
#[derive(Clone, Debug)]
pub struct Callback {
    accept: Accept,
    delivered: Delivered,
    pubsub: Arc<str>,
    topics: Topics,
    token: watch::Receiver<Option<Secret>>,
    database: watch::Receiver<Condition>,
}

impl Callback {
    /// `token` is `settings.app_token`, which may change; `delivered` counts what comes; `database` tells Dapr's app health check whether events can be stored.
    #[must_use]
    pub fn new(
        accept: Accept,
        delivered: Delivered,
        settings: &EventBus,
        topics: Topics,
        token: watch::Receiver<Option<Secret>>,
        database: watch::Receiver<Condition>,
    ) -> Self {
        Self { accept, delivered, pubsub: settings.pubsub.as_str().into(), topics, token, database }
    }

    /// Dapr shows APP_API_TOKEN with events, not with the list of subscriptions or the health check.
    fn authorise(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let token = self.token.borrow();
        let Some(expected) = &*token else { return Ok(()) };
        // A publisher may have put a token of its own into its message's metadata, which Dapr sends beside the sidecar's.
        let shown = metadata.get_all("dapr-api-token").into_iter();
        let shown = shown.map(|token| token.as_bytes().ct_eq(expected.expose().as_bytes()));
        if bool::from(shown.fold(Choice::from(0), |any, this| any | this)) {
            return Ok(());
        }
        Err(Status::unauthenticated(
            "dapr-api-token is missing or wrong: set the same APP_API_TOKEN on sidecar and worker",
        ))
    }

    /// What came with a call and is not the sidecar's own token.
    fn publishers<'a>(&self, metadata: &'a MetadataMap) -> impl Iterator<Item = (&'a str, &'a str)> {
        let expected = self.token.borrow().as_ref().map(|token| token.expose().to_owned());
        let told = metadata.iter().filter_map(|entry| match entry {
            KeyAndValueRef::Ascii(name, value) => Some((name.as_str(), value.to_str().ok()?)),
            KeyAndValueRef::Binary(..) => None,
        });
        told.filter(move |(name, value)| {
            *name != "dapr-api-token" || expected.as_deref().is_some_and(|own| own != *value)
        })
    }

    fn subscription(&self, topic: &str, dead_letter_topic: &str) -> TopicSubscription {
        TopicSubscription {
            pubsub_name: self.pubsub.to_string(),
            topic: topic.to_owned(),
            routes: Some(TopicRoutes { rules: Vec::new(), default: format!("/{topic}") }),
            dead_letter_topic: dead_letter_topic.to_owned(),
            // Raw: the message as it was published. Of a CloudEvent that it takes apart the sidecar hands over no data but JSON and text,
            // and of what is none nothing; what has outlived its publisher's time to live it would drop.
            metadata: [("rawPayload".to_owned(), "true".to_owned())].into(),
            ..TopicSubscription::default()
        }
    }

    /// The trace goes on from here through the rows.
    async fn accept(&self, mut events: Vec<Event>) -> Result<(), Status> {
        let mut accepting = Vec::with_capacity(events.len());
        for event in &mut events {
            let span = spans::accept(&event.topic, &event.id, event.traceparent.as_deref());
            event.traceparent = span.in_scope(|| trace::continue_trace(event.traceparent.as_deref()));
            accepting.push(span);
        }
        self.accept.accept(events).await.map_err(|error| {
            accepting.iter().for_each(|span| spans::failed(span, "UNAVAILABLE"));
            Status::unavailable(error.to_string())
        })
    }

    async fn bulk(&self, request: Request<TopicEventBulkRequest>) -> Result<Response<TopicEventBulkResponse>, Status> {
        self.authorise(request.metadata())?;
        self.delivered.came(&request.get_ref().topic, request.get_ref().entries.len());
        let (ids, events): (Vec<_>, Vec<_>) = events(request.into_inner(), &self.topics).into_iter().unzip();
        self.accept(events).await?;
        // An entry that is missing in the answer counts as RETRY.
        let statuses =
            ids.into_iter().map(|entry_id| TopicEventBulkResponseEntry { entry_id, status: Success as i32 }).collect();
        Ok(Response::new(TopicEventBulkResponse { statuses }))
    }
}

/// The trace context of a call. A tracestate may come in several headers, which together are one list.
fn of_the_call(metadata: &MetadataMap) -> Option<String> {
    let text = |name| -> Vec<&str> { metadata.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect() };
    trace::received(text("traceparent").first().copied(), Some(&text("tracestate").join(",")))
}

#[async_trait]
impl AppCallback for Callback {
    async fn list_topic_subscriptions(
        &self,
        _: Request<()>,
    ) -> Result<Response<ListTopicSubscriptionsResponse>, Status> {
        let dead_letters = &*self.topics.dead_letters;
        let events = self.topics.events.iter().map(|topic| self.subscription(topic, dead_letters));
        let subscriptions = events.chain([self.subscription(dead_letters, "")]).collect();
        Ok(Response::new(ListTopicSubscriptionsResponse { subscriptions }))
    }

    async fn on_topic_event(
        &self,
        request: Request<TopicEventRequest>,
    ) -> Result<Response<TopicEventResponse>, Status> {
        self.authorise(request.metadata())?;
        let (metadata, _, request) = request.into_parts();
        self.delivered.came(&request.topic, 1);
        let mut event = event(request, &self.topics, of_the_call(&metadata).as_deref());
        note_metadata(&mut event, self.publishers(&metadata));
        self.accept(vec![event]).await?;
        Ok(Response::new(TopicEventResponse { status: Success as i32 }))
    }

    async fn on_bulk_topic_event(
        &self,
        request: Request<TopicEventBulkRequest>,
    ) -> Result<Response<TopicEventBulkResponse>, Status> {
        self.bulk(request).await
    }

    async fn list_input_bindings(&self, _: Request<()>) -> Result<Response<ListInputBindingsResponse>, Status> {
        Ok(Response::new(ListInputBindingsResponse::default()))
    }

    async fn on_invoke(&self, _: Request<InvokeRequest>) -> Result<Response<InvokeResponse>, Status> {
        Err(Status::unimplemented("the worker has no methods to invoke"))
    }

    async fn on_binding_event(
        &self,
        _: Request<BindingEventRequest>,
    ) -> Result<Response<BindingEventResponse>, Status> {
        Err(Status::unimplemented("the worker has no bindings"))
    }

    async fn on_job_event(&self, _: Request<JobEventRequest>) -> Result<Response<JobEventResponse>, Status> {
        Err(Status::unimplemented("the worker's jobs are in its database"))
    }
}

/// Bulk subscriptions of Dapr before 1.17.
#[async_trait]
impl AppCallbackAlpha for Callback {
    async fn on_bulk_topic_event_alpha1(
        &self,
        request: Request<TopicEventBulkRequest>,
    ) -> Result<Response<TopicEventBulkResponse>, Status> {
        self.bulk(request).await
    }

    async fn on_job_event_alpha1(&self, _: Request<JobEventRequest>) -> Result<Response<JobEventResponse>, Status> {
        Err(Status::unimplemented("the worker's jobs are in its database"))
    }
}

/// While the database is unreachable Dapr stops reading: what it does not read cannot be lost on the way.
#[async_trait]
impl AppCallbackHealthCheck for Callback {
    async fn health_check(&self, _: Request<()>) -> Result<Response<HealthCheckResponse>, Status> {
        let database = self.database.borrow();
        if database.ok {
            return Ok(Response::new(HealthCheckResponse {}));
        }
        Err(Status::unavailable(format!("database: {}", database.detail)))
    }
}
