//! The operators' views and actions, for the command line and the console alike.
//!
//! For each action of an operator there is one function, which both call. It refuses an action without effect. In the caller's
//! transaction it makes the change, writes the decision, and appends the record to the audit log: all three are committed, or none.
//! A rehearsal is a rollback.

pub mod bulk;
pub mod dead;
pub mod decision;
mod edit;
pub mod events;
pub mod incidents;
pub mod jobs;

pub mod log;
mod mask;
pub mod messages;
mod metrics;
mod moment;
pub mod pauses;
pub mod proof;
pub mod replay;
pub mod since;
pub mod story;

pub use bulk::DeadRows;
pub use edit::edit;
pub use mask::{masked, masked_json};
pub use metrics::Metrics;
pub use moment::{Moment, NoMoment};
pub use replay::{Judging, Replays};

use chrono::{DateTime, Utc};

use crate::engine::queue::{Queue, is_drained};
use crate::engine::runs::ledger;
use crate::platform::database::PgPool;
use crate::shop::{announcements, warehouse};

/// Every queue, in the order in which they are shown.
pub const QUEUES: [Queue; 4] = [Queue::INBOX, announcements::QUEUE, warehouse::QUEUE, Queue::RUNS];

/// The queue of this name.
#[must_use]
pub fn queue(name: &str) -> Option<Queue> {
    QUEUES.into_iter().find(|queue| queue.as_str() == name)
}

/// Why no worker makes runs (of jobs, replays, dead rows); none: one does.
pub async fn nobody_performs(pool: &PgPool) -> Result<Option<&'static str>, sqlx::Error> {
    if is_drained(pool, Queue::RUNS).await? {
        return Ok(None);
    }
    Ok(Some(if is_drained(pool, announcements::QUEUE).await? {
        "no worker that performs it is alive: those that are there are in mode event, and it takes one in mode cron or all"
    } else {
        "no worker that performs it is alive (mode cron or all)"
    }))
}

/// From when until when; none: without an end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    /// The first moment in it.
    pub since: Option<DateTime<Utc>>,
    /// The first moment behind it.
    pub until: Option<DateTime<Utc>>,
}

impl Window {
    /// By the database's clock.
    pub async fn between(pool: &PgPool, since: Option<Moment>, until: Option<Moment>) -> Result<Self, sqlx::Error> {
        let now = ledger::now(pool).await?;
        Ok(Self { since: since.map(|since| since.before(now)), until: until.map(|until| until.before(now)) })
    }
}

/// Why something that an operator asked for was not done. The transaction is to be rolled back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It would do nothing, or cannot be done.
    #[error("{what}")]
    Refused {
        /// The reason.
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
