//! The reaction to the verdict of a send. Pure.
//!
//! A failure counts against a row only with a witness: another row got through the same way after it. Without one the environment may
//! be the cause, whatever the answer says: a scope that is refused, a method that is not implemented, no answer in time.

/// The answer to one row that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It arrived.
    Sent,
    /// The other side answered no, for good.
    Refused(String),
    /// It is obsolete: it was not sent.
    Obsolete(String),
    /// It did not arrive.
    Failed(String),
    /// Not tried: an earlier row of its key failed, or the lease ran out.
    Untried,
}

impl Verdict {
    /// Whether the row is done with, one way or another.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Sent | Self::Refused(_) | Self::Obsolete(_))
    }
}

/// The end of a row: `order_worker.outbox_outcomes.outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// It arrived.
    Sent,
    /// The other side answered no.
    Refused,
    /// It was obsolete, and was not sent.
    Obsolete,
    /// An operator has given it up.
    Skipped,
}

/// The consequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Settled: the row is deleted, the outcome noted.
    Settle {
        /// Its outcome.
        outcome: Outcome,
        /// Why, when it was not sent.
        reason: Option<String>,
    },
    /// The row waits and the attempt counts.
    Retry(String),
    /// The row waits; nothing counts.
    Wait(String),
    /// Given up.
    Dead(String),
    /// Nothing gets through: the whole queue pauses, the row stays as it is and others are tried before it.
    Pause(String),
    /// The row stays as it is.
    Keep,
}

/// The fate of the other rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// One got through after the row had failed: a witness.
    Succeed,
    /// All that were sent with it failed, and none has got through since.
    Fail,
    /// Unknown: it was sent alone, or others got through only before it failed.
    Unknown,
}

/// `attempts`: the counted failures of the row before this one.
///
/// | | others got through | others fail too | unknown |
/// |---|---|---|---|
/// | failed | the attempt counts, in the end dead | the queue pauses | the row waits, uncounted |
#[must_use]
pub fn react(verdict: Verdict, others: Others, attempts: u32, max_attempts: u32) -> Reaction {
    match (verdict, others) {
        (Verdict::Sent, _) => Reaction::Settle { outcome: Outcome::Sent, reason: None },
        (Verdict::Refused(reason), _) => Reaction::Settle { outcome: Outcome::Refused, reason: Some(reason) },
        (Verdict::Obsolete(reason), _) => Reaction::Settle { outcome: Outcome::Obsolete, reason: Some(reason) },
        (Verdict::Failed(reason), Others::Fail) => Reaction::Pause(reason),
        (Verdict::Failed(reason), Others::Unknown) => Reaction::Wait(reason),
        (Verdict::Failed(reason), Others::Succeed) if attempts + 1 >= max_attempts => Reaction::Dead(reason),
        (Verdict::Failed(reason), Others::Succeed) => Reaction::Retry(reason),
        (Verdict::Untried, _) => Reaction::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> Verdict {
        Verdict::Failed("boom".into())
    }

    #[test]
    fn what_fails_with_all_others_counts_nothing() {
        assert_eq!(react(failed(), Others::Fail, 99, 3), Reaction::Pause("boom".into()));
    }

    #[test]
    fn what_fails_while_others_get_through_is_given_up_in_the_end() {
        assert_eq!(react(failed(), Others::Succeed, 0, 3), Reaction::Retry("boom".into()));
        assert_eq!(react(failed(), Others::Succeed, 1, 3), Reaction::Retry("boom".into()));
        assert_eq!(react(failed(), Others::Succeed, 2, 3), Reaction::Dead("boom".into()));
    }

    #[test]
    fn without_a_witness_a_row_waits_and_nothing_counts() {
        assert_eq!(react(failed(), Others::Unknown, 99, 3), Reaction::Wait("boom".into()));
    }
}
