//! One queue mechanism for all that is to be done: `inbox`, `dapr`, `warehouse` and `cron`.
//!
//! Bodies lie in immutable journals; `order_worker.pending` holds only what is not finished, and a settled row is deleted. So a
//! poll costs what is in hand, whatever the history; nothing is ever claimed by writing to its row.
//!
//! # Correctness never rests on a lease
//!
//! Where the effect is in this database (inbox, cron) the applying transaction takes the rows itself: `for update skip locked`,
//! decide, delete, commit. Whoever deletes a row owns its effect. A COMMIT of unknown outcome is tried again: no row left, done.
//!
//! # Leases give order where the network is involved
//!
//! An announcement cannot be taken back, so `dapr` and `warehouse` send first and delete after. Rows of one key have to go one
//! after the other: a key belongs to one of 64 [lanes](Lanes), a lane to one live worker, and the worker sends a key's rows in
//! turn, many keys side by side. A worker that slept through its lease can at most repeat an announcement under its own id:
//! deleting a sent row is harmless from anyone, and a failure is written only where (id, attempts) still stand as read.
//!
//! # After a crash
//!
//! What a worker has in hand stands in its row of `order_worker.workers` before it is sent. Whoever finds that worker dead notes
//! those rows (`order_worker.exposures`), and they are sent one at a time, so that a row that kills the process is found, and
//! waits longer each time. Deaths alone never make a row dead.
//!
//! # Failure has two classes
//!
//! See `react.rs`: a row that fails while others get through is retried with back-off and given up in the end; one that fails with all
//! others counts nothing, and the queue pauses. A batch that fails as a whole is split within its turn (`split.rs`).
//!
//! The mechanism runs on apalis: a [`Backend`] turns a [`Source`] of batches into an apalis backend, one task a batch, run by
//! apalis' Monitor with its tower layers.

mod backend;
pub(crate) mod backoff;
mod contents;
mod fault;
mod lanes;
mod outgoing;
mod pace;
pub mod pauses;
mod react;
mod sample;
pub mod settings;
mod split;
mod wake;

pub use backend::{Backend, Source};
pub use backoff::{delay, look_again};
pub use contents::{Contents, contents};
pub use fault::{Fault, attempt, is_splittable};
pub use lanes::{Lanes, is_drained, nobody_performs, worker_name};
pub use outgoing::{Batch, Outgoing, Row, Settled};
pub use pace::Pace;
pub use react::{Others, Reaction, Verdict, react};
pub use sample::sample;
pub use split::Split;
pub use wake::{Wake, watch};

use std::fmt;

/// A queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub enum Queue {
    /// Payment events to be judged.
    Inbox,
    /// Announcements to be published through Dapr.
    Dapr,
    /// Calls to be made at the warehouse.
    Warehouse,
    /// Runs of jobs.
    Cron,
}

impl Queue {
    /// Every queue.
    pub const ALL: [Self; 4] = [Self::Inbox, Self::Dapr, Self::Warehouse, Self::Cron];

    /// The name in the database, in metrics and in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inbox => "inbox",
            Self::Dapr => "dapr",
            Self::Warehouse => "warehouse",
            Self::Cron => "cron",
        }
    }

    /// The queue of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|queue| queue.as_str() == name)
    }

    /// Whether a dead row holds back the later rows of its key until an operator decides. At the warehouse a refusal is an
    /// answer, and for orders any order of events is legal.
    #[must_use]
    pub const fn parks(self) -> bool {
        matches!(self, Self::Dapr)
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
