//! The jobs of the shop, one file each, and what has to be known before one gives an order up.

mod batch;
mod carts;
mod consult;
mod delivered;
mod proof;
mod rehearse;
mod sessions;
pub mod settings;
mod terms;
mod unpaid;
mod unused;
mod work;

use std::fmt;

use chrono::{DateTime, Utc};

pub use proof::{Evidence, Ground, Reason, Spared};
pub use rehearse::rehearse;
pub use terms::Terms;
pub use work::JobWork;

use super::orders::Fact;

/// The definition of a job.
struct Rule {
    job: Job,
    /// The summary of a batch in a trace.
    summary: &'static str,
    /// Its candidates, by the time that their order among each other comes from.
    find: &'static str,
    /// Candidates were there before this moment, counted back from the tick.
    before: fn(&Terms, DateTime<Utc>) -> DateTime<Utc>,
    acts: Acts,
    /// Whether its query asks ($5) if orders count that are paid on delivery.
    asks_for_cod: bool,
}

/// The action of a job on its candidates.
#[derive(Clone, Copy)]
enum Acts {
    /// They are deleted by this statement, which returns those that are gone.
    Deletes(&'static str),
    /// Their orders are asked what follows from this fact; the moment is that before which they were there.
    Asks(fn(&Terms, DateTime<Utc>) -> Fact<'static>),
}

/// The jobs.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    clap::ValueEnum,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[value(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Job {
    /// Delete expired sessions
    SessionCleanup,
    /// Delete abandoned carts
    CartCleanup,
    /// Cancel orders that were not paid in time
    OrderCleanup,
    /// Release reservations that were not used in time
    ReservationCleanup,
    /// Confirm orders that were paid on delivery
    CodAutoConfirm,
}

impl Job {
    /// Every job, in the order in which they are registered.
    pub const ALL: [Self; 5] =
        [Self::SessionCleanup, Self::CartCleanup, Self::OrderCleanup, Self::ReservationCleanup, Self::CodAutoConfirm];

    /// The name in the configuration, in the database, in metrics and in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The effect on one item, in words.
    #[must_use]
    pub const fn effect(self) -> &'static str {
        match self {
            Self::SessionCleanup => "delete session",
            Self::CartCleanup => "delete cart",
            Self::OrderCleanup => "cancel order",
            Self::ReservationCleanup => "release reservation",
            Self::CodAutoConfirm => "confirm order",
        }
    }

    /// The job of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        name.parse().ok()
    }

    const fn rule(self) -> &'static Rule {
        match self {
            Self::SessionCleanup => &sessions::RULE,
            Self::CartCleanup => &carts::RULE,
            Self::OrderCleanup => &unpaid::RULE,
            Self::ReservationCleanup => &unused::RULE,
            Self::CodAutoConfirm => &delivered::RULE,
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
