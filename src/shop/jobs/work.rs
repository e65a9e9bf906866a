//! The jobs as runs of the engine.

use async_trait::async_trait;
use serde_json::json;
use sqlx::PgConnection;

use super::batch::{self, batch};
use super::{Job, Terms};
use crate::engine::queue::Fault;
use crate::engine::runs::{PassedOver, Run, Step, Work};
use crate::platform::database::{PgPool, traced};

/// A job by its settings.
#[derive(Clone, Debug)]
pub struct JobWork {
    job: Job,
    batch: u32,
    terms: Terms,
    pool: PgPool,
}

impl JobWork {
    /// `batch` is the most rows of one transaction; of `pool` its spans tell where the database is.
    #[must_use]
    pub const fn new(job: Job, batch: u32, terms: Terms, pool: PgPool) -> Self {
        Self { job, batch, terms, pool }
    }
}

#[async_trait]
impl Work for JobWork {
    fn name(&self) -> &'static str {
        self.job.as_str()
    }

    fn limit(&self, _: &Run) -> Result<u32, Fault> {
        Ok(self.batch)
    }

    async fn batch(&self, tx: &mut PgConnection, run: &Run, limit: u32) -> Result<Step, Fault> {
        let rule = self.job.rule();
        let done = traced(&self.pool, rule.summary, batch(tx, rule, run, limit, &self.terms)).await?;
        // Counted over all batches of the run.
        let before = run.result.clone().and_then(|result| serde_json::from_value(result).ok());
        let spared = done.spared.and(before);
        Ok(Step {
            items: done.items.len(),
            cursor: done.cursor,
            last: done.last,
            result: (spared.orders > 0).then(|| json!(spared)),
            not_yet: (!done.pause.is_zero()).then_some(done.pause),
            wakes: done.wakes,
            ..Step::default()
        })
    }

    async fn next(&self, tx: &mut PgConnection, run: &Run) -> Result<Option<PassedOver>, Fault> {
        let next = batch::next(tx, self.job.rule(), run, &self.terms).await?;
        Ok(next.map(|(cursor, row)| PassedOver { cursor, row, result: None, stopped: None }))
    }
}
