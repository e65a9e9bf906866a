//! Jobs by the clock: what cleans up, and what nobody else would notice.
//!
//! ```text
//! apalis-cron ─ wakes ─┐
//! poll (a tick is due) ┴─> schedule: tick → run + row of `pending`     ─ one statement, by the database's clock
//!                          take a run ─> a batch ─> progress or the end ─ one transaction, under the job's row lock
//! ```
//!
//! # A tick runs once
//!
//! `order_worker.cron_jobs.next_tick` is the first tick that has no run yet, in the database's time; moving it and writing the
//! run is one statement, and a tick is unique in the ledger. Whatever a worker's own clock says only decides when it looks.
//! While a job has a run to be done, its next ticks wait; those that nobody ran become one run, which says how many they were.
//!
//! # Runs of a job do not overlap, and a killed one is taken up
//!
//! A batch is a transaction that holds the job's row in `cron_jobs`: that lock is the whole claim, and dies with its session.
//! The batch's effects and the run's place ([`Cursor`]) are committed together, so whoever takes the run next goes on behind it.
//! The runs of a job go one after the other, since they are asked for under the same lock, which gives them rising ids.
//!
//! # The event path comes first
//!
//! Batches are bounded, rows that somebody else holds are passed over, and after each batch a worker rests three times as long as it
//! worked.

pub mod history;
mod jobs;
pub mod ledger;
mod proof;
mod runner;
mod schedule;
pub mod settings;
mod task;
mod wakes;
mod work;

pub use jobs::Terms;
pub use ledger::{Cursor, DEAD_LETTERS, REPLAY, Run};
pub use proof::{Evidence, Ground, Lack, Reason, Spared, Unreadable};
pub use runner::{Runner, Turned};
pub use schedule::{Due, Expression, Kind, Schedule, TimeZone, due};
pub use wakes::Wakes;

use std::fmt;

/// The jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Job {
    /// Delete expired sessions
    SessionCleanup,
    /// Delete abandoned carts
    CartCleanup,
    /// Cancel orders that were not paid in time
    OrderCleanup,
    /// Release reservations that were not used in time
    ReservationCleanup,
    /// Confirm orders that were paid on delivery
    CodAutoConfirm,
}

impl Job {
    /// Every job, in the order in which they are registered.
    pub const ALL: [Self; 5] =
        [Self::SessionCleanup, Self::CartCleanup, Self::OrderCleanup, Self::ReservationCleanup, Self::CodAutoConfirm];

    /// The name in the configuration, in the database, in metrics and in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SessionCleanup => "session_cleanup",
            Self::CartCleanup => "cart_cleanup",
            Self::OrderCleanup => "order_cleanup",
            Self::ReservationCleanup => "reservation_cleanup",
            Self::CodAutoConfirm => "cod_auto_confirm",
        }
    }

    /// What it does to one item.
    #[must_use]
    pub const fn effect(self) -> &'static str {
        match self {
            Self::SessionCleanup => "delete session",
            Self::CartCleanup => "delete cart",
            Self::OrderCleanup => "cancel order",
            Self::ReservationCleanup => "release reservation",
            Self::CodAutoConfirm => "confirm order",
        }
    }

    /// The job of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|job| job.as_str() == name)
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
