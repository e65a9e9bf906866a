//! Reconciliation: what Dapr has acknowledged without having delivered it is still in the broker's stream, and is accepted from there.
//!
//! With no resiliency policy in force Dapr gives a message up after one failed delivery; with one, after its end. The entry stays in
//! the stream. So the worker reads the streams itself, and reads only (XRANGE, XINFO, XPENDING): from where it was, now and then over an
//! overlap, up to the last entry that the group was given. What is pending or not delivered yet is Dapr's to deliver. What is neither
//! and is not in the inbox was lost, and is accepted by the same code as every event: whoever delivers it once more meets a duplicate.
//!
//! A look also gives the *watermark*: everything published before it is in the inbox. It is the moment in which the look began, less
//! what Dapr had still to deliver then. Jobs that give orders up go by it (`shop::jobs`), so that a payment that waits in the stream does
//! not lose to a clock.
//!
//! # Ignorance is not knowledge
//!
//! A look writes down how the stream stood, and the next compares: of the entries behind what was dealt with, none may be gone ([`alert`]).
//! What was lost stays an alert, and moves no watermark, until an operator takes note of it. A stream is the component's own when the
//! worker's group is one of its groups, since the sidecar makes both when it subscribes: without it, or where Redis cannot be asked,
//! nobody can look, and that is said too. What Dapr delivers bears witness to it (`witness.rs`). Of another Redis ([`is_another`]) nothing is taken: its payments may be somebody else's.

mod error;
mod keep;
mod known;
mod look;
mod plan;
pub mod settings;
mod stream;
mod streams;
mod witness;

pub use error::LookError;
pub use keep::{Keeper, keep};
pub use known::KnownRow;
pub use look::{From, Look, Reconciler, Taker};
pub use plan::{Alert, Id, Known, Seen, Severity, alert, is_another};
pub use stream::Stream;
pub use streams::Setup;
