//! Stopping: no new events first, then what is in hand is finished, then everything that this needs.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::WorkerError;

/// The time that the queues get to put down their work after the grace period.
pub(super) const LAST_MOMENT: Duration = Duration::from_secs(1);

/// The stages of a stop, each a token that is cancelled when its time has come.
#[derive(Clone, Debug)]
pub(super) struct Shutdown {
    /// The worker is to stop: nothing new is taken in.
    pub(super) stop: CancellationToken,
    /// The queues finish what they have in hand.
    pub(super) draining: CancellationToken,
    /// The parts that live until the queues are drained, longer than the servers.
    pub(super) keep: CancellationToken,
    /// The grace period is used up.
    pub(super) over: CancellationToken,
    grace: Duration,
}

impl Shutdown {
    /// Begins when `stop` is cancelled, and may take `grace`.
    pub(super) fn new(stop: &CancellationToken, grace: Duration) -> Self {
        let over = CancellationToken::new();
        let (begins, ends) = (stop.clone(), over.clone());
        tokio::spawn(async move {
            begins.cancelled().await;
            tokio::time::sleep(grace).await;
            ends.cancel();
        });
        Self { stop: stop.clone(), draining: CancellationToken::new(), keep: CancellationToken::new(), over, grace }
    }

    /// The grace period is one for all, and kept here; apalis only has to end if this does not.
    pub(super) fn longest(&self) -> Duration {
        self.grace + 2 * LAST_MOMENT
    }

    /// Does `work` until the grace period is over.
    pub(super) async fn within(&self, work: impl Future<Output = Result<(), WorkerError>>) -> Result<(), WorkerError> {
        tokio::select! {
            done = work => done,
            () = self.over.cancelled() => {
                tracing::warn!("Calls of Dapr still hang at the end of the grace period: they are cut off, Dapr delivers again");
                Ok(())
            }
        }
    }
}
