//! A look at a stream, and what comes of it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use redis::aio::MultiplexedConnection;
use serde::Serialize;
use serde_json::json;

use super::stream::{self, Stream};
use super::{Alert, Id, Known, alert, is_another};
use crate::audit;
use crate::broker;
use crate::config::Config;
use crate::database::PgPool;
use crate::inbox::{Accept, CONFIRMED_TOPIC, Event, FAILED_TOPIC};
use crate::ingress::published;

/// How long a look may take before another replica takes the stream.
pub(super) const CLAIM: Duration = Duration::from_secs(20);
/// How long Redis may take to answer.
const LIMIT: Duration = Duration::from_secs(5);
/// What was published so shortly before a look may not be in the stream that it sees.
const MARGIN: Duration = Duration::from_secs(1);
/// The most missing events that are named.
const NAMED: usize = 10_000;

/// Why a look came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// Redis.
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// The database.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    /// What was missing could not be accepted.
    #[error("{0}")]
    Accept(#[from] crate::inbox::AcceptError),
    /// There is no Redis to look at.
    #[error("data.redis.addr is empty: there is no stream to look at")]
    NoRedis,
    /// Redis does not answer.
    #[error("Redis does not answer in {LIMIT:?}")]
    Silent,
    /// The address cannot be used.
    #[error("{0}")]
    Configuration(String),
}

/// Where a look begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// Where the last one ended.
    Known,
    /// An overlap before that.
    Overlap,
    /// At a moment of Redis' clock, Unix time in milliseconds.
    Moment(u64),
}

/// An event that is in a stream, was given up by Dapr, and is not in the inbox.
#[derive(Clone, Debug, Serialize)]
pub struct Missing {
    /// Its source.
    pub source: String,
    /// Its CloudEvent id.
    pub event: String,
}

/// What a look has found.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// Entries that were read.
    pub read: u64,
    /// Entries that Dapr has still to deliver, or to deliver again.
    pub with_dapr: u64,
    /// Events that are missing.
    pub missing: u64,
    /// The first 10,000 of them.
    pub named: Vec<Missing>,
    /// Those that were accepted.
    pub saved: u64,
    /// What is wrong with the stream.
    pub alert: Option<Alert>,
    /// Another Redis process answers than at the last look.
    pub restarted: bool,
    pub(super) run_id: Option<String>,
    state: Stream,
    /// How long ago everything was published that is in the inbox, seconds.
    behind: f64,
}

/// Who takes what is missing.
#[derive(Clone, Copy, Debug)]
pub struct Taker<'a> {
    /// The way into the inbox.
    pub accept: &'a Accept,
    /// Whose name stands in the audit log.
    pub actor: &'a str,
}

/// Looks at streams.
#[derive(Debug)]
pub struct Reconciler {
    pool: PgPool,
    connection: MultiplexedConnection,
    dead_letter_topic: String,
    group: String,
    overlap: Duration,
    /// Other replicas look when this one does not.
    pause: Duration,
}

impl Reconciler {
    /// Connects to the Redis of the configuration.
    ///
    /// # Errors
    ///
    /// [`LookError`].
    pub async fn connect(config: &Config, pool: PgPool) -> Result<Self, LookError> {
        let client = broker::client(&config.data.redis).map_err(|error| LookError::Configuration(error.to_string()))?;
        let client = client.ok_or(LookError::NoRedis)?;
        let connect = client.get_multiplexed_async_connection();
        let mut connection = tokio::time::timeout(LIMIT, connect).await.map_err(|_| LookError::Silent)??;
        connection.set_response_timeout(LIMIT);
        let dead_letter_topic = config.worker.eventbus.dead_letter_topic.clone();
        let settings = &config.worker.reconcile;
        let (group, overlap, pause) = (settings.group.clone(), settings.overlap, settings.every.mul_f64(0.8));
        Ok(Self { pool, connection, dead_letter_topic, group, overlap, pause })
    }

    /// The streams that events come from.
    #[must_use]
    pub fn topics(&self) -> [String; 3] {
        topics(&self.dead_letter_topic)
    }

    /// What is known of a stream from the last look.
    ///
    /// # Errors
    ///
    /// The database's.
    pub async fn known(&self, topic: &str) -> Result<Known, LookError> {
        let row = sqlx::query_as(include_str!("sql/known.sql")).bind(topic).fetch_optional(&self.pool).await?;
        Ok(row.map(known).unwrap_or_default())
    }

    /// Whether another Redis answers than the one that was read, by any of its streams: nothing of it is ours.
    ///
    /// # Errors
    ///
    /// [`LookError`].
    pub async fn is_another(&mut self) -> Result<bool, LookError> {
        let (run_id, _) = stream::server(&mut self.connection).await?;
        for topic in self.topics() {
            let known = self.known(&topic).await?;
            // The entry may be as large as a message: it is asked for only where that decides.
            if known.is_of_another_process(run_id.as_deref()) {
                let has_entry = stream::has(&mut self.connection, &topic, known.last_id).await?;
                if is_another(has_entry, &known, run_id.as_deref()) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Whether something was published to the stream that the worker's group does not read.
    ///
    /// # Errors
    ///
    /// [`LookError`].
    pub async fn is_unread(&mut self, topic: &str) -> Result<bool, LookError> {
        Ok(alert(&self.state(topic).await?, &Known::default()) == Some(Alert::Unread))
    }

    async fn state(&mut self, topic: &str) -> Result<Stream, LookError> {
        Ok(stream::state(&mut self.connection, topic, &self.group).await?)
    }

    /// Looks at a stream from a place on. What is missing is taken page by page, where there is somebody to take it.
    ///
    /// # Errors
    ///
    /// [`LookError`]: what was taken until then stays, and the rest is found by the next look.
    pub async fn look(
        &mut self,
        topic: &str,
        known: &Known,
        from: From,
        another: bool,
        taker: Option<Taker<'_>>,
    ) -> Result<Look, LookError> {
        let (run_id, now) = stream::server(&mut self.connection).await?;
        let state = self.state(topic).await?;
        let restarted = known.is_of_another_process(run_id.as_deref());
        let alert = if another { Some(Alert::Another) } else { alert(&state, known) };
        let mut look = Look { alert, restarted, run_id, behind: MARGIN.as_secs_f64(), ..Look::default() };
        if let Some(group) = state.group.as_ref().filter(|_| !alert.is_some_and(Alert::forbids_taking)) {
            // Before the entries and before the inbox: what is acknowledged after this was delivered or given up, and will be seen.
            let (pending, end) = stream::all_pending(&mut self.connection, topic, &self.group).await?;
            let pending: HashSet<Id> = pending.into_iter().collect();
            let until = end.unwrap_or(group.last_delivered);
            let start = if known.last_id > Id::default() {
                known.last_id.min(group.last_delivered)
            } else {
                group.last_delivered
            };
            let mut from = match from {
                From::Known if known.last_id > Id::default() => start,
                From::Known | From::Overlap => start.before(self.overlap),
                From::Moment(ms) => Id { ms, seq: 0 },
            };
            loop {
                let (entries, last) = stream::page(&mut self.connection, topic, from, until).await?;
                look.read += entries.len() as u64;
                look.with_dapr += entries.iter().filter(|entry| pending.contains(&entry.id)).count() as u64;
                if let Some(end) = entries.last() {
                    from = Id { ms: end.id.ms, seq: end.id.seq + 1 };
                }
                let given = entries.into_iter().filter(|entry| !pending.contains(&entry.id));
                let events = given.map(|entry| published(topic, &entry.data, &self.dead_letter_topic)).collect();
                let missing = self.not_in_the_inbox(events).await?;
                look.missing += missing.len() as u64;
                let room = NAMED.saturating_sub(look.named.len());
                look.named.extend(missing.iter().take(room).map(named));
                if let Some(taker) = taker.filter(|_| !missing.is_empty()) {
                    look.saved += self.take(topic, missing, taker).await?;
                }
                if last {
                    break;
                }
            }
            // The first entry that Dapr has still to deliver: everything before it is in the inbox.
            let undelivered = (group.last_delivered < state.last_id).then_some(group.last_delivered.ms);
            let open = group.oldest_pending.map(|id| id.ms).into_iter().chain(undelivered).min();
            look.with_dapr += u64::from(undelivered.is_some());
            let reached = open.unwrap_or(now).min(now);
            look.behind += Duration::from_millis(now - reached).as_secs_f64();
        }
        look.state = state;
        Ok(look)
    }

    /// Accepts what is missing, and records it. Who looks at the same time waits, and finds it in the inbox. Returns how many. Holds a
    /// connection while the accepting takes another: `worker.database.max_connections` is never below what that needs.
    async fn take(&self, topic: &str, missing: Vec<Event>, taker: Taker<'_>) -> Result<u64, LookError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query(include_str!("sql/turn.sql")).execute(&mut *tx).await?;
        let missing = self.not_in_the_inbox(missing).await?;
        let events: Vec<String> = missing.iter().map(|event| event.id.clone()).collect();
        taker.accept.accept(missing).await?;
        if !events.is_empty() {
            let detail = json!({ "saved": events.len(), "events": events });
            audit::record(&mut tx, taker.actor, "inbox reconcile", topic, &detail).await?;
        }
        tx.commit().await?;
        Ok(events.len() as u64)
    }

    /// The same after an operator has looked: what was lost is lost, another Redis is the one from now on, and the next look begins here.
    ///
    /// # Errors
    ///
    /// The database's.
    pub async fn taken_note_of(&self, topic: &str, look: &Look) -> Result<(), LookError> {
        sqlx::query(include_str!("sql/claim.sql")).bind(topic).bind(CLAIM.as_secs_f64()).execute(&self.pool).await?;
        self.looked(topic, &Look { alert: None, ..look.clone() }).await
    }

    async fn not_in_the_inbox(&self, events: Vec<Event>) -> Result<Vec<Event>, LookError> {
        // The same message may stand in a stream twice.
        let events: BTreeMap<[u8; 32], Event> = events.into_iter().map(|event| (event.key().0, event)).collect();
        let keys: Vec<Vec<u8>> = events.keys().map(|key| key.to_vec()).collect();
        let has_data: Vec<bool> = events.values().map(|event| !event.body.is_empty()).collect();
        let seen = sqlx::query_scalar(include_str!("sql/seen.sql")).bind(keys).bind(has_data);
        let seen: Vec<Vec<u8>> = seen.fetch_all(&self.pool).await?;
        let seen: BTreeSet<Vec<u8>> = seen.into_iter().collect();
        Ok(events.into_iter().filter(|(key, _)| !seen.contains(&key[..])).map(|(_, event)| event).collect())
    }

    /// Writes down how far a stream was looked at, and what came of it.
    ///
    /// # Errors
    ///
    /// The database's.
    pub async fn looked(&self, topic: &str, look: &Look) -> Result<(), LookError> {
        // What is pending may be given up later: the next look begins with the oldest of it.
        let last = look.state.group.as_ref().map_or(look.state.last_id, |group| {
            group.oldest_pending.map_or(group.last_delivered, |oldest| oldest.min(group.last_delivered))
        });
        sqlx::query(include_str!("sql/looked.sql"))
            .bind(topic)
            .bind(last.to_string())
            .bind(look.state.entries_added.and_then(|added| i64::try_from(added).ok()))
            .bind(&look.run_id)
            .bind(look.behind)
            .bind(look.alert.map(|alert| alert.to_string()))
            .bind(i64::try_from(look.saved).unwrap_or(i64::MAX))
            .bind(self.pause.as_secs_f64())
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

pub(super) type KnownRow = (String, Option<i64>, Option<String>, Option<DateTime<Utc>>);

pub(super) fn known((last_id, entries_added, run_id, _): KnownRow) -> Known {
    Known {
        last_id: last_id.parse().unwrap_or_default(),
        entries_added: entries_added.and_then(|added| u64::try_from(added).ok()),
        run_id,
    }
}

/// The streams that events come from.
#[must_use]
pub fn topics(dead_letter_topic: &str) -> [String; 3] {
    [CONFIRMED_TOPIC, FAILED_TOPIC, dead_letter_topic].map(str::to_owned)
}

fn named(event: &Event) -> Missing {
    Missing { source: event.source.clone(), event: event.id.clone() }
}
