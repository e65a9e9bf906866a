//! The lanes that this process holds, under one lease a queue.
//!
//! A worker's row in `order_worker.workers` is its lease; `order_worker.lanes` says which of the 64 lanes it owns. Each beat
//! renews the lease, reaps dead workers, and moves towards a fair share: lanes beyond it are drained and given back, free ones
//! taken. All times are the database's; this process only knows, by its monotonic clock, until when its lease lasts at the least.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Queue, Wake};
use crate::engine::Metrics;
use crate::platform::database::PgPool;

/// The lease of this process on lanes of one queue.
#[derive(Debug)]
pub struct Lanes {
    pool: PgPool,
    queue: Queue,
    lease: Duration,
    /// From which queues this process takes rows.
    drains: Vec<&'static str>,
    held: Mutex<Held>,
    /// One beat at a time, and none after the end: it would take lanes that nobody drains.
    open: tokio::sync::Mutex<bool>,
    changed: Notify,
    wake: Wake,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Held {
    /// Our name, while we have a lease.
    worker: Option<String>,
    /// The lease lasts at least until then.
    until: Option<Instant>,
    lanes: BTreeSet<i16>,
    /// Lanes to be given back: nothing is taken from them, they go when nothing of them is in hand.
    giving: BTreeSet<i16>,
}

impl Lanes {
    /// No lanes yet: `beat` takes them. `drains` are all queues that this process takes rows from.
    #[must_use]
    pub fn new(pool: PgPool, queue: Queue, lease: Duration, drains: &[Queue], wake: Wake, metrics: Metrics) -> Self {
        Self {
            pool,
            queue,
            lease,
            drains: drains.iter().map(|queue| queue.as_str()).collect(),
            held: Mutex::default(),
            open: tokio::sync::Mutex::new(true),
            changed: Notify::new(),
            wake,
            metrics,
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of this process and the lanes that it may take rows from now.
    #[must_use]
    pub fn mine(&self) -> Option<(String, Vec<i16>)> {
        let held = self.held();
        let worker = held.worker.clone().filter(|_| held.until.is_some_and(|until| until > Instant::now()))?;
        let lanes: Vec<i16> = held.lanes.difference(&held.giving).copied().collect();
        (!lanes.is_empty()).then_some((worker, lanes))
    }

    /// Whether the lease still lasts: asked before each send.
    #[must_use]
    pub fn lasts(&self) -> bool {
        self.held().until.is_some_and(|until| until > Instant::now())
    }

    /// Waits until the lanes have changed.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Keeps the lease for as long as it is polled. `in_hand` tells which lanes have rows in hand.
    pub async fn keep(&self, in_hand: impl Fn() -> BTreeSet<i16> + Send + Sync) {
        loop {
            let pause = match self.beat(&in_hand).await {
                Ok(()) => self.lease / 3,
                Err(error) => {
                    tracing::debug!(queue = %self.queue, "Lease not renewed, trying again: error={error}");
                    (self.lease / 20).min(Duration::from_millis(500))
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn beat(&self, in_hand: &(impl Fn() -> BTreeSet<i16> + Send + Sync)) -> Result<(), sqlx::Error> {
        let open = self.open.lock().await;
        if !*open {
            return Ok(());
        }
        self.renew().await?;
        let reaped = sqlx::query(include_str!("sql/reap.sql")).bind(self.queue.as_str()).bind(self.lease.as_secs_f64());
        let exposed = reaped.execute(&self.pool).await?.rows_affected();
        if exposed > 0 {
            tracing::warn!(queue = %self.queue, rows = exposed, "A worker died with rows in hand: they are sent again, under their ids");
        }
        let heal = sqlx::query(include_str!("sql/heal.sql")).bind(self.queue.as_str()).bind(self.queue.parks());
        if heal.execute(&self.pool).await?.rows_affected() > 0 {
            self.wake.again(self.queue);
        }
        self.share(in_hand()).await
    }

    async fn renew(&self) -> Result<(), sqlx::Error> {
        let worker = self.held().worker.clone();
        // Before the statement: the database counts from later on.
        let until = Instant::now() + self.lease.mul_f64(0.9);
        if let Some(worker) = worker {
            let renewed = sqlx::query(include_str!("sql/renew.sql"))
                .bind(self.queue.as_str())
                .bind(&worker)
                .bind(self.lease.as_secs_f64())
                .execute(&self.pool)
                .await?;
            if renewed.rows_affected() == 1 {
                self.held().until = Some(until);
                return Ok(());
            }
            tracing::warn!(queue = %self.queue, worker, "Lease lost: its lanes may have another owner; starting anew");
            *self.held() = Held::default();
        }
        let until = Instant::now() + self.lease.mul_f64(0.9);
        let worker = worker_name();
        sqlx::query(include_str!("sql/register.sql"))
            .bind(self.queue.as_str())
            .bind(&worker)
            .bind(self.lease.as_secs_f64())
            .bind(&self.drains)
            .execute(&self.pool)
            .await?;
        *self.held() = Held { worker: Some(worker), until: Some(until), ..Held::default() };
        Ok(())
    }

    async fn share(&self, busy: BTreeSet<i16>) -> Result<(), sqlx::Error> {
        let Some(worker) = self.held().worker.clone() else { return Ok(()) };
        let drained: Vec<i16> = self.held().giving.difference(&busy).copied().collect();
        let (share, lanes): (i32, Vec<i16>) = sqlx::query_as(include_str!("sql/share.sql"))
            .bind(self.queue.as_str())
            .bind(worker)
            .bind(drained)
            .fetch_one(&self.pool)
            .await?;
        let lanes: BTreeSet<i16> = lanes.into_iter().collect();
        let surplus = lanes.len().saturating_sub(usize::try_from(share).unwrap_or(0));
        let mut held = self.held();
        if held.lanes != lanes {
            tracing::info!(queue = %self.queue, lanes = lanes.len(), share, "Lanes held");
        }
        self.metrics.lanes_owned(self.queue, lanes.len());
        held.giving = lanes.iter().rev().take(surplus).copied().collect();
        held.lanes = lanes;
        drop(held);
        self.changed.notify_one();
        Ok(())
    }

    /// Gives everything back.
    pub async fn leave(&self) {
        *self.open.lock().await = false;
        let held = std::mem::take(&mut *self.held());
        let Some(worker) = held.worker else { return };
        let left = sqlx::query(include_str!("sql/leave.sql")).bind(self.queue.as_str()).bind(worker);
        if let Err(error) = left.execute(&self.pool).await {
            tracing::warn!(queue = %self.queue, "Lanes not given back, they go when the lease ends: error={error}");
        }
    }
}

/// Whether a live worker takes rows from `queue`.
///
/// # Errors
///
/// The database's.
pub async fn is_drained(pool: &PgPool, queue: Queue) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(include_str!("sql/drained.sql")).bind(queue.as_str()).fetch_one(pool).await
}

/// A name that no worker had before: host, process, and a random part.
#[must_use]
pub fn worker_name() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "localhost".into());
    format!("{host}/{}/{:08x}", std::process::id(), fastrand::u32(..))
}
