//! Counts what the queues hold and when jobs last succeeded, for the gauges.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{CircuitBreaker, Contents, Queue, contents};
use crate::platform::database::PgPool;

/// One look at the queues. What is not listed is zero: a grouped count has no row for nothing.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Each queue that has anything.
    pub queues: Vec<Contents>,
    /// Queues that nothing is taken from by this process.
    pub paused: Vec<&'static str>,
    /// How long the oldest snapshot is seen that a transaction, a slot or a prepared transaction holds; at the least.
    pub oldest_snapshot: Duration,
    /// Days from tomorrow on that have all their partitions; at most 31.
    pub partitions_ready: i64,
    /// Events that came with a known id and another body, and wait for an operator.
    pub quarantined: i64,
    /// Each registered job: its name, seconds since its last success, and for how many a tick of it has been due without a run.
    pub jobs: Vec<(String, f64, f64)>,
}

/// Looks at the queues.
#[derive(Debug)]
pub struct Sampler {
    pool: PgPool,
    queues: Vec<Queue>,
    breakers: Vec<Arc<CircuitBreaker>>,
    snapshot: Mutex<Oldest>,
}

#[derive(sqlx::FromRow)]
struct Server {
    oldest_snapshot: Option<String>,
    partitions_ready: i64,
    quarantined: i64,
}

impl Sampler {
    /// `breakers` are those of this process's queues.
    #[must_use]
    pub fn new(pool: PgPool, queues: Vec<Queue>, breakers: Vec<Arc<CircuitBreaker>>) -> Self {
        Self { pool, queues, breakers, snapshot: Mutex::default() }
    }

    /// Looks once.
    ///
    /// # Errors
    ///
    /// The database's.
    pub async fn look(&self) -> Result<Sample, sqlx::Error> {
        let queues = contents(&self.pool, &self.queues).await?;
        let jobs = sqlx::query_as(include_str!("sql/sample_jobs.sql")).fetch_all(&self.pool).await?;
        let server: Server = sqlx::query_as(include_str!("sql/sample_server.sql")).fetch_one(&self.pool).await?;
        let by_operators = |queue: &&Queue| queues.iter().any(|c| c.queue == queue.as_str() && c.paused_at.is_some());
        let mut paused: Vec<&str> = self.queues.iter().filter(by_operators).map(|queue| queue.as_str()).collect();
        paused.extend(
            self.breakers.iter().filter(|breaker| breaker.is_tripped()).map(|breaker| breaker.queue().as_str()),
        );
        let oldest_snapshot = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).age(server.oldest_snapshot);
        let Server { partitions_ready, quarantined, .. } = server;
        Ok(Sample { queues, paused, oldest_snapshot, partitions_ready, quarantined, jobs })
    }
}

/// The oldest snapshot that is held, and since when it is seen here: its true age is that or more.
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
