//! Dapr: events in, announcements out, and what the sidecar has dropped.

pub mod broker;
pub mod ingress;
mod metrics;
pub mod publish;
pub mod reconcile;
pub mod sidecar;
mod topics;

pub use metrics::Metrics;
pub use topics::Topics;
