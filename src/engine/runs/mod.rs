//! Runs: jobs by the clock, and work that operators ask for.
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
//! While a job has a run to be done, its next ticks wait. Missed ticks become one run, which says how many they were.
//!
//! # Any worker that is there runs a job that is due
//!
//! Workers on one database may have different schedules, as in a rollout. The registered schedule (expression, time zone, or disabled)
//! counts for as long as a worker renews it, and half a minute more. Then a worker that is there registers its own.
//!
//! # Runs of a job do not overlap, and a killed one is taken up
//!
//! A batch is a transaction that holds the job's row in `cron_jobs`: that lock is the whole claim, and dies with its session.
//! The batch's effects and the run's place ([`Cursor`]) are committed together, so the worker that takes the run next goes on behind it.
//! The runs of a job go one after the other, since they are asked for under the same lock, which gives them rising ids.
//!
//! # The event path comes first
//!
//! Batches are bounded, rows that another transaction holds are passed over, and after each batch a worker rests three times as long as it
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
