//! Waking: in this process at commit, in other processes by one coalesced NOTIFY outside the write path, and by polling always.
//! A wake-up says only "look": losing one costs a poll interval, never a row.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::Notify;

use super::Queue;
use crate::database::PgPool;

/// The channel of NOTIFY; its payload is a queue's name.
const CHANNEL: &str = "order_worker";
/// At most one NOTIFY for a queue in this time.
const COALESCE: Duration = Duration::from_millis(20);

/// Wakes the queues of this process, and of the others.
#[derive(Clone, Debug, Default)]
pub struct Wake {
    local: Arc<[Notify; 4]>,
    remote: Arc<[Notify; 4]>,
    /// Rows of the queue were made ready again: they may stand before what was read last.
    again: Arc<[AtomicBool; 4]>,
}

impl Wake {
    /// Rows of `queue` were committed here.
    pub fn committed(&self, queue: Queue) {
        self.local[queue as usize].notify_one();
        self.remote[queue as usize].notify_one();
    }

    /// Rows of `queue` may be there.
    pub fn look(&self, queue: Queue) {
        self.local[queue as usize].notify_one();
    }

    /// Rows of `queue` that were there before are ready again: a reader begins at the very start.
    pub fn again(&self, queue: Queue) {
        self.again[queue as usize].store(true, Ordering::Relaxed);
        self.look(queue);
    }

    /// Whether rows were made ready again since this was asked last.
    pub(super) fn take_again(&self, queue: Queue) -> bool {
        self.again[queue as usize].swap(false, Ordering::Relaxed)
    }

    /// Waits until rows of `queue` may be there.
    pub async fn woken(&self, queue: Queue) {
        self.local[queue as usize].notified().await;
    }
}

/// Polls, listens and notifies for as long as it is polled.
pub async fn watch(pool: &PgPool, wake: &Wake, every: Duration) {
    tokio::join!(
        poll(pool, wake, every),
        listen(pool, wake),
        notify(pool, wake, Queue::Inbox),
        notify(pool, wake, Queue::Dapr),
        notify(pool, wake, Queue::Warehouse),
        notify(pool, wake, Queue::Cron),
    );
}

async fn poll(pool: &PgPool, wake: &Wake, every: Duration) {
    let queues = Queue::ALL.map(Queue::as_str);
    loop {
        let found: Result<Vec<(String, bool)>, _> =
            sqlx::query_as(include_str!("sql/poll.sql")).bind(queues.as_slice()).fetch_all(pool).await;
        match found {
            Ok(found) => {
                for (queue, again) in found.iter().filter_map(|(name, again)| Some((Queue::named(name)?, again))) {
                    if *again { wake.again(queue) } else { wake.look(queue) }
                }
            }
            // The health probe tells of a database that is away.
            Err(error) => tracing::debug!("Poll failed: error={error}"),
        }
        tokio::time::sleep(every.mul_f64(0.9 + fastrand::f64() / 5.0)).await;
    }
}

async fn listen(pool: &PgPool, wake: &Wake) {
    loop {
        if let Err(error) = listen_once(pool, wake).await {
            tracing::debug!("Listening failed, polling goes on: error={error}");
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

async fn listen_once(pool: &PgPool, wake: &Wake) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    loop {
        let told = listener.recv().await?;
        if let Some(queue) = Queue::named(told.payload()) {
            wake.look(queue);
        }
    }
}

/// Never in the transaction that writes: a NOTIFY takes a lock that all commits with one share.
async fn notify(pool: &PgPool, wake: &Wake, queue: Queue) {
    loop {
        wake.remote[queue as usize].notified().await;
        let told = sqlx::query("select pg_notify($1, $2)").bind(CHANNEL).bind(queue.as_str()).execute(pool).await;
        if let Err(error) = told {
            tracing::debug!(queue = %queue, "Notify failed, others will poll: error={error}");
        }
        tokio::time::sleep(COALESCE).await;
    }
}
