//! Outcomes of events, and their counting.

use crate::platform::database::read_by_name;

/// How an event ended: `order_worker.inbox_outcomes.outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::EnumString, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// It had its effect.
    Applied,
    /// Another event of the same fact came first.
    Superseded,
    /// It asks for what cannot be.
    Rejected,
}

read_by_name!(Outcome);

impl Outcome {
    /// Its name in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Where an event has come to, as metrics count it: it ended, it is a repetition, or it waits for an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Disposition {
    /// It had its effect.
    Applied,
    /// It was there before.
    Duplicate,
    /// Another event of the same fact came first.
    Superseded,
    /// It asks for what cannot be.
    Rejected,
    /// An operator decides.
    Held,
    /// It cannot be handled.
    Dead,
    /// Its id is known with another body.
    Quarantined,
}

impl From<Outcome> for Disposition {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Applied => Self::Applied,
            Outcome::Superseded => Self::Superseded,
            Outcome::Rejected => Self::Rejected,
        }
    }
}

/// Why an event could not be handled, as metrics count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Failure {
    /// Its body is no event of its topic.
    Undecodable,
    /// Its id is known with another body.
    Quarantined,
    /// Its topic has no handler.
    UnknownTopic,
    /// Applying it failed; it is kept and tried again, or dead.
    ApplyFailed,
}
