//! Jobs by the clock: what cleans up, and what nobody else would notice.
//!
//! ```text
//! apalis-cron's tick ──┐
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
//! # A job that is due is run by whoever is there
//!
//! Workers of one shop may have different schedules, as in a rollout. What is registered (expression, time zone, or that it is
//! disabled) counts for as long as a worker says that it runs the job like that, and half a minute more; then it is registered anew
//! by one that is there.
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

mod expression;
pub mod history;
pub mod ledger;
mod runner;
mod schedule;
pub mod settings;
mod wakes;
mod work;

pub use expression::Expression;
pub use ledger::{Cursor, Progress, Run, RunOutcome, RunState, Scheduled};
pub use runner::{Runner, Turned};
pub use schedule::{Due, RunKind, Schedule, TimeZone, due};
pub use wakes::Wakes;
pub use work::{PassedOver, Step, Work, read};
