//! The inbox: payment events, each taken in once and judged once.
//!
//! ```text
//! ingress --> accept (group commit: keys, journal, pending) --> Dapr is answered
//!                                     |
//!                               queue "inbox"
//!                                     v
//!             apply (one transaction: take rows, lock orders, decide, write everything, delete the rows)
//! ```
//!
//! Accept and apply are apart so that a locked order, a slow handler or a poison order never makes Dapr drop a message. Both
//! may run any number of times: accepting is idempotent by the event's key, applying by the deletion of its pending row.

mod about;
mod accept;
mod apply;
mod effects;
mod event;
mod payment;
mod reading;
pub mod settings;
mod taken;

pub use accept::{Accept, AcceptError, Acceptor};
pub use apply::Applier;
pub use event::{Event, Key, sha256};
pub use payment::{CONFIRMED_TOPIC, FAILED_TOPIC, Undecodable, decode};
pub use reading::{base64, fields, is_envelope, unicode};
pub use settings::Terms;
