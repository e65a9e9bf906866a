//! Waking: in this process at commit, in other processes by one coalesced NOTIFY outside the write path, and by polling always.
//! A wake-up says only "look": losing one costs a poll interval, never a row.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backon::Retryable;
use futures::future;
use sqlx::postgres::PgListener;
use tokio::sync::Notify;

use super::Queue;
use crate::platform::backoff;
use crate::platform::database::PgPool;

/// The channel of NOTIFY; its payload is a queue's name, a blank, and the name of the process that has told it.
const CHANNEL: &str = "order_worker";
/// At most one NOTIFY for a queue in this time.
const COALESCE: Duration = Duration::from_millis(20);

/// Wakes the queues of this process, and of the others. A queue that it was not made for is nobody's to wake.
#[derive(Clone, Debug)]
pub struct Wake {
    signals: Arc<HashMap<&'static str, Signals>>,
    /// By which this process knows its own notifications again.
    name: Arc<str>,
}

#[derive(Debug, Default)]
struct Signals {
    local: Notify,
    remote: Notify,
    /// Rows were made ready again: they may stand before what was read last.
    again: AtomicBool,
}

impl Wake {
    /// For these queues.
    #[must_use]
    pub fn new(queues: &[Queue]) -> Self {
        let signals = queues.iter().map(|queue| (queue.as_str(), Signals::default())).collect();
        Self { signals: Arc::new(signals), name: format!("{:016x}", fastrand::u64(..)).into() }
    }

    /// Rows of `queue` were committed here.
    pub fn committed(&self, queue: impl AsRef<str>) {
        if let Some(signals) = self.signals.get(queue.as_ref()) {
            signals.local.notify_one();
            signals.remote.notify_one();
        }
    }

    /// Rows of `queue` may be there.
    pub fn look(&self, queue: impl AsRef<str>) {
        if let Some(signals) = self.signals.get(queue.as_ref()) {
            signals.local.notify_one();
        }
    }

    /// Rows of `queue` that were there before are ready again: a reader begins at the very start.
    pub fn again(&self, queue: impl AsRef<str>) {
        if let Some(signals) = self.signals.get(queue.as_ref()) {
            signals.again.store(true, Ordering::Relaxed);
            signals.local.notify_one();
        }
    }

    /// Whether rows were made ready again since this was asked last.
    pub(super) fn take_again(&self, queue: Queue) -> bool {
        self.signals.get(queue.as_str()).is_some_and(|signals| signals.again.swap(false, Ordering::Relaxed))
    }

    /// Waits until rows of `queue` may be there.
    pub async fn woken(&self, queue: Queue) {
        match self.signals.get(queue.as_str()) {
            Some(signals) => signals.local.notified().await,
            None => std::future::pending().await,
        }
    }
}

/// Polls, listens and notifies for as long as it is polled.
pub async fn watch(pool: &PgPool, wake: &Wake, every: Duration) {
    let notifying =
        future::join_all(wake.signals.iter().map(|(queue, signals)| notify(pool, &wake.name, queue, signals)));
    tokio::join!(poll(pool, wake, every), listen(pool, wake), notifying);
}

async fn poll(pool: &PgPool, wake: &Wake, every: Duration) {
    let queues: Vec<&str> = wake.signals.keys().copied().collect();
    loop {
        let found: Result<Vec<(String, bool)>, _> =
            sqlx::query_as(include_str!("sql/poll.sql")).bind(&queues).fetch_all(pool).await;
        match found {
            Ok(found) => {
                for (queue, again) in found {
                    if again { wake.again(queue) } else { wake.look(queue) }
                }
            }
            // The health probe tells of a database that is away.
            Err(error) => tracing::debug!("Poll failed: error={error}"),
        }
        tokio::time::sleep(every.mul_f64(0.9 + fastrand::f64() / 5.0)).await;
    }
}

async fn listen(pool: &PgPool, wake: &Wake) {
    let failed = |error: &sqlx::Error, _| tracing::debug!("Listening failed, polling goes on: error={error}");
    let _ = (|| listen_once(pool, wake)).retry(backoff::constant(Duration::from_secs(2))).notify(failed).await;
}

/// Ends with an error only.
async fn listen_once(pool: &PgPool, wake: &Wake) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    loop {
        let received = listener.recv().await?;
        // The sender has looked already.
        match received.payload().split_once(' ') {
            Some((queue, name)) if *name != *wake.name => wake.look(queue),
            Some(_) => {}
            None => wake.look(received.payload()),
        }
    }
}

/// Never in the transaction that writes: a NOTIFY takes a lock that all commits with one share.
async fn notify(pool: &PgPool, name: &str, queue: &str, signals: &Signals) {
    loop {
        signals.remote.notified().await;
        let payload = format!("{queue} {name}");
        let notified = sqlx::query("select pg_notify($1, $2)").bind(CHANNEL).bind(payload).execute(pool).await;
        if let Err(error) = notified {
            tracing::debug!(queue, "Notify failed, others will poll: error={error}");
        }
        tokio::time::sleep(COALESCE).await;
    }
}
