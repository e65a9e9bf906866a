//! A look at a stream, and what comes of it.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use redis::aio::MultiplexedConnection;
use serde::Serialize;
use serde_json::json;
use sqlx::PgConnection;

use super::error::LIMIT;
use super::stream::{self, Group, Stream};
use super::{Alert, Id, Known, KnownRow, LookError, Setup, Severity, alert, is_another};
use crate::dapr::broker;
use crate::dapr::ingress::published;
use crate::engine::audit;
use crate::engine::inbox::{Accept, Event, Key};
use crate::platform::database::PgPool;

/// The limit of a look, after which another replica takes the stream.
pub(super) const CLAIM: Duration = Duration::from_secs(20);
/// What was published so shortly before a look may not be in the stream that it sees.
const MARGIN: Duration = Duration::from_secs(1);
/// Clocks of the database and of Redis that differ by more, in seconds: one of them is wrong, and who knows which.
const OFF: i64 = 300;
/// The most missing events that are named.
const NAMED: usize = 10_000;

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

/// The findings of a look.
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
    /// The fault of the stream.
    pub alert: Option<Alert>,
    /// When it began, by the database's clock: what was published since may not be in the stream that it saw.
    pub(super) began: DateTime<Utc>,
    /// Another Redis process answers than at the last look.
    pub restarted: bool,
    pub(super) run_id: Option<String>,
    pub(super) state: Stream,
    /// Up to where everything was dealt with, and how many entries were ever added up to there.
    place: (Id, Option<u64>),
    /// How long before its beginning everything was published that is in the inbox, seconds.
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
    setup: Setup,
    group: String,
    overlap: Duration,
    /// Other replicas look when this one does not.
    pause: Duration,
}

impl Reconciler {
    /// Connects to the Redis of the configuration.
    pub async fn connect(setup: &Setup, pool: PgPool) -> Result<Self, LookError> {
        let client = broker::client(&setup.redis).map_err(|error| LookError::Configuration(error.to_string()))?;
        let client = client.ok_or(LookError::NoRedis)?;
        let connect = client.get_multiplexed_async_connection();
        let mut connection = tokio::time::timeout(LIMIT, connect).await.map_err(|_| LookError::Silent)??;
        connection.set_response_timeout(LIMIT);
        let settings = &setup.reconcile;
        let (group, overlap, pause) = (settings.group.clone(), settings.overlap, settings.every.mul_f64(0.8));
        Ok(Self { pool, connection, setup: setup.clone(), group, overlap, pause })
    }

    /// The topics that events come from, each with its stream.
    #[must_use]
    pub fn streams(&self) -> Vec<(String, String)> {
        self.setup.streams()
    }

    /// Takes a stream to look at, for as long as a look may take, unless another replica has it. One that died with it is waited for;
    /// a claim that was written under a clock that was ahead is none. Returns what is known of it.
    pub(super) async fn claim(&self, stream: &str) -> Result<Option<KnownRow>, sqlx::Error> {
        let longest = CLAIM.max(self.pause).as_secs_f64();
        let claim =
            sqlx::query_as(include_str!("sql/claim.sql")).bind(stream).bind(CLAIM.as_secs_f64()).bind(2.0 * longest);
        claim.fetch_optional(&self.pool).await
    }

    /// The record of a stream from the last look.
    pub async fn known(&self, stream: &str) -> Result<KnownRow, LookError> {
        let row = sqlx::query_as(include_str!("sql/known.sql")).bind(stream).fetch_optional(&self.pool).await?;
        Ok(row.unwrap_or_default())
    }

    /// Whether another Redis answers than the one that was read, by any of its streams: nothing of it is ours.
    pub async fn is_another(&mut self) -> Result<bool, LookError> {
        let server = stream::server(&mut self.connection).await?;
        let run_id = server.run_id.as_deref();
        for (_, name) in self.streams() {
            let known = self.known(&name).await?.known();
            // The entry may be as large as a message: it is asked for only where that decides.
            if let Some(seen) = known.seen.filter(|_| known.is_of_another_process(run_id)) {
                let has_entry = stream::has(&mut self.connection, &name, seen.last_id).await?;
                let last_id = self.state(&name).await?.last_id;
                if is_another(has_entry, &known, last_id, run_id) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Whether the worker's group does not read the stream, or there is none.
    pub async fn is_unread(&mut self, stream: &str) -> Result<bool, LookError> {
        Ok(alert(&self.state(stream).await?, &Known::default()).is_some())
    }

    async fn state(&mut self, stream: &str) -> Result<Stream, LookError> {
        Ok(stream::state(&mut self.connection, stream, &self.group).await?)
    }

    /// Looks at a stream from a place on. What is missing is taken page by page, where there is somebody to take it.
    ///
    /// # Errors
    ///
    /// [`LookError`]: what was taken until then stays, and the rest is found by the next look.
    pub async fn look(
        &mut self,
        (topic, name): (&str, &str),
        row: &KnownRow,
        from: From,
        another: bool,
        taker: Option<Taker<'_>>,
    ) -> Result<Look, LookError> {
        let known = row.known();
        // The moment before anything is seen: a look vouches for what it saw, however long it takes.
        let (began, known_for): (DateTime<Utc>, Option<f64>) =
            sqlx::query_as(include_str!("sql/began.sql")).bind(name).fetch_one(&self.pool).await?;
        let server = stream::server(&mut self.connection).await?;
        let state = self.state(name).await?;
        let restarted = known.is_of_another_process(server.run_id.as_deref());
        let off = began.timestamp() - i64::try_from(server.now / 1_000).unwrap_or(i64::MAX);
        let alert = if another {
            Some(Alert::Another)
        } else if server.is_replica {
            Some(Alert::Replica)
        } else if off.abs() > OFF {
            Some(Alert::Clock(off))
        } else {
            let restored = restarted && known.seen.is_some() && !server.keeps_all;
            alert(&state, &known).or(restored.then_some(Alert::Restored))
        };
        let may_take = !alert.as_ref().is_some_and(Alert::forbids_taking);
        let (run_id, behind) = (server.run_id, MARGIN.as_secs_f64());
        let place = match state.group.as_ref().filter(|_| another) {
            // Where it is read from once an operator has said that it is the one.
            Some(group) => (group.reached(), None),
            None => (known.last_id, known.read),
        };
        let mut look = Look { alert, restarted, began, run_id, behind, place, ..Look::default() };
        if let Some(group) = state.group.as_ref().filter(|_| may_take) {
            // Before the entries and before the inbox: what is acknowledged after this was delivered or given up, and will be seen.
            let (pending, end) = stream::all_pending(&mut self.connection, name, &self.group).await?;
            let oldest = group.oldest_pending.into_iter().chain(pending.first().copied()).min();
            let pending: HashSet<Id> = pending.into_iter().collect();
            let until = end.unwrap_or(group.last_delivered);
            // What is pending may be given up later: the place stays before the oldest of it. It never goes back: what Dapr delivers
            // once more was dealt with.
            let reached = Group { oldest_pending: oldest, ..*group }.reached().max(known.last_id);
            let start = if known.seen.is_some() {
                known.last_id.min(group.last_delivered)
            } else {
                // As far back as somebody has wanted to look, and by no more than an overlap.
                let since = Duration::try_from_secs_f64(known_for.unwrap_or(0.0)).unwrap_or_default();
                let since = Id { ms: server.now, seq: 0 }.before(since);
                since.min(oldest.unwrap_or(group.last_delivered)).min(group.last_delivered)
            };
            let mut from = match from {
                From::Known if known.seen.is_some() => start,
                From::Known | From::Overlap => start.before(self.overlap),
                From::Moment(ms) => start.min(Id { ms, seq: 0 }),
            };
            // Entries behind the place that was known, up to the one that is reached; and those behind that.
            let (mut passed, mut open) = (0, 0);
            loop {
                let (entries, last) = stream::page(&mut self.connection, name, from, until).await?;
                look.read += entries.len() as u64;
                look.with_dapr += entries.iter().filter(|entry| pending.contains(&entry.id)).count() as u64;
                open += entries.iter().filter(|entry| entry.id > reached).count() as u64;
                let in_between = |id: Id| id > known.last_id && id <= reached;
                passed += entries.iter().filter(|entry| in_between(entry.id)).count() as u64;
                if let Some(end) = entries.last() {
                    from = end.id.next();
                }
                let given = entries.into_iter().filter(|entry| !pending.contains(&entry.id));
                let events = given.map(|entry| published(topic, &entry.data, &self.setup.topics)).collect();
                let missing = self.not_in_the_inbox(events).await?;
                look.missing += missing.len() as u64;
                let room = NAMED.saturating_sub(look.named.len());
                look.named.extend(missing.iter().take(room).map(named));
                if let Some(taker) = taker.filter(|_| !missing.is_empty()) {
                    look.saved += self.take(name, missing, taker).await?;
                }
                if last {
                    break;
                }
            }
            // After a loss, and of a stream that was not counted yet, it is counted anew.
            let read = match known.read.filter(|_| look.alert.is_none()) {
                Some(read) => Some(read + passed),
                None if end.is_some() => None,
                None => self.counted(name, &state, group).await?.and_then(|read| read.checked_sub(open)),
            };
            look.place = (reached, read);
            // The first entry that Dapr has still to deliver: everything before it is in the inbox.
            let undelivered = (group.last_delivered < state.last_id).then_some(group.last_delivered.ms);
            let first = oldest.map(|id| id.ms).into_iter().chain(undelivered).min();
            look.with_dapr += u64::from(undelivered.is_some());
            // An entry that bears a time to come was published nobody knows when.
            let everything_until = first.map_or(server.now, |ms| if ms > server.now { 0 } else { ms });
            look.behind += Duration::from_millis(server.now - everything_until).as_secs_f64();
        }
        // A loss stays one until somebody takes note of it, whatever the stream looks like now.
        if let (Some(lost), false) =
            (known.lost, look.alert.as_ref().is_some_and(|alert| alert.severity() == Severity::Lost))
        {
            look.alert = Some(Alert::Before(lost));
        }
        look.state = state;
        Ok(look)
    }

    /// Entries that were ever added up to the last that the group was given: all but those behind it. (The group's own counter,
    /// entries-read, is wrong once entries were trimmed that it was not given.) None: this Redis does not tell, or not now.
    async fn counted(&mut self, name: &str, state: &Stream, group: &Group) -> Result<Option<u64>, LookError> {
        let (Some(added), given) = (state.entries_added, group.last_delivered) else { return Ok(None) };
        if given >= state.last_id {
            return Ok(Some(added));
        }
        let behind = stream::count(&mut self.connection, name, given, state.last_id).await?;
        // What was trimmed meanwhile was not counted.
        let first = self.state(name).await?.first;
        let untouched = first == state.first || first.is_some_and(|first| first <= given);
        Ok(added.checked_sub(behind).filter(|_| untouched))
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

    /// Writes down what came of a look, after an operator has looked: what was lost is lost, another Redis is the one from now on, and
    /// the next look begins here. Where nobody can look there is nothing to take note of.
    pub async fn acknowledge(&self, stream: &str, look: &Look, actor: &str) -> Result<(), LookError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query(include_str!("sql/wanted.sql")).bind([stream].as_slice()).execute(&mut *tx).await?;
        let noted = look.alert.as_ref().filter(|alert| alert.severity() != Severity::CannotLook);
        if let Some(alert) = noted {
            let detail = json!({ "taken_note_of": alert.to_string(), "from": look.place.0.to_string() });
            audit::record(&mut tx, actor, "inbox reconcile", stream, &detail).await?;
        }
        let look = Look { alert: look.alert.clone().filter(|_| noted.is_none()), ..look.clone() };
        self.write(&mut tx, stream, &look, None).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn not_in_the_inbox(&self, events: Vec<Event>) -> Result<Vec<Event>, LookError> {
        // The same message may stand in a stream twice; an id with two bodies is two events.
        let mut met = HashSet::new();
        let known_by = |event: Event| ((event.key(), event.fingerprint()), event);
        let events = events.into_iter().map(known_by).filter(|(known_by, _)| met.insert(*known_by));
        let events: Vec<((Key, [u8; 32]), Event)> = events.collect();
        let keys: Vec<&[u8]> = events.iter().map(|((key, _), _)| &key.0[..]).collect();
        let prints: Vec<&[u8]> = events.iter().map(|((_, print), _)| &print[..]).collect();
        let others: Vec<Key> = events.iter().map(|((key, print), _)| key.quarantined(print)).collect();
        let others: Vec<&[u8]> = others.iter().map(|key| &key.0[..]).collect();
        let has_data: Vec<bool> = events.iter().map(|(_, event)| !event.body.is_empty()).collect();
        let seen =
            sqlx::query_scalar(include_str!("sql/seen.sql")).bind(&keys).bind(&prints).bind(&others).bind(has_data);
        let seen: BTreeSet<i64> = seen.fetch_all(&self.pool).await?.into_iter().collect();
        Ok((1..).zip(events).filter(|(n, _)| !seen.contains(n)).map(|(_, (_, event))| event).collect())
    }

    /// Writes down how far a stream was looked at, and what came of it; not where somebody has taken note of it meanwhile.
    pub(super) async fn looked(&self, stream: &str, look: &Look, row: &KnownRow) -> Result<(), LookError> {
        let mut connection = self.pool.acquire().await?;
        if !self.write(&mut connection, stream, look, Some(row)).await? {
            // The next look goes by what was written, and need not wait for this one's claim to run out.
            sqlx::query(include_str!("sql/release.sql")).bind(stream).execute(&mut *connection).await?;
        }
        Ok(())
    }

    async fn write(
        &self,
        connection: &mut PgConnection,
        stream: &str,
        look: &Look,
        before: Option<&KnownRow>,
    ) -> Result<bool, LookError> {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let written = sqlx::query(include_str!("sql/looked.sql"))
            .bind(stream)
            .bind(look.place.0.to_string())
            .bind(look.place.1.map(count))
            .bind(look.state.last_id.to_string())
            .bind(look.state.entries_added.map(count))
            .bind(&look.run_id)
            .bind(look.began)
            .bind(look.behind)
            .bind(look.alert.as_ref().map(ToString::to_string))
            .bind(look.alert.as_ref().map(|alert| alert.severity().as_str()))
            .bind(count(look.saved))
            .bind(self.pause.as_secs_f64())
            .bind(before.is_some())
            .bind(before.and_then(|row| row.read_at))
            .execute(connection)
            .await?;
        Ok(written.rows_affected() > 0)
    }
}

fn named(event: &Event) -> Missing {
    Missing { source: event.source.clone(), event: event.id.clone() }
}
