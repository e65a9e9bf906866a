//! Reconciliation: what Dapr has acknowledged without having delivered it is still in the broker's stream, and is accepted from there.
//!
//! With no resiliency policy in force Dapr gives a message up after one failed delivery; with one, after its end. The entry stays in
//! the stream. So the worker reads the streams itself, and reads only (XRANGE, XINFO, XPENDING): from where it was, now and then over an
//! overlap, up to the last entry that the group was given. What is pending or not delivered yet is Dapr's to deliver. What is neither
//! and is not in the inbox was lost, and is accepted by the same code as every event: whoever delivers it once more meets a duplicate.
//!
//! A look also gives the *watermark*: everything published before it is in the inbox. Jobs that give orders up go by it, so that a
//! payment that waits in the stream does not lose to a clock.
//!
//! A stream that shrank, was trimmed beyond what was read, or has no group is an alert, never "0 missing" (see [`alert`]). Of another
//! Redis ([`is_another`]) nothing is taken: its payments may be somebody else's.

mod keep;
mod look;
mod plan;
pub mod settings;
mod stream;

pub use keep::{keep, watermark};
pub use look::{From, Look, LookError, Missing, Reconciler, Taker, topics};
pub use plan::{Alert, Id, Known, alert, is_another};
pub use stream::Stream;
