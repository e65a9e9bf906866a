//! One order's whole story.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::platform::database::PgPool;

/// An order as it stands.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Order {
    /// `orders.id`.
    pub id: String,
    /// Its number, for people.
    pub order_number: String,
    /// Its status.
    pub status: String,
    /// The payment method.
    pub payment_method: String,
    /// Whether it reached the customer.
    pub delivered: bool,
    /// ISO 4217 code.
    pub currency: String,
    /// The amount due, in major units.
    pub total_amount: String,
    /// When it was placed; none: unknown.
    pub created_at: Option<DateTime<Utc>>,
    /// Its items with their reservations.
    pub items: Value,
}

/// Something that happened to it.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Step {
    /// When.
    pub at: DateTime<Utc>,
    /// `event`, `status`, `announcement`, `warehouse`, `incident`, `decision`, `return` or `exchange`.
    pub kind: String,
    /// What.
    pub what: Option<String>,
    /// Its state by now.
    pub state: Option<String>,
    /// More.
    pub detail: Option<String>,
}

/// The order, where it exists, and everything that is known about it, in the order of time.
pub async fn of(pool: &PgPool, order_id: &str) -> Result<(Option<Order>, Vec<Step>), sqlx::Error> {
    let order: Option<Order> =
        sqlx::query_as(include_str!("sql/order.sql")).bind(order_id).fetch_optional(pool).await?;
    let id = order.as_ref().map_or(order_id, |order| &order.id);
    let steps = sqlx::query_as(include_str!("sql/story.sql")).bind(id).fetch_all(pool).await?;
    Ok((order, steps))
}
