//! One batch of one run of a job, in the caller's transaction.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::consult::consult;
use super::{Acts, Evidence, Ground, Reason, Rule, Spared, Terms};
use crate::engine::queue::Queue;
use crate::engine::runs::{Cursor, Run};

/// Between two glances at the watermark that a run waits for.
const GLANCE: Duration = Duration::from_secs(1);

/// The result of a batch.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Ids of the sessions, carts, orders or reservations that were changed.
    pub(super) items: Vec<String>,
    /// Behind the last candidate.
    pub(super) cursor: Cursor,
    /// No candidate is left.
    pub(super) last: bool,
    /// Queues that got rows.
    pub(super) wakes: Vec<Queue>,
    /// Orders whose time was up, and that were not touched.
    pub(super) spared: Spared,
    /// Nothing was looked at yet: the run waits so long.
    pub(super) pause: Duration,
}

/// An item that a job may act on, with the time by which candidates are ordered.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Candidate {
    at: Option<DateTime<Utc>>,
    id: String,
    /// The order, where it is one; else its own id.
    pub(super) subject: String,
}

/// Makes the next batch of at most `limit` candidates.
pub(super) async fn batch(
    tx: &mut PgConnection,
    rule: &Rule,
    run: &Run,
    limit: u32,
    terms: &Terms,
) -> Result<Batch, sqlx::Error> {
    let evidence = Evidence::read(tx, terms).await?;
    let now = moment(run, terms, &evidence);
    let before = (rule.before)(terms, now);
    let fact = match rule.acts {
        Acts::Deletes(_) => None,
        Acts::Asks(fact) => Some(fact(terms, before)),
    };
    let gives_up = fact.is_some_and(|fact| fact.gives_up());
    let ground = if gives_up { evidence.covers(now) } else { Ok(Ground::SwitchedOff) };
    if let Err(lack) = &ground
        && lack.reason == Reason::Behind
        && evidence.now - now < terms.patience()
    {
        return Ok(Batch { pause: GLANCE, ..Batch::default() });
    }
    let candidates = candidates(tx, rule, run, limit, terms, before).await?;
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
    let cause = format!("cron:{}:{}", rule.job, run.tick.format("%Y-%m-%dT%H:%M:%S%.6fZ"));
    let done = match (rule.acts, fact) {
        (Acts::Deletes(sql), _) => delete(tx, sql, candidates).await?,
        (Acts::Asks(_), Some(fact)) => consult(tx, &cause, &candidates, fact, &evidence).await?,
        (Acts::Asks(_), None) => Batch::default(),
    };
    Ok(Batch { cursor, last, ..done })
}

/// The next candidate: the cursor behind it, and its id.
pub(super) async fn next(
    tx: &mut PgConnection,
    rule: &Rule,
    run: &Run,
    terms: &Terms,
) -> Result<Option<(Cursor, String)>, sqlx::Error> {
    let now = moment(run, terms, &Evidence::read(tx, terms).await?);
    let candidates = candidates(tx, rule, run, 1, terms, (rule.before)(terms, now)).await?;
    Ok(candidates.into_iter().next().map(|candidate| (candidate.place(), candidate.subject)))
}

/// The moment that ages are counted back from: the tick. One that is to come was written under a clock that was ahead, and no look would
/// ever reach it.
fn moment(run: &Run, terms: &Terms, evidence: &Evidence) -> DateTime<Utc> {
    if run.tick > evidence.now { evidence.now - terms.patience() } else { run.tick }
}

/// At most `limit` candidates behind the run's cursor that were there before this moment.
async fn candidates(
    tx: &mut PgConnection,
    rule: &Rule,
    run: &Run,
    limit: u32,
    terms: &Terms,
    before: DateTime<Utc>,
) -> Result<Vec<Candidate>, sqlx::Error> {
    let query = sqlx::query_as(rule.find).bind(before).bind(run.cursor.at).bind(&run.cursor.id).bind(i64::from(limit));
    let query = if rule.asks_for_cod { query.bind(terms.cod_too) } else { query };
    query.fetch_all(tx).await
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
pub(super) fn subjects(candidates: &[Candidate]) -> BTreeSet<&str> {
    candidates.iter().map(|candidate| candidate.subject.as_str()).collect()
}
