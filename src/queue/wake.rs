//! Waking: in this process at commit, in other processes by one coalesced NOTIFY outside the write path, and by polling always.
//! A wake-up says only "look": losing one costs a poll interval, never a row.

use std::sync::Arc;
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
        let found: Result<Vec<(String,)>, _> =
            sqlx::query_as(include_str!("sql/poll.sql")).bind(queues.as_slice()).fetch_all(pool).await;
        match found {
            Ok(found) => {
                for queue in Queue::ALL.into_iter().filter(|queue| found.iter().any(|(name,)| name == queue.as_str())) {
                    wake.look(queue);
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
