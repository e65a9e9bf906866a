//! Accepting: many events, one transaction; each is answered only after its commit.
//!
//! A handler prepares its events (key, fingerprint, decoding) on its own core and sends them here; one task gathers what waits
//! and commits it at once. The longer a commit takes, the larger the next one: no timer, no added latency when it is quiet.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tracing::Instrument;

use super::prepared::Prepared;
use super::{About, Disposition, Event, Failure, Handlers, Key};
use crate::engine::Metrics;
use crate::engine::queue::{Queue, Split, State, Wake};
use crate::platform::database::{self, Class, PgPool, storable, storable_json};
use crate::platform::failpoint;
use crate::platform::telemetry::spans;

/// Commits side by side: one waits for the disk while the next is gathered.
const COMMITS: usize = 2;
/// Bytes of bodies in one transaction, beyond which the next begins.
const MAX_BYTES: usize = 16 << 20;
/// Requests that may wait to be gathered.
const WAITING: usize = 4096;

/// The way in, for handlers.
#[derive(Clone, Debug)]
pub struct Accept {
    requests: mpsc::Sender<Request>,
    timeout: Duration,
    handlers: Handlers,
}

/// Events that were not stored: they are to be delivered again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AcceptError {
    /// The database was away for longer than `worker.eventbus.accept_timeout`.
    #[error("the inbox cannot be written: {0}")]
    Away(String),
    /// The worker is stopping.
    #[error("the worker is stopping")]
    Stopping,
}

struct Request {
    events: Vec<Prepared>,
    /// Until when it waits, for its turn and for the database.
    deadline: Instant,
    done: oneshot::Sender<Result<(), AcceptError>>,
}

impl Accept {
    /// Stores events; returns when they are committed, new or known before.
    ///
    /// # Errors
    ///
    /// [`AcceptError`] when they are not: never because of what they contain.
    pub async fn accept(&self, events: Vec<Event>) -> Result<(), AcceptError> {
        if events.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + self.timeout;
        let events = events.into_iter().map(|event| Prepared::new(event, &self.handlers)).collect();
        let (done, answer) = oneshot::channel();
        self.requests.send(Request { events, deadline, done }).await.map_err(|_| AcceptError::Stopping)?;
        answer.await.map_err(|_| AcceptError::Stopping)?
    }
}

/// Commits what handlers accept.
#[derive(Debug)]
pub struct Acceptor {
    pool: PgPool,
    batch: usize,
    wake: Wake,
    metrics: Metrics,
}

impl Acceptor {
    /// An acceptor and the way into it. `batch` is the most events of one transaction, `timeout` how long a request waits while
    /// the database is away.
    #[must_use]
    pub fn start(
        pool: PgPool,
        batch: usize,
        timeout: Duration,
        handlers: Handlers,
        wake: Wake,
        metrics: Metrics,
    ) -> Accept {
        let (requests, incoming) = mpsc::channel(WAITING);
        let acceptor = Arc::new(Self { pool, batch, wake, metrics });
        tokio::spawn(acceptor.run(incoming));
        Accept { requests, timeout, handlers }
    }

    async fn run(self: Arc<Self>, mut incoming: mpsc::Receiver<Request>) {
        let commits = Arc::new(Semaphore::new(COMMITS));
        let mut first = None;
        loop {
            let Ok(permit) = Arc::clone(&commits).acquire_owned().await else { return };
            let request = match first.take() {
                Some(request) => request,
                None => match incoming.recv().await {
                    Some(request) => request,
                    None => return,
                },
            };
            let (mut events, mut bytes, mut requests) = (0, 0, Vec::new());
            let mut next = Some(request);
            while let Some(request) = next {
                let size: usize = request.events.iter().map(|event| event.event.body.len()).sum();
                if !requests.is_empty() && (events + request.events.len() > self.batch || bytes + size > MAX_BYTES) {
                    first = Some(request);
                    break;
                }
                events += request.events.len();
                bytes += size;
                requests.push(request);
                next = incoming.try_recv().ok();
            }
            let acceptor = Arc::clone(&self);
            tokio::spawn(async move {
                acceptor.commit(requests).await;
                drop(permit);
            });
        }
    }

    async fn commit(&self, requests: Vec<Request>) {
        // The first has waited longest. With the database away those behind it are then answered in time too, turn by turn.
        let deadline = requests.first().map_or_else(Instant::now, |request| request.deadline);
        let (events, answers): (Vec<_>, Vec<_>) = requests.into_iter().map(|r| (r.events, r.done)).unzip();
        let events: Vec<Prepared> = events.into_iter().flatten().collect();
        let batch = spans::batch("store inbox", events.iter().map(|event| event.event.traceparent.as_deref()));
        let result = self.store(&events, deadline).instrument(batch.clone()).await;
        if result.is_err() {
            spans::failed(&batch, "UNAVAILABLE");
        }
        if result.is_ok() {
            self.wake.committed(Queue::INBOX);
            for event in &events {
                self.metrics.event_accepted(event.event.received.elapsed());
            }
        }
        for answer in answers {
            // A handler that gave up (its client went away) needs no answer: the event is stored, or comes again.
            let _ = answer.send(result.clone());
        }
    }

    /// Stores them together, or in parts, until the one that cannot be stored as it came stands alone: it is kept all the same.
    async fn store(&self, events: &[Prepared], deadline: Instant) -> Result<(), AcceptError> {
        let (mut split, mut at) = (Split::new(events.len()), 0);
        while let Some(part) = split.next() {
            let part = &events[at..at + part];
            match self.store_in_time(part, deadline).await? {
                Ok(()) => {
                    at += part.len();
                    split.got_through(part.len());
                }
                Err(error) => {
                    if split.failed(part.len()) {
                        let refusal = Some((Failure::Undecodable, format!("cannot be stored as it came: {error}")));
                        let plain =
                            Prepared { state: State::Dead, refusal, about: About::default(), ..part[0].clone() };
                        let kept = self.store_in_time(&[plain], deadline).await?;
                        kept.map_err(|error| AcceptError::Away(error.to_string()))?;
                        at += 1;
                    }
                }
            }
        }
        Ok(())
    }

    /// Tries until it is committed, refused for what it says, or the time is up. A COMMIT of unknown outcome is tried again: the key makes
    /// it a duplicate.
    async fn store_in_time(
        &self,
        events: &[Prepared],
        deadline: Instant,
    ) -> Result<Result<(), sqlx::Error>, AcceptError> {
        let mut pause = Duration::from_millis(50);
        loop {
            let Ok(stored) = tokio::time::timeout_at(deadline, self.store_once(events)).await else {
                return Err(AcceptError::Away("no answer of the database in time".into()));
            };
            match stored {
                Err(error) if database::class(&error) != Class::Message => {
                    if Instant::now() + pause > deadline {
                        return Err(AcceptError::Away(error.to_string()));
                    }
                    tracing::warn!(events = events.len(), "Inbox cannot be written, trying again: error={error}");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
                done => return Ok(done),
            }
        }
    }

    async fn store_once(&self, events: &[Prepared]) -> Result<(), sqlx::Error> {
        // The first of each key; what comes again within the batch is a duplicate, or quarantined, like any other.
        let mut firsts: BTreeMap<Key, &Prepared> = BTreeMap::new();
        let mut again = Vec::new();
        for event in events {
            match firsts.entry(event.key) {
                Entry::Occupied(_) => again.push(event),
                Entry::Vacant(first) => {
                    first.insert(event);
                }
            }
        }
        failpoint::reach("accept-before-commit");
        let fresh = insert(&self.pool, firsts.values().copied()).await?;
        failpoint::reach("accept-after-commit");
        for key in &fresh {
            self.metrics.events_consumed(&firsts[key].event.topic, 1);
        }
        for event in firsts.values().filter(|event| fresh.contains(&event.key)) {
            self.log_refusal(event);
        }
        again.extend(firsts.into_iter().filter(|(key, _)| !fresh.contains(key)).map(|(_, event)| event));
        if !again.is_empty() {
            self.store_again(again).await?;
        }
        Ok(())
    }

    fn log_refusal(&self, event: &Prepared) {
        let Some((label, reason)) = &event.refusal else { return };
        let id: String = event.event.id.chars().take(80).collect();
        tracing::warn!(
            topic = %event.event.topic, event_id = %id, subject = event.about.subject.as_deref(),
            "Event kept as {}: reason={reason}", event.state.as_str()
        );
        self.metrics.event_failed(&event.event.topic, *label);
        let quarantined = *label == Failure::Quarantined;
        self.metrics.inbox_settled(if quarantined { Disposition::Quarantined } else { Disposition::Dead }, 1);
    }

    fn count_duplicates(&self, event: &Prepared, count: u64) {
        self.metrics.events_duplicated(&event.event.topic, count);
        self.metrics.inbox_settled(Disposition::Duplicate, count);
    }

    /// Events whose key was there: duplicates are counted, other bodies quarantined.
    async fn store_again(&self, events: Vec<&Prepared>) -> Result<(), sqlx::Error> {
        let mut offered: BTreeMap<(Key, [u8; 32]), (i64, &Prepared)> = BTreeMap::new();
        for event in events {
            offered.entry((event.key, event.fingerprint)).or_insert((0, event)).0 += 1;
        }
        // Duplicates are counted once per round; a key with two bodies is asked for each of them.
        let mut others = Vec::new();
        for chunk in rounds(offered) {
            let keys: Vec<&[u8]> = chunk.iter().map(|(_, event)| event.key.0.as_slice()).collect();
            let prints: Vec<&[u8]> = chunk.iter().map(|(_, event)| event.fingerprint.as_slice()).collect();
            let counts: Vec<i64> = chunk.iter().map(|(count, _)| *count).collect();
            let same: Vec<Vec<u8>> = sqlx::query_scalar(include_str!("sql/seen.sql"))
                .bind(keys)
                .bind(prints)
                .bind(counts)
                .fetch_all(&self.pool)
                .await?;
            let same: HashSet<Vec<u8>> = same.into_iter().collect();
            for (count, event) in chunk {
                let same = same.contains(event.key.0.as_slice()) || event.says_nothing();
                if same || self.completes(event).await? {
                    self.count_duplicates(event, count.unsigned_abs());
                } else if event.state != State::Quarantined {
                    others.push(event.clone().quarantine());
                }
            }
        }
        if others.is_empty() {
            return Ok(());
        }
        others.sort_by_key(|event| event.key);
        let fresh = insert(&self.pool, others.iter()).await?;
        for event in &others {
            if fresh.contains(&event.key) {
                self.log_refusal(event);
            } else {
                self.count_duplicates(event, 1);
            }
        }
        Ok(())
    }

    /// Whether the event that came before had no data, so that this is no other body: it gets this one, unless somebody has decided
    /// about it meanwhile.
    async fn completes(&self, event: &Prepared) -> Result<bool, sqlx::Error> {
        let completed: Option<bool> = sqlx::query_scalar(include_str!("sql/complete.sql"))
            .bind(event.key.0.as_slice())
            .bind(event.event.body.as_slice())
            .bind(event.fingerprint.as_slice())
            .bind(event.about.subject.as_deref())
            .bind(event.about.reference.as_deref())
            .bind(event.state.as_str())
            .bind(event.refusal.as_ref().map(|(_, reason)| storable(reason)))
            .fetch_one(&self.pool)
            .await?;
        if completed == Some(true) {
            let id: String = event.event.id.chars().take(80).collect();
            tracing::info!(topic = %event.event.topic, event_id = %id, subject = event.about.subject.as_deref(), "Event has its data now: state={}", event.state.as_str());
        }
        Ok(completed.is_some())
    }
}

/// Splits what shares a key (two bodies under one id) into rounds in which each key stands once.
fn rounds<'a>(offered: BTreeMap<(Key, [u8; 32]), (i64, &'a Prepared)>) -> Vec<Vec<(i64, &'a Prepared)>> {
    let mut rounds: Vec<Vec<(i64, &'a Prepared)>> = Vec::new();
    let mut depth: HashMap<Key, usize> = HashMap::new();
    for ((key, _), entry) in offered {
        let round = depth.entry(key).or_insert(0);
        if rounds.len() == *round {
            rounds.push(Vec::new());
        }
        rounds[*round].push(entry);
        *round += 1;
    }
    rounds
}

async fn insert<'a>(
    pool: &PgPool,
    events: impl Iterator<Item = &'a Prepared> + Clone,
) -> Result<HashSet<Key>, sqlx::Error> {
    macro_rules! column {
        ($event:ident => $value:expr) => {
            events.clone().map(|$event| $value).collect::<Vec<_>>()
        };
    }
    let storing = sqlx::query_as(include_str!("sql/accept.sql"))
        .bind(column!(e => e.key.0.as_slice()))
        .bind(column!(e => e.fingerprint.as_slice()))
        .bind(column!(e => storable(&e.event.topic)))
        .bind(column!(e => storable(&e.event.source)))
        .bind(column!(e => storable(&e.event.id)))
        .bind(column!(e => storable(&e.event.kind)))
        .bind(column!(e => e.about.subject.as_deref()))
        .bind(column!(e => e.about.reference.as_deref()))
        .bind(column!(e => storable_json(&e.event.headers).to_string()))
        .bind(column!(e => e.event.traceparent.as_deref()))
        .bind(column!(e => e.event.body.as_slice()))
        .bind(column!(e => e.state.as_str()))
        .bind(column!(e => e.refusal.as_ref().map(|(_, reason)| storable(reason))))
        .fetch_all(pool);
    let fresh: Vec<(Vec<u8>,)> = database::traced(pool, "INSERT inbox", storing).await?;
    Ok(fresh.into_iter().filter_map(|(key,)| Some(Key(key.try_into().ok()?))).collect())
}
