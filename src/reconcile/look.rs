//! A look at a stream, and what comes of it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use redis::aio::MultiplexedConnection;
use serde_json::json;
use sqlx::PgPool;

use super::stream::{self, Stream};
use super::{Id, Known, alert};
use crate::audit;
use crate::config::Config;
use crate::inbox::{Accept, CONFIRMED_TOPIC, Event, FAILED_TOPIC};
use crate::ingress::published;
use crate::telemetry::Metrics;
use crate::telemetry::labels::Topic;
use crate::worker::redis_client;

/// How long a look may take before another replica takes the stream.
const CLAIM: Duration = Duration::from_secs(20);
/// How long Redis may take to answer.
const LIMIT: Duration = Duration::from_secs(5);
/// What was published so shortly before a look may not be in the stream that it sees.
const MARGIN: Duration = Duration::from_secs(1);

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

/// What a look has found.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// Entries that were read.
    pub read: u64,
    /// Entries that Dapr has still to deliver, or to deliver again.
    pub with_dapr: u64,
    /// What is in the stream, was given up by Dapr, and is not in the inbox.
    pub missing: Vec<Event>,
    /// What is wrong with the stream.
    pub alert: Option<String>,
    /// Another Redis process answers than at the last look.
    pub restarted: bool,
    state: Stream,
    run_id: Option<String>,
    /// How long ago everything was published that is in the inbox, seconds.
    behind: f64,
}

/// Looks at streams.
#[derive(Debug)]
pub struct Reconciler {
    pool: PgPool,
    connection: MultiplexedConnection,
    dead_letter_topic: String,
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
        let client = redis_client(&config.data.redis).map_err(|error| LookError::Configuration(error.to_string()))?;
        let client = client.ok_or(LookError::NoRedis)?;
        let connect = client.get_multiplexed_async_connection();
        let mut connection = tokio::time::timeout(LIMIT, connect).await.map_err(|_| LookError::Silent)??;
        connection.set_response_timeout(LIMIT);
        let dead_letter_topic = config.worker.eventbus.dead_letter_topic.clone();
        let settings = &config.worker.reconcile;
        let (overlap, pause) = (settings.overlap, settings.every.mul_f64(0.8));
        Ok(Self { pool, connection, dead_letter_topic, overlap, pause })
    }

    /// The streams that events come from.
    #[must_use]
    pub fn topics(&self) -> [String; 3] {
        [CONFIRMED_TOPIC.to_owned(), FAILED_TOPIC.to_owned(), self.dead_letter_topic.clone()]
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

    /// Looks at a stream from a place on.
    ///
    /// # Errors
    ///
    /// [`LookError`].
    pub async fn look(&mut self, topic: &str, known: &Known, from: From) -> Result<Look, LookError> {
        let (run_id, now) = stream::server(&mut self.connection).await?;
        let state = stream::state(&mut self.connection, topic).await?;
        let restarted = known.run_id.is_some() && known.run_id != run_id;
        let mut look = Look { alert: alert(&state, known), restarted, run_id, ..Look::default() };
        if let Some(group) = &state.group {
            // Before the entries and before the inbox: what is acknowledged after this was delivered or given up, and will be seen.
            let (pending, end) = stream::all_pending(&mut self.connection, topic).await?;
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
                let events = given.filter_map(|entry| published(topic, entry.data, &self.dead_letter_topic)).collect();
                look.missing.extend(self.not_in_the_inbox(events).await?);
                if last {
                    break;
                }
            }
            // The first entry that Dapr has still to deliver: everything before it is in the inbox.
            let undelivered = (group.last_delivered < state.last_id).then_some(group.last_delivered.ms);
            let open = group.oldest_pending.map(|id| id.ms).into_iter().chain(undelivered).min();
            look.with_dapr += u64::from(undelivered.is_some());
            let reached = open.unwrap_or(now).min(now);
            look.behind = Duration::from_millis(now - reached).as_secs_f64() + MARGIN.as_secs_f64();
        } else {
            look.behind = MARGIN.as_secs_f64();
        }
        look.state = state;
        Ok(look)
    }

    async fn not_in_the_inbox(&self, events: Vec<Event>) -> Result<Vec<Event>, LookError> {
        // The same message may stand in a stream twice.
        let events: BTreeMap<[u8; 32], Event> = events.into_iter().map(|event| (event.key().0, event)).collect();
        let keys: Vec<Vec<u8>> = events.keys().map(|key| key.to_vec()).collect();
        let seen: Vec<Vec<u8>> =
            sqlx::query_scalar(include_str!("sql/seen.sql")).bind(keys).fetch_all(&self.pool).await?;
        let seen: BTreeSet<Vec<u8>> = seen.into_iter().collect();
        Ok(events.into_iter().filter(|(key, _)| !seen.contains(&key[..])).map(|(_, event)| event).collect())
    }

    /// Writes down how far a stream was looked at, and what came of it.
    ///
    /// # Errors
    ///
    /// The database's.
    pub async fn looked(&self, topic: &str, look: &Look, saved: usize) -> Result<(), LookError> {
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
            .bind(&look.alert)
            .bind(i64::try_from(saved).unwrap_or(i64::MAX))
            .bind(self.pause.as_secs_f64())
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

impl Reconciler {
    /// The same after an operator has looked: what was lost is lost, and the next look begins here.
    ///
    /// # Errors
    ///
    /// The database's.
    pub async fn taken_note_of(&self, topic: &str, look: &Look, saved: usize) -> Result<(), LookError> {
        sqlx::query(include_str!("sql/claim.sql")).bind(topic).bind(CLAIM.as_secs_f64()).execute(&self.pool).await?;
        self.looked(topic, &Look { alert: None, ..look.clone() }, saved).await
    }
}

type KnownRow = (String, Option<i64>, Option<String>, Option<DateTime<Utc>>);

fn known((last_id, entries_added, run_id, _): KnownRow) -> Known {
    Known {
        last_id: last_id.parse().unwrap_or_default(),
        entries_added: entries_added.and_then(|added| u64::try_from(added).ok()),
        run_id,
    }
}

/// Accepts what a look has found missing, and records it. Returns how many.
///
/// # Errors
///
/// [`LookError`]: it is found again by the next look.
pub(crate) async fn save(
    pool: &PgPool,
    accept: &Accept,
    topic: &str,
    look: &Look,
    actor: &str,
) -> Result<usize, LookError> {
    for events in look.missing.chunks(100) {
        accept.accept(events.to_vec()).await?;
    }
    let saved = look.missing.len();
    if saved > 0 {
        let ids: Vec<&str> = look.missing.iter().take(100).map(|event| event.id.as_str()).collect();
        let mut tx = pool.begin().await?;
        audit::record(&mut tx, actor, "inbox reconcile", topic, &json!({ "saved": saved, "events": ids })).await?;
        tx.commit().await?;
    }
    Ok(saved)
}

/// Looks at all streams now and then, for as long as it is polled.
pub async fn keep(config: &Config, pool: &PgPool, accept: &Accept, metrics: &Metrics) {
    if !config.worker.reconcile.enabled || config.data.redis.addr.is_none() {
        return std::future::pending().await;
    }
    let settings = &config.worker.reconcile;
    let (every, mut overlapped) = (settings.every, None::<Instant>);
    let (mut said, mut alerts) = (String::new(), BTreeMap::new());
    loop {
        let due = overlapped.is_none_or(|at| at.elapsed() >= settings.overlap);
        let from = if due { From::Overlap } else { From::Known };
        match once(config, pool, accept, metrics, from, &mut alerts).await {
            Ok(()) => {
                if due {
                    overlapped = Some(Instant::now());
                }
                said.clear();
            }
            Err(error) => {
                // Said once, not at each look.
                let error = error.to_string();
                if error != said {
                    tracing::warn!("Streams not reconciled, trying again every {every:?}: error={error}");
                    said = error;
                }
            }
        }
        tokio::time::sleep(every.mul_f64(0.9 + fastrand::f64() / 5.0)).await;
    }
}

/// One look at each stream. `alerts` is what was said of them before.
async fn once(
    config: &Config,
    pool: &PgPool,
    accept: &Accept,
    metrics: &Metrics,
    from: From,
    alerts: &mut BTreeMap<String, Option<String>>,
) -> Result<(), LookError> {
    let mut reconciler = Reconciler::connect(config, pool.clone()).await?;
    for topic in reconciler.topics() {
        let claim = sqlx::query_as(include_str!("sql/claim.sql")).bind(&topic).bind(CLAIM.as_secs_f64());
        let Some(row) = claim.fetch_optional(pool).await? else { continue };
        let known = known(row);
        let look = reconciler.look(&topic, &known, from).await?;
        let before = alerts.insert(topic.clone(), look.alert.clone()).flatten();
        if let Some(alert) = look.alert.as_ref().filter(|alert| before.as_ref() != Some(alert)) {
            tracing::error!(stream = %topic, "Stream cannot be reconciled: {alert}; announcements that it lost: order-worker outbox resend --since 2h --dry-run");
        } else if look.alert.is_none() && look.restarted {
            tracing::warn!(stream = %topic, "Redis was restarted, and the stream has its data; what other streams lost is sent again by order-worker outbox resend --since 2h: run_id={}", look.run_id.as_deref().unwrap_or_default());
        }
        let saved = save(pool, accept, &topic, &look, "order-worker").await?;
        if saved > 0 {
            tracing::error!(stream = %topic, saved, "Events saved that Dapr had dropped: is dapr/resiliency.yaml in force?");
            metrics.reconcile_saved(Topic::of(&topic), saved as u64);
        }
        reconciler.looked(&topic, &look, saved).await?;
    }
    Ok(())
}

/// Everything published before it is in the inbox; none: nobody has looked yet.
///
/// # Errors
///
/// The database's.
pub async fn watermark(connection: &mut sqlx::PgConnection) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar(include_str!("sql/watermark.sql")).fetch_one(connection).await
}
