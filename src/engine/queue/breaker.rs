//! The circuit breaker of a queue, which also remembers what got through when.
//!
//! While nothing gets through it is open: the queue pauses, with back-off, and a small batch probes whether the other side is back.
//! Since it knows when something got through, it tells whether a row that failed is to blame: it is, when others got through after
//! it had failed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Queue;
use crate::platform::backoff::delay;

/// The longest pause between two probes.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Rows of a probe. Not one: one bad row alone could not be told from an outage.
const PROBE: usize = 8;

/// Rows whose last failure is remembered. A row that is forgotten gets one failure more.
const REMEMBERED: usize = 10_000;

/// The circuit breaker of one queue in this process.
#[derive(Debug)]
pub struct CircuitBreaker {
    queue: Queue,
    max_batch: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    batch_size: usize,
    failures: u32,
    open_until: Option<Instant>,
    last_success: Option<Instant>,
    /// When each row failed last.
    failed: HashMap<i64, Instant>,
}

impl CircuitBreaker {
    /// A closed breaker for batches of at most `max_batch` rows.
    #[must_use]
    pub fn new(queue: Queue, max_batch: usize) -> Self {
        let state =
            State { batch_size: max_batch, failures: 0, open_until: None, last_success: None, failed: HashMap::new() };
        Self { queue, max_batch, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The queue that it belongs to.
    #[must_use]
    pub const fn queue(&self) -> Queue {
        self.queue
    }

    /// The most rows of the next batch.
    #[must_use]
    pub fn batch_size(&self) -> usize {
        self.state().batch_size
    }

    /// Waits while it is open.
    pub async fn closed(&self) {
        loop {
            let until = self.state().open_until;
            match until {
                Some(until) if until > Instant::now() => tokio::time::sleep_until(until).await,
                _ => return,
            }
        }
    }

    /// Whether nothing has got through since it opened last: it is open, or a probe is under way.
    #[must_use]
    pub fn is_tripped(&self) -> bool {
        self.state().failures > 0
    }

    /// Notes that row `id` failed at `moment`. True when there is a witness against it: something got through since then, or since its
    /// failure before.
    #[must_use]
    pub fn witnessed(&self, id: i64, moment: Instant) -> bool {
        let mut state = self.state();
        if state.failed.len() >= REMEMBERED {
            state.failed.clear();
        }
        let before = state.failed.insert(id, moment).unwrap_or(moment);
        state.last_success.is_some_and(|success| success >= before)
    }

    /// Whether row `id` failed here before, as far as that is remembered.
    #[must_use]
    pub fn has_failed(&self, id: i64) -> bool {
        self.state().failed.contains_key(&id)
    }

    /// Something got through: it closes, and batches grow again.
    pub fn success(&self) {
        let mut state = self.state();
        if state.failures > 0 {
            tracing::info!(queue = %self.queue, failures = state.failures, "Queue goes on: what was away is back");
        }
        state.failures = 0;
        state.open_until = None;
        state.last_success = Some(Instant::now());
        state.batch_size = (state.batch_size * 2).min(self.max_batch);
    }

    /// Nothing gets through: it opens for a pause with back-off, after which a small batch probes.
    pub fn trip(&self, reason: &str) {
        let mut state = self.state();
        // Batches side by side fail together: they count once.
        if state.open_until.is_some_and(|until| until > Instant::now()) {
            return;
        }
        state.failures += 1;
        let pause = delay(state.failures).min(LONGEST_PAUSE);
        state.open_until = Some(Instant::now() + pause);
        state.batch_size = PROBE.min(self.max_batch);
        tracing::warn!(queue = %self.queue, failures = state.failures, pause_ms = pause.as_millis(), "Queue pauses: reason={reason}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_row_is_to_blame_when_others_got_through_after_it_had_failed() {
        let breaker = CircuitBreaker::new(Queue::new("out"), 64);
        let step = || tokio::time::advance(Duration::from_millis(1));
        breaker.success();
        step().await;
        assert!(!breaker.witnessed(1, Instant::now()), "what got through before it failed says nothing of now");
        step().await;
        assert!(!breaker.witnessed(1, Instant::now()), "nothing got through between its failures");
        step().await;
        breaker.success();
        step().await;
        assert!(breaker.witnessed(1, Instant::now()), "others got through between its failures");
        assert!(!breaker.witnessed(2, Instant::now()));
        let failed = Instant::now();
        step().await;
        breaker.success();
        assert!(breaker.witnessed(3, failed), "others got through after its failure");
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_breaker_probes_every_few_seconds_for_ever() {
        let breaker = CircuitBreaker::new(Queue::new("out"), 64);
        for _ in 0..100 {
            let before = Instant::now();
            breaker.trip("refused");
            breaker.trip("refused by another batch");
            breaker.closed().await;
            assert!(before.elapsed() <= LONGEST_PAUSE);
        }
        assert_eq!(breaker.state().failures, 100);
        assert_eq!(breaker.batch_size(), 8);
        breaker.success();
        assert!(!breaker.is_tripped());
    }
}
