//! Decisions about an order, as values.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{Paid, Status};

/// The effect of a confirmed payment whose amount or currency differs from its order's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnMismatch {
    /// The order changes, and an incident is opened.
    #[default]
    Apply,
    /// Nothing changes until an operator decides.
    Hold,
}

impl fmt::Display for OnMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Apply => "apply",
            Self::Hold => "hold",
        })
    }
}

/// When a payment's money is not its order's, and what the payment does then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AmountMismatch {
    /// Up to this difference, in major units of the order's currency, the money is the order's (`worker.inbox.amount_tolerance`).
    #[serde(default, rename = "amount_tolerance")]
    pub tolerance: Decimal,
    /// A payment of less, or of another currency, which may be less (`worker.inbox.underpaid`).
    #[serde(default)]
    pub underpaid: OnMismatch,
    /// Any payment whose money is not the order's (`worker.inbox.amount_mismatch`).
    #[serde(rename = "amount_mismatch")]
    pub any: OnMismatch,
}

impl AmountMismatch {
    /// Where an operator has said: whatever the amount.
    #[must_use]
    pub const fn approved(self) -> Self {
        Self { underpaid: OnMismatch::Apply, any: OnMismatch::Apply, ..self }
    }

    /// Whether an operator is to decide first.
    pub(super) fn holds(self, paid: Paid) -> bool {
        self.any == OnMismatch::Hold || (self.underpaid == OnMismatch::Hold && paid != Paid::More)
    }
}

/// The decision about a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The order changes.
    Apply(Change),
    /// Nothing to change: said before, or overtaken by what happened since.
    Superseded(String, Vec<Incident>),
    /// The payment asks for what cannot be.
    Rejected(String, Vec<Incident>),
    /// An operator decides.
    Held(String, Incident),
}

impl Decision {
    /// The change, where there is one.
    #[must_use]
    pub const fn change(&self) -> Option<&Change> {
        match self {
            Self::Apply(change) => Some(change),
            Self::Superseded(..) | Self::Rejected(..) | Self::Held(..) => None,
        }
    }

    /// Why nothing changes.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Apply(_) => None,
            Self::Superseded(reason, _) | Self::Rejected(reason, _) | Self::Held(reason, _) => Some(reason),
        }
    }

    /// Incidents that it opens.
    #[must_use]
    pub fn incidents(&self) -> &[Incident] {
        match self {
            Self::Apply(change) => &change.incidents,
            Self::Superseded(_, incidents) | Self::Rejected(_, incidents) => incidents,
            Self::Held(_, incident) => std::slice::from_ref(incident),
        }
    }
}

/// A change of one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The status it gets; none: only its reservations change.
    pub status: Option<Status>,
    /// For the history and the announcement.
    pub reason: String,
    /// For the history.
    pub notes: Option<String>,
    /// The calls of the warehouse.
    pub calls: Vec<Call>,
    /// Incidents that it opens.
    pub incidents: Vec<Incident>,
}

/// A call that the warehouse is to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The reservation that it is about: one call, however many items share it.
    pub reservation_id: String,
    /// Its items that the call is made for, by `order_items.id` as text: one or more.
    pub items: Vec<String>,
    /// Which call.
    pub action: Action,
    /// Why, for people at the warehouse.
    pub reason: String,
}

/// The two calls of the warehouse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Action {
    /// The reservation becomes a sale.
    Confirm,
    /// The goods go back to the stock.
    Release,
}

impl Action {
    /// The method of `warehouse.v1.WarehouseService`, also the outbox row's topic.
    #[must_use]
    pub const fn method(self) -> &'static str {
        match self {
            Self::Confirm => "ConfirmReservation",
            Self::Release => "ReleaseReservation",
        }
    }

    /// The call whose method has this name.
    #[must_use]
    pub fn named(method: &str) -> Option<Self> {
        [Self::Confirm, Self::Release].into_iter().find(|action| action.method() == method)
    }

    /// The `reservation_status` of an item from the decision until the warehouse's answer.
    #[must_use]
    pub const fn intent(self) -> &'static str {
        match self {
            Self::Confirm => "confirming",
            Self::Release => "releasing",
        }
    }
}

/// Something that a person has to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Its kind.
    pub kind: IncidentKind,
    /// For that person: no personal data.
    pub detail: String,
}

/// The kinds of incidents: `order_worker.incident_kinds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::EnumString, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum IncidentKind {
    /// Money came for a cancelled order.
    PaidCancelled,
    /// Money came for an order that another payment had paid.
    PaidTwice,
    /// Amount or currency differ from the order's.
    AmountMismatch,
    /// An order was paid whose reservation was released or refused.
    PaidUnreserved,
    /// The warehouse refused to take goods back.
    NotReleased,
    /// A payment came for an order in a status that the machine does not know.
    UnknownStatus,
    /// An event id came again with another body.
    SameIdOtherBody,
    /// All that was paid was given back, and the order goes on.
    RefundedAlive,
    /// A refund of an unknown payment.
    RefundUnknown,
}

impl IncidentKind {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use strum::VariantNames;

    use super::*;

    #[test]
    fn each_kind_of_incident_is_one_that_the_database_knows() {
        let files = std::fs::read_dir("migrations").unwrap().map(|file| file.unwrap().path());
        let sql: String = files
            .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        let rows = sql.split("insert into order_worker.incident_kinds values").skip(1);
        let known = rows.flat_map(|rows| rows.split(';').next().unwrap().split('\'').skip(1).step_by(2));
        let kinds: BTreeSet<&str> = IncidentKind::VARIANTS.iter().copied().collect();
        assert_eq!(known.collect::<BTreeSet<_>>(), kinds);
    }
}
