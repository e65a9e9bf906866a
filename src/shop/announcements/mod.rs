//! Announcements of orders, each written to the outbox in the transaction of its cause.
//!
//! `order_worker.append_outbox` (migrations/0002_engine.sql) is the only writer. This module is its library: for the API pod,
//! and for code that adds an announcement.

mod events;
mod publisher;
pub(crate) mod shape;

pub use events::{ExchangeEvent, ItemId, ReturnEvent, ReturnItem, StatusChangedEvent};
pub use publisher::{PublishError, Publisher, STATUS_CHANGED_TOPIC};

use crate::engine::queue::Queue;

/// The queue of what is announced. A dead announcement parks its order: later ones must not overtake it.
pub const QUEUE: Queue = Queue::new("dapr").parking();
