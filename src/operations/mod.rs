//! What operators look at and mend, from the command line and from the console alike.
//!
//! Reading is by the views that everybody outside may use. For each thing that an operator can do there is one function, which both
//! call: it refuses what would do nothing, and in the caller's transaction does the rest, writes down what was decided, and appends
//! the record to the audit log. So the three are one, and a rehearsal is a rollback.

pub mod bulk;
mod edit;
pub mod events;
pub mod incidents;
pub mod jobs;
pub mod letters;
pub mod log;
mod mask;
pub mod messages;
pub mod proof;
pub mod since;
pub mod story;

pub use edit::edit;
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

/// Why something that an operator asked for was not done. The transaction is to be rolled back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It would do nothing, or cannot be done.
    #[error("{what}")]
    Refused {
        /// What stands in the way.
        what: String,
        /// The way out.
        next: String,
    },
    /// The database.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl Error {
    pub(crate) fn refused(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::Refused { what: what.into(), next: next.into() }
    }
}

/// Numbers, as they are named to a person.
fn numbers(ids: &[i64]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
