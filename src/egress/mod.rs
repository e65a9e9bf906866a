//! The way out: rows in hand are sent through a [`Channel`], keys side by side, the rows of one key one after the other.
//!
//! Sending stands outside any transaction. A row that was sent and not settled (the process died in between) is sent again, with
//! the same id.

mod dapr;
pub mod settings;
mod warehouse;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use apalis::prelude::Data;
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, future};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::Instant;
use tracing::Instrument;

pub use dapr::Dapr;
pub use warehouse::Warehouse;

use crate::failpoint;
use crate::queue::{Batch, Others, Outgoing, Queue, Reaction, Row, Settled, Verdict, react};
use crate::telemetry::spans;

/// What arrived is settled after this time even if others of the batch still hang.
const SETTLE_AFTER: Duration = Duration::from_millis(100);

/// Where rows are sent.
pub trait Channel: Send + Sync + 'static {
    /// Sends one row, within the channel's own time limit.
    fn send(&self, row: &Row) -> impl Future<Output = Verdict> + Send;

    /// Says in a log line that a row did not arrive.
    fn complain(&self, row: &Row, reaction: &Reaction);
}

/// One outgoing queue with its channel.
#[derive(Debug)]
pub struct Egress<C> {
    outgoing: Arc<Outgoing>,
    channel: C,
    max_attempts: u32,
}

struct Tried {
    row: Row,
    verdict: Verdict,
    since: Instant,
}

impl<C: Channel> Egress<C> {
    /// An egress; `max_attempts` counted failures make a row dead.
    #[must_use]
    pub const fn new(outgoing: Arc<Outgoing>, channel: C, max_attempts: u32) -> Self {
        Self { outgoing, channel, max_attempts }
    }

    /// The queue that it drains.
    #[must_use]
    pub const fn outgoing(&self) -> &Arc<Outgoing> {
        &self.outgoing
    }

    /// The handler of the queue: one batch.
    ///
    /// # Errors
    ///
    /// Never: what fails is noted by row.
    pub async fn handle(batch: Batch, egress: Data<Arc<Self>>) -> Result<(), Infallible> {
        let queue = egress.outgoing.queue();
        let name = if queue == Queue::Dapr { "send dapr" } else { "send warehouse" };
        let span = spans::batch(name, batch.rows.iter().map(|row| row.traceparent.as_deref()));
        egress.send(&batch.rows).instrument(span).await;
        drop(batch);
        Ok(())
    }

    async fn send(&self, rows: &[Row]) {
        let mut chains: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
        for row in rows {
            chains.entry(&row.key).or_default().push(row);
        }
        let keys = chains.len();
        let (tried, mut results) = unbounded_channel();
        let mut sending: FuturesUnordered<_> =
            chains.into_values().map(|chain| self.send_in_turn(chain, tried.clone())).collect();
        drop(tried);
        let all_sent = async { while sending.next().await.is_some() {} };

        let settling = async {
            let mut failed = Vec::new();
            let mut arrived: Vec<Settled> = Vec::new();
            let mut oldest = Instant::now();
            loop {
                let next = if arrived.is_empty() {
                    results.recv().await
                } else {
                    match tokio::time::timeout_at(oldest + SETTLE_AFTER, results.recv()).await {
                        Ok(next) => next,
                        Err(_) => {
                            self.outgoing.settle(std::mem::take(&mut arrived)).await;
                            continue;
                        }
                    }
                };
                match next {
                    None => break,
                    Some(Tried { row, verdict: verdict @ (Verdict::Sent | Verdict::Refused(_)), .. }) => {
                        if arrived.is_empty() {
                            oldest = Instant::now();
                        }
                        let reaction = react(verdict, Others::Succeed, 0, self.max_attempts);
                        if matches!(&reaction, Reaction::Settle { outcome: "refused", .. }) {
                            self.channel.complain(&row, &reaction);
                        }
                        arrived.push(Settled { row, reaction });
                    }
                    Some(tried) => failed.push(tried),
                }
            }
            self.finish(arrived, failed, keys).await;
        };
        future::join(all_sent, settling).await;
    }

    /// Failures are judged at the end, when it is known how the others fared.
    async fn finish(&self, mut results: Vec<Settled>, failed: Vec<Tried>, keys: usize) {
        if !results.is_empty() {
            self.outgoing.pace().success();
        }
        for Tried { row, verdict, since } in failed {
            let others = match keys {
                _ if self.outgoing.pace().succeeded_since(since) => Others::Succeed,
                1 => Others::Absent,
                _ => Others::Fail,
            };
            let reaction = react(verdict, others, row.attempts.unsigned_abs(), self.max_attempts);
            if !matches!(reaction, Reaction::Keep) {
                self.channel.complain(&row, &reaction);
            }
            results.push(Settled { row, reaction });
        }
        if !results.is_empty() {
            self.outgoing.settle(results).await;
        }
    }

    /// The rows of one key: the next only after the one before has arrived.
    async fn send_in_turn(&self, chain: Vec<&Row>, results: UnboundedSender<Tried>) {
        let mut stopped = false;
        for row in chain {
            let since = Instant::now();
            let verdict = if stopped || !self.outgoing.lanes().lasts() {
                Verdict::Untried
            } else {
                failpoint::reach("send-before");
                let sent = AssertUnwindSafe(self.channel.send(row)).catch_unwind().await;
                failpoint::reach("send-after");
                sent.unwrap_or_else(|_| Verdict::Failed("the sender panicked: a bug, see the log".into()))
            };
            stopped |= !matches!(verdict, Verdict::Sent | Verdict::Refused(_));
            // The other end lives as long as this future.
            let _ = results.send(Tried { row: row.clone(), verdict, since });
        }
    }
}
