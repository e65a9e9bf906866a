//! What the jobs do: one batch of one run, in the caller's transaction.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::{Cursor, Evidence, Ground, Job, Reason, Run, Spared};
use crate::config::Config;
use crate::orders::{self, Decided, Fact, Locked, decide};
use crate::reconcile::Streams;
use crate::telemetry::trace;
use crate::terms;

/// Between two glances at the watermark that a run waits for.
const GLANCE: Duration = Duration::from_secs(1);

/// After how long what is given up, and what has to be known before: a worker registers it at its start ([`crate::terms`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    session_minutes: u32,
    cart_minutes: u32,
    order_minutes: u32,
    reservation_minutes: u32,
    cod_too: bool,
    /// The streams that are reconciled, for which what gives orders up waits.
    streams: Option<[String; 3]>,
    /// From one look at them to the next.
    #[serde(default)]
    look_every: Duration,
}

impl terms::Terms for Terms {
    const KIND: &'static str = "jobs";
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session_minutes, cart_minutes, order_minutes, reservation_minutes, cod_too, streams, .. } = self;
        write!(
            f,
            "unpaid orders are cancelled after {order_minutes} min{}, reservations released after {reservation_minutes} min, carts deleted \
             after {cart_minutes} min, sessions after {session_minutes} min, {}",
            if *cod_too { ", COD orders too" } else { "" },
            if streams.is_some() { "only where reconciliation has looked" } else { "without reconciliation" },
        )
    }
}

impl Terms {
    /// As the shop's rules say.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let business = &config.business;
        Self {
            session_minutes: business.session.timeout_minutes,
            cart_minutes: business.cart.timeout_minutes,
            order_minutes: business.order.auto_cancel_minutes,
            reservation_minutes: business.inventory.reservation_timeout_minutes,
            cod_too: business.order.auto_cancel_cod,
            streams: config.worker.reconcile.enabled.then(|| Streams::of(config).names()),
            look_every: config.worker.reconcile.every,
        }
    }

    /// The streams that are looked at; none: that is switched off.
    #[must_use]
    pub const fn streams(&self) -> Option<&[String; 3]> {
        self.streams.as_ref()
    }

    /// How long a run waits for a look that began after its tick.
    #[must_use]
    pub fn patience(&self) -> TimeDelta {
        TimeDelta::from_std(self.look_every * 3).unwrap_or(TimeDelta::days(3)) + TimeDelta::seconds(2)
    }
}

/// What a batch has done.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// What was changed, by id: sessions, carts, orders or reservations.
    pub(super) items: Vec<String>,
    /// Behind the last candidate.
    pub(super) cursor: Cursor,
    /// No candidate is left.
    pub(super) last: bool,
    /// Something is to be published.
    pub(super) announces: bool,
    /// The warehouse is to be called.
    pub(super) calls: bool,
    /// Orders whose time was up, and that were not touched.
    pub(super) spared: Spared,
    /// Nothing was looked at yet: the run waits so long.
    pub(super) pause: Duration,
}

/// What a job may be about, by the time that its order among the others comes from.
#[derive(Debug, sqlx::FromRow)]
struct Candidate {
    at: Option<DateTime<Utc>>,
    id: String,
    /// The order, where it is one; else its own id.
    subject: String,
}

/// Makes the next batch of at most `limit` candidates.
pub(super) async fn batch(
    tx: &mut PgConnection,
    job: Job,
    run: &Run,
    limit: u32,
    terms: &Terms,
) -> Result<Batch, sqlx::Error> {
    let gives_up = matches!(job, Job::OrderCleanup | Job::ReservationCleanup);
    let evidence = Evidence::read(tx, terms).await?;
    let now = moment(run, terms, &evidence);
    let ground = if gives_up { evidence.covers(now) } else { Ok(Ground::SwitchedOff) };
    if let Err(lack) = &ground
        && lack.reason == Reason::Behind
        && evidence.now - now < terms.patience()
    {
        return Ok(Batch { pause: GLANCE, ..Batch::default() });
    }
    let (candidates, before) = candidates(tx, job, run, limit, terms, now).await?;
    let cursor = candidates.last().map_or_else(|| run.cursor.clone(), Candidate::place);
    if let Err(lack) = ground {
        let (orders, mut spared) = (subjects(&candidates), Spared::default());
        spared.note(orders.len() as u64, || lack.why.clone());
        if !orders.is_empty() {
            tracing::warn!(job = run.job, orders = orders.len(), "Job spares what it would give up: {}", lack.why);
        }
        return Ok(Batch { cursor, last: true, spared, ..Batch::default() });
    }
    let last = candidates.len() < limit as usize;
    // The same cause makes the same ids: whatever becomes of a run, it announces once.
    let cause = format!("cron:{job}:{}", run.tick.format("%Y-%m-%dT%H:%M:%S%.6fZ"));
    let done = match job {
        Job::SessionCleanup => delete(tx, include_str!("sql/delete_sessions.sql"), candidates).await?,
        Job::CartCleanup => delete(tx, include_str!("sql/delete_carts.sql"), candidates).await?,
        Job::OrderCleanup => {
            let fact = Fact::Unpaid { placed_before: before, cod_too: terms.cod_too };
            consult(tx, &cause, &candidates, fact, &evidence).await?
        }
        Job::ReservationCleanup => {
            consult(tx, &cause, &candidates, Fact::Unused { reserved_before: before }, &evidence).await?
        }
        Job::CodAutoConfirm => consult(tx, &cause, &candidates, Fact::CodDelivered, &evidence).await?,
    };
    Ok(Batch { cursor, last, ..done })
}

/// The next candidate: the cursor behind it, and its id.
pub(super) async fn next(
    tx: &mut PgConnection,
    job: Job,
    run: &Run,
    terms: &Terms,
) -> Result<Option<(Cursor, String)>, sqlx::Error> {
    let now = moment(run, terms, &Evidence::read(tx, terms).await?);
    let (candidates, _) = candidates(tx, job, run, 1, terms, now).await?;
    Ok(candidates.into_iter().next().map(|candidate| (candidate.place(), candidate.subject)))
}

/// The moment that ages are counted back from: the tick. One that is to come was written under a clock that was ahead, and no look would
/// ever reach it.
fn moment(run: &Run, terms: &Terms, evidence: &Evidence) -> DateTime<Utc> {
    if run.tick > evidence.now { evidence.now - terms.patience() } else { run.tick }
}

/// At most `limit` candidates behind the run's cursor whose time is up at `now`, and the moment before which they were there.
async fn candidates(
    tx: &mut PgConnection,
    job: Job,
    run: &Run,
    limit: u32,
    terms: &Terms,
    now: DateTime<Utc>,
) -> Result<(Vec<Candidate>, DateTime<Utc>), sqlx::Error> {
    let minutes = |minutes: u32| TimeDelta::minutes(minutes.into());
    let (sql, before) = match job {
        Job::SessionCleanup => (include_str!("sql/sessions.sql"), now - minutes(terms.session_minutes)),
        Job::CartCleanup => (include_str!("sql/carts.sql"), now - minutes(terms.cart_minutes)),
        Job::OrderCleanup => (include_str!("sql/unpaid.sql"), now - minutes(terms.order_minutes)),
        Job::ReservationCleanup => (include_str!("sql/unused.sql"), now - minutes(terms.reservation_minutes)),
        Job::CodAutoConfirm => (include_str!("sql/delivered.sql"), now),
    };
    let mut query = sqlx::query_as(sql).bind(before).bind(run.cursor.at).bind(&run.cursor.id).bind(i64::from(limit));
    if job == Job::OrderCleanup {
        query = query.bind(terms.cod_too);
    }
    Ok((query.fetch_all(tx).await?, before))
}

impl Candidate {
    /// The cursor behind it.
    fn place(&self) -> Cursor {
        Cursor { at: self.at, id: Some(self.id.clone()) }
    }
}

async fn delete(tx: &mut PgConnection, sql: &'static str, candidates: Vec<Candidate>) -> Result<Batch, sqlx::Error> {
    let mut items: Vec<String> = candidates.into_iter().map(|candidate| candidate.id).collect();
    let gone: Vec<String> = sqlx::query_scalar(sql).bind(&items).fetch_all(tx).await?;
    let gone: HashSet<String> = gone.into_iter().collect();
    items.retain(|id| gone.contains(id));
    Ok(Batch { items, ..Batch::default() })
}

/// The orders that candidates are about.
fn subjects(candidates: &[Candidate]) -> BTreeSet<&str> {
    candidates.iter().map(|candidate| candidate.subject.as_str()).collect()
}

/// Locks the candidates' orders, decides, and writes what was decided. An order that somebody else changes just now is left to the
/// next tick, and none is given up of which something in the inbox speaks, or may speak.
async fn consult(
    tx: &mut PgConnection,
    cause: &str,
    candidates: &[Candidate],
    fact: Fact<'_>,
    evidence: &Evidence,
) -> Result<Batch, sqlx::Error> {
    let ids = subjects(candidates);
    let Locked { orders, .. } = orders::lock(tx, &ids).await?;
    let waiting = if fact.gives_up() { waiting(tx, &ids).await? } else { HashSet::new() };
    let unreadable = evidence.unreadable.as_ref().filter(|_| fact.gives_up());
    let decisions = orders.values().map(|order| (order, decide(order, &fact)));
    let wanted: Vec<_> = decisions.filter(|(_, decision)| decision.change().is_some()).collect();
    let (mut spoken_of, mut unknown, mut spared) = (0, 0, Spared::default());
    let changes = wanted.iter().filter_map(|(order, decision)| {
        if waiting.contains(&order.id) {
            spoken_of += 1;
        } else if unreadable.is_some_and(|events| order.created_at.is_none_or(|placed| events.may_speak_of(placed))) {
            unknown += 1;
        } else {
            return Some((order.id.as_str(), decision.change()?));
        }
        None
    });
    let changes: Vec<_> = changes.collect();
    spared.note(spoken_of, || "an event in the inbox speaks of it: order-worker inbox list --order".to_owned());
    if let Some(unreadable) = unreadable {
        spared.note(unknown, || unreadable.to_string());
    }

    let traceparent = trace::continue_trace(None);
    let traceparent = traceparent.as_deref();
    let decided: Vec<_> = changes
        .into_iter()
        .map(|(order_id, change)| Decided { order_id, change, cause, traceparent, received_at: None })
        .collect();
    orders::write(tx, &decided).await?;
    let items = match fact {
        Fact::Unused { .. } => {
            decided.iter().flat_map(|one| &one.change.calls).map(|call| call.reservation_id.clone()).collect()
        }
        _ => decided.iter().map(|one| one.order_id.to_owned()).collect(),
    };
    Ok(Batch {
        items,
        announces: decided.iter().any(|one| one.change.status.is_some()),
        calls: decided.iter().any(|one| !one.change.calls.is_empty()),
        spared,
        ..Batch::default()
    })
}

/// Those of the orders about which something waits in the inbox.
async fn waiting(tx: &mut PgConnection, ids: &BTreeSet<&str>) -> Result<HashSet<String>, sqlx::Error> {
    let ids: Vec<&str> = ids.iter().copied().collect();
    let keys: Vec<String> = sqlx::query_scalar(include_str!("sql/waiting.sql")).bind(ids).fetch_all(tx).await?;
    Ok(keys.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn terms_of_another_version_are_read() {
        let terms = Terms {
            session_minutes: 1,
            cart_minutes: 2,
            order_minutes: 4_320,
            reservation_minutes: 3,
            cod_too: true,
            streams: Some(["a", "b", "c"].map(str::to_owned)),
            look_every: Duration::from_secs(10),
        };
        let mut written = json!(terms);
        written["of"] = json!("a later version");
        assert_eq!(serde_json::from_value::<Terms>(written).unwrap(), terms);
    }
}
