//! Calls the worker as its sidecar would, without one.

use dapr::dapr::proto::runtime::v1::app_callback_alpha_client::AppCallbackAlphaClient;
use dapr::dapr::proto::runtime::v1::app_callback_client::AppCallbackClient;
use dapr::dapr::proto::runtime::v1::app_callback_health_check_client::AppCallbackHealthCheckClient;
use dapr::dapr::proto::runtime::v1::topic_event_bulk_request_entry::Event as BulkEvent;
pub use dapr::dapr::proto::runtime::v1::topic_event_response::TopicEventResponseStatus as Answer;
use dapr::dapr::proto::runtime::v1::{
    TopicEventBulkRequest, TopicEventBulkRequestEntry, TopicEventCeRequest, TopicEventRequest, TopicSubscription,
};
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// The name of the pub/sub component.
pub const PUBSUB: &str = "pubsub-redis";

/// One CloudEvent as a sidecar hands it to its app. Change a field to make it odd.
#[derive(Clone, Debug)]
pub struct Event {
    /// The topic.
    pub topic: String,
    /// CloudEvent id.
    pub id: String,
    /// CloudEvent source; a sidecar puts the publisher's app id here.
    pub source: String,
    /// The body.
    pub data: Vec<u8>,
    /// Its content type; `application/json`.
    pub content_type: String,
    /// The publisher's trace.
    pub traceparent: Option<String>,
    /// What vendors have noted about it.
    pub tracestate: Option<String>,
}

impl Event {
    /// A JSON event of the source `payment-service`.
    pub fn new(topic: &str, id: &str, data: Vec<u8>) -> Event {
        Event {
            topic: topic.into(),
            id: id.into(),
            source: "payment-service".into(),
            data,
            content_type: "application/json".into(),
            traceparent: None,
            tracestate: None,
        }
    }

    /// As OnTopicEvent carries it.
    pub fn request(&self) -> TopicEventRequest {
        TopicEventRequest {
            id: self.id.clone(),
            source: self.source.clone(),
            r#type: "com.dapr.event.sent".into(),
            spec_version: "1.0".into(),
            data_content_type: self.content_type.clone(),
            data: self.data.clone(),
            topic: self.topic.clone(),
            pubsub_name: PUBSUB.into(),
            path: format!("/{}", self.topic),
            extensions: Some(self.extensions()),
        }
    }

    fn bulk_entry(&self, entry_id: String) -> TopicEventBulkRequestEntry {
        TopicEventBulkRequestEntry {
            entry_id,
            content_type: "application/cloudevents+json".into(),
            metadata: Default::default(),
            event: Some(BulkEvent::CloudEvent(TopicEventCeRequest {
                id: self.id.clone(),
                source: self.source.clone(),
                r#type: "com.dapr.event.sent".into(),
                spec_version: "1.0".into(),
                data_content_type: self.content_type.clone(),
                data: self.data.clone(),
                extensions: Some(self.extensions()),
            })),
        }
    }

    fn extensions(&self) -> Struct {
        let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
        let mut fields = vec![("topic", text(&self.topic)), ("pubsubname", text(PUBSUB))];
        let context = [("traceparent", &self.traceparent), ("tracestate", &self.tracestate)];
        fields.extend(context.into_iter().filter_map(|(name, value)| Some((name, text(value.as_deref()?)))));
        Struct { fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect() }
    }
}

/// A client of the worker's event server. Clones share one connection.
#[derive(Clone, Debug)]
pub struct Callback {
    channel: Channel,
    token: Option<String>,
}

impl Callback {
    /// For the worker's event server at `127.0.0.1:<port>`; connects at the first call and again after a failure.
    /// Needs a tokio runtime.
    pub fn new(port: u16) -> Callback {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap().tcp_nodelay(true);
        Callback { channel: endpoint.connect_lazy(), token: None }
    }

    /// Sends this as metadata `dapr-api-token` with events, as a sidecar with APP_API_TOKEN does.
    pub fn with_token(mut self, token: &str) -> Callback {
        self.token = Some(token.to_owned());
        self
    }

    /// OnTopicEvent.
    pub async fn event(&self, event: &Event) -> Result<Answer, Status> {
        self.send(event.request(), event.traceparent.as_deref()).await
    }

    /// OnTopicEvent with a request of the caller's own making.
    pub async fn send(&self, request: TopicEventRequest, traceparent: Option<&str>) -> Result<Answer, Status> {
        let mut client = AppCallbackClient::new(self.channel.clone()).max_encoding_message_size(64 << 20);
        let answer = client.on_topic_event(self.request(request, traceparent)).await?.into_inner();
        Ok(Answer::try_from(answer.status).expect("a known status"))
    }

    /// OnBulkTopicEvent (Dapr 1.17 and later): the answers by place; `None` where an entry got no answer.
    pub async fn bulk(&self, topic: &str, events: &[Event]) -> Result<Vec<Option<Answer>>, Status> {
        let mut client = AppCallbackClient::new(self.channel.clone()).max_encoding_message_size(64 << 20);
        let answer = client.on_bulk_topic_event(self.request(bulk_request(topic, events), None)).await?.into_inner();
        Ok(by_place(events.len(), answer.statuses.into_iter().map(|s| (s.entry_id, s.status))))
    }

    /// OnBulkTopicEventAlpha1 (before 1.17): the answers by place.
    #[expect(deprecated, reason = "sidecars before 1.17 call nothing else")]
    pub async fn bulk_alpha(&self, topic: &str, events: &[Event]) -> Result<Vec<Option<Answer>>, Status> {
        let mut client = AppCallbackAlphaClient::new(self.channel.clone()).max_encoding_message_size(64 << 20);
        let answer =
            client.on_bulk_topic_event_alpha1(self.request(bulk_request(topic, events), None)).await?.into_inner();
        Ok(by_place(events.len(), answer.statuses.into_iter().map(|s| (s.entry_id, s.status))))
    }

    /// ListTopicSubscriptions; comes without a token, as from a sidecar.
    pub async fn subscriptions(&self) -> Result<Vec<TopicSubscription>, Status> {
        let mut client = AppCallbackClient::new(self.channel.clone());
        Ok(client.list_topic_subscriptions(()).await?.into_inner().subscriptions)
    }

    /// HealthCheck; comes without a token, as from a sidecar.
    pub async fn health(&self) -> Result<(), Status> {
        AppCallbackHealthCheckClient::new(self.channel.clone()).health_check(()).await.map(|_| ())
    }

    fn request<T>(&self, message: T, traceparent: Option<&str>) -> Request<T> {
        let mut request = Request::new(message);
        for (key, value) in [("dapr-api-token", self.token.as_deref()), ("traceparent", traceparent)] {
            if let Some(value) = value {
                request.metadata_mut().insert(key, MetadataValue::try_from(value).unwrap());
            }
        }
        request
    }
}

fn bulk_request(topic: &str, events: &[Event]) -> TopicEventBulkRequest {
    TopicEventBulkRequest {
        id: "bulk".into(),
        entries: events.iter().enumerate().map(|(place, event)| event.bulk_entry(place.to_string())).collect(),
        metadata: Default::default(),
        topic: topic.into(),
        pubsub_name: PUBSUB.into(),
        r#type: "com.dapr.event.sent.bulk".into(),
        path: format!("/{topic}"),
    }
}

fn by_place(len: usize, statuses: impl Iterator<Item = (String, i32)>) -> Vec<Option<Answer>> {
    let mut answers = vec![None; len];
    for (entry_id, status) in statuses {
        let place: usize = entry_id.parse().expect("an entry id that was sent");
        answers[place] = Some(Answer::try_from(status).expect("a known status"));
    }
    answers
}
