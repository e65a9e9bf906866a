//! Orders under their lock: read for a decision, and changed by it. The one way in for events and jobs alike.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;

use super::{Change, Item, Order, PaymentKind};
use crate::failpoint;

/// Orders that this transaction has locked, and those that another one has.
#[derive(Debug, Default)]
pub struct Locked {
    /// Ours until the transaction ends, by id.
    pub orders: BTreeMap<String, Order>,
    /// They exist, and somebody else changes them or their items just now.
    pub elsewhere: HashSet<String>,
    /// The texts by which orders were asked for, where they are not their ids: a uuid may be written in several ways.
    own: HashMap<String, String>,
}

impl Locked {
    /// The id of the order that `given` means, as every table and announcement has it: one order has one name.
    #[must_use]
    pub fn id(&self, given: &str) -> String {
        self.own.get(given).map_or(given, String::as_str).to_owned()
    }
}

/// A change that was decided, and what made it.
#[derive(Clone, Copy, Debug)]
pub struct Decided<'a> {
    /// The order.
    pub order_id: &'a str,
    /// What happens to it.
    pub change: &'a Change,
    /// An inbox key, or a job and its tick: the announcements' ids come from it.
    pub cause: &'a str,
    /// The trace that it belongs to.
    pub traceparent: Option<&'a str>,
    /// When the event that caused it reached the worker; none where no event did.
    pub received_at: Option<DateTime<Utc>>,
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

/// Locks the orders that nobody else has locked, and reads what decisions need. A text that means no order's id finds none.
///
/// # Errors
///
/// The database's; the transaction is void.
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
            let kind = if kind == "confirmed" { PaymentKind::Confirmed } else { PaymentKind::Failed };
            order.facts.insert((payment_id, kind), row.amount.zip(row.currency));
        }
    }
    Ok(locked)
}

/// Writes changes in the transaction that holds the locks: statuses with their history and announcements, and what the warehouse
/// is to be asked.
///
/// # Errors
///
/// The database's; the transaction is void.
pub async fn write(tx: &mut PgConnection, decided: &[Decided<'_>]) -> Result<(), sqlx::Error> {
    change(tx, decided).await?;
    call_warehouse(tx, decided).await
}

async fn change(tx: &mut PgConnection, decided: &[Decided<'_>]) -> Result<(), sqlx::Error> {
    let steps: Vec<_> = decided.iter().filter_map(|one| Some((one, one.change.status?))).collect();
    if steps.is_empty() {
        return Ok(());
    }
    sqlx::query(include_str!("sql/change.sql"))
        .bind(column(&steps, |(one, _)| one.order_id))
        .bind(column(&steps, |(_, status)| status.as_str()))
        .bind(column(&steps, |(one, _)| one.change.reason.as_str()))
        .bind(column(&steps, |(one, _)| one.change.notes.as_deref()))
        .bind(column(&steps, |(one, _)| one.cause))
        .bind(column(&steps, |(one, _)| one.traceparent))
        .bind(column(&steps, |(one, _)| one.received_at))
        .execute(tx)
        .await?;
    failpoint::reach("orders-after-change");
    Ok(())
}

async fn call_warehouse(tx: &mut PgConnection, decided: &[Decided<'_>]) -> Result<(), sqlx::Error> {
    let calls: Vec<_> = decided.iter().flat_map(|one| one.change.calls.iter().map(move |call| (one, call))).collect();
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

/// One column of rows, as Postgres' unnest takes it.
pub(crate) fn column<'r, R, V>(rows: &'r [R], value: impl Fn(&'r R) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}
