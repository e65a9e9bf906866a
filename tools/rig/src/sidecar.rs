//! A stand-in of the sidecar that only takes publishes, with a book of them: for tests and benches without daprd.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::SystemTime;

use dapr::dapr::proto::runtime::v1::{
    GetMetadataRequest, GetMetadataResponse, PublishEventRequest, RegisteredComponents,
};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;
use tonic_types::{ErrorDetails, StatusExt};

use crate::behaviour::{Behaviour, Behaviours};
use crate::server::Server;

/// What a real sidecar answers when the pub/sub component is not loaded: the code of an invalid message, told apart by its
/// reason alone.
pub fn component_missing() -> Behaviour {
    let details = ErrorDetails::with_error_info("DAPR_PUBSUB_NOT_FOUND", "dapr.io", HashMap::new());
    let message = "pubsub pubsub-redis is not found";
    Behaviour::RefuseWith(Status::with_error_details(Code::InvalidArgument, message, details))
}

/// What a real sidecar answers when the app's scope does not allow the topic.
pub fn topic_forbidden() -> Behaviour {
    let details = ErrorDetails::with_error_info("DAPR_PUBSUB_FORBIDDEN", "dapr.io", HashMap::new());
    let message = "topic orders.order.status_changed is not allowed for app id order-worker";
    Behaviour::RefuseWith(Status::with_error_details(Code::PermissionDenied, message, details))
}

/// One publish as it arrived and was answered with success.
#[derive(Clone, Debug)]
pub struct Published {
    /// The component.
    pub pubsub: String,
    /// The topic.
    pub topic: String,
    /// The body.
    pub data: Vec<u8>,
    /// Its content type.
    pub content_type: String,
    /// Publish metadata: `cloudevent.id`, `cloudevent.source`, …
    pub metadata: HashMap<String, String>,
    /// gRPC metadata `traceparent`.
    pub traceparent: Option<String>,
    /// gRPC metadata `tracestate`.
    pub tracestate: Option<String>,
    /// gRPC metadata `dapr-api-token`.
    pub api_token: Option<String>,
    /// When it arrived.
    pub at: SystemTime,
}

impl Published {
    /// The CloudEvent's id as the publisher chose it.
    pub fn event_id(&self) -> Option<&str> {
        self.metadata.get("cloudevent.id").map(String::as_str)
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.data).unwrap_or_default()
    }
}

/// The stand-in and its book. It implements PublishEvent and GetMetadata; all else is Unimplemented.
#[derive(Debug)]
pub struct Sidecar {
    server: Server,
    desk: Desk,
}

#[derive(Clone, Debug, Default)]
struct Desk {
    behaviours: Behaviours,
    book: Arc<Mutex<Vec<Published>>>,
    components: Arc<Mutex<Vec<RegisteredComponents>>>,
}

impl Sidecar {
    /// Starts it on a free loopback port; it answers until told otherwise.
    pub fn start() -> Sidecar {
        let desk = Desk::default();
        let server = Server::start(Routes::new(desk.clone()));
        Sidecar { server, desk }
    }

    /// Its gRPC port on 127.0.0.1, as DAPR_GRPC_PORT wants it.
    pub fn grpc_port(&self) -> u16 {
        self.server.port()
    }

    /// How it answers publishes from now on; see also [`Behaviours::set_for`] with an order id (the body's `order_id`).
    pub fn behaviours(&self) -> &Behaviours {
        &self.desk.behaviours
    }

    /// How it answers publishes from now on, every one.
    pub fn set(&self, behaviour: Behaviour) {
        self.desk.behaviours.set(behaviour);
    }

    /// Goes away: connections are dropped, new ones refused. The book is kept.
    pub fn stop(&self) {
        self.server.stop();
    }

    /// Comes back on the same port.
    pub fn start_again(&self) {
        self.server.start_again();
    }

    /// Says from now on that it has loaded this component.
    pub fn has_component(&self, name: &str, kind: &str) {
        let component =
            RegisteredComponents { name: name.into(), r#type: kind.into(), ..RegisteredComponents::default() };
        self.desk.components.lock().unwrap().push(component);
    }

    /// Every publish answered with success, in that order.
    pub fn published(&self) -> Vec<Published> {
        self.desk.book.lock().unwrap().clone()
    }

    /// How many there are: cheap enough to poll.
    pub fn count(&self) -> usize {
        self.desk.book.lock().unwrap().len()
    }

    /// Takes the book away and begins a new one.
    pub fn take(&self) -> Vec<Published> {
        std::mem::take(&mut *self.desk.book.lock().unwrap())
    }
}

impl Desk {
    async fn publish(self, request: Request<PublishEventRequest>) -> Result<Response<()>, Status> {
        let at = SystemTime::now();
        let (metadata, _, body) = request.into_parts();
        self.behaviours.act(|| order_of(&body.data)).await?;
        let text = |key| metadata.get(key).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let published = Published {
            pubsub: body.pubsub_name,
            topic: body.topic,
            data: body.data,
            content_type: body.data_content_type,
            metadata: body.metadata,
            traceparent: text("traceparent"),
            tracestate: text("tracestate"),
            api_token: text("dapr-api-token"),
            at,
        };
        self.book.lock().unwrap().push(published);
        Ok(Response::new(()))
    }
}

fn order_of(data: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(data).ok()?;
    json.get("order_id")?.as_str().map(str::to_owned)
}

type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

// The generated trait has some eighty required methods, of which two are wanted: so the path is routed by hand.
impl NamedService for Desk {
    const NAME: &'static str = "dapr.proto.runtime.v1.Dapr";
}

impl Service<http::Request<Body>> for Desk {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let desk = self.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/dapr.proto.runtime.v1.Dapr/PublishEvent" => {
                    let codec: ProstCodec<(), PublishEventRequest> = ProstCodec::default();
                    Grpc::new(codec).max_decoding_message_size(16 << 20).unary(Publish(desk), request).await
                }
                "/dapr.proto.runtime.v1.Dapr/GetMetadata" => {
                    let codec: ProstCodec<GetMetadataResponse, GetMetadataRequest> = ProstCodec::default();
                    Grpc::new(codec).unary(Metadata(desk), request).await
                }
                other => Status::unimplemented(format!("the stand-in has no {other}")).into_http(),
            })
        })
    }
}

struct Publish(Desk);

impl UnaryService<PublishEventRequest> for Publish {
    type Response = ();
    type Future = Answer<Result<Response<()>, Status>>;

    fn call(&mut self, request: Request<PublishEventRequest>) -> Self::Future {
        Box::pin(self.0.clone().publish(request))
    }
}

struct Metadata(Desk);

impl UnaryService<GetMetadataRequest> for Metadata {
    type Response = GetMetadataResponse;
    type Future = std::future::Ready<Result<Response<GetMetadataResponse>, Status>>;

    fn call(&mut self, _: Request<GetMetadataRequest>) -> Self::Future {
        let registered_components = self.0.components.lock().unwrap().clone();
        let answer = GetMetadataResponse { id: "stand-in".into(), registered_components, ..Default::default() };
        std::future::ready(Ok(Response::new(answer)))
    }
}
