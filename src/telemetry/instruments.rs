//! Instruments whose labels are prepared when they are made.
//!
//! Each is named exactly as Prometheus shows it.

use std::borrow::Cow;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};

use super::labels::LabelSet;

/// Before each name but the standard ones.
const PREFIX: &str = "order_worker_";

/// Seconds, from a commit (1 ms) over the far end of patience (a minute) to a job that catches up with a year (an hour).
const BUCKETS: [f64; 17] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0, 3600.0];

/// Makes instruments.
pub(super) struct Maker(pub(super) Meter);

impl Maker {
    /// A counter; every one of its series is there from the start, so that the first event shows
    /// as an increase.
    pub(super) fn counter<L: LabelSet>(&self, name: &'static str, help: &'static str) -> Counts<L> {
        let counter = self.0.u64_counter(prefixed(name)).with_description(help).with_unit(unit(name)).build();
        let counts = Counts { counter, sets: Sets::new() };
        for labels in L::all() {
            counts.add(labels, 0);
        }
        counts
    }

    /// A counter that is kept elsewhere, and read when the metrics are.
    pub(super) fn counted<L: LabelSet + 'static>(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn(L) -> u64 + Send + Sync + 'static,
    ) {
        let sets = Sets::new();
        let counter = self.0.u64_observable_counter(prefixed(name)).with_description(help).with_unit(unit(name));
        let observed = counter.with_callback(move |counter| {
            for labels in L::all() {
                counter.observe(read(labels), sets.of(labels));
            }
        });
        // What is registered is the callback; the instrument itself does nothing.
        observed.build();
    }

    /// A gauge; a series is there once it is set.
    pub(super) fn gauge<L: LabelSet>(&self, name: &'static str, help: &'static str) -> Level<L> {
        self.gauge_named(prefixed(name), help)
    }

    /// A gauge with a name that is not this worker's own.
    pub(super) fn standard_gauge(&self, name: &'static str, help: &'static str) -> Level<()> {
        self.gauge_named(name.into(), help)
    }

    fn gauge_named<L: LabelSet>(&self, name: Cow<'static, str>, help: &'static str) -> Level<L> {
        let unit = unit(&name);
        Level { gauge: self.0.f64_gauge(name).with_description(help).with_unit(unit).build(), sets: Sets::new() }
    }

    /// A histogram of seconds.
    pub(super) fn seconds<L: LabelSet>(&self, name: &'static str, help: &'static str) -> Seconds<L> {
        let builder = self.0.f64_histogram(prefixed(name)).with_description(help).with_unit(unit(name));
        Seconds { histogram: builder.with_boundaries(BUCKETS.to_vec()).build(), sets: Sets::new() }
    }
}

fn prefixed(name: &str) -> Cow<'static, str> {
    Cow::Owned(format!("{PREFIX}{name}"))
}

/// As UCUM writes it, for OTLP; Prometheus reads it in the name.
fn unit(name: &str) -> &'static str {
    if name.contains("seconds") { "s" } else { "1" }
}

/// The attributes of each set of labels, at its index.
struct Sets<L> {
    attributes: Vec<Vec<KeyValue>>,
    labels: std::marker::PhantomData<fn(L)>,
}

impl<L: LabelSet> Sets<L> {
    fn new() -> Self {
        let attributes = L::all().into_iter().map(LabelSet::attributes).collect();
        Self { attributes, labels: std::marker::PhantomData }
    }

    fn of(&self, labels: L) -> &[KeyValue] {
        &self.attributes[labels.index()]
    }
}

/// A counter.
pub(super) struct Counts<L> {
    counter: Counter<u64>,
    sets: Sets<L>,
}

impl<L: LabelSet> Counts<L> {
    pub(super) fn add(&self, labels: L, count: u64) {
        self.counter.add(count, self.sets.of(labels));
    }
}

/// A gauge.
pub(super) struct Level<L> {
    gauge: Gauge<f64>,
    sets: Sets<L>,
}

impl<L: LabelSet> Level<L> {
    pub(super) fn set(&self, labels: L, value: f64) {
        self.gauge.record(value, self.sets.of(labels));
    }

    /// A number of rows or connections. Above 2^53 it is rounded, as all numbers in Prometheus.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus has floats only")]
    pub(super) fn set_count(&self, labels: L, count: i64) {
        self.set(labels, count as f64);
    }

    /// 1 or 0.
    pub(super) fn set_if(&self, labels: L, holds: bool) {
        self.set(labels, if holds { 1.0 } else { 0.0 });
    }
}

/// A histogram of seconds.
pub(super) struct Seconds<L = ()> {
    histogram: Histogram<f64>,
    sets: Sets<L>,
}

impl<L: LabelSet> Seconds<L> {
    pub(super) fn record(&self, labels: L, took: Duration) {
        self.histogram.record(took.as_secs_f64(), self.sets.of(labels));
    }
}
