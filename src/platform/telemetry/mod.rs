//! Logs, traces and metrics.
//!
//! - **Logs** go to stdout, a line an event, as text or JSON. Spans are not written into log
//!   lines: every event carries its own fields, so that a line can be read alone, and JSON lines
//!   carry the ids of the trace they belong to. Of a flood of the same warning a few lines a second are written (`flood`).
//! - **Traces** leave by OTLP (`otlp`) when an endpoint is set. Without one no layer looks at spans, and a
//!   disabled span costs one atomic load. The publisher's `traceparent` travels through the rows of
//!   inbox and outbox in either case ([`trace`]).
//! - **Metrics**: each part makes its instruments once, of [`Metrics`]; the admin
//!   listener renders them, and with an endpoint it leaves by OTLP as well. docs/metrics.md explains each.
//!
//! Telemetry never stops the worker: an unreachable collector costs spans, not events. What was lost is counted (`losses`).

mod chain;
mod environment;
mod error;
mod filter;
mod flood;
pub mod instruments;
mod json;
mod losses;
mod metrics;
mod once;
mod otlp;
pub mod settings;
pub mod spans;
mod subscriber;
mod text;
pub mod trace;

pub use chain::chain;
pub use error::TelemetryError;
pub use metrics::{Metrics, unix_seconds};
pub use once::LogOnce;
pub use otlp::{CollectorCheck, check_collectors};
pub use subscriber::init;

/// The values of OpenTelemetry's variables that this process ignores, with the reasons.
#[must_use]
pub fn ignored() -> Vec<String> {
    environment::Environment::of_process().ignored
}

#[cfg(test)]
pub(crate) mod capture;
