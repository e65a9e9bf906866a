//! `worker.inbox`: what becomes of the events received.

use std::fmt;
use std::time::Duration;

use humantime_serde::re::humantime;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::config::rule::{Rule, decimal};
use crate::config::schema::Key;
use crate::orders::{AmountMismatch, OnMismatch};
use crate::terms;

/// How long events wait and are kept, and what a wrong amount does.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inbox {
    /// How long an event waits for an order that does not exist yet.
    #[serde(with = "humantime_serde")]
    pub wait_for_order: Duration,
    /// What a payment does whose amount or currency differs from its order's.
    pub amount_mismatch: OnMismatch,
    /// What a payment of less does, or of another currency.
    pub underpaid: OnMismatch,
    /// Up to this difference, in major units, a payment's amount is its order's.
    #[serde(deserialize_with = "decimal")]
    pub amount_tolerance: Decimal,
    /// How long bodies of settled events are kept.
    #[serde(with = "humantime_serde")]
    pub keep_bodies: Duration,
    /// How long the keys that recognise a repeated event are kept; not below `keep_bodies`.
    #[serde(with = "humantime_serde")]
    pub keep_keys: Duration,
}

impl Inbox {
    /// The keys of this section.
    pub const KEYS: &[Key] = &[
        Key::value("wait_for_order", Rule::time(Duration::ZERO, days(30))),
        Key::value("amount_mismatch", Rule::Choice(&["apply", "hold"])),
        Key::value("underpaid", Rule::Choice(&["apply", "hold"])),
        Key::value("amount_tolerance", Rule::Decimal { max: 1_000_000 }),
        Key::value("keep_bodies", Rule::time(days(1), days(3_650))),
        Key::value("keep_keys", Rule::time(days(1), days(3_650))),
    ];
}

impl Inbox {
    /// When a payment's money is not its order's, and what it does then.
    #[must_use]
    pub const fn mismatch(&self) -> AmountMismatch {
        AmountMismatch { tolerance: self.amount_tolerance, underpaid: self.underpaid, any: self.amount_mismatch }
    }
}

/// By what events are judged: a worker registers it at its start ([`crate::terms`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// When a payment's money is not its order's, and what it does then.
    #[serde(flatten)]
    pub mismatch: AmountMismatch,
    /// How long an event waits for an order that does not exist yet.
    #[serde(with = "humantime_serde")]
    pub wait_for_order: Duration,
}

impl terms::Terms for Terms {
    const KIND: &'static str = "events";
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AmountMismatch { tolerance, underpaid, any } = self.mismatch;
        let wait = humantime::format_duration(self.wait_for_order);
        write!(f, "amount_mismatch {any}, underpaid {underpaid}, amount_tolerance {tolerance}, wait_for_order {wait}")
    }
}

impl From<&Inbox> for Terms {
    fn from(inbox: &Inbox) -> Self {
        Self { mismatch: inbox.mismatch(), wait_for_order: inbox.wait_for_order }
    }
}

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn terms_of_another_version_are_read() {
        let mismatch =
            AmountMismatch { tolerance: Decimal::new(5, 2), underpaid: OnMismatch::Apply, any: OnMismatch::Hold };
        let terms = Terms { mismatch, wait_for_order: Duration::from_secs(86_400) };
        let mut written = json!(terms);
        assert_eq!(written["amount_mismatch"], "hold");
        written["of"] = json!("a later version");
        assert_eq!(serde_json::from_value::<Terms>(written).unwrap(), terms);
    }
}
