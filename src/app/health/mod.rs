//! Looks at the parts that the worker needs.
//!
//! One prober ([`Probe`]) looks every two seconds; everybody else reads what it saw, so that a question about health never waits for a
//! part that hangs. `/readyz` reads it for Kubernetes, the app health check for daprd.

mod connections;
mod probe;

pub use probe::Probe;
