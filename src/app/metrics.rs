//! The metrics of all floors, made together.

use crate::engine::Names;
use crate::platform::telemetry::{self, TelemetryError};
use crate::shop::jobs::Job;
use crate::shop::payments;
use crate::{dapr, engine, operations, shop};

/// The metrics of this process. Clones share everything.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Those of the process.
    pub process: telemetry::Metrics,
    /// Inbox, queues, runs.
    pub engine: engine::Metrics,
    /// The shop's.
    pub shop: shop::Metrics,
    /// Dapr's.
    pub dapr: dapr::Metrics,
    /// Gauges for operators.
    pub operations: operations::Metrics,
}

/// The topics by which events are counted, whatever the dead-letter topic is called here.
fn topics() -> Vec<&'static str> {
    payments::topics(true).into_iter().chain(["order-worker.dead-letter"]).collect()
}

impl Metrics {
    /// Makes the instruments of all floors, of a process that tells them nobody but Prometheus.
    ///
    /// # Errors
    ///
    /// As [`telemetry::Metrics::new`].
    pub fn new() -> Result<Self, TelemetryError> {
        telemetry::Metrics::new().map(Self::over)
    }

    /// Makes the instruments of all floors over those of the process.
    #[must_use]
    pub fn over(process: telemetry::Metrics) -> Self {
        let make = process.instruments();
        let (jobs, topics) = (Job::ALL.map(Job::as_str), topics());
        let names = Names { events: "payment_events", topics: &topics, queues: &operations::QUEUES, jobs: &jobs };
        Self {
            engine: engine::Metrics::new(make, names),
            shop: shop::Metrics::new(make),
            dapr: dapr::Metrics::new(make, &topics),
            operations: operations::Metrics::new(make),
            process,
        }
    }
}

#[cfg(test)]
mod tests;
