//! Dapr's numbers: publishes, the sidecar, the broker, what was saved from its streams. docs/metrics.md explains each.

use std::sync::Arc;
use std::time::Duration;

use crate::platform::telemetry::instruments::{Counter, Gauge, Histogram, Instruments};

/// Dapr's metrics. Clones share everything.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Dapr>);

#[derive(Debug)]
struct Dapr {
    published: Counter,
    publish: Histogram,
    saved: Counter,
    sidecar_up: Gauge,
    resiliencies: Gauge,
    redis_up: Gauge,
}

impl Metrics {
    /// Makes the instruments; `topics` are those that events come from.
    #[must_use]
    pub fn new(make: &Instruments, topics: &[&'static str]) -> Self {
        let dapr = Dapr {
            published: make.counter("announcements_published_total", "Announcements that Dapr has taken.", &[]),
            publish: make.histogram(
                "publish_seconds",
                "From the receipt of the causing event, or the creation of the row, to the answer of the publish.",
                &[],
            ),
            saved: make.counter(
                "reconcile_saved_total",
                "Events accepted from a stream that Dapr had dropped.",
                &[("topic", topics)],
            ),
            sidecar_up: make.gauge("sidecar_up", "1 when the Dapr sidecar answered the last probe.", &[]),
            resiliencies: make.gauge(
                "sidecar_resiliencies",
                "Resiliency resources that the Dapr sidecar has loaded.",
                &[],
            ),
            redis_up: make.gauge("redis_up", "1 when Redis answered the last probe.", &[]),
        };
        Self(Arc::new(dapr))
    }

    /// Dapr took an announcement, so long after the receipt of the event that caused it, or after the creation of its row when no
    /// event did.
    pub fn published(&self, since_cause: Duration) {
        self.0.published.add(&[], 1);
        self.0.publish.record(&[], since_cause);
    }

    /// Events of `topic` were accepted from its stream.
    pub fn saved(&self, topic: &str, count: u64) {
        self.0.saved.add(&[topic], count);
    }

    /// The sidecar answered, or not.
    pub fn sidecar_up(&self, up: bool) {
        self.0.sidecar_up.set_if(&[], up);
    }

    /// The sidecar has loaded so many resiliency resources.
    pub fn resiliencies(&self, count: usize) {
        self.0.resiliencies.set_count(&[], i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Redis answered, or not.
    pub fn redis_up(&self, up: bool) {
        self.0.redis_up.set_if(&[], up);
    }
}
