//! One batch of a replay, in the caller's transaction: a rehearsal rolls it back.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;

use super::{Request, Tally, event_id};
use crate::engine::inbox::Outcome;
use crate::engine::queue::State;
use crate::engine::runs::Cursor;
use crate::platform::database::column;
use crate::shop::announcements::STATUS_CHANGED_TOPIC;
use crate::shop::orders::{self, Action, AmountMismatch, Decided, Decision, Locked};
use crate::shop::payments::{PaymentEvent, announces, outcome, read};

/// The result of a batch.
#[derive(Debug, Default)]
pub struct Step {
    /// Events looked at.
    pub seen: usize,
    /// Behind the last of them.
    pub cursor: Cursor,
    /// None is left of this share.
    pub last: bool,
    /// Handed to the inbox again.
    pub again: Vec<Difference>,
    /// Decided otherwise by today's code.
    pub changed: Vec<Difference>,
    /// Those that a person has decided about, whether they are left alone or not.
    pub decided: Vec<Difference>,
    /// Those of them that are left alone.
    left: u64,
    /// Announcements that are sent again.
    pub announced: Vec<Difference>,
    /// Whether the warehouse is to be called.
    pub calls: bool,
}

/// The difference about one event, as lines of a diff.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The CloudEvent's id.
    pub event_id: String,
    /// The order.
    pub order_id: String,
    /// What would not stand any more (`- `), and what would (`+ `), without what is the event's own.
    pub lines: Vec<String>,
}

impl Step {
    /// The counts of the replay with it.
    #[must_use]
    pub fn counted(&self, before: &Tally) -> Tally {
        let count = |some: &[Difference]| some.len() as u64;
        let (again, changed) = (count(&self.again), count(&self.changed));
        Tally {
            phase: before.phase,
            seen: before.seen + self.seen as u64,
            unchanged: before.unchanged + self.seen as u64 - again - changed - self.left,
            decided: before.decided + count(&self.decided),
            again: before.again + again,
            changed: before.changed + changed,
            announced: before.announced + count(&self.announced),
            failed: before.failed,
        }
    }
}

#[derive(Debug, sqlx::FromRow)]
struct Candidate {
    id: i64,
    day: NaiveDate,
    cause: String,
    topic: String,
    event_id: String,
    order_id: Option<String>,
    outcome: Option<Outcome>,
    state: Option<State>,
    /// A person's decision: `rejected`, `dropped`, `skipped`, or the incident that was resolved.
    #[sqlx(skip)]
    closed: Option<String>,
    /// Whether a person has said that its amount will do.
    #[sqlx(skip)]
    approved: bool,
}

#[derive(Debug, sqlx::FromRow)]
struct Body {
    id: i64,
    body: Vec<u8>,
    traceparent: Option<String>,
    received_at: DateTime<Utc>,
}

impl Candidate {
    /// The id of the announcement that it asks for.
    fn announcement(&self) -> Option<String> {
        let (status, order_id) = (announces(&self.topic)?, self.order_id.as_deref()?);
        Some(event_id(&self.cause, "dapr", STATUS_CHANGED_TOPIC, order_id, status.as_str()))
    }

    /// The cursor behind it.
    fn place(&self) -> Cursor {
        Cursor { at: self.day.and_hms_opt(0, 0, 0).map(|midnight| midnight.and_utc()), id: Some(self.id.to_string()) }
    }

    fn differs(&self, lines: Vec<String>) -> Difference {
        Difference { event_id: self.event_id.clone(), order_id: self.order_id.clone().unwrap_or_default(), lines }
    }
}

/// Replays at most `limit` events behind the cursor. `run` is the replay's number.
pub async fn batch(
    tx: &mut PgConnection,
    run: i64,
    request: &Request,
    tally: &Tally,
    cursor: &Cursor,
    limit: u32,
    on_mismatch: AmountMismatch,
) -> Result<Step, sqlx::Error> {
    let mut found = select(tx, request, tally, cursor, limit).await?;
    decided(tx, &mut found).await?;
    let mut last = found.len() < limit as usize;

    // What was announced stands; what is neither settled nor the inbox's to hand out is not touched.
    let ids: Vec<String> = found.iter().filter_map(Candidate::announcement).collect();
    let known: HashSet<String> = sqlx::query_scalar(include_str!("sql/announced.sql"))
        .bind(&ids)
        .fetch_all(&mut *tx)
        .await?
        .into_iter()
        .collect();
    let stands = |event: &Candidate| event.announcement().is_some_and(|id| known.contains(&id));
    // What a person has decided is final.
    let left = |event: &Candidate| event.closed.is_some() && !request.include_decided;
    let is_judged = |event: &&Candidate| event.outcome.is_some() && !stands(event) && !left(event);
    let judged: Vec<&Candidate> = found.iter().filter(is_judged).collect();

    let ids: BTreeSet<&str> = judged.iter().filter_map(|event| event.order_id.as_deref()).collect();
    let mut locked = orders::lock(tx, &ids).await?;
    let elsewhere = |event: &&Candidate| event.order_id.as_deref().is_some_and(|id| locked.elsewhere.contains(id));
    // An order that somebody else changes just now: the batch ends before its event, and the next begins with it.
    if let Some(blocked) = judged.iter().copied().find(elsewhere) {
        let (day, id) = (blocked.day, blocked.id);
        found.truncate(found.iter().position(|event| (event.day, event.id) == (day, id)).unwrap_or(0));
        last = false;
    }
    let judged: Vec<&Candidate> = found.iter().filter(is_judged).collect();
    let (changed, calls) = judge(tx, run, &judged, &mut locked, on_mismatch).await?;

    let unfinished =
        |event: &&Candidate| matches!(event.state, Some(State::Waiting | State::Held | State::Dead)) && !left(event);
    let again: Vec<&Candidate> = found.iter().filter(unfinished).collect();
    if !again.is_empty() {
        let ids = column(&again, |event| event.id);
        sqlx::query(include_str!("sql/again.sql")).bind(ids).bind(run).execute(&mut *tx).await?;
    }
    let again = again.into_iter().map(|event| {
        event.differs(vec![
            format!("- {}", event.state.map_or("", State::as_str)),
            "+ handled again by the inbox".into(),
        ])
    });
    let again = again.collect();

    // Of one whose effect stands there is nothing to overrule.
    let decided = |event: &&Candidate| event.closed.is_some() && !stands(event);
    let decided: Vec<Difference> = found
        .iter()
        .filter(decided)
        .map(|event| {
            let (word, so) = (event.closed.as_deref().unwrap_or_default(), request.include_decided);
            let then = if so { "judged again all the same" } else { "left alone (--include-decided)" };
            event.differs(vec![format!("! a person has decided: {word}; {then}")])
        })
        .collect();
    let left = if request.include_decided { 0 } else { decided.len() as u64 };

    let mut announced = Vec::new();
    if request.announce {
        let sent: Vec<&Candidate> = found.iter().filter(|event| stands(event)).collect();
        let ids: Vec<String> = sent.iter().filter_map(|event| event.announcement()).collect();
        announce(tx, &ids).await?;
        let line = || format!("+ {STATUS_CHANGED_TOPIC} again, under its first id");
        announced = sent.into_iter().map(|event| event.differs(vec![line()])).collect();
    }
    let cursor = found.last().map_or_else(|| cursor.clone(), Candidate::place);
    Ok(Step { seen: found.len(), cursor, last, again, changed, decided, left, announced, calls })
}

/// Sends the announcements with these ids again, of those that were sent. Returns how many.
pub async fn announce(tx: &mut PgConnection, ids: &[String]) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(include_str!("sql/announce.sql")).bind(ids).execute(tx).await?;
    Ok(done.rows_affected())
}

/// The next event behind the cursor: the cursor behind it, and its CloudEvent id.
pub(crate) async fn next(
    tx: &mut PgConnection,
    request: &Request,
    tally: &Tally,
    cursor: &Cursor,
) -> Result<Option<(Cursor, String)>, sqlx::Error> {
    let found = select(tx, request, tally, cursor, 1).await?;
    Ok(found.into_iter().next().map(|event| (event.place(), event.event_id)))
}

async fn select(
    tx: &mut PgConnection,
    request: &Request,
    tally: &Tally,
    cursor: &Cursor,
    limit: u32,
) -> Result<Vec<Candidate>, sqlx::Error> {
    let (from, to) = request.share(tally.phase);
    // A body's day may be one earlier than its receipt, across midnight.
    let first = request.since.date_naive().pred_opt().unwrap_or(NaiveDate::MIN);
    let id: i64 = cursor.id.as_deref().and_then(|id| id.parse().ok()).unwrap_or(0);
    sqlx::query_as(include_str!("sql/events.sql"))
        .bind(cursor.at.map_or(first, |at| at.date_naive()))
        .bind(id)
        .bind(request.since)
        .bind(request.until)
        .bind(&request.order)
        .bind(&request.payment)
        .bind(&request.event)
        .bind(&request.topic)
        .bind(&request.outcome)
        .bind(from)
        .bind(to)
        .bind(&request.reason)
        .bind(i64::from(limit))
        .fetch_all(tx)
        .await
}

/// Reads what persons have decided about these events.
async fn decided(tx: &mut PgConnection, found: &mut [Candidate]) -> Result<(), sqlx::Error> {
    let spoken: Vec<(i64, Option<String>, bool)> = sqlx::query_as(include_str!("sql/decided.sql"))
        .bind(column(found, |event| event.id))
        .bind(column(found, |event| event.cause.as_str()))
        .fetch_all(tx)
        .await?;
    let mut spoken: HashMap<i64, (Option<String>, bool)> =
        spoken.into_iter().map(|(id, closed, approved)| (id, (closed, approved))).collect();
    for event in found {
        (event.closed, event.approved) = spoken.remove(&event.id).unwrap_or_default();
    }
    Ok(())
}

/// An event with what today's code says.
struct Judged<'a> {
    event: &'a Candidate,
    body: &'a Body,
    payment: PaymentEvent,
    on_mismatch: AmountMismatch,
    decision: Decision,
}

/// Judges settled events whose announcement is not there, and writes what differs.
async fn judge(
    tx: &mut PgConnection,
    run: i64,
    events: &[&Candidate],
    locked: &mut Locked,
    on_mismatch: AmountMismatch,
) -> Result<(Vec<Difference>, bool), sqlx::Error> {
    if events.is_empty() {
        return Ok((Vec::new(), false));
    }
    let bodies: Vec<Body> = sqlx::query_as(include_str!("sql/bodies.sql"))
        .bind(column(events, |event| event.day))
        .bind(column(events, |event| event.id))
        .fetch_all(&mut *tx)
        .await?;
    let bodies: HashMap<i64, &Body> = bodies.iter().map(|body| (body.id, body)).collect();
    let own: Vec<(String, String, String)> = sqlx::query_as(include_str!("sql/facts.sql"))
        .bind(events.iter().filter_map(|event| event.order_id.as_deref()).collect::<Vec<_>>())
        .bind(column(events, |event| event.cause.as_str()))
        .fetch_all(&mut *tx)
        .await?;
    let own: HashSet<(String, String, String)> = own.into_iter().collect();

    let mut differing = Vec::new();
    for event in events {
        let Some(body) = bodies.get(&event.id) else { continue };
        let Ok(mut payment) = read(&event.topic, &body.body) else { continue };
        payment.set_order_id(locked.id(event.order_id.as_deref().unwrap_or(payment.order_id())));
        let Some(order) = locked.orders.get_mut(payment.order_id()) else { continue };
        let on_mismatch = if event.approved { on_mismatch.approved() } else { on_mismatch };
        let fact = payment.fact(on_mismatch);
        let (id, kind) = payment.known_by();
        if own.contains(&(event.cause.clone(), id.to_owned(), kind.to_owned())) {
            order.forget(&fact);
        }
        let Some(decision) = locked.decide(payment.order_id(), &fact) else { continue };
        let said = outcome(&decision);
        if said.is_some() && said != event.outcome {
            differing.push(Judged { event, body, payment, on_mismatch, decision });
        }
    }
    write(tx, run, &differing).await?;
    let calls = differing.iter().any(|one| one.decision.change().is_some_and(|change| !change.calls.is_empty()));
    Ok((differing.iter().map(Judged::difference).collect(), calls))
}

async fn write(tx: &mut PgConnection, run: i64, differing: &[Judged<'_>]) -> Result<(), sqlx::Error> {
    if differing.is_empty() {
        return Ok(());
    }
    let decided: Vec<Decided<'_>> = differing
        .iter()
        .map(|one| Decided {
            order_id: one.payment.order_id(),
            fact: one.payment.fact(one.on_mismatch),
            decision: &one.decision,
            cause: &one.event.cause,
            traceparent: one.body.traceparent.as_deref(),
            received_at: Some(one.body.received_at),
        })
        .collect();
    orders::write(tx, &decided).await?;
    sqlx::query(include_str!("sql/rejudge.sql"))
        .bind(column(differing, |one| one.event.id))
        .bind(column(differing, |one| one.event.day))
        .bind(column(differing, |one| outcome(&one.decision).map(Outcome::as_str)))
        .bind(column(differing, |one| one.decision.reason()))
        .bind(run)
        .execute(tx)
        .await?;
    Ok(())
}

impl Judged<'_> {
    fn difference(&self) -> Difference {
        let words = self.payment.words();
        let mut lines = vec![
            format!("- {words}: {}", self.event.outcome.map_or("", Outcome::as_str)),
            format!("+ {words}: {}", outcome(&self.decision).map_or("", Outcome::as_str)),
        ];
        if let Some(change) = self.decision.change() {
            if let Some(status) = change.status {
                lines.push(format!("+ orders.status {status}"));
                lines.push(format!("+ order_status_history {status} ({})", change.reason));
                lines.push(format!("+ {STATUS_CHANGED_TOPIC} {status}"));
            }
            for action in [Action::Confirm, Action::Release] {
                let calls = change.calls.iter().filter(|call| call.action == action).count();
                if calls > 0 {
                    lines.push(format!("+ warehouse {} ({calls})", action.method()));
                }
            }
        }
        lines.extend(self.decision.incidents().iter().map(|incident| format!("+ incident {}", incident.kind.as_str())));
        self.event.differs(lines)
    }
}
