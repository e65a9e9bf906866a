//! `worker.inbox`: how payments are judged.

use std::fmt;
use std::time::Duration;

use humantime_serde::re::humantime;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::engine::terms;
use crate::platform::settings::rule::decimal;
use crate::platform::settings::{Rule, section};
use crate::shop::orders::{AmountMismatch, OnMismatch};

section! {
    /// How long events wait for their order, and what a wrong amount does.
    pub struct Payments {
        #[serde(with = "humantime_serde")]
        wait_for_order: Duration = Rule::time(Duration::ZERO, Duration::from_secs(30 * 86_400)),
        amount_mismatch: OnMismatch = Rule::Choice(&["apply", "hold"]),
        underpaid: OnMismatch = Rule::Choice(&["apply", "hold"]),
        #[serde(deserialize_with = "decimal")]
        amount_tolerance: Decimal = Rule::Decimal { max: 1_000_000 },
    }
}

impl Payments {
    /// When a payment's money is not its order's, and what it does then.
    #[must_use]
    pub const fn mismatch(&self) -> AmountMismatch {
        AmountMismatch { tolerance: self.amount_tolerance, underpaid: self.underpaid, any: self.amount_mismatch }
    }
}

/// By what events are judged: a worker registers it at its start ([`crate::engine::terms`]).
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

impl From<&Payments> for Terms {
    fn from(payments: &Payments) -> Self {
        Self { mismatch: payments.mismatch(), wait_for_order: payments.wait_for_order }
    }
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
