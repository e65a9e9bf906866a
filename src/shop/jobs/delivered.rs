//! `cod_auto_confirm`: orders that were paid on delivery are confirmed.

use super::{Acts, Job, Rule};
use crate::shop::orders::Fact;

/// Orders that were paid on delivery are confirmed.
pub(super) const RULE: Rule = Rule {
    job: Job::CodAutoConfirm,
    summary: "UPDATE orders",
    find: include_str!("sql/delivered.sql"),
    before: |_, now| now,
    acts: Acts::Asks(|_, _| Fact::CodDelivered),
    asks_for_cod: false,
};
