//! One queue mechanism for all that is to be done: events to be handled, rows to be sent, runs to be made.
//!
//! Bodies lie in immutable journals; `order_worker.pending` holds only what is not finished, and a settled row is deleted. So a
//! poll costs what is in hand, whatever the history; nothing is ever claimed by writing to its row.
//!
//! # Correctness never rests on a lease
//!
//! Where the effect is in this database (events, runs) the applying transaction takes the rows itself: `for update skip locked`,
//! decide, delete, commit. The transaction that deletes a row owns its effect. After a COMMIT of unknown outcome the work is tried
//! again: if the row is gone, it was done.
//!
//! # Leases give order where the network is involved
//!
//! What was sent cannot be taken back, so rows that leave are sent first and deleted after. Rows of one key have to go one
//! after the other: a key belongs to one of 64 [lanes](Lanes), a lane to one live worker, and the worker sends a key's rows in
//! turn, many keys side by side. A worker that slept through its lease can at most repeat a row under its own id:
//! deleting a sent row is harmless from anyone, and a failure is written only where (id, attempts) still stand as read.
//!
//! # After a crash
//!
//! Rows are written into the worker's row of `order_worker.workers` before they are sent. When another worker finds it dead, it notes
//! these rows (`order_worker.exposures`). They are then sent one at a time, so that a row that kills the process is found, and it waits
//! longer each time. Deaths of workers alone never make a row dead.
//!
//! # Failure has two classes
//!
//! A row that fails while others get through is retried with back-off, and is dead in the end. When all rows fail, no attempt is
//! counted and the circuit breaker opens (`react.rs`, `breaker.rs`). A batch that fails as a whole is split within its turn
//! (`split.rs`).
//!
//! The mechanism runs on apalis: a [`Backend`] turns a [`Source`] of batches into an apalis backend, one task a batch, run by
//! apalis' Monitor with its tower layers.

mod backend;
mod breaker;
mod contents;
mod fault;
mod lanes;
mod outgoing;
mod react;
mod sample;
pub mod settings;
mod split;
mod state;
mod wake;

pub use backend::{Backend, Source};
pub use breaker::CircuitBreaker;
pub use contents::{Contents, contents};
pub use fault::{Fault, attempt, is_splittable};
pub use lanes::{Lanes, is_drained, worker_name};
pub use outgoing::{Batch, Outgoing, Row};
pub use react::{Others, Outcome, Reaction, Verdict, react};
pub use sample::{Sample, Sampler};
pub use split::Split;
pub use state::State;
pub use wake::{Wake, watch};

use std::fmt;

/// A queue, by its name in the database, in metrics and in logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Queue {
    name: &'static str,
    parks: bool,
}

impl Queue {
    /// Events to be handled.
    pub const INBOX: Self = Self::new("inbox");
    /// Runs to be made.
    pub const RUNS: Self = Self::new("cron");

    /// The queue of this name. A dead row of it holds back nothing.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, parks: false }
    }

    /// The same, where a dead row holds back the later rows of its key until an operator decides.
    #[must_use]
    pub const fn parking(self) -> Self {
        Self { parks: true, ..self }
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.name
    }

    /// Whether a dead row holds back the later rows of its key.
    #[must_use]
    pub const fn parks(self) -> bool {
        self.parks
    }
}

impl AsRef<str> for Queue {
    fn as_ref(&self) -> &str {
        self.name
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
