//! What a failed send means. Pure.

/// What came of one row that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It arrived.
    Sent,
    /// The other side answered no, for good (the warehouse: no such reservation).
    Refused(String),
    /// The environment: unreachable, not authorised, not implemented, no such component, no answer in time.
    Unavailable(String),
    /// A failure that says not whose it is.
    Failed(String),
    /// Not tried: an earlier row of its key failed, or the lease ran out.
    Untried,
}

/// What is done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Settled: the row is deleted, the outcome noted.
    Settle {
        /// `sent` or `refused`.
        outcome: &'static str,
        /// The other side's words, when it refused.
        reason: Option<String>,
    },
    /// The row waits and the attempt counts.
    Retry(String),
    /// The row waits; nothing counts.
    Wait(String),
    /// Given up.
    Dead(String),
    /// Nothing gets through: the whole queue pauses, the row stays as it is.
    Pause(String),
    /// The row stays as it is.
    Keep,
}

/// How the others fared that were sent at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// At least one arrived.
    Succeed,
    /// None did.
    Fail,
    /// There were none: one row alone tells nothing of the environment.
    Absent,
}

/// `attempts`: the counted failures of the row before this one.
///
/// | | others succeed | others fail | alone |
/// |---|---|---|---|
/// | unavailable | the row waits, uncounted | the queue pauses | the row waits, uncounted |
/// | failed | the attempt counts, in the end dead | the queue pauses | the row waits, uncounted |
#[must_use]
pub fn react(verdict: Verdict, others: Others, attempts: u32, max_attempts: u32) -> Reaction {
    match verdict {
        Verdict::Sent => Reaction::Settle { outcome: "sent", reason: None },
        Verdict::Refused(reason) => Reaction::Settle { outcome: "refused", reason: Some(reason) },
        Verdict::Unavailable(reason) | Verdict::Failed(reason) if others == Others::Fail => Reaction::Pause(reason),
        Verdict::Failed(reason) if others == Others::Absent => Reaction::Wait(reason),
        Verdict::Unavailable(reason) => Reaction::Wait(reason),
        Verdict::Failed(reason) if attempts + 1 >= max_attempts => Reaction::Dead(reason),
        Verdict::Failed(reason) => Reaction::Retry(reason),
        Verdict::Untried => Reaction::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_with_all_others_counts_nothing() {
        for verdict in [Verdict::Unavailable("gone".into()), Verdict::Failed("boom".into())] {
            assert_eq!(react(verdict.clone(), Others::Fail, 99, 3), Reaction::Pause(reason(&verdict)));
        }
    }

    #[test]
    fn what_fails_alone_is_given_up_in_the_end() {
        let failed = || Verdict::Failed("boom".into());
        assert_eq!(react(failed(), Others::Succeed, 0, 3), Reaction::Retry("boom".into()));
        assert_eq!(react(failed(), Others::Succeed, 1, 3), Reaction::Retry("boom".into()));
        assert_eq!(react(failed(), Others::Succeed, 2, 3), Reaction::Dead("boom".into()));
    }

    #[test]
    fn the_environment_never_makes_a_row_dead() {
        assert_eq!(
            react(Verdict::Unavailable("scope".into()), Others::Succeed, 1000, 3),
            Reaction::Wait("scope".into())
        );
    }

    #[test]
    fn a_row_that_fails_alone_waits_and_holds_up_nobody() {
        for verdict in [Verdict::Unavailable("gone".into()), Verdict::Failed("boom".into())] {
            assert_eq!(react(verdict.clone(), Others::Absent, 99, 3), Reaction::Wait(reason(&verdict)));
        }
    }

    fn reason(verdict: &Verdict) -> String {
        match verdict {
            Verdict::Unavailable(reason) | Verdict::Failed(reason) => reason.clone(),
            _ => String::new(),
        }
    }
}
