//! The shapes of announcements, by which an edited one is checked.

use chrono::DateTime;
use serde_json::Value;

use super::STATUS_CHANGED_TOPIC;

/// Of what kind a field's value is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Text that is not empty.
    Text,
    /// Text that may be empty.
    MaybeEmpty,
    /// A whole number.
    Whole,
    /// Of a row of the order service: a number, or text.
    Id,
    /// RFC 3339.
    Moment,
    /// A list.
    List,
}

/// A field that has to be there.
pub type Field = (&'static str, Kind);

const STATUS_CHANGED: &[Field] = &[
    ("event_type", Kind::Text),
    ("order_id", Kind::Text),
    ("order_number", Kind::Text),
    ("old_status", Kind::MaybeEmpty),
    ("new_status", Kind::Text),
    ("timestamp", Kind::Moment),
];
const RETURN: &[Field] = &[
    ("event_type", Kind::Text),
    ("return_id", Kind::Text),
    ("order_id", Kind::Text),
    ("order_number", Kind::Text),
    ("status", Kind::Text),
    ("items", Kind::List),
    ("timestamp", Kind::Moment),
];
const EXCHANGE: &[Field] = &[
    ("event_type", Kind::Text),
    ("exchange_id", Kind::Text),
    ("order_id", Kind::Text),
    ("order_number", Kind::Text),
    ("status", Kind::Text),
    ("items", Kind::List),
    ("timestamp", Kind::Moment),
];
/// An item of a return or an exchange.
pub const ITEM: &[Field] = &[("order_item_id", Kind::Id), ("sku", Kind::Text), ("quantity", Kind::Whole)];

/// The fields that an announcement on this topic has: of the topics that this program knows, all; of any other, that it is about its order.
#[must_use]
pub fn shape(topic: &str) -> &'static [Field] {
    match topic {
        STATUS_CHANGED_TOPIC => STATUS_CHANGED,
        topic if topic.starts_with("order.return.") => RETURN,
        topic if topic.starts_with("order.exchange.") => EXCHANGE,
        _ => &[("order_id", Kind::Text)],
    }
}

impl Kind {
    /// What is expected, for people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Text => "text that is not empty",
            Self::MaybeEmpty => "text",
            Self::Whole => "a whole number",
            Self::Id => "a whole number or text",
            Self::Moment => "a moment (2026-01-31T14:00:00Z)",
            Self::List => "a list",
        }
    }

    /// Whether a value is of this kind.
    #[must_use]
    pub fn takes(self, value: &Value) -> bool {
        match self {
            Self::Text => value.as_str().is_some_and(|text| !text.is_empty()),
            Self::MaybeEmpty => value.is_string(),
            Self::Whole => value.is_i64(),
            Self::Id => Self::Whole.takes(value) || Self::Text.takes(value),
            Self::Moment => value.as_str().is_some_and(|text| DateTime::parse_from_rfc3339(text).is_ok()),
            Self::List => value.is_array(),
        }
    }
}
