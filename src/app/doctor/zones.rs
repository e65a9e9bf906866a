//! The time zones by whose clocks jobs run.

use chrono::{DateTime, Utc};

use super::Findings;
use crate::engine::runs::TimeZone;

/// `now` is the database's clock, which says when a job runs.
pub(super) fn examine(zone: &TimeZone, now: DateTime<Utc>, findings: &mut Findings) {
    const ABOUT: &str = "time zones";
    let release = TimeZone::release();
    let seen = format!("jobs run by the clocks of {zone}, as the IANA's database {release} has them");
    if TimeZone::is_old(release, now) {
        let next =
            "deploy a newer order-worker: a country that has changed its clocks since has its jobs at the wrong hour";
        findings.warning(ABOUT, format!("{seen}, which is more than a year old"), next);
    } else {
        findings.ok(ABOUT, seen);
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn data_that_is_old_is_a_warning() {
        let found = |now: &str| {
            let mut findings = Findings::default();
            examine(&TimeZone::try_from("UTC".to_owned()).unwrap(), now.parse().unwrap(), &mut findings);
            findings.0.remove(0)
        };
        let current = found("2026-11-28T12:00:00Z");
        assert_eq!(current.state, State::Ok);
        assert!(current.seen.contains(TimeZone::release()) && current.seen.contains("UTC"), "{}", current.seen);
        let old = found("2999-11-28T12:00:00Z");
        assert_eq!(old.state, State::Warning);
        assert!(old.next.contains("a newer order-worker"), "{}", old.next);
    }
}
