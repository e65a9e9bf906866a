//! Events of the inbox: what became of them, and those that wait for an operator.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::decision::Verb;
use super::{Error, Window, numbers};
use crate::engine::audit;
use crate::engine::queue::State;
use crate::platform::database::{PgPool, column};
use crate::shop::orders::IncidentKind;

/// A filter for events. An empty field matches all.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// When they were received.
    pub window: Window,
    /// The order that they are about.
    pub order: Option<String>,
    /// Their payment.
    pub payment: Option<String>,
    /// Their CloudEvent id.
    pub event: Option<String>,
    /// The topic that they came from.
    pub topic: Option<String>,
    /// `pending`, `applied`, `superseded`, `rejected`, `held`, `dead` or `quarantined`.
    pub outcome: Option<String>,
    /// Words in the reason of the outcome.
    pub reason: Option<String>,
}

/// An event in a list.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Event {
    /// Its number in the inbox.
    pub id: i64,
    /// The day of its journal.
    pub day: NaiveDate,
    /// Its topic.
    pub topic: String,
    /// The CloudEvent's source.
    pub source: String,
    /// The CloudEvent's id.
    pub event_id: String,
    /// The order, where the body could be read.
    pub order_id: Option<String>,
    /// The payment, where the body could be read.
    pub payment_id: Option<String>,
    /// Its outcome, or its state.
    pub outcome: String,
    /// Why.
    pub reason: Option<String>,
    /// When it was accepted.
    pub received_at: DateTime<Utc>,
    /// When its outcome was written.
    pub settled_at: Option<DateTime<Utc>>,
    /// Deliveries after the first.
    pub duplicates: Option<i64>,
}

/// Events that ended alike.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Group {
    /// Their outcome, or their state.
    pub outcome: String,
    /// Their topic.
    pub topic: String,
    /// Why, with `#` for what differs.
    pub reason: Option<String>,
    /// The number of rows.
    pub events: i64,
    /// When the first was received.
    pub first: DateTime<Utc>,
    /// When the last was received.
    pub last: DateTime<Utc>,
    /// The CloudEvent id of one of them.
    pub example: String,
}

/// An event with all that is known of it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct EventDetail {
    /// The fields of a list.
    #[sqlx(flatten)]
    pub event: Event,
    /// The CloudEvent's type.
    pub event_type: String,
    /// The rest of the envelope.
    pub headers: Value,
    /// The trace that it belongs to.
    pub traceparent: Option<String>,
    /// `data` as received.
    pub body: Vec<u8>,
    /// The cause of its announcements: its key in hexadecimal.
    pub cause: String,
}

macro_rules! bound {
    ($query:expr, $selection:expr) => {
        $query
            .bind($selection.window.since)
            .bind($selection.window.until)
            .bind(&$selection.order)
            .bind(&$selection.payment)
            .bind(&$selection.event)
            .bind(&$selection.topic)
            .bind(&$selection.outcome)
            .bind(&$selection.reason)
    };
}

/// The newest `limit` of the selected events.
pub async fn list(pool: &PgPool, selection: &Selection, limit: u32) -> Result<Vec<Event>, sqlx::Error> {
    let query = sqlx::query_as(include_str!("sql/events.sql"));
    bound!(query, selection).bind(i64::from(limit)).fetch_all(pool).await
}

/// The selected events by how they ended and why.
pub async fn groups(pool: &PgPool, selection: &Selection) -> Result<Vec<Group>, sqlx::Error> {
    bound!(sqlx::query_as(include_str!("sql/event_groups.sql")), selection).fetch_all(pool).await
}

/// The events with this CloudEvent id (several sources may use the same), or the one with this number.
pub async fn show(pool: &PgPool, name: &str) -> Result<Vec<EventDetail>, sqlx::Error> {
    let query = sqlx::query_as(include_str!("sql/event.sql"));
    query.bind(name).bind(name.parse::<i64>().ok()).fetch_all(pool).await
}

/// Records that an operator looks at the unmasked bodies of the events with this name.
///
/// # Errors
///
/// The database's.
pub async fn reveal(tx: &mut PgConnection, name: &str, reason: Option<&str>, actor: &str) -> Result<(), Error> {
    audit::record(tx, actor, "inbox show --reveal", name, &json!({ "reason": reason })).await?;
    Ok(())
}

/// The reason why an event waits for an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Its amount is not the order's (`worker.inbox.amount_mismatch` or `underpaid: hold`).
    Held,
    /// Its id came before with another body.
    Quarantined,
}

impl Waits {
    const fn state(self) -> State {
        match self {
            Self::Held => State::Held,
            Self::Quarantined => State::Quarantined,
        }
    }

    /// The kind of the incident that it opened.
    const fn incident(self) -> IncidentKind {
        match self {
            Self::Held => IncidentKind::AmountMismatch,
            Self::Quarantined => IncidentKind::SameIdOtherBody,
        }
    }

    /// The states that end when it is decided that such an event changes nothing. One that waits for an order, or for its turn, may
    /// be given up as well.
    const fn rejected_states(self) -> &'static [State] {
        match self {
            Self::Held => &[State::Held, State::Waiting, State::Ready],
            Self::Quarantined => &[State::Quarantined],
        }
    }

    /// The commands, as the audit log has them, and what is decided by them.
    const fn approving(self) -> (&'static str, Verb) {
        match self {
            Self::Held => ("inbox approve", Verb::Approve),
            Self::Quarantined => ("quarantine resolve --accept", Verb::Accept),
        }
    }

    const fn rejecting(self) -> (&'static str, Verb) {
        match self {
            Self::Held => ("inbox reject", Verb::Reject),
            Self::Quarantined => ("quarantine resolve --drop", Verb::Drop),
        }
    }
}

/// An event that waits for an operator.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Waiting {
    /// Its number.
    pub id: i64,
    /// Held or quarantined.
    pub state: State,
    /// Its topic.
    pub topic: String,
    /// The CloudEvent's source.
    pub source: String,
    /// The CloudEvent's id.
    pub event_id: String,
    /// The order.
    pub order_id: Option<String>,
    /// Why it waits.
    pub reason: Option<String>,
    /// When it was accepted.
    pub received_at: DateTime<Utc>,
    /// Its body.
    pub body: Vec<u8>,
}

/// The oldest `limit` events that wait for this.
pub async fn waiting(pool: &PgPool, waits: Waits, limit: u32) -> Result<Vec<Waiting>, sqlx::Error> {
    let query = sqlx::query_as(include_str!("sql/waiting.sql"));
    query.bind(waits.state().as_str()).bind(i64::from(limit)).fetch_all(pool).await
}

/// Lets events that wait be handled, and closes their incidents. Approving a held one says that its amount will do; accepting a
/// quarantined one says that its body counts, and its amount is judged like any other. Returns those that did wait.
///
/// # Errors
///
/// [`Error::Refused`] when none of them does.
pub async fn approve(
    tx: &mut PgConnection,
    waits: Waits,
    ids: &[i64],
    reason: &str,
    actor: &str,
) -> Result<Vec<i64>, Error> {
    let (action, verb) = waits.approving();
    let approved: Vec<i64> = sqlx::query_scalar(include_str!("sql/approve.sql"))
        .bind(waits.state().as_str())
        .bind(ids)
        .bind(actor)
        .bind(verb.as_str())
        .bind(reason)
        .fetch_all(&mut *tx)
        .await?;
    decided(tx, waits, ids, &approved, action, reason, actor).await?;
    Ok(approved)
}

/// Settles events that wait: they change nothing, and a replay does not ask again. Closes their incidents, and returns those that did
/// wait.
///
/// # Errors
///
/// [`Error::Refused`] when none of them does.
pub async fn reject(
    tx: &mut PgConnection,
    waits: Waits,
    ids: &[i64],
    reason: &str,
    actor: &str,
) -> Result<Vec<i64>, Error> {
    let (action, verb) = waits.rejecting();
    let rejected: Vec<i64> = sqlx::query_scalar(include_str!("sql/reject.sql"))
        .bind(column(waits.rejected_states(), |state| state.as_str()))
        .bind(ids)
        .bind(actor)
        .bind(verb.as_str())
        .bind(reason)
        .fetch_all(&mut *tx)
        .await?;
    decided(tx, waits, ids, &rejected, action, reason, actor).await?;
    Ok(rejected)
}

/// The common end of these decisions: the incidents are closed, and each event gets its audit record.
async fn decided(
    tx: &mut PgConnection,
    waits: Waits,
    asked: &[i64],
    ids: &[i64],
    action: &str,
    reason: &str,
    actor: &str,
) -> Result<(), Error> {
    if ids.is_empty() {
        let what = format!("none of {} waits for this", numbers(asked));
        return Err(Error::refused(what, "look at its outcome: order-worker inbox show ID"));
    }
    let closed =
        sqlx::query(include_str!("sql/close_incidents.sql")).bind(ids).bind(waits.incident().as_str()).bind(actor);
    closed.execute(&mut *tx).await?;
    for id in ids {
        audit::record(tx, actor, action, &id.to_string(), &json!({ "reason": reason })).await?;
    }
    Ok(())
}
