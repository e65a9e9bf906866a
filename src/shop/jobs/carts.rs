//! `cart_cleanup`: carts that were left and not checked out are deleted, with their items.

use chrono::TimeDelta;

use super::{Acts, Job, Rule};

/// Carts that were left and not checked out are deleted, with their items.
pub(super) const RULE: Rule = Rule {
    job: Job::CartCleanup,
    summary: "DELETE carts",
    find: include_str!("sql/carts.sql"),
    before: |terms, now| now - TimeDelta::minutes(terms.cart_minutes.into()),
    acts: Acts::Deletes(include_str!("sql/delete_carts.sql")),
    asks_for_cod: false,
};
