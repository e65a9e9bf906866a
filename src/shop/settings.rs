//! `business`: the rules of the shop.

use crate::platform::settings::{Rule, section};

/// A year: nothing in the shop's rules lasts longer.
const MINUTES: Rule = Rule::integer(1, 525_600);

section! {
    /// `business`.
    pub struct Business {
        order: Order,
        payment: Payment,
        inventory: Inventory,
        session: Idle,
        cart: Idle,
    }
}

section! {
    /// `business.order`.
    pub struct Order {
        max_items_per_order: u32 = Rule::integer(1, 10_000),
        order_timeout_minutes: u32 = MINUTES,
        auto_cancel_minutes: u32 = MINUTES,
        auto_cancel_cod: bool = Rule::Boolean,
    }
}

section! {
    /// `business.payment`.
    pub struct Payment {
        timeout_minutes: u32 = MINUTES,
    }
}

section! {
    /// `business.inventory`.
    pub struct Inventory {
        reservation_timeout_minutes: u32 = MINUTES,
    }
}

section! {
    /// `business.session` and `business.cart`.
    pub struct Idle {
        timeout_minutes: u32 = MINUTES,
    }
}
