//! How fast a queue may go: a pause while the environment is away, and small steps after trouble.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::Queue;
use super::backoff::delay;

/// The longest pause between two tries while the environment is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

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
}

impl Pace {
    /// A pace of at most `most` rows a batch.
    #[must_use]
    pub fn new(queue: Queue, most: usize) -> Self {
        let state = State { limit: most, failures: 0, paused_until: None, last_success: None };
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

    /// Whether something got through after `moment`.
    #[must_use]
    pub fn succeeded_since(&self, moment: Instant) -> bool {
        self.state().last_success.is_some_and(|success| success >= moment)
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

    /// A batch failed as a whole: the next is half as large, until the row that is to blame stands alone.
    pub fn halve(&self) {
        let mut state = self.state();
        state.limit = (state.limit / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failing_batch_shrinks_to_one_and_success_lets_it_grow() {
        let pace = Pace::new(Queue::Inbox, 500);
        let sizes: Vec<usize> = std::iter::from_fn(|| {
            pace.halve();
            Some(pace.limit())
        })
        .take(10)
        .collect();
        assert_eq!(sizes, [250, 125, 62, 31, 15, 7, 3, 1, 1, 1]);
        (0..9).for_each(|_| pace.success());
        assert_eq!(pace.limit(), 500);
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_environment_is_away_the_queue_tries_again_every_few_seconds_for_ever() {
        let pace = Pace::new(Queue::Dapr, 64);
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
