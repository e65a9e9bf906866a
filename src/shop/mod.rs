//! The shop: orders, payments, jobs, the warehouse, announcements, and the API pod's library.

pub mod announcements;
pub mod jobs;
mod metrics;
pub mod order_api;
pub mod orders;
pub mod payments;
pub mod settings;
pub mod warehouse;

pub use metrics::{Answer, Metrics};
