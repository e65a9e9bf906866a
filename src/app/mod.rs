//! The application: the configuration put together, the worker's start and stop, the schema, the doctor.

pub mod config;
pub mod doctor;
pub mod health;
mod metrics;
pub mod pages;
pub mod runs;
pub mod schema;
pub mod worker;

pub use metrics::Metrics;
