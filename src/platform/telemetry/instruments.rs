//! Instruments whose series are prepared when they are made.
//!
//! Each is named exactly as Prometheus shows it. The values of its labels are a small, fixed set that is given when it is made, so that
//! no event from outside can make a series, and every series of a counter is there from the start with zero.

use std::borrow::Cow;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

/// Before each name but the standard ones.
const PREFIX: &str = "order_worker_";

/// Seconds, from a commit (1 ms) over the far end of patience (a minute) to a job that catches up with a year (an hour).
const BUCKETS: [f64; 17] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0, 3600.0];

/// A label, and all values that it may take.
pub type Label<'a> = (&'static str, &'a [&'static str]);

/// Makes instruments.
#[derive(Clone, Debug)]
pub struct Instruments(pub(super) Meter);

impl Instruments {
    /// A counter; every one of its series is there from the start, so that the first event shows as an increase.
    #[must_use]
    pub fn counter(&self, name: impl AsRef<str>, help: &'static str, labels: &[Label<'_>]) -> Counter {
        let counter =
            self.0.u64_counter(prefixed(name.as_ref())).with_description(help).with_unit(unit(name.as_ref())).build();
        let series = Series::of_all(labels);
        series.0.iter().for_each(|(_, attributes)| counter.add(0, attributes));
        Counter { counter, series }
    }

    /// A counter that is kept elsewhere, and read when the metrics are.
    pub fn observed(
        &self,
        name: impl AsRef<str>,
        help: &'static str,
        labels: &[Label<'_>],
        read: impl Fn(&[&'static str]) -> u64 + Send + Sync + 'static,
    ) {
        let series = Series::of_all(labels);
        let counter = self
            .0
            .u64_observable_counter(prefixed(name.as_ref()))
            .with_description(help)
            .with_unit(unit(name.as_ref()));
        let observed = counter.with_callback(move |counter| {
            for (values, attributes) in &series.0 {
                counter.observe(read(values), attributes);
            }
        });
        // What is registered is the callback; the instrument itself does nothing.
        observed.build();
    }

    /// A gauge; a series is there once it is set.
    #[must_use]
    pub fn gauge(&self, name: impl AsRef<str>, help: &'static str, labels: &[Label<'_>]) -> Gauge {
        self.gauge_named(prefixed(name.as_ref()), help, labels)
    }

    /// A gauge with a name that is not this worker's own.
    pub(super) fn standard_gauge(&self, name: &'static str, help: &'static str) -> Gauge {
        self.gauge_named(name.into(), help, &[])
    }

    fn gauge_named(&self, name: Cow<'static, str>, help: &'static str, labels: &[Label<'_>]) -> Gauge {
        let unit = unit(&name);
        let gauge = self.0.f64_gauge(name).with_description(help).with_unit(unit).build();
        Gauge { gauge, series: Series::of_all(labels) }
    }

    /// A histogram of seconds.
    #[must_use]
    pub fn histogram(&self, name: impl AsRef<str>, help: &'static str, labels: &[Label<'_>]) -> Histogram {
        let builder =
            self.0.f64_histogram(prefixed(name.as_ref())).with_description(help).with_unit(unit(name.as_ref()));
        Histogram { histogram: builder.with_boundaries(BUCKETS.to_vec()).build(), series: Series::of_all(labels) }
    }
}

fn prefixed(name: &str) -> Cow<'static, str> {
    Cow::Owned(format!("{PREFIX}{name}"))
}

/// As UCUM writes it, for OTLP; Prometheus reads it in the name.
fn unit(name: &str) -> &'static str {
    if name.contains("seconds") { "s" } else { "1" }
}

/// Every combination of the values of the labels, with its attributes.
#[derive(Debug)]
struct Series(Vec<(Vec<&'static str>, Vec<KeyValue>)>);

impl Series {
    fn of_all(labels: &[Label<'_>]) -> Self {
        let mut series = vec![(Vec::new(), Vec::new())];
        for (label, values) in labels {
            let longer = series.into_iter().flat_map(|(before, attributes)| {
                values.iter().map(move |value| {
                    let (mut before, mut attributes) = (before.clone(), attributes.clone());
                    before.push(*value);
                    attributes.push(KeyValue::new(*label, *value));
                    (before, attributes)
                })
            });
            series = longer.collect();
        }
        Self(series)
    }

    /// None where a value is not one of its label's: then there is nothing to count.
    fn of(&self, values: &[&str]) -> Option<&[KeyValue]> {
        self.0.iter().find(|(known, _)| known == values).map(|(_, attributes)| attributes.as_slice())
    }
}

/// A counter.
#[derive(Debug)]
pub struct Counter {
    counter: opentelemetry::metrics::Counter<u64>,
    series: Series,
}

impl Counter {
    /// Adds to the series with these values of its labels, in their order.
    pub fn add(&self, values: &[&str], count: u64) {
        if let Some(attributes) = self.series.of(values) {
            self.counter.add(count, attributes);
        }
    }
}

/// A gauge.
#[derive(Debug)]
pub struct Gauge {
    gauge: opentelemetry::metrics::Gauge<f64>,
    series: Series,
}

impl Gauge {
    /// Sets the series with these values of its labels, in their order.
    pub fn set(&self, values: &[&str], value: f64) {
        if let Some(attributes) = self.series.of(values) {
            self.gauge.record(value, attributes);
        }
    }

    /// A number of rows or connections. Above 2^53 it is rounded, as all numbers in Prometheus.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus has floats only")]
    pub fn set_count(&self, values: &[&str], count: i64) {
        self.set(values, count as f64);
    }

    /// 1 or 0.
    pub fn set_if(&self, values: &[&str], holds: bool) {
        self.set(values, if holds { 1.0 } else { 0.0 });
    }

    /// Sets every series: to what `found` has for its value, else to 0. For a gauge with one label.
    pub fn set_all(&self, found: impl Fn(&str) -> f64) {
        for (values, attributes) in &self.series.0 {
            self.gauge.record(values.first().map_or(0.0, |value| found(value)), attributes);
        }
    }
}

/// A histogram of seconds.
#[derive(Debug)]
pub struct Histogram {
    histogram: opentelemetry::metrics::Histogram<f64>,
    series: Series,
}

impl Histogram {
    /// Records in the series with these values of its labels, in their order.
    pub fn record(&self, values: &[&str], took: Duration) {
        if let Some(attributes) = self.series.of(values) {
            self.histogram.record(took.as_secs_f64(), attributes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_of_values_is_a_series_and_nothing_else_is() {
        let series = Series::of_all(&[("a", &["x", "y"]), ("b", &["1", "2", "3"])]);
        assert_eq!(series.0.len(), 6);
        assert_eq!(series.of(&["y", "3"]), Some([KeyValue::new("a", "y"), KeyValue::new("b", "3")].as_slice()));
        assert!(series.of(&["y", "4"]).is_none() && series.of(&["y"]).is_none());
        assert_eq!(Series::of_all(&[]).of(&[]), Some([].as_slice()));
    }
}
