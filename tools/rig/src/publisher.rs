//! Publishes events through a real sidecar, as the payment service does.

use std::collections::HashMap;
use std::time::Duration;

use dapr::dapr::proto::runtime::v1::PublishEventRequest;
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::callback::PUBSUB;

/// One event to publish. Change a field to make it odd.
#[derive(Clone, Debug)]
pub struct Message {
    /// The topic.
    pub topic: String,
    /// CloudEvent id; the sidecar makes one up when there is none.
    pub id: Option<String>,
    /// CloudEvent source; the sidecar's app id when there is none.
    pub source: Option<String>,
    /// CloudEvent traceparent; the sidecar's own when there is none.
    pub traceparent: Option<String>,
    /// The body.
    pub data: Vec<u8>,
    /// Its content type: `application/json`.
    pub content_type: String,
    /// Publishes the bytes as they are, without a CloudEvent around them.
    pub raw: bool,
    /// More of the publisher's metadata, for example `ttlInSeconds`.
    pub metadata: Vec<(String, String)>,
}

impl Message {
    /// A JSON event under this CloudEvent id.
    pub fn new(topic: &str, id: &str, data: Vec<u8>) -> Message {
        Message {
            topic: topic.into(),
            id: Some(id.into()),
            source: None,
            traceparent: None,
            data,
            content_type: "application/json".into(),
            raw: false,
            metadata: Vec::new(),
        }
    }
}

/// A client of a sidecar's publish call. Clones share one connection.
#[derive(Clone, Debug)]
pub struct Publisher {
    client: DaprClient<Channel>,
}

impl Publisher {
    /// For the sidecar at `127.0.0.1:<grpc_port>`; connects at the first call. Needs a tokio runtime.
    pub fn new(grpc_port: u16) -> Publisher {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{grpc_port}")).unwrap().tcp_nodelay(true);
        Publisher { client: DaprClient::new(endpoint.connect_lazy()).max_encoding_message_size(64 << 20) }
    }

    /// PublishEvent; done when the broker has the event.
    pub async fn publish(&self, message: &Message) -> Result<(), Status> {
        let mut metadata: HashMap<_, _> = message.metadata.iter().cloned().collect();
        let mut set = |key: &str, value: &Option<String>| {
            if let Some(value) = value {
                metadata.insert(key.to_owned(), value.clone());
            }
        };
        set("cloudevent.id", &message.id);
        set("cloudevent.source", &message.source);
        set("cloudevent.traceparent", &message.traceparent);
        set("rawPayload", &message.raw.then(|| "true".to_owned()));
        let request = PublishEventRequest {
            pubsub_name: PUBSUB.into(),
            topic: message.topic.clone(),
            data: message.data.clone(),
            data_content_type: message.content_type.clone(),
            metadata,
        };
        self.client.clone().publish_event(request).await.map(|_| ())
    }

    /// Publishes until the sidecar says that the broker has the event; returns how many times it had to be published again. An
    /// event whose answer was lost may then stand twice in the broker.
    pub async fn publish_until_taken(&self, message: &Message) -> usize {
        let mut again = 0;
        while self.publish(message).await.is_err() {
            again += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        again
    }
}
