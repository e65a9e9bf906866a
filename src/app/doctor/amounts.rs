//! What a payment does whose money is not its order's.

use super::Findings;
use crate::app::config::Config;
use crate::shop::orders::OnMismatch;

pub(super) fn examine(config: &Config, findings: &mut Findings) {
    let (about, mismatch) = ("amounts", config.worker.inbox.payments.mismatch());
    match (mismatch.any, mismatch.underpaid) {
        (OnMismatch::Hold, _) => findings.ok(about, "a payment of another amount or currency is held for an operator"),
        (OnMismatch::Apply, OnMismatch::Hold) => {
            findings.ok(about, "a payment of less, or in another currency, is held for an operator");
        }
        (OnMismatch::Apply, OnMismatch::Apply) => findings.warning(
            about,
            "a payment of any amount pays its order: 0.01 pays 1,000, with an incident",
            "worker.inbox.underpaid: hold lets an operator decide about less, worker.inbox.amount_mismatch: hold about any other amount",
        ),
    }
}
