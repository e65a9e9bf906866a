//! order-worker: a durable outbox/inbox transactional worker.
//!
//! The program is [`cli`]. As a library it is the order service's way to announce what happens to orders, in its own transactions:
//! [`order_api`] for what the API pod does to an order, [`announcements`] for everything else. [`engine`] has the seams to which new events, new
//! ways out and new kinds of runs are added. ARCHITECTURE.md is the map.

mod app;
pub mod cli;
mod dapr;
pub mod engine;
mod operations;
mod platform;
mod shop;
mod web;

pub use app::config;
pub use operations::replay::event_id;
pub use platform::failpoint;
pub use shop::{announcements, order_api};

/// Parts that this project's own tests take apart.
#[doc(hidden)]
pub mod parts {
    pub use crate::app::Metrics;
    pub use crate::app::health::Probe;
    pub use crate::operations::{QUEUES, decision};
    pub use crate::platform::database::{connect, settings::Database};
    pub use crate::platform::health::Condition;
    pub use crate::shop::orders::{IncidentKind, PaymentKind};
    pub use crate::web::admin::{Health, State, Subscriptions, serve};
}
