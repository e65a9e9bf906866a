//! When and how one kind of run is made.

use super::Expression;
use crate::platform::settings::{Rule, section};

section! {
    /// When and how one job runs.
    pub struct Entry {
        schedule: Expression = Rule::text::<Expression>(Expression::ALLOWED),
        batch: u32 = Rule::integer(1, 10_000),
        enabled: bool = Rule::Boolean,
    }
}
