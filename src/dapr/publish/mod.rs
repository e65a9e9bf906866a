//! Announcements through the Dapr sidecar: unary publishes, since Dapr's bulk publish keeps no order.

pub mod settings;

use std::collections::HashMap;
use std::time::Duration;

use dapr::dapr::proto::runtime::v1::PublishEventRequest;
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Deserialize;
use tonic::Request;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel as Connection;

use crate::dapr::Metrics;
use crate::engine::egress::Channel;
use crate::engine::queue::{Reaction, Row, Verdict};
use crate::platform::telemetry::{spans, trace};

/// The CloudEvent source of everything that the worker announces.
const SOURCE: &str = "order-worker";

/// The channel to the sidecar.
#[derive(Clone, Debug)]
pub struct Dapr {
    client: DaprClient<Connection>,
    token: Option<AsciiMetadataValue>,
    pubsub: String,
    timeout: Duration,
    metrics: Metrics,
}

#[derive(Deserialize)]
struct EventType {
    event_type: Option<String>,
}

impl Dapr {
    /// A channel over a connection that is made when it is needed. `pubsub` names the component; `timeout` bounds one publish.
    #[must_use]
    pub fn new(
        connection: Connection,
        token: Option<AsciiMetadataValue>,
        pubsub: String,
        timeout: Duration,
        metrics: Metrics,
    ) -> Self {
        Self { client: DaprClient::new(connection), token, pubsub, timeout, metrics }
    }

    fn request(&self, row: &Row, traceparent: Option<&str>) -> Request<PublishEventRequest> {
        let kind = serde_json::from_str::<EventType>(&row.body).ok().and_then(|body| body.event_type);
        let mut metadata = HashMap::from([
            ("cloudevent.id".to_owned(), row.event_id.clone()),
            ("cloudevent.source".to_owned(), SOURCE.to_owned()),
            ("cloudevent.type".to_owned(), attribute(kind.as_deref().unwrap_or(&row.topic))),
            ("cloudevent.subject".to_owned(), attribute(&row.subject)),
        ]);
        trace::send(traceparent, |name, value| {
            metadata.insert(format!("cloudevent.{name}"), value.to_owned());
        });
        let mut request = Request::new(PublishEventRequest {
            pubsub_name: self.pubsub.clone(),
            topic: row.topic.clone(),
            data: row.body.clone().into_bytes(),
            data_content_type: "application/json".to_owned(),
            metadata,
        });
        if let Some(token) = &self.token {
            request.metadata_mut().insert("dapr-api-token", token.clone());
        }
        trace::send(traceparent, |name, value| {
            if let Ok(value) = value.parse() {
                request.metadata_mut().insert(name, value);
            }
        });
        request
    }
}

impl Channel for Dapr {
    const STEP: &'static str = "send dapr";

    async fn send(&self, row: &Row) -> Verdict {
        let span = spans::publish(&row.topic, &row.event_id, row.traceparent.as_deref());
        let traceparent = span.in_scope(|| trace::continue_trace(row.traceparent.as_deref()));
        let request = self.request(row, traceparent.as_deref());
        let started = std::time::Instant::now();
        let mut client = self.client.clone();
        let sending = tokio::time::timeout(self.timeout, client.publish_event(request));
        match tracing::Instrument::instrument(sending, span.clone()).await {
            Ok(Ok(_)) => {
                let since_cause = Duration::try_from_secs_f64(row.since_cause).unwrap_or_default();
                self.metrics.published(since_cause + started.elapsed());
                Verdict::Sent
            }
            Ok(Err(status)) => {
                spans::failed(&span, spans::code_name(status.code()));
                Verdict::Failed(format!("{:?}: {}", status.code(), status.message()))
            }
            Err(_) => {
                spans::failed(&span, "timeout");
                Verdict::Failed(format!("no answer from the sidecar within {:?}", self.timeout))
            }
        }
    }

    fn log(&self, row: &Row, reaction: &Reaction) {
        let (topic, order_id, event_id) = (&row.topic, &row.subject, &row.event_id);
        match reaction {
            Reaction::Dead(error) => tracing::error!(
                attempts = row.attempts + 1,
                "Announcement given up, later ones of this order are parked: topic={topic}, order_id={order_id}, event_id={event_id}, error={error}"
            ),
            Reaction::Retry(error) | Reaction::Wait(error) => tracing::warn!(
                attempts = row.attempts,
                "Announcement not published, it is tried again: topic={topic}, order_id={order_id}, event_id={event_id}, error={error}"
            ),
            // The queue's pause says it once for all of them.
            Reaction::Pause(_) | Reaction::Settle { .. } | Reaction::Keep => {}
        }
    }
}

/// A text as an attribute of a CloudEvent: percent-encoded as the HTTP binding has it (CloudEvents 1.0.2, 3.1.3.2). Dapr sends the metadata
/// of a publish on to every subscriber as headers, and its sidecars refuse a message whose headers are not visible ASCII.
fn attribute(text: &str) -> String {
    const ENCODED: AsciiSet = CONTROLS.add(b' ').add(b'"').add(b'%');
    utf8_percent_encode(text, &ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_visible_ascii_whatever_the_text() {
        for (text, encoded) in [
            ("o-17", "o-17"),
            ("№-7", "%E2%84%96-7"),
            ("a b\"c%d", "a%20b%22c%25d"),
            ("line\nbreak\u{7f}", "line%0Abreak%7F"),
            ("~!#$&'()*+,/:;=?@[]{}|\\^`<>", "~!#$&'()*+,/:;=?@[]{}|\\^`<>"),
            ("😀", "%F0%9F%98%80"),
        ] {
            assert_eq!(attribute(text), encoded);
        }
    }
}
