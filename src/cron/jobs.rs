//! What the jobs do: one batch of one run, in the caller's transaction.

use std::collections::{BTreeSet, HashSet};
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::{Cursor, Job, Run};
use crate::config::Config;
use crate::orders::{self, Decided, Fact, Locked, decide};
use crate::reconcile;
use crate::telemetry::trace;
use crate::terms;

/// A watermark that is older is worth a warning.
const LONG: TimeDelta = TimeDelta::hours(1);

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
}

impl terms::Terms for Terms {
    const KIND: &'static str = "jobs";
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session_minutes, cart_minutes, order_minutes, reservation_minutes, cod_too, streams } = self;
        write!(
            f,
            "unpaid orders are cancelled after {order_minutes} min{}, reservations released after {reservation_minutes} min, carts deleted \
             after {cart_minutes} min, sessions after {session_minutes} min, {}",
            if *cod_too { ", COD orders too" } else { "" },
            if streams.is_some() { "not before reconciliation has looked" } else { "without reconciliation" },
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
            streams: (config.worker.reconcile.enabled && config.data.redis.addr.is_some())
                .then(|| reconcile::topics(&config.worker.eventbus.dead_letter_topic)),
        }
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
    let (candidates, before) = candidates(tx, job, run, limit, terms).await?;
    let cursor = candidates.last().map_or_else(|| run.cursor.clone(), Candidate::place);
    let last = candidates.len() < limit as usize;
    // The same cause makes the same ids: whatever becomes of a run, it announces once.
    let cause = format!("cron:{job}:{}", run.tick.format("%Y-%m-%dT%H:%M:%S%.6fZ"));
    let done = match job {
        Job::SessionCleanup => delete(tx, include_str!("sql/delete_sessions.sql"), candidates).await?,
        Job::CartCleanup => delete(tx, include_str!("sql/delete_carts.sql"), candidates).await?,
        Job::OrderCleanup => {
            consult(tx, &cause, &candidates, Fact::Unpaid { placed_before: before, cod_too: terms.cod_too }).await?
        }
        Job::ReservationCleanup => consult(tx, &cause, &candidates, Fact::Unused { reserved_before: before }).await?,
        Job::CodAutoConfirm => consult(tx, &cause, &candidates, Fact::CodDelivered).await?,
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
    let (candidates, _) = candidates(tx, job, run, 1, terms).await?;
    Ok(candidates.into_iter().next().map(|candidate| (candidate.place(), candidate.subject)))
}

/// At most `limit` candidates behind the run's cursor, and the moment before which they were there.
async fn candidates(
    tx: &mut PgConnection,
    job: Job,
    run: &Run,
    limit: u32,
    terms: &Terms,
) -> Result<(Vec<Candidate>, DateTime<Utc>), sqlx::Error> {
    let now = if matches!(job, Job::OrderCleanup | Job::ReservationCleanup) {
        known_until(tx, run, terms).await?
    } else {
        run.tick
    };
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
    let items: Vec<String> = candidates.into_iter().map(|candidate| candidate.id).collect();
    sqlx::query(sql).bind(&items).execute(tx).await?;
    Ok(Batch { items, ..Batch::default() })
}

/// The moment up to which a clock may speak against a payment: the tick, or before it, up to where everything that was published is
/// in the inbox. What was paid before its time was up and waits in a stream does not lose.
async fn known_until(tx: &mut PgConnection, run: &Run, terms: &Terms) -> Result<DateTime<Utc>, sqlx::Error> {
    let watermark = match &terms.streams {
        Some(streams) => reconcile::watermark(tx, streams).await?,
        None => None,
    };
    let Some(watermark) = watermark.filter(|watermark| *watermark < run.tick) else { return Ok(run.tick) };
    if run.cursor == Cursor::default() && run.tick - watermark > LONG {
        tracing::warn!(
            job = run.job, watermark = %watermark,
            "Job gives up only what was due before the watermark: what was published since may wait in a stream; order-worker inbox reconcile"
        );
    }
    Ok(watermark)
}

/// Locks the candidates' orders, decides, and writes what was decided. An order that somebody else changes just now is left to the
/// next tick, and none is given up while something about it waits in the inbox.
async fn consult(
    tx: &mut PgConnection,
    cause: &str,
    candidates: &[Candidate],
    fact: Fact<'_>,
) -> Result<Batch, sqlx::Error> {
    let ids: BTreeSet<&str> = candidates.iter().map(|candidate| candidate.subject.as_str()).collect();
    let Locked { orders, .. } = orders::lock(tx, &ids).await?;
    let waiting = if fact.gives_up() { waiting(tx, &ids).await? } else { HashSet::new() };
    let judged = orders.values().filter(|order| !waiting.contains(&order.id));
    let decisions: Vec<_> = judged.map(|order| (order.id.as_str(), decide(order, &fact))).collect();
    let changes = decisions.iter().filter_map(|(order_id, decision)| Some((*order_id, decision.change()?)));

    let traceparent = trace::continue_trace(None);
    let traceparent = traceparent.as_deref();
    let decided: Vec<_> =
        changes.map(|(order_id, change)| Decided { order_id, change, cause, traceparent, received_at: None }).collect();
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
        };
        let mut written = json!(terms);
        written["of"] = json!("a later version");
        assert_eq!(serde_json::from_value::<Terms>(written).unwrap(), terms);
    }
}
