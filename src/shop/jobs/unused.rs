//! `reservation_cleanup`: reservations that nobody used in time are released.

use chrono::TimeDelta;

use super::{Acts, Job, Rule};
use crate::shop::orders::Fact;

/// Reservations that nobody used in time are released.
pub(super) const RULE: Rule = Rule {
    job: Job::ReservationCleanup,
    summary: "UPDATE orders",
    find: include_str!("sql/unused.sql"),
    before: |terms, now| now - TimeDelta::minutes(terms.reservation_minutes.into()),
    acts: Acts::Asks(|_, before| Fact::Unused { reserved_before: before }),
    asks_for_cod: false,
};
