//! Counts what the queues hold and when jobs last succeeded, for the gauges.

use std::time::{Duration, Instant};

use super::{Contents, Pace, Queue, contents};
use crate::cron::{Evidence, Job, Terms};
use crate::database::PgPool;
use crate::operations::incidents;
use crate::orders::IncidentKind;
use crate::telemetry::{Metrics, QueueSample, Sample};

const EVERY: Duration = Duration::from_secs(5);

/// Samples for as long as it is polled. `paces` are those of this process's queues; `terms` say for what its jobs wait.
pub async fn sample(pool: &PgPool, metrics: &Metrics, paces: &[&Pace], terms: &Terms) {
    let mut snapshot = Oldest::default();
    loop {
        match once(pool, &mut snapshot, terms).await {
            Ok(mut sample) => {
                sample.paused.extend(paces.iter().filter(|pace| pace.paused()).map(|pace| pace.queue()));
                metrics.observe(&sample);
            }
            // The health probe tells of a database that is away; old numbers show by their time.
            Err(error) => tracing::debug!("Queues not counted: error={error}"),
        }
        tokio::time::sleep(EVERY).await;
    }
}

#[derive(sqlx::FromRow)]
struct Server {
    oldest_snapshot: Option<String>,
    partitions_ready: i64,
    quarantined: i64,
    violations: Option<i64>,
    proof_age: Option<f64>,
}

/// The oldest snapshot that somebody holds, and since when it is seen here: its true age is that or more.
#[derive(Debug, Default)]
struct Oldest(Option<(String, Instant)>);

impl Oldest {
    fn age(&mut self, snapshot: Option<String>) -> Duration {
        match (&self.0, snapshot) {
            (Some((known, since)), Some(snapshot)) if *known == snapshot => since.elapsed(),
            (_, snapshot) => {
                self.0 = snapshot.map(|snapshot| (snapshot, Instant::now()));
                Duration::ZERO
            }
        }
    }
}

async fn once(pool: &PgPool, snapshot: &mut Oldest, terms: &Terms) -> Result<Sample, sqlx::Error> {
    let queues = contents(pool).await?;
    let incidents = incidents::open(pool).await?;
    let jobs: Vec<(String, f64)> = sqlx::query_as(include_str!("sql/sample_jobs.sql")).fetch_all(pool).await?;
    let evidence = Evidence::read(&mut *pool.acquire().await?, terms).await?;
    let server: Server = sqlx::query_as(include_str!("sql/sample_server.sql")).fetch_one(pool).await?;
    let kind = |name: &str| IncidentKind::ALL.iter().copied().find(|kind| kind.as_str() == name);
    let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let paused = queues.iter().filter(|queue| queue.paused_at.is_some());
    let measured = |queue: &Contents| {
        let Contents { pending, dead, parked, .. } = *queue;
        Some((
            Queue::named(&queue.queue)?,
            QueueSample { pending, oldest_age: seconds(queue.oldest_age), dead, parked },
        ))
    };
    Ok(Sample {
        queues: queues.iter().filter_map(measured).collect(),
        incidents_open: incidents.into_iter().filter_map(|(name, open)| Some((kind(&name)?, open))).collect(),
        paused: paused.filter_map(|queue| Queue::named(&queue.queue)).collect(),
        watermark_age: evidence.watermark_age(),
        stream_alerts: i64::try_from(evidence.alerts()).unwrap_or(i64::MAX),
        cleanup_blocked: evidence.reasons(),
        oldest_snapshot: snapshot.age(server.oldest_snapshot),
        partitions_ready: server.partitions_ready,
        quarantined: server.quarantined,
        proof: server.violations.zip(server.proof_age.map(seconds)),
        since_success: jobs
            .into_iter()
            .filter_map(|(name, since)| Some((Job::named(&name)?, seconds(since))))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_ages_while_it_stays_the_oldest() {
        let mut oldest = Oldest::default();
        let mut age = |snapshot: &str| {
            std::thread::sleep(Duration::from_millis(2));
            oldest.age(Some(snapshot.to_owned()))
        };
        assert_eq!(age("7"), Duration::ZERO);
        assert!(age("7") > Duration::ZERO);
        assert_eq!(age("9"), Duration::ZERO);
        assert_eq!(oldest.age(None), Duration::ZERO);
        assert_eq!(oldest.age(Some("9".into())), Duration::ZERO);
    }
}
