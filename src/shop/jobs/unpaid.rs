//! `order_cleanup`: orders that nobody paid in time are cancelled.

use chrono::TimeDelta;

use super::{Acts, Job, Rule};
use crate::shop::orders::Fact;

/// Orders that nobody paid in time are cancelled.
pub(super) const RULE: Rule = Rule {
    job: Job::OrderCleanup,
    summary: "UPDATE orders",
    find: include_str!("sql/unpaid.sql"),
    before: |terms, now| now - TimeDelta::minutes(terms.order_minutes.into()),
    acts: Acts::Asks(|terms, before| Fact::Unpaid { placed_before: before, cod_too: terms.cod_too }),
    asks_for_cod: true,
};
