//! The payloads of announcements.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// `orders.order.status_changed`.
#[derive(Clone, Debug, Serialize)]
pub struct StatusChangedEvent {
    /// The order.
    pub order_id: String,
    /// Its number, for people.
    pub order_number: String,
    /// Empty for a new order.
    pub old_status: String,
    /// What it is now.
    pub new_status: String,
    /// When it changed.
    pub timestamp: DateTime<Utc>,
    /// Whose order it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Why it changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `order.return.requested`, `.approved`, `.rejected`, `.completed`: the warehouse adjusts its inventory.
#[derive(Clone, Debug, Serialize)]
pub struct ReturnEvent {
    /// The return.
    pub return_id: String,
    /// The order that goods come back from.
    pub order_id: String,
    /// Its number, for people.
    pub order_number: String,
    /// The status of the return.
    pub status: String,
    /// What comes back.
    pub items: Vec<ReturnItem>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it happened.
    pub timestamp: DateTime<Utc>,
}

/// `order.exchange.requested`, `.approved`, `.completed`.
#[derive(Clone, Debug, Serialize)]
pub struct ExchangeEvent {
    /// The exchange.
    pub exchange_id: String,
    /// The order that goods are exchanged from.
    pub order_id: String,
    /// Its number, for people.
    pub order_number: String,
    /// The status of the exchange.
    pub status: String,
    /// What is exchanged.
    pub items: Vec<ReturnItem>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it happened.
    pub timestamp: DateTime<Utc>,
}

/// `order_items.id`, as JSON has it: a number where the table has one, else a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ItemId {
    /// A whole number.
    Number(i64),
    /// A uuid, or any text.
    Text(String),
}

impl From<i64> for ItemId {
    fn from(id: i64) -> Self {
        Self::Number(id)
    }
}

impl From<String> for ItemId {
    fn from(id: String) -> Self {
        Self::Text(id)
    }
}

/// An item of a return or an exchange.
#[derive(Clone, Debug, Serialize)]
pub struct ReturnItem {
    /// `order_items.id`.
    pub order_item_id: ItemId,
    /// Its stock keeping unit.
    pub sku: String,
    /// How many of it.
    pub quantity: i32,
}
