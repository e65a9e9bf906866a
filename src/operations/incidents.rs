//! Incidents: what a person has to look at.

use crate::platform::database::PgPool;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use sqlx::PgConnection;

use super::{Error, numbers};
use crate::engine::audit;
use crate::shop::orders::IncidentKind;

/// A filter for incidents. An empty field matches all.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Resolved ones as well.
    pub resolved_too: bool,
    /// Of this kind.
    pub kind: Option<String>,
    /// About this order.
    pub order: Option<String>,
    /// With this number.
    pub id: Option<i64>,
}

/// An incident.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Incident {
    /// Its number.
    pub id: i64,
    /// Its kind.
    pub kind: String,
    /// The order.
    pub order_id: Option<String>,
    /// A description of what happened.
    pub detail: String,
    /// Its cause: an inbox key, or a job and its tick.
    pub cause: String,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    /// When it was resolved.
    pub resolved_at: Option<DateTime<Utc>>,
    /// Who.
    pub resolved_by: Option<String>,
}

/// The next step for an operator.
#[must_use]
pub fn next_step(incident: &Incident) -> String {
    let order = incident.order_id.as_deref().unwrap_or("ID");
    match incident.kind.parse() {
        Ok(IncidentKind::PaidCancelled | IncidentKind::PaidTwice) => {
            format!("give the money back, or open the order anew; its story: order-worker order show {order}")
        }
        Ok(IncidentKind::AmountMismatch) => format!(
            "compare the amounts; a held event: order-worker inbox approve or reject; its story: order-worker order show {order}"
        ),
        Ok(IncidentKind::PaidUnreserved) => {
            format!("see whether the goods are there, or cancel the order; its story: order-worker order show {order}")
        }
        Ok(IncidentKind::NotReleased) => {
            format!(
                "give the goods back to the stock by hand, where they are still bound; its story: order-worker order show {order}"
            )
        }
        Ok(IncidentKind::UnknownStatus) => format!(
            "the money came, and the order was left alone: give it a status that the worker knows (pending, to be paid), then order-worker inbox replay --order {order}{}",
            // A replay leaves alone what a person has decided, unless --include-decided says otherwise.
            if incident.resolved_at.is_some() {
                " --include-decided"
            } else {
                ", before this is resolved; afterwards it takes --include-decided"
            }
        ),
        Ok(IncidentKind::RefundedAlive) => format!(
            "the customer has the money back: cancel the order, or have it paid anew; its story: order-worker order show {order}"
        ),
        Ok(IncidentKind::RefundUnknown) => format!(
            "find the payment at the payment service: its event may be dead or still to come; order-worker order show {order}"
        ),
        Ok(IncidentKind::SameIdOtherBody) => {
            "compare both events: order-worker quarantine list; then order-worker quarantine resolve".to_owned()
        }
        // A kind that a later version has opened.
        Err(_) => format!("order-worker order show {order}"),
    }
}

/// The newest `limit` of the selected incidents.
pub async fn list(pool: &PgPool, selection: &Selection, limit: u32) -> Result<Vec<Incident>, sqlx::Error> {
    sqlx::query_as(include_str!("sql/incidents.sql"))
        .bind(selection.resolved_too)
        .bind(&selection.kind)
        .bind(&selection.order)
        .bind(selection.id)
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await
}

/// The number of open incidents of each kind that has any.
pub async fn open(pool: &PgPool) -> Result<Vec<(String, i64)>, sqlx::Error> {
    sqlx::query_as(include_str!("sql/incidents_open.sql")).fetch_all(pool).await
}

/// Closes incidents. Returns the numbers of those that were open.
///
/// # Errors
///
/// [`Error::Refused`] when none of them was.
pub async fn resolve(tx: &mut PgConnection, ids: &[i64], reason: &str, actor: &str) -> Result<Vec<i64>, Error> {
    let resolved: Vec<i64> =
        sqlx::query_scalar(include_str!("sql/resolve_incidents.sql")).bind(ids).bind(actor).fetch_all(&mut *tx).await?;
    if resolved.is_empty() {
        return Err(Error::refused(format!("none of {} is open", numbers(ids)), "order-worker incident list"));
    }
    for id in &resolved {
        audit::record(tx, actor, "incident resolve", &id.to_string(), &json!({ "reason": reason })).await?;
    }
    Ok(resolved)
}
