//! The instances of a service, followed by blocking queries.

use std::collections::BTreeSet;
use std::time::Duration;

use backon::ExponentialBackoff;
use tokio::time::Instant;

use super::client::{Client, Listed};
use super::instance::Instance;
use crate::platform::backoff;
use crate::platform::telemetry::LogOnce;

/// The longest that Consul holds a query while nothing changes.
const WAIT: Duration = Duration::from_secs(55);
/// Between two queries, however fast the answers come.
const SPACING: Duration = Duration::from_millis(200);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Instances that are used of a list.
const MOST: usize = 256;

/// Follows one service.
#[derive(Debug)]
pub(super) struct Resolver {
    client: Client,
    service: String,
    known: Known,
    waits: ExponentialBackoff,
    trouble: LogOnce<(u8, u16)>,
}

/// The state of a followed service. Pure but for the clock.
#[derive(Debug)]
struct Known {
    index: u64,
    answered: Instant,
    stale_after: Duration,
}

impl Resolver {
    pub(super) fn new(client: Client, service: String, stale_after: Duration) -> Self {
        Self {
            client,
            service,
            known: Known { index: 0, answered: Instant::now(), stale_after },
            waits: backoff::exponential(LONGEST_PAUSE),
            trouble: LogOnce::default(),
        }
    }

    /// The next list; empty where the configured endpoint is to be used. Returns when there is one, though it may be the same.
    pub(super) async fn next(&mut self) -> BTreeSet<Instance> {
        loop {
            match self.client.passing(&self.service, self.known.index, WAIT).await {
                Ok(listed) => {
                    if self.trouble.is_over() {
                        tracing::info!("Consul names instances again: service={}", self.service);
                    }
                    self.waits = backoff::exponential(LONGEST_PAUSE);
                    let list = self.known.answered(listed);
                    tokio::time::sleep(SPACING.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
                    return list;
                }
                Err(error) => {
                    let stale = self.known.unanswered();
                    if self.trouble.is_new(error.kind()) {
                        tracing::warn!(
                            "Consul names no instances, those known are used, then the configured endpoint: service={}, error={error}",
                            self.service
                        );
                    }
                    tokio::time::sleep(self.waits.next().unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE)).await;
                    if stale {
                        return BTreeSet::new();
                    }
                }
            }
        }
    }
}

impl Known {
    /// Takes an answer. The index goes back to 0 when it goes backwards, and is never below 1: 0 would not block.
    fn answered(&mut self, listed: Listed) -> BTreeSet<Instance> {
        self.index = if listed.index < self.index { 0 } else { listed.index.max(1) };
        self.answered = Instant::now();
        listed.instances.into_iter().take(MOST).collect()
    }

    /// Takes a failure: the next query asks for everything, since an agent started anew counts from the beginning. Whether what
    /// is known is too old to be used.
    fn unanswered(&mut self) -> bool {
        self.index = 0;
        self.answered.elapsed() >= self.stale_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known { index: 0, answered: Instant::now(), stale_after: Duration::from_secs(60) }
    }

    fn listed(index: u64) -> Listed {
        Listed { index, instances: vec!["b:1".into(), "a:1".into(), "b:1".into()] }
    }

    #[tokio::test]
    async fn an_index_that_goes_backwards_starts_anew() {
        let mut known = known();
        for (answered, asked_next) in [(0, 1), (7, 7), (7, 7), (9, 9), (3, 0), (3, 3)] {
            assert_eq!(known.answered(listed(answered)), BTreeSet::from(["a:1".to_owned(), "b:1".to_owned()]));
            assert_eq!(known.index, asked_next);
        }
        known.unanswered();
        assert_eq!(known.index, 0, "an agent started anew counts from the beginning");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_known_is_used_for_its_time_and_no_longer() {
        let mut known = known();
        known.answered(listed(5));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(!known.unanswered());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(known.unanswered());
        known.answered(listed(5));
        assert!(!known.unanswered());
    }

    #[tokio::test]
    async fn a_list_without_end_is_cut() {
        let instances = (0..10_000).map(|n| format!("h{n}:1")).collect();
        assert_eq!(known().answered(Listed { index: 1, instances }).len(), MOST);
    }
}
