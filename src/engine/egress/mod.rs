//! The way out: rows in hand are sent through a [`Channel`], keys side by side, the rows of one key one after the other.
//!
//! Sending stands outside any transaction. A row that was sent and not settled (the process died in between) is sent again, with
//! the same id.

mod settle;

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use apalis::prelude::Data;
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, future};
use sqlx::PgConnection;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::Instant;
use tracing::Instrument;

use crate::platform::failpoint;
pub use settle::{Done, Settled};

use super::Metrics;
use crate::engine::queue::{Batch, Others, Outgoing, Reaction, Row, Verdict, react};
use crate::platform::telemetry::spans;

/// What arrived is settled after this time even if others of the batch still hang.
const SETTLE_AFTER: Duration = Duration::from_millis(100);

/// Where rows are sent.
pub trait Channel: Send + Sync + 'static {
    /// The name of a round of sends in a trace.
    const STEP: &'static str;

    /// Of rows that are about to be sent, those that are obsolete, by id, and why. By default none is.
    /// `in_doubt`: rows that were tried here before; they may have arrived.
    ///
    /// # Errors
    ///
    /// The database's: without an answer nothing is sent.
    fn obsolete(
        &self,
        _rows: &[Row],
        _in_doubt: &[bool],
    ) -> impl Future<Output = Result<HashMap<i64, String>, sqlx::Error>> + Send {
        future::ready(Ok(HashMap::new()))
    }

    /// Sends one row, within the channel's own time limit.
    fn send(&self, row: &Row) -> impl Future<Output = Verdict> + Send;

    /// Whether [`settled`](Self::settled) writes anything.
    const WRITES_ANSWERS: bool = false;

    /// Writes what the answers to these rows mean, in the transaction that settles them: the one is never without the other.
    ///
    /// # Errors
    ///
    /// The database's; the transaction is void.
    fn settled(
        &self,
        _tx: &mut PgConnection,
        _rows: &[Done<'_>],
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send {
        future::ready(Ok(()))
    }

    /// Says in a log line that a row did not arrive.
    fn log(&self, row: &Row, reaction: &Reaction);
}

/// One outgoing queue with its channel.
#[derive(Debug)]
pub struct Egress<C> {
    outgoing: Arc<Outgoing>,
    channel: C,
    max_attempts: u32,
    metrics: Metrics,
}

struct Tried {
    row: Row,
    verdict: Verdict,
    /// When the verdict was there.
    at: Instant,
}

impl<C: Channel> Egress<C> {
    /// An egress; `max_attempts` counted failures make a row dead.
    #[must_use]
    pub const fn new(outgoing: Arc<Outgoing>, channel: C, max_attempts: u32, metrics: Metrics) -> Self {
        Self { outgoing, channel, max_attempts, metrics }
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
    pub async fn handle(mut batch: Batch, egress: Data<Arc<Self>>) -> Result<(), Infallible> {
        let span = spans::batch(C::STEP, batch.rows.iter().map(|row| row.traceparent.as_deref()));
        if egress.send(&batch.rows).instrument(span).await {
            batch.finished();
        }
        drop(batch);
        Ok(())
    }

    /// Sends rows; whether every one of them was settled.
    async fn send(&self, rows: &[Row]) -> bool {
        let in_doubt: Vec<bool> = rows.iter().map(|row| self.outgoing.breaker().has_failed(row.id)).collect();
        let obsolete = match self.channel.obsolete(rows, &in_doubt).await {
            Ok(obsolete) => obsolete,
            Err(error) => {
                self.outgoing.breaker().trip(&format!("nobody can tell which rows are still wanted: {error}"));
                return false;
            }
        };
        let mut chains: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
        for row in rows {
            chains.entry(&row.key).or_default().push(row);
        }
        let keys = chains.len();
        let (tried, mut results) = unbounded_channel();
        let mut sending: FuturesUnordered<_> =
            chains.into_values().map(|chain| self.send_in_turn(chain, &obsolete, tried.clone())).collect();
        drop(tried);
        let all_sent = async { while sending.next().await.is_some() {} };

        let settling = async {
            let mut failed = Vec::new();
            let mut arrived: Vec<Settled> = Vec::new();
            let (mut oldest, mut through) = (Instant::now(), 0);
            loop {
                let next = if arrived.is_empty() {
                    results.recv().await
                } else {
                    match tokio::time::timeout_at(oldest + SETTLE_AFTER, results.recv()).await {
                        Ok(next) => next,
                        Err(_) => {
                            self.settle(std::mem::take(&mut arrived)).await;
                            continue;
                        }
                    }
                };
                match next {
                    None => break,
                    Some(Tried { row, verdict, .. }) if verdict.is_final() => {
                        if !matches!(verdict, Verdict::Obsolete(_)) {
                            self.outgoing.got_through();
                            through += 1;
                        }
                        if arrived.is_empty() {
                            oldest = Instant::now();
                        }
                        let reaction = react(verdict, Others::Succeed, 0, self.max_attempts);
                        if matches!(&reaction, Reaction::Settle { reason: Some(_), .. }) {
                            self.channel.log(&row, &reaction);
                        }
                        arrived.push(Settled { row, reaction });
                    }
                    Some(tried) => failed.push(tried),
                }
            }
            self.finish(arrived, failed, keys > 1 && through == 0).await
        };
        future::join(all_sent, settling).await.1
    }

    /// Failures are judged at the end, when it is known how the others fared. `all`: there were others, and none got through.
    /// Returns whether every row was settled.
    async fn finish(&self, mut results: Vec<Settled>, failed: Vec<Tried>, all: bool) -> bool {
        let mut finished = true;
        for Tried { row, verdict, at } in failed {
            let others = match verdict {
                Verdict::Failed(_) if self.outgoing.breaker().witnessed(row.id, at) => Others::Succeed,
                _ if all => Others::Fail,
                _ => Others::Unknown,
            };
            let reaction = react(verdict, others, row.attempts.unsigned_abs(), self.max_attempts);
            if matches!(reaction, Reaction::Retry(_) | Reaction::Wait(_) | Reaction::Pause(_)) {
                self.metrics.queue_retried(self.outgoing.queue());
            }
            finished &= !matches!(reaction, Reaction::Pause(_) | Reaction::Keep);
            if !matches!(reaction, Reaction::Keep) {
                self.channel.log(&row, &reaction);
            }
            results.push(Settled { row, reaction });
        }
        if !results.is_empty() {
            self.settle(results).await;
        }
        finished
    }

    /// The rows of one key: the next only after the one before has arrived.
    async fn send_in_turn(&self, chain: Vec<&Row>, obsolete: &HashMap<i64, String>, results: UnboundedSender<Tried>) {
        let mut stopped = false;
        for row in chain {
            let verdict = if stopped || !self.outgoing.lanes().lasts() {
                Verdict::Untried
            } else if let Some(reason) = obsolete.get(&row.id) {
                Verdict::Obsolete(reason.clone())
            } else {
                failpoint::reach("send-before");
                let sent = AssertUnwindSafe(self.channel.send(row)).catch_unwind().await;
                failpoint::reach("send-after");
                sent.unwrap_or_else(|_| Verdict::Failed("the sender panicked: a bug, see the log".into()))
            };
            stopped |= !verdict.is_final();
            // The other end lives as long as this future.
            let _ = results.send(Tried { row: row.clone(), verdict, at: Instant::now() });
        }
    }
}
