//! Orders: what may happen to them.
//!
//! [`decide()`] is a pure function over an order and a fact: a payment event, or a finding of a job. [`lock`] reads orders
//! for it and [`write()`] does what it decided, both in the caller's transaction; the database holds the same machine
//! (`order_worker.legal_moves`) and refuses what is not in it.

mod decide;
mod decision;
mod locked;
mod money;
mod order;
mod refund;
mod status;

pub use decide::decide;
pub use decision::{Action, AmountMismatch, Call, Change, Decision, Incident, IncidentKind, OnMismatch};
pub use locked::{Decided, Locked, lock, write};
use money::{Paid, paid, same_money};
pub use order::{Fact, Item, Order, Payment, PaymentKind, Refund};
pub use status::Status;
