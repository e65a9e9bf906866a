//! What operators look at and mend, from the command line and from the console alike.
//!
//! Reading is by the views that everybody outside may use; changing goes through the caller's transaction, so that a change and its
//! record in the audit log are one, and a rehearsal is a rollback.

pub mod bulk;
pub mod events;
pub mod incidents;
pub mod letters;
pub mod log;
mod mask;
pub mod messages;
pub mod proof;
pub mod story;

pub use mask::{masked, masked_json};

use chrono::{DateTime, Utc};

/// From when until when; none: without an end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    /// The first moment in it.
    pub since: Option<DateTime<Utc>>,
    /// The first moment behind it.
    pub until: Option<DateTime<Utc>>,
}
