//! The shop: orders, payments, jobs, the warehouse, announcements, and the API pod's library.

pub mod announcements;
pub mod jobs;
pub mod life;
mod metrics;
pub mod orders;
pub mod payments;
pub mod settings;
pub mod warehouse;

pub use metrics::{Answer, Metrics};
