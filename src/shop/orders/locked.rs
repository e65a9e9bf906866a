//! Orders under their lock: read for a decision, and changed by it. The one way in for events and jobs alike.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;

use super::{Change, Decision, Fact, Item, Order, Payment, Refund, decide};
use crate::platform::database::column;
use crate::platform::failpoint;

/// Orders that this transaction has locked, and those that another one has.
#[derive(Debug, Default)]
pub struct Locked {
    /// Ours until the transaction ends, by id.
    pub orders: BTreeMap<String, Order>,
    /// They exist, and another transaction has locked them or their items.
    pub elsewhere: HashSet<String>,
    /// The texts by which orders were asked for, where they are not their ids: a uuid may be written in several ways.
    own: HashMap<String, String>,
}

impl Locked {
    /// Decides a fact about one of these orders, and notes it: the next fact of the transaction sees what follows. None: the order is not
    /// among them.
    pub fn decide(&mut self, order_id: &str, fact: &Fact<'_>) -> Option<Decision> {
        let order = self.orders.get_mut(order_id)?;
        let decision = decide(order, fact);
        order.note(fact, &decision);
        Some(decision)
    }

    /// The id of the order that `given` means, as every table and announcement has it: one order has one name.
    #[must_use]
    pub fn id(&self, given: &str) -> String {
        self.own.get(given).map_or(given, String::as_str).to_owned()
    }
}

/// A fact with the decision about it.
#[derive(Clone, Copy, Debug)]
pub struct Decided<'a> {
    /// The order.
    pub order_id: &'a str,
    /// The fact.
    pub fact: Fact<'a>,
    /// The decision.
    pub decision: &'a Decision,
    /// An inbox key, or a job and its tick: the announcements' ids come from it.
    pub cause: &'a str,
    /// The trace that it belongs to.
    pub traceparent: Option<&'a str>,
    /// When the event that caused it reached the worker; none where no event did.
    pub received_at: Option<DateTime<Utc>>,
}

impl Decided<'_> {
    /// The payment that is known from now on.
    fn payment(&self) -> Option<&Payment> {
        match self.fact {
            Fact::Payment(payment, _) if !matches!(self.decision, Decision::Held(..)) => Some(payment),
            _ => None,
        }
    }

    /// The refund that is known from now on.
    const fn refund(&self) -> Option<&Refund> {
        match self.fact {
            Fact::Refund(refund) => Some(refund),
            _ => None,
        }
    }
}

#[derive(Debug, sqlx::FromRow)]
struct OrderRow {
    given: String,
    id: String,
    locked: bool,
    status: Option<String>,
    payment_method: Option<String>,
    delivered: Option<bool>,
    currency: Option<String>,
    total_amount: Option<Decimal>,
    created_at: Option<DateTime<Utc>>,
}

#[derive(Debug, sqlx::FromRow)]
struct ContextRow {
    order_id: String,
    item_id: Option<String>,
    locked: bool,
    reservation_id: Option<String>,
    reservation_status: Option<String>,
    reserved_at: Option<DateTime<Utc>>,
    payment_id: Option<String>,
    kind: Option<String>,
    amount: Option<Decimal>,
    currency: Option<String>,
}

/// Locks the orders that no other transaction has locked, and reads what decisions need. A text that is no order's id finds none.
pub async fn lock(tx: &mut PgConnection, ids: &BTreeSet<&str>) -> Result<Locked, sqlx::Error> {
    let mut locked = Locked::default();
    if ids.is_empty() {
        return Ok(locked);
    }
    let wanted: Vec<&str> = ids.iter().copied().collect();
    let rows: Vec<OrderRow> = sqlx::query_as(include_str!("sql/lock.sql")).bind(wanted).fetch_all(&mut *tx).await?;
    for row in rows {
        if row.given != row.id {
            locked.own.insert(row.given, row.id.clone());
        }
        if !row.locked {
            locked.elsewhere.insert(row.id);
            continue;
        }
        let order = Order {
            id: row.id.clone(),
            status: row.status.unwrap_or_default(),
            payment_method: row.payment_method.unwrap_or_default(),
            delivered: row.delivered.unwrap_or_default(),
            currency: row.currency.unwrap_or_default(),
            total: row.total_amount.unwrap_or_default(),
            created_at: row.created_at,
            items: Vec::new(),
            facts: HashMap::new(),
            refunds: HashMap::new(),
        };
        locked.orders.insert(row.id, order);
    }
    let ours: Vec<&str> = locked.orders.keys().map(String::as_str).collect();
    let context: Vec<ContextRow> =
        sqlx::query_as(include_str!("sql/context.sql")).bind(ours).fetch_all(&mut *tx).await?;
    for row in &context {
        if !row.locked && locked.orders.remove(&row.order_id).is_some() {
            locked.elsewhere.insert(row.order_id.clone());
        }
    }
    for row in context {
        let Some(order) = locked.orders.get_mut(&row.order_id) else { continue };
        if let (Some(id), Some(reservation_id)) = (row.item_id, row.reservation_id) {
            let (reservation_status, reserved_at) = (row.reservation_status, row.reserved_at);
            order.items.push(Item { id, reservation_id, reservation_status, reserved_at });
        } else if let (Some(payment_id), Some(kind)) = (row.payment_id, row.kind) {
            match (kind.parse(), row.amount.zip(row.currency)) {
                (Ok(kind), money) => {
                    order.facts.insert((payment_id, kind), money);
                }
                (Err(_), Some(money)) => {
                    order.refunds.insert(payment_id, money);
                }
                (Err(_), None) => {}
            }
        }
    }
    Ok(locked)
}

/// Writes what was decided, in the transaction that holds the locks: statuses with their history and announcements, what payments have
/// told, incidents, and what the warehouse is to be asked. What is held stays as it is, but for its incident.
pub async fn write(tx: &mut PgConnection, decided: &[Decided<'_>]) -> Result<(), sqlx::Error> {
    let with_change = decided.iter().filter_map(|one| Some((one, one.decision.change()?)));
    let changes: Vec<(&Decided<'_>, &Change)> = with_change.collect();
    change(tx, decided, &changes).await?;
    call_warehouse(tx, &changes).await
}

async fn change(
    tx: &mut PgConnection,
    decided: &[Decided<'_>],
    changes: &[(&Decided<'_>, &Change)],
) -> Result<(), sqlx::Error> {
    let steps: Vec<_> = changes.iter().filter_map(|(one, change)| Some((one, change, change.status?))).collect();
    let payments: Vec<_> = decided.iter().filter_map(|one| Some((one, one.payment()?))).collect();
    let incidents: Vec<_> =
        decided.iter().flat_map(|one| one.decision.incidents().iter().map(move |incident| (one, incident))).collect();
    let refunds: Vec<_> = decided.iter().filter_map(|one| Some((one, one.refund()?))).collect();
    if steps.is_empty() && payments.is_empty() && refunds.is_empty() && incidents.is_empty() {
        return Ok(());
    }
    sqlx::query(include_str!("sql/change.sql"))
        .bind(column(&steps, |(one, ..)| one.order_id))
        .bind(column(&steps, |(.., status)| status.as_str()))
        .bind(column(&steps, |(_, change, _)| change.reason.as_str()))
        .bind(column(&steps, |(_, change, _)| change.notes.as_deref()))
        .bind(column(&steps, |(one, ..)| one.cause))
        .bind(column(&steps, |(one, ..)| one.traceparent))
        .bind(column(&steps, |(one, ..)| one.received_at))
        .bind(column(&payments, |(one, _)| one.order_id))
        .bind(column(&payments, |(_, payment)| payment.payment_id.as_str()))
        .bind(column(&payments, |(_, payment)| payment.kind.as_str()))
        .bind(column(&payments, |(one, _)| one.cause))
        .bind(column(&payments, |(_, payment)| payment.amount))
        .bind(column(&payments, |(_, payment)| payment.currency.as_str()))
        .bind(column(&incidents, |(_, incident)| incident.kind.as_str()))
        .bind(column(&incidents, |(one, _)| one.order_id))
        .bind(column(&incidents, |(one, _)| one.cause))
        .bind(column(&incidents, |(_, incident)| incident.detail.as_str()))
        .bind(column(&refunds, |(one, _)| one.order_id))
        .bind(column(&refunds, |(_, refund)| refund.refund_id.as_str()))
        .bind(column(&refunds, |(_, refund)| refund.payment_id.as_str()))
        .bind(column(&refunds, |(one, _)| one.cause))
        .bind(column(&refunds, |(_, refund)| refund.amount))
        .bind(column(&refunds, |(_, refund)| refund.currency.as_str()))
        .bind(column(&refunds, |(_, refund)| refund.reason.as_str()))
        .execute(tx)
        .await?;
    if !steps.is_empty() {
        failpoint::reach("orders-after-change");
    }
    Ok(())
}

async fn call_warehouse(tx: &mut PgConnection, changes: &[(&Decided<'_>, &Change)]) -> Result<(), sqlx::Error> {
    let calls: Vec<_> =
        changes.iter().flat_map(|(one, change)| change.calls.iter().map(move |call| (one, call))).collect();
    if calls.is_empty() {
        return Ok(());
    }
    let items: Vec<_> =
        calls.iter().flat_map(|(_, call)| call.items.iter().map(move |item| (item.as_str(), call.action))).collect();
    sqlx::query(include_str!("sql/reserve.sql"))
        .bind(column(&calls, |(one, _)| one.order_id))
        .bind(column(&calls, |(_, call)| call.reservation_id.as_str()))
        .bind(column(&calls, |(_, call)| call.items.first().map(String::as_str)))
        .bind(column(&calls, |(_, call)| call.action.method()))
        .bind(column(&calls, |(_, call)| call.reason.as_str()))
        .bind(column(&calls, |(one, _)| one.cause))
        .bind(column(&calls, |(one, _)| one.traceparent))
        .bind(column(&calls, |(one, _)| one.received_at))
        .bind(column(&items, |(item, _)| *item))
        .bind(column(&items, |(_, action)| action.intent()))
        .execute(tx)
        .await?;
    Ok(())
}
