//! Payment events: how they are read, and how they are handled.

mod about;
mod handler;
mod payment;
pub mod settings;

pub use handler::{Payments, TOPICS, legible, outcome};
pub use payment::{CONFIRMED_TOPIC, FAILED_TOPIC, ORDER_ID, Undecodable, announces, decode};
pub use settings::Terms;
