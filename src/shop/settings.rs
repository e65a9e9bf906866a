//! `business`: the rules of the shop.

use serde::Deserialize;

use crate::platform::settings::{Key, Rule};

/// A year: nothing in the shop's rules lasts longer.
const MINUTES: Rule = Rule::integer(1, 525_600);

/// `business`: the shop's rules.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Business {
    /// Of orders.
    pub order: Order,
    /// Of payments.
    pub payment: Payment,
    /// Of reservations.
    pub inventory: Inventory,
    /// Of sessions.
    pub session: Idle,
    /// Of carts.
    pub cart: Idle,
}

impl Business {
    /// The keys of this section.
    pub const KEYS: &[Key] = &[
        Key::section(
            "order",
            &[
                Key::value("max_items_per_order", Rule::integer(1, 10_000)),
                Key::value("order_timeout_minutes", MINUTES),
                Key::value("auto_cancel_minutes", MINUTES),
                Key::value("auto_cancel_cod", Rule::Boolean),
            ],
        ),
        Key::section("payment", &[Key::value("timeout_minutes", MINUTES)]),
        Key::section("inventory", &[Key::value("reservation_timeout_minutes", MINUTES)]),
        Key::section("session", &[Key::value("timeout_minutes", MINUTES)]),
        Key::section("cart", &[Key::value("timeout_minutes", MINUTES)]),
    ];
}

/// `business.order`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The most items of one order; the API pod's.
    pub max_items_per_order: u32,
    /// Minutes a customer may take over an order; the API pod's.
    pub order_timeout_minutes: u32,
    /// Minutes after which a pending order is cancelled.
    pub auto_cancel_minutes: u32,
    /// Whether orders are cancelled too that are to be paid on delivery.
    pub auto_cancel_cod: bool,
}

/// `business.payment`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payment {
    /// Minutes a payment may take; the API pod's.
    pub timeout_minutes: u32,
}

/// `business.inventory`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// Minutes after which a reservation is released.
    pub reservation_timeout_minutes: u32,
}

/// `business.session` and `business.cart`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Idle {
    /// Minutes after its last use at which it is deleted.
    pub timeout_minutes: u32,
}
