//! The inbox: events, each taken in once and handled once.
//!
//! ```text
//! ingress --> accept (group commit: keys, journal, pending) --> the sender is answered
//!                                     |
//!                               queue "inbox"
//!                                     v
//!             apply (one transaction: take rows, call their handlers, write the outcomes, delete the rows)
//! ```
//!
//! Accept and apply are apart so that a slow handler or an event that cannot be handled never makes the sender drop a message. Both
//! may run any number of times: accepting is idempotent by the event's key, applying by the deletion of its pending row.

mod accept;
mod apply;
mod event;
mod handler;
mod outcome;
mod prepared;
pub mod reading;
pub mod settings;
mod settled;
mod taken;

pub use accept::{Accept, AcceptError, Acceptor};
pub use apply::Applier;
pub use event::{Event, Key, sha256};
pub use handler::{About, Handled, Handler, Handlers, Refusal, Settlement};
pub use outcome::{Disposition, Failure, Outcome};
pub use taken::Taken;
