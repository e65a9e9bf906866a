//! Rows that leave this database: fetched by lane, sent outside any transaction, then settled.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::types::chrono::NaiveDate;
use sqlx::{FromRow, Row as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::backend::Source;
use super::{Lanes, Pace, Queue, Reaction, Split, Wake, delay, is_splittable, look_again};
use crate::database::{self, Class, PgPool};
use crate::failpoint;

/// How often a lane is read from its very start: a lower id may commit after a higher one.
const FROM_THE_START: Duration = Duration::from_secs(1);
/// The longest wait of a row that failed for a reason that is not its own.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Bytes of bodies in one batch, beyond which the next begins: batches side by side stay within a small pod's memory.
const MAX_BYTES: i64 = 4 << 20;
/// Keys that are set aside at once.
const ASIDE: usize = 10_000;
/// The longest error text that is stored, in characters.
const MAX_ERROR: usize = 500;

/// A row of the outbox that is to be sent.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Row {
    /// `outbox.id`.
    pub id: i64,
    /// The day of its body.
    pub day: NaiveDate,
    /// The lane of its key.
    pub lane: i16,
    /// What keeps the order.
    pub key: String,
    /// Counted failures so far.
    pub attempts: i32,
    /// Deaths of workers that had it in hand.
    pub exposed: i32,
    /// Which edition of it this is: whoever settles it settles no other.
    pub edition: i64,
    /// Seconds since it was written.
    pub age: f64,
    /// Seconds since the event that caused it reached a worker, or since it was written.
    pub since_cause: f64,
    /// CloudEvent id, or the warehouse's idempotency key.
    pub event_id: String,
    /// Topic, or method.
    pub topic: String,
    /// What it is about.
    pub subject: String,
    /// JSON.
    pub body: String,
    /// W3C trace context of its cause.
    pub traceparent: Option<String>,
}

/// What came of a row.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The row.
    pub row: Row,
    /// What is done about it.
    pub reaction: Reaction,
}

/// Rows in hand. Dropping it, however that comes about, makes what was not settled ready to be taken again.
#[derive(Debug)]
pub struct Batch {
    /// In the order of their ids; rows of one key are all of that key's next ones.
    pub rows: Vec<Row>,
    in_hand: Arc<InHand>,
    wake: Wake,
    queue: Queue,
    _permits: OwnedSemaphorePermit,
}

impl Drop for Batch {
    fn drop(&mut self) {
        if self.rows.is_empty() {
            return;
        }
        let mut in_hand = self.in_hand.rows();
        for row in &self.rows {
            in_hand.remove(&row.id);
        }
        drop(in_hand);
        // Later rows of these keys may be taken now.
        self.wake.look(self.queue);
    }
}

#[derive(Debug, Default)]
struct InHand(Mutex<HashMap<i64, (i16, String)>>);

impl InHand {
    fn rows(&self) -> MutexGuard<'_, HashMap<i64, (i16, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One outgoing queue of this process.
#[derive(Debug)]
pub struct Outgoing {
    pool: PgPool,
    queue: Queue,
    lanes: Lanes,
    pace: Pace,
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
}

impl Outgoing {
    /// A queue with at most `concurrency` batches in hand.
    #[must_use]
    pub fn new(pool: PgPool, queue: Queue, lanes: Lanes, pace: Pace, wake: Wake, concurrency: u32) -> Self {
        let permits = Arc::new(Semaphore::new(concurrency as usize));
        let (in_hand, reading) = (Arc::default(), Mutex::default());
        Self { pool, queue, lanes, pace, wake, in_hand, permits, concurrency, reading }
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

    /// The pace of this queue.
    #[must_use]
    pub const fn pace(&self) -> &Pace {
        &self.pace
    }

    /// The lease of this queue.
    #[must_use]
    pub const fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// Keeps the lease for as long as it is polled.
    pub async fn keep_lanes(&self) {
        self.lanes.keep(|| self.in_hand.rows().values().map(|(lane, _)| *lane).collect::<BTreeSet<i16>>()).await;
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self, limit: usize) -> Result<Vec<Row>, sqlx::Error> {
        let Some((worker, lanes)) = self.lanes.mine() else { return Ok(Vec::new()) };
        let (ids, mut keys): (Vec<i64>, BTreeSet<String>) = {
            let rows = self.in_hand.rows();
            (rows.keys().copied().collect(), rows.values().map(|(_, key)| key.clone()).collect())
        };
        let again = self.wake.take_again(self.queue) | self.lanes.take_again();
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
        let mut in_hand = self.in_hand.rows();
        if full {
            let mut firsts: BTreeMap<i16, i64> = BTreeMap::new();
            let held = in_hand.iter().map(|(id, (lane, _))| (*lane, *id));
            for (lane, id) in held.chain(rows.iter().map(|row| (row.lane, row.id))) {
                firsts.entry(lane).and_modify(|first| *first = id.min(*first)).or_insert(id);
            }
            let mut reading = self.reading();
            let both = firsts.iter().filter_map(|(lane, id)| Some((*lane, *reading.firsts.get(lane)?.min(id))));
            reading.floors = both.collect();
            reading.firsts = firsts;
            reading.full_at = Some(Instant::now());
        }
        in_hand.extend(rows.iter().map(|row| (row.id, (row.lane, row.key.clone()))));
        Ok(rows)
    }

    /// Something got through: what was set aside has its turn.
    pub fn got_through(&self) {
        self.pace.success();
        self.reading().aside.clear();
    }

    fn batch(&self, rows: Vec<Row>, permits: OwnedSemaphorePermit) -> Batch {
        let (in_hand, wake) = (Arc::clone(&self.in_hand), self.wake.clone());
        Batch { rows, in_hand, wake, queue: self.queue, _permits: permits }
    }

    /// Writes what came of rows; tries until the database takes it. What is lost with the process is sent again under its id.
    pub async fn settle(&self, results: Vec<Settled>) {
        for Settled { row, reaction } in &results {
            if let Reaction::Pause(reason) = reaction {
                self.pace.away(reason);
                let mut reading = self.reading();
                if reading.aside.len() < ASIDE {
                    reading.aside.insert(row.key.clone());
                }
            }
        }
        let (mut split, mut at, mut pause) = (Split::new(results.len()), 0, Duration::from_millis(50));
        while let Some(part) = split.next() {
            let part = &results[at..at + part];
            match self.settle_once(part).await {
                Ok(()) => {
                    at += part.len();
                    split.got_through(part.len());
                }
                Err(error) if !is_splittable(&error) => {
                    tracing::warn!(queue = %self.queue, rows = part.len(), "Outcomes not written yet, trying again: error={error}");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
                Err(error) => {
                    if split.failed(part.len()) {
                        self.cannot_be_settled(&part[0].row, &error).await;
                        at += 1;
                    }
                }
            }
        }
    }

    /// The answer to a row cannot be written, while that of others can: it is dead, or it would be sent for ever. What is of a moment (a
    /// lock) is waited for: it is sent again, under its id.
    async fn cannot_be_settled(&self, row: &Row, error: &sqlx::Error) {
        let reason = format!("it was sent, and the answer cannot be written: {error}");
        tracing::error!(queue = %self.queue, id = row.id, subject = %row.subject, "Answer not written: error={reason}");
        let of_the_row = database::class(error) == Class::Message;
        let reaction = if of_the_row { Reaction::Dead(reason) } else { Reaction::Wait(reason) };
        let given_up = Settled { row: row.clone(), reaction };
        if let Err(error) = self.settle_once(std::slice::from_ref(&given_up)).await {
            tracing::error!(queue = %self.queue, id = row.id, "Row not given up, it is sent again: error={error}");
        }
    }

    async fn settle_once(&self, results: &[Settled]) -> Result<(), sqlx::Error> {
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for Settled { row, reaction } in results {
            match reaction {
                Reaction::Settle { outcome, reason } => done.push((row, *outcome, reason.as_deref().map(shortened))),
                Reaction::Retry(error) => {
                    failed.push((row, "waiting", delay(row.attempts.unsigned_abs() + 1), 1, error))
                }
                Reaction::Wait(error) => {
                    let age = Duration::try_from_secs_f64(row.age).unwrap_or_default();
                    failed.push((row, "waiting", look_again(age, LONGEST_WAIT), 0, error));
                }
                Reaction::Dead(error) => failed.push((row, "dead", Duration::ZERO, 1, error)),
                Reaction::Pause(_) | Reaction::Keep => {}
            }
        }
        if !done.is_empty() {
            failpoint::reach("settle-before-commit");
            let settling = sqlx::query_scalar(include_str!("sql/settle.sql"))
                .bind(self.queue.as_str())
                .bind(done.iter().map(|(row, ..)| row.id).collect::<Vec<_>>())
                .bind(done.iter().map(|(_, outcome, _)| *outcome).collect::<Vec<_>>())
                .bind(done.iter().map(|(.., reason)| reason.as_deref()).collect::<Vec<_>>())
                .bind(done.iter().map(|(row, ..)| row.edition).collect::<Vec<_>>())
                .fetch_one(&self.pool);
            let again: bool = database::traced(&self.pool, "DELETE pending", settling).await?;
            failpoint::reach("settle-after-commit");
            if again {
                self.wake.again(self.queue);
            }
        }
        if !failed.is_empty() {
            let noting = sqlx::query(include_str!("sql/fail.sql"))
                .bind(failed.iter().map(|(row, ..)| row.id).collect::<Vec<_>>())
                .bind(failed.iter().map(|(row, ..)| row.attempts).collect::<Vec<_>>())
                .bind(failed.iter().map(|(_, state, ..)| *state).collect::<Vec<_>>())
                .bind(failed.iter().map(|(_, _, wait, ..)| wait.as_secs_f64()).collect::<Vec<_>>())
                .bind(failed.iter().map(|(_, _, _, counted, _)| *counted).collect::<Vec<i32>>())
                .bind(failed.iter().map(|(.., error)| shortened(error)).collect::<Vec<_>>())
                .bind(failed.iter().map(|(row, ..)| row.edition).collect::<Vec<_>>())
                .execute(&self.pool);
            database::traced(&self.pool, "UPDATE pending", noting).await?;
        }
        Ok(())
    }
}

impl Source for Outgoing {
    type Batch = Batch;

    async fn next(&self) -> Batch {
        loop {
            self.pace.ready().await;
            let careful = self.reading().careful;
            let permits = if careful { self.concurrency } else { 1 };
            let Ok(permits) = Arc::clone(&self.permits).acquire_many_owned(permits).await else {
                // The semaphore is never closed.
                std::future::pending().await
            };
            let limit = if careful { 1 } else { self.pace.limit() };
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
                continue;
            }
            if !batch.rows.is_empty() {
                return batch;
            }
            drop(batch);
            // All that is left was set aside: it is tried anew, after the pause.
            if !std::mem::take(&mut self.reading().aside).is_empty() {
                continue;
            }
            tokio::select! {
                () = self.wake.woken(self.queue) => {}
                () = self.lanes.changed() => {}
                () = tokio::time::sleep(FROM_THE_START) => {}
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

fn shortened(error: &str) -> String {
    error.replace('\0', "\u{fffd}").chars().take(MAX_ERROR).collect()
}
