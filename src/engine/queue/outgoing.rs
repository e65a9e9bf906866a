//! Rows that leave this database: fetched by lane, sent outside any transaction, then settled.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::types::chrono::NaiveDate;
use sqlx::{FromRow, Row as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::backend::Source;
use super::{CircuitBreaker, Lanes, Queue, Wake};
use crate::platform::database::PgPool;

/// How often a lane is read from its very start: a lower id may commit after a higher one.
const FROM_THE_START: Duration = Duration::from_secs(1);
/// Bytes of bodies in one batch, beyond which the next begins: batches side by side stay within a small pod's memory.
const MAX_BYTES: i64 = 4 << 20;
/// Keys that are set aside at once.
const ASIDE: usize = 10_000;

/// A row of the outbox that is to be sent.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Row {
    /// `outbox.id`.
    pub id: i64,
    /// The day of its body.
    pub day: NaiveDate,
    /// The lane of its key.
    pub lane: i16,
    /// Rows of one key are sent one after the other.
    pub key: String,
    /// Counted failures so far.
    pub attempts: i32,
    /// Deaths of workers that had it in hand.
    pub exposed: i32,
    /// Its edition: a settlement of another edition has no effect.
    pub edition: i64,
    /// Seconds since it was written.
    pub age: f64,
    /// Seconds since the event that caused it reached a worker, or since it was written.
    pub since_cause: f64,
    /// Its id, the same for ever: a receiver recognises a repetition by it.
    pub event_id: String,
    /// Which of the channel's topics or calls it is.
    pub topic: String,
    /// Its subject.
    pub subject: String,
    /// JSON.
    pub body: String,
    /// W3C trace context of its cause.
    pub traceparent: Option<String>,
}

/// Rows in hand. Dropping it, however that comes about, makes what was not settled ready to be taken again.
#[derive(Debug)]
pub struct Batch {
    /// By rising ids; rows of one key are all of that key's next ones.
    pub rows: Vec<Row>,
    in_hand: Arc<InHand>,
    wake: Wake,
    queue: Queue,
    /// Some of it are still to be sent.
    unfinished: bool,
    _permits: OwnedSemaphorePermit,
}

impl Batch {
    /// Every row of it was settled: there is nothing of it to read again.
    pub const fn finished(&mut self) {
        self.unfinished = false;
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if self.rows.is_empty() {
            return;
        }
        let mut in_hand = self.in_hand.lock();
        for row in &self.rows {
            in_hand.rows.remove(&row.id);
        }
        in_hand.returned += 1;
        // Later rows of these keys may be taken now, where there are any.
        if std::mem::take(&mut in_hand.passed_over) || self.unfinished {
            self.wake.look(self.queue);
        }
    }
}

#[derive(Debug, Default)]
struct InHand(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    /// Lane and key of each row in hand.
    rows: HashMap<i64, (i16, String)>,
    /// A read has passed over rows whose key is in hand: there is something to read when a batch is returned.
    passed_over: bool,
    /// Batches that were returned so far.
    returned: u64,
}

impl InHand {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One outgoing queue of this process.
#[derive(Debug)]
pub struct Outgoing {
    pool: PgPool,
    queue: Queue,
    lanes: Lanes,
    breaker: Arc<CircuitBreaker>,
    wake: Wake,
    in_hand: Arc<InHand>,
    permits: Arc<Semaphore>,
    concurrency: u32,
    reading: Mutex<Reading>,
}

/// Where reading stands.
#[derive(Debug, Default)]
struct Reading {
    /// The lanes that were read last: one that is new is read from its start.
    lanes: BTreeSet<i16>,
    /// From which id each lane is read: the first that was there at the last two full reads, so that only a transaction that stays open
    /// for longer than that commits below it, and waits for the next full read. What is later of its key waits with it.
    floors: BTreeMap<i16, i64>,
    /// The first ids of the last full read.
    firsts: BTreeMap<i16, i64>,
    /// None: the next read is a full one.
    full_at: Option<Instant>,
    /// Keys whose rows failed with all others since something got through last: others are tried before them.
    aside: HashSet<String>,
    /// Rows of a dead worker were met: one row at a time.
    careful: bool,
    /// The last read has left nothing to be read.
    short: bool,
}

impl Outgoing {
    /// A queue with at most `concurrency` batches in hand.
    #[must_use]
    pub fn new(
        pool: PgPool,
        queue: Queue,
        lanes: Lanes,
        breaker: CircuitBreaker,
        wake: Wake,
        concurrency: u32,
    ) -> Self {
        let breaker = Arc::new(breaker);
        let permits = Arc::new(Semaphore::new(concurrency as usize));
        let (in_hand, reading) = (Arc::default(), Mutex::default());
        Self { pool, queue, lanes, breaker, wake, in_hand, permits, concurrency, reading }
    }

    /// Where its rows are.
    #[must_use]
    pub const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Its wake-up signals.
    #[must_use]
    pub const fn wake(&self) -> &Wake {
        &self.wake
    }

    /// Which queue this is.
    #[must_use]
    pub const fn queue(&self) -> Queue {
        self.queue
    }

    /// Batches in hand at once.
    #[must_use]
    pub const fn concurrency(&self) -> usize {
        self.concurrency as usize
    }

    /// The breaker of this queue.
    #[must_use]
    pub const fn breaker(&self) -> &Arc<CircuitBreaker> {
        &self.breaker
    }

    /// The lease of this queue.
    #[must_use]
    pub const fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// Keeps the lease for as long as it is polled.
    pub async fn keep_lanes(&self) {
        self.lanes.keep(|| self.in_hand.lock().rows.values().map(|(lane, _)| *lane).collect::<BTreeSet<i16>>()).await;
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self, limit: usize) -> Result<Vec<Row>, sqlx::Error> {
        let Some((worker, lanes)) = self.lanes.mine() else {
            // Until there are lanes.
            self.reading().short = true;
            return Ok(Vec::new());
        };
        let (ids, mut keys, returned): (Vec<i64>, BTreeSet<String>, u64) = {
            let held = self.in_hand.lock();
            let keys = held.rows.values().map(|(_, key)| key.clone()).collect();
            (held.rows.keys().copied().collect(), keys, held.returned)
        };
        let again = self.wake.take_again(self.queue);
        let (full, floors) = {
            let mut reading = self.reading();
            let new = lanes.iter().any(|lane| !reading.lanes.contains(lane));
            reading.lanes = lanes.iter().copied().collect();
            let full = again || new || reading.full_at.is_none_or(|at| at.elapsed() > FROM_THE_START);
            let floor = |lane| if full { 0 } else { reading.floors.get(lane).copied().unwrap_or(0) };
            keys.extend(reading.aside.iter().cloned());
            (full, lanes.iter().map(floor).collect::<Vec<i64>>())
        };
        let found = sqlx::query(include_str!("sql/fetch.sql"))
            .bind(self.queue.as_str())
            .bind(worker)
            .bind(&lanes)
            .bind(floors)
            .bind(keys.into_iter().collect::<Vec<_>>())
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .bind(ids)
            .bind(self.queue.parks())
            .bind(i64::try_from(of_each_lane(limit, lanes.len())).unwrap_or(i64::MAX))
            .bind(MAX_BYTES)
            .fetch_all(&self.pool)
            .await;
        let found = found.inspect_err(|_| self.reading().full_at = None)?;
        let mut rows = Vec::with_capacity(found.len());
        for row in &found {
            if row.try_get::<Option<i64>, _>("id")?.is_some() {
                rows.push(Row::from_row(row)?);
            }
            if row.try_get("again")? {
                self.wake.again(self.queue);
            }
        }
        let told = |name| found.first().map(|row| row.try_get::<bool, _>(name)).transpose();
        let (passed_over, more) = (told("passed_over")?.unwrap_or(false), told("more")?.unwrap_or(false));
        let mut in_hand = self.in_hand.lock();
        if passed_over && in_hand.returned == returned {
            in_hand.passed_over = true;
        } else if passed_over {
            // Its batch was returned while this read was under way.
            self.wake.look(self.queue);
        }
        if full {
            let mut firsts: BTreeMap<i16, i64> = BTreeMap::new();
            let held = in_hand.rows.iter().map(|(id, (lane, _))| (*lane, *id));
            for (lane, id) in held.chain(rows.iter().map(|row| (row.lane, row.id))) {
                firsts.entry(lane).and_modify(|first| *first = id.min(*first)).or_insert(id);
            }
            let mut reading = self.reading();
            let both = firsts.iter().filter_map(|(lane, id)| Some((*lane, *reading.firsts.get(lane)?.min(id))));
            reading.floors = both.collect();
            reading.firsts = firsts;
            reading.full_at = Some(Instant::now());
        }
        in_hand.rows.extend(rows.iter().map(|row| (row.id, (row.lane, row.key.clone()))));
        drop(in_hand);
        // Where nothing is left the next read waits until somebody says that there is more.
        self.reading().short = !more;
        Ok(rows)
    }

    /// Something got through: what was set aside has its turn.
    pub fn got_through(&self) {
        self.breaker.success();
        self.reading().aside.clear();
    }

    fn batch(&self, rows: Vec<Row>, permits: OwnedSemaphorePermit) -> Batch {
        let (in_hand, wake) = (Arc::clone(&self.in_hand), self.wake.clone());
        Batch { rows, in_hand, wake, queue: self.queue, unfinished: true, _permits: permits }
    }

    /// Sets the key of a row aside, which failed with all others: others are tried before it.
    pub fn set_aside(&self, row: &Row) {
        let mut reading = self.reading();
        if reading.aside.len() < ASIDE {
            reading.aside.insert(row.key.clone());
        }
    }
}

impl Source for Outgoing {
    type Batch = Batch;

    async fn next(&self) -> Batch {
        loop {
            if std::mem::take(&mut self.reading().short) {
                tokio::select! {
                    () = self.wake.woken(self.queue) => {}
                    () = self.lanes.changed() => {}
                    () = tokio::time::sleep(FROM_THE_START) => {}
                }
            }
            self.breaker.closed().await;
            let careful = self.reading().careful;
            let permits = if careful { self.concurrency } else { 1 };
            let Ok(permits) = Arc::clone(&self.permits).acquire_many_owned(permits).await else {
                // The semaphore is never closed.
                std::future::pending().await
            };
            let limit = if careful { 1 } else { self.breaker.batch_size() };
            let batch = match self.fetch(limit).await {
                Ok(rows) => self.batch(rows, permits),
                Err(error) => {
                    tracing::debug!(queue = %self.queue, "Fetch failed, trying again: error={error}");
                    drop(permits);
                    tokio::time::sleep(Duration::from_millis(250)).await;
                    continue;
                }
            };
            let exposed = batch.rows.iter().any(|row| row.exposed > 0);
            self.reading().careful = exposed;
            if exposed && !careful {
                self.reading().short = false;
                continue;
            }
            if !batch.rows.is_empty() {
                return batch;
            }
            drop(batch);
            // All that is left was set aside: it is tried anew, after the pause.
            let mut reading = self.reading();
            if !std::mem::take(&mut reading.aside).is_empty() {
                reading.short = false;
            }
        }
    }

    async fn close(&self) {
        self.lanes.leave().await;
    }
}

/// How many rows are read of each lane for a batch of `limit`: four times its share, since lanes are not equally full, and not
/// all that the batch could take, of which most would be read for nothing.
fn of_each_lane(limit: usize, lanes: usize) -> usize {
    (4 * limit).div_ceil(lanes.max(1)).min(limit)
}
