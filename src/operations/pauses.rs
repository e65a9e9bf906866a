//! Pauses: of a queue, or of one job. Whoever takes rows looks for a pause in the same statement.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgConnection;

use crate::engine::audit;
use crate::engine::queue::Queue;
use crate::platform::database::PgPool;

/// A queue or a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pausable {
    /// Nothing is taken from this queue.
    Queue(Queue),
    /// No tick of the job with this name is run.
    Job(&'static str),
}

/// A pause.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Pause {
    /// Since when.
    pub paused_at: DateTime<Utc>,
    /// By whom.
    pub paused_by: String,
}

/// The pause that keeps a run from being made: that of its job, or that of the queue of all runs. None for `job`: a run that only
/// operators ask for.
///
/// # Errors
///
/// The database's.
pub async fn blocking(pool: &PgPool, job: Option<&'static str>) -> Result<Option<(Pausable, Pause)>, sqlx::Error> {
    for what in job.map(Pausable::Job).into_iter().chain([Pausable::Queue(Queue::RUNS)]) {
        if let Some(pause) = what.paused(pool).await? {
            return Ok(Some((what, pause)));
        }
    }
    Ok(None)
}

impl Pausable {
    /// The name of the queue or the job.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queue(queue) => queue.as_str(),
            Self::Job(job) => job,
        }
    }

    const fn key(self) -> (&'static str, &'static str) {
        match self {
            Self::Queue(queue) => (queue.as_str(), ""),
            Self::Job(job) => (Queue::RUNS.as_str(), job),
        }
    }

    /// The pause, where there is one.
    ///
    /// # Errors
    ///
    /// The database's.
    pub async fn paused(self, pool: &PgPool) -> Result<Option<Pause>, sqlx::Error> {
        let (queue, key) = self.key();
        sqlx::query_as("select paused_at, paused_by from order_worker.pauses where queue = $1 and key = $2")
            .bind(queue)
            .bind(key)
            .fetch_optional(pool)
            .await
    }

    /// Pauses it; false when it was paused already.
    ///
    /// # Errors
    ///
    /// The database's.
    pub async fn pause(self, tx: &mut PgConnection, reason: &str, actor: &str) -> Result<bool, sqlx::Error> {
        let (queue, key) = self.key();
        let paused = sqlx::query(
            "insert into order_worker.pauses (queue, key, paused_by, reason) values ($1, $2, $3, $4) on conflict do nothing",
        );
        let paused = paused.bind(queue).bind(key).bind(actor).bind(reason).execute(&mut *tx).await?;
        self.recorded(tx, "pause", paused.rows_affected(), reason, actor).await
    }

    /// Lets it go on; false when it was not paused.
    ///
    /// # Errors
    ///
    /// The database's.
    pub async fn resume(self, tx: &mut PgConnection, reason: &str, actor: &str) -> Result<bool, sqlx::Error> {
        let (queue, key) = self.key();
        let resumed = sqlx::query("delete from order_worker.pauses where queue = $1 and key = $2");
        let resumed = resumed.bind(queue).bind(key).execute(&mut *tx).await?;
        self.recorded(tx, "resume", resumed.rows_affected(), reason, actor).await
    }

    async fn recorded(
        self,
        tx: &mut PgConnection,
        verb: &str,
        rows: u64,
        reason: &str,
        actor: &str,
    ) -> Result<bool, sqlx::Error> {
        if rows == 0 {
            return Ok(false);
        }
        let action = match self {
            Self::Queue(_) => format!("queue {verb}"),
            Self::Job(_) => format!("cron {verb}"),
        };
        audit::record(tx, actor, &action, self.name(), &json!({ "reason": reason })).await?;
        Ok(true)
    }
}
