//! The answer to `GET /dapr/subscribe`.

use axum::body::Bytes;
use serde::Serialize;

/// The topics that the worker consumes, in the form in which Dapr asks an HTTP app for them.
///
/// Dapr asks this worker by gRPC; this is for people and probes.
#[derive(Debug, Clone)]
pub struct Subscriptions(Bytes);

/// One of them. The order of the fields is the order in the answer.
#[derive(Serialize)]
struct Subscription<'a> {
    pubsubname: &'a str,
    topic: &'a str,
    route: String,
}

impl Subscriptions {
    /// Each of `topics` of the component `pubsubname`, at the route `/<topic>`.
    #[must_use]
    pub fn to(pubsubname: &str, topics: &[&str]) -> Self {
        let subscriptions: Vec<_> =
            topics.iter().map(|topic| Subscription { pubsubname, topic, route: format!("/{topic}") }).collect();
        let json = serde_json::to_vec(&subscriptions).expect("strings are always JSON");
        Self(json.into())
    }

    /// Of a worker that consumes nothing: mode `cron`.
    #[must_use]
    pub fn none() -> Self {
        Self::to("", &[])
    }

    /// The answer's bytes.
    pub(super) fn json(&self) -> Bytes {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::Subscriptions;

    #[test]
    fn the_answer_is_the_users_to_the_byte() {
        let subscriptions = Subscriptions::to("pubsub-redis", &["payment.confirmed", "payment.failed"]);
        assert_eq!(
            subscriptions.json(),
            r#"[{"pubsubname":"pubsub-redis","topic":"payment.confirmed","route":"/payment.confirmed"},{"pubsubname":"pubsub-redis","topic":"payment.failed","route":"/payment.failed"}]"#
        );
        assert_eq!(Subscriptions::none().json(), "[]");
    }
}
