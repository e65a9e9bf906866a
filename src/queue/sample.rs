//! Counts what the queues hold, for the gauges.

use std::time::Duration;

use sqlx::PgPool;

use super::{Outgoing, Queue};
use crate::orders::IncidentKind;
use crate::telemetry::{Metrics, QueueSample, Sample};

const EVERY: Duration = Duration::from_secs(5);

/// Samples for as long as it is polled.
pub async fn sample(pool: &PgPool, metrics: &Metrics, outgoing: [&Outgoing; 2]) {
    loop {
        match once(pool).await {
            Ok(sample) => metrics.observe(&sample),
            // The health probe tells of a database that is away; old numbers show by their time.
            Err(error) => tracing::debug!("Queues not counted: error={error}"),
        }
        for outgoing in outgoing {
            metrics.queue_paused(outgoing.queue(), outgoing.pace().paused());
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn once(pool: &PgPool) -> Result<Sample, sqlx::Error> {
    let queues: Vec<(String, i64, f64, i64, i64)> =
        sqlx::query_as(include_str!("sql/sample.sql")).fetch_all(pool).await?;
    let incidents: Vec<(String, i64)> = sqlx::query_as(
        "select kind, count(*) from order_worker.incident_journal where resolved_at is null group by kind",
    )
    .fetch_all(pool)
    .await?;
    let queue = |name: &str| Queue::ALL.iter().copied().find(|queue| queue.as_str() == name);
    let kind = |name: &str| IncidentKind::ALL.iter().copied().find(|kind| kind.as_str() == name);
    Ok(Sample {
        queues: queues
            .into_iter()
            .filter_map(|(name, pending, oldest_age, dead, parked)| {
                let oldest_age = Duration::try_from_secs_f64(oldest_age).unwrap_or_default();
                Some((queue(&name)?, QueueSample { pending, oldest_age, dead, parked }))
            })
            .collect(),
        incidents_open: incidents.into_iter().filter_map(|(name, open)| Some((kind(&name)?, open))).collect(),
    })
}
