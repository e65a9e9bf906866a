//! When and how one kind of run is made.

use serde::Deserialize;

use super::Expression;
use crate::platform::settings::{Key, Rule};

/// When and how one job runs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The cron expression.
    pub schedule: Expression,
    /// The most rows of one transaction.
    pub batch: u32,
    /// Whether it runs by its schedule.
    pub enabled: bool,
}

impl Entry {
    /// The keys of this section.
    pub const KEYS: &[Key] = &[
        Key::value("schedule", Rule::text::<Expression>(Expression::ALLOWED)),
        Key::value("batch", Rule::integer(1, 10_000)),
        Key::value("enabled", Rule::Boolean),
    ];
}
