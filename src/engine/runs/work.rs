//! The seam to the code that knows what a run does.

use std::time::Duration;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::PgConnection;

use super::ledger::Progress;
use super::{Cursor, Run, RunOutcome};
use crate::engine::queue::{Fault, Queue};

/// The result of a batch.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// Items that it has changed.
    pub items: usize,
    /// Behind its last candidate.
    pub cursor: Cursor,
    /// No candidate is left.
    pub last: bool,
    /// The run's result so far, where it counts one.
    pub result: Option<Value>,
    /// Why the run ends before it is through.
    pub stopped: Option<String>,
    /// From the beginning of this batch to that of the next, at the least.
    pub pause: Duration,
    /// Nothing could be done yet: the run waits so long, and this was no batch.
    pub not_yet: Option<Duration>,
    /// Queues that got rows.
    pub wakes: Vec<Queue>,
}

impl Step {
    /// Whether the run ends with it.
    #[must_use]
    pub const fn ends(&self) -> bool {
        self.last || self.stopped.is_some()
    }
}

/// A row that could not be done, and that the run goes on behind.
#[derive(Clone, Debug)]
pub struct PassedOver {
    /// Behind it.
    pub cursor: Cursor,
    /// Its name, for people.
    pub row: String,
    /// The run's result with it, where it counts one.
    pub result: Option<Value>,
    /// Why that ends the run.
    pub stopped: Option<String>,
}

/// A kind of runs.
#[async_trait]
pub trait Work: std::fmt::Debug + Send + Sync + 'static {
    /// Its name in the ledger; of a job also in the configuration, in metrics and in logs.
    fn name(&self) -> &'static str;

    /// The most rows of one batch.
    ///
    /// # Errors
    ///
    /// [`Fault::Unknown`] when the run's request cannot be read.
    fn limit(&self, run: &Run) -> Result<u32, Fault>;

    /// Makes the next batch of at most `limit` rows behind the run's cursor, in a transaction that holds the run and is committed with
    /// its place.
    ///
    /// # Errors
    ///
    /// The transaction is void; the batch is made again, in parts where that may help.
    async fn batch(&self, tx: &mut PgConnection, run: &Run, limit: u32) -> Result<Step, Fault>;

    /// The next row behind the run's cursor, which is to be passed over; none: there is no next row.
    ///
    /// # Errors
    ///
    /// The database's, or what the run is to do cannot be read.
    async fn next(&self, tx: &mut PgConnection, run: &Run) -> Result<Option<PassedOver>, Fault>;

    /// Says in a log line that a run has ended; `progress` is what it has come to.
    fn log_end(&self, run: &Run, progress: &Progress) {
        let Progress { kind, missed, items, batches, passed_over, outcome, error, seconds } = progress;
        let name = self.name();
        if *outcome == Some(RunOutcome::Failed) {
            let error = error.as_deref().unwrap_or_default();
            tracing::error!(job = name, tick = %run.tick, passed_over, "Job failed: {name}, error={error}");
        } else {
            tracing::info!(
                job = name, tick = %run.tick, kind = kind.as_str(), missed, batches, passed_over,
                "Job finished: {name}, items={items}, seconds={seconds:.3}"
            );
        }
    }
}

/// Reads what an operator has asked a run for, or what that has come to.
///
/// # Errors
///
/// [`Fault::Unknown`]: another version has written it. That is the run's own fault: others go on.
pub fn read<T: DeserializeOwned>(value: Value) -> Result<T, Fault> {
    serde_json::from_value(value).map_err(|error| Fault::Unknown(format!("the run's request cannot be read: {error}")))
}
