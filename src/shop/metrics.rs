//! The shop's numbers: the warehouse's calls, incidents, what the jobs do not give up. docs/metrics.md explains each.

use std::sync::Arc;

use strum::VariantNames;

use super::jobs::{Evidence, Reason};
use super::orders::{Action, IncidentKind};
use crate::platform::telemetry::instruments::{Counter, Gauge, Instruments};

/// The shop's metrics. Clones share everything.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Shop>);

#[derive(Debug)]
struct Shop {
    calls: Counter,
    instances: Gauge,
    incidents: Gauge,
    cleanup_blocked: Gauge,
    watermark_age: Gauge,
    stream_alerts: Gauge,
}

/// The result of a call of the warehouse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Answer {
    /// Done.
    Success,
    /// The warehouse said no: an answer, not a failure.
    Refused,
    /// No answer, or an error; tried again.
    Failed,
}

impl Metrics {
    /// Makes the instruments.
    #[must_use]
    pub fn new(make: &Instruments) -> Self {
        let shop = Shop {
            calls: make.counter(
                "warehouse_calls_total",
                "Calls of the warehouse by how they ended.",
                &[("method", Action::VARIANTS), ("result", Answer::VARIANTS)],
            ),
            instances: make.gauge("warehouse_instances", "Instances of the warehouse that Consul names.", &[]),
            incidents: make.gauge(
                "incidents_open",
                "Incidents that nobody has resolved.",
                &[("kind", IncidentKind::VARIANTS)],
            ),
            cleanup_blocked: make.gauge(
                "cleanup_blocked",
                "1 while jobs do not give up what they would, since it is not known whether it was paid.",
                &[("reason", Reason::VARIANTS)],
            ),
            watermark_age: make.gauge(
                "reconcile_watermark_age_seconds",
                "How long ago everything was published that is known to be in the inbox; -1: nobody knows.",
                &[],
            ),
            stream_alerts: make.gauge(
                "reconcile_stream_alerts",
                "Streams that have lost what no look can find, or cannot be looked at.",
                &[],
            ),
        };
        Self(Arc::new(shop))
    }

    /// A call of the warehouse ended.
    pub fn warehouse_answered(&self, action: Action, answer: Answer) {
        self.0.calls.add(&[action.into(), answer.into()], 1);
    }

    /// Calls of the warehouse are spread over so many instances; 0: they go to the configured endpoint.
    pub fn warehouse_instances(&self, count: usize) {
        self.0.instances.set_count(&[], i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// So many incidents are open, by kind.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus has floats only")]
    pub fn incidents_open(&self, open: &[(String, i64)]) {
        let of = |kind: &str| open.iter().find(|(name, _)| name == kind).map_or(0, |(_, count)| *count);
        self.0.incidents.set_all(|kind| of(kind) as f64);
    }

    /// The evidence about payments that may be under way.
    pub fn evidence(&self, evidence: &Evidence) {
        let reasons: Vec<&str> = evidence.reasons().into_iter().map(Into::into).collect();
        self.0.cleanup_blocked.set_all(|reason| if reasons.contains(&reason) { 1.0 } else { 0.0 });
        self.0.watermark_age.set(&[], evidence.watermark_age().unwrap_or(-1.0));
        self.0.stream_alerts.set_count(&[], i64::try_from(evidence.alerts()).unwrap_or(i64::MAX));
    }
}
