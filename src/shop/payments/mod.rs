//! Payment events: reading (one file for each event type) and handling.

mod about;
mod event;
mod field;
mod handler;
mod payment;
mod refund;
pub mod settings;

pub use event::{PaymentEvent, announces, read};
pub use field::{ORDER_ID, Undecodable};
pub use handler::{Payments, legible, outcome, topics};
pub use payment::{CONFIRMED_TOPIC, FAILED_TOPIC};
pub use refund::REFUNDED_TOPIC;
pub use settings::Terms;
