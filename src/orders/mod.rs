//! Orders: what may happen to them, decided without a database.
//!
//! [`decide`] is a pure function over an order and a payment. Reading the order under its lock and writing what was decided is
//! `inbox::apply`'s part; the database holds the same machine (`order_worker.legal_moves`) and refuses what is not in it.

mod decide;
mod decision;
mod order;
mod status;

pub use decide::decide;
pub use decision::{Action, AmountMismatch, Call, Change, Decision, Incident, IncidentKind};
pub use order::{Item, Order, Payment, PaymentKind};
pub use status::{Status, UnknownStatus};
