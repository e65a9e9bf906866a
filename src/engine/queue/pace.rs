//! The circuit breaker of a queue, and the witness of its blame.
//!
//! While nothing gets through the queue pauses, with back-off, and small batches look whether it is open again. And since it knows when
//! something got through, it tells whether a row that failed is to blame: it is when others got through after it had failed.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::Queue;
use crate::platform::backoff::delay;

/// The longest pause between two tries while the environment is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Rows whose last failure is remembered. One that is forgotten is believed once more.
const REMEMBERED: usize = 10_000;

/// The pace of one queue in this process. It is the circuit breaker: open while paused, half-open with a small batch after it.
#[derive(Debug)]
pub struct Pace {
    queue: Queue,
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: usize,
    failures: u32,
    paused_until: Option<Instant>,
    last_success: Option<Instant>,
    /// When a row failed last.
    failed: HashMap<i64, Instant>,
}

impl Pace {
    /// A pace of at most `most` rows a batch.
    #[must_use]
    pub fn new(queue: Queue, most: usize) -> Self {
        let state = State { limit: most, failures: 0, paused_until: None, last_success: None, failed: HashMap::new() };
        Self { queue, most, state: Mutex::new(state) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whose pace it is.
    #[must_use]
    pub const fn queue(&self) -> Queue {
        self.queue
    }

    /// The most rows that the next batch may have.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.state().limit
    }

    /// Waits while the queue is paused.
    pub async fn ready(&self) {
        loop {
            let until = self.state().paused_until;
            match until {
                Some(until) if until > Instant::now() => tokio::time::sleep_until(until).await,
                _ => return,
            }
        }
    }

    /// Whether the queue is paused because the environment is away.
    #[must_use]
    pub fn paused(&self) -> bool {
        self.state().failures > 0
    }

    /// Row `id` failed at `moment`: whether there is a witness against it, that is, whether something got through since then, or since it
    /// had failed the last time.
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

    /// Something got through: no pause, and batches grow again.
    pub fn success(&self) {
        let mut state = self.state();
        if state.failures > 0 {
            tracing::info!(queue = %self.queue, failures = state.failures, "Queue goes on: what was away is back");
        }
        state.failures = 0;
        state.paused_until = None;
        state.last_success = Some(Instant::now());
        state.limit = (state.limit * 2).min(self.most);
    }

    /// The environment is away: a pause with back-off, then a small batch to see whether it is back.
    pub fn away(&self, reason: &str) {
        let mut state = self.state();
        // Batches side by side fail together: they count once.
        if state.paused_until.is_some_and(|until| until > Instant::now()) {
            return;
        }
        state.failures += 1;
        let pause = delay(state.failures).min(LONGEST_PAUSE);
        state.paused_until = Some(Instant::now() + pause);
        // Eight, not one: one bad row alone could not be told from an outage.
        state.limit = 8.min(self.most);
        tracing::warn!(queue = %self.queue, failures = state.failures, pause_ms = pause.as_millis(), "Queue pauses: reason={reason}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_row_is_to_blame_when_others_got_through_after_it_had_failed() {
        let pace = Pace::new(Queue::new("out"), 64);
        let step = || tokio::time::advance(Duration::from_millis(1));
        pace.success();
        step().await;
        assert!(!pace.witnessed(1, Instant::now()), "what got through before it failed says nothing of now");
        step().await;
        assert!(!pace.witnessed(1, Instant::now()), "nothing got through between its failures");
        step().await;
        pace.success();
        step().await;
        assert!(pace.witnessed(1, Instant::now()), "others got through between its failures");
        assert!(!pace.witnessed(2, Instant::now()));
        let failed = Instant::now();
        step().await;
        pace.success();
        assert!(pace.witnessed(3, failed), "others got through after its failure");
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_environment_is_away_the_queue_tries_again_every_few_seconds_for_ever() {
        let pace = Pace::new(Queue::new("out"), 64);
        for _ in 0..100 {
            let before = Instant::now();
            pace.away("refused");
            pace.away("refused by another batch");
            pace.ready().await;
            assert!(before.elapsed() <= LONGEST_PAUSE);
        }
        assert_eq!(pace.state().failures, 100);
        assert_eq!(pace.limit(), 8);
        pace.success();
        assert!(!pace.paused());
    }
}
