//! The jobs' way to change orders: the same lock, decision and write as everything else.

use std::collections::{BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::batch::{Batch, Candidate, subjects};
use super::{Evidence, Spared};
use crate::platform::telemetry::trace;
use crate::shop::orders::{self, Decided, Decision, Fact};
use crate::shop::{announcements, warehouse};

/// Locks the candidates' orders, decides, and writes what was decided. An order that somebody else changes just now is left to the
/// next tick, and none is given up of which something in the inbox speaks, or may speak.
pub(super) async fn consult(
    tx: &mut PgConnection,
    cause: &str,
    candidates: &[Candidate],
    fact: Fact<'_>,
    evidence: &Evidence,
) -> Result<Batch, sqlx::Error> {
    let ids = subjects(candidates);
    let mut locked = orders::lock(tx, &ids).await?;
    let waiting = if fact.gives_up() { waiting(tx, &ids).await? } else { HashSet::new() };
    let unreadable = evidence.unreadable.as_ref().filter(|_| fact.gives_up());
    let placed: Vec<(String, Option<DateTime<Utc>>)> =
        locked.orders.values().map(|order| (order.id.clone(), order.created_at)).collect();
    let (mut spoken_of, mut unknown, mut spared) = (0, 0, Spared::default());
    let mut wanted: Vec<(String, Decision)> = Vec::new();
    for (id, placed) in placed {
        let Some(decision) = locked.decide(&id, &fact).filter(|decision| decision.change().is_some()) else { continue };
        if waiting.contains(&id) {
            spoken_of += 1;
        } else if unreadable.is_some_and(|events| placed.is_none_or(|placed| events.may_speak_of(placed))) {
            unknown += 1;
        } else {
            wanted.push((id, decision));
        }
    }
    spared.note(spoken_of, || "an event in the inbox speaks of it: order-worker inbox list --order".to_owned());
    if let Some(unreadable) = unreadable {
        spared.note(unknown, || unreadable.to_string());
    }

    let traceparent = trace::continue_trace(None);
    let traceparent = traceparent.as_deref();
    let decided: Vec<Decided<'_>> = wanted
        .iter()
        .map(|(order_id, decision)| Decided { order_id, fact, decision, cause, traceparent, received_at: None })
        .collect();
    orders::write(tx, &decided).await?;
    let changes = || wanted.iter().filter_map(|(id, decision)| Some((id, decision.change()?)));
    let items = match fact {
        Fact::Unused { .. } => {
            changes().flat_map(|(_, change)| &change.calls).map(|call| call.reservation_id.clone()).collect()
        }
        _ => wanted.iter().map(|(id, _)| id.clone()).collect(),
    };
    let mut wakes = Vec::new();
    if changes().any(|(_, change)| change.status.is_some()) {
        wakes.push(announcements::QUEUE);
    }
    if changes().any(|(_, change)| !change.calls.is_empty()) {
        wakes.push(warehouse::QUEUE);
    }
    Ok(Batch { items, wakes, spared, ..Batch::default() })
}

/// Those of the orders about which something waits in the inbox.
async fn waiting(tx: &mut PgConnection, ids: &BTreeSet<&str>) -> Result<HashSet<String>, sqlx::Error> {
    let ids: Vec<&str> = ids.iter().copied().collect();
    let keys: Vec<String> = sqlx::query_scalar(include_str!("sql/waiting.sql")).bind(ids).fetch_all(tx).await?;
    Ok(keys.into_iter().collect())
}
