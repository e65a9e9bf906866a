//! When a job is due. Pure.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Year};
use serde::Deserialize;

use crate::config::rule::Malformed;

/// Ticks that are counted one by one; of more it is said that they were so many.
const MOST_MISSED: i32 = 100_000;
/// A run that begins later than this after its tick is one that was caught up.
const LATE: Duration = Duration::from_secs(60);

/// A cron expression: five fields as in crontab(5), or six with the seconds first. Sunday is 0 or 7.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Expression {
    text: String,
    cron: Cron,
}

impl Expression {
    /// What is allowed.
    pub(super) const ALLOWED: &str = "a cron expression of five fields, or of six with the seconds first";
}

impl TryFrom<String> for Expression {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        let refuse = |error: croner::errors::CronError| Malformed(error.to_string().trim_end_matches('.').to_owned());
        let cron = CronParser::builder().year(Year::Disallowed).build().parse(&text).map_err(refuse)?;
        // Leap years and weekdays come round within 28 years.
        let start = DateTime::UNIX_EPOCH;
        match cron.find_next_occurrence(&start, true) {
            Ok(first) if first < start + TimeDelta::days(29 * 366) => Ok(Self { text, cron }),
            _ => Err(Malformed("no day is like that".into())),
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A time zone by its name in the IANA database.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct TimeZone(Tz);

impl TimeZone {
    /// What is allowed.
    pub(super) const ALLOWED: &str = "a name of the IANA time zone database, as Europe/Berlin or UTC";
}

impl TryFrom<String> for TimeZone {
    type Error = Malformed;

    fn try_from(name: String) -> Result<Self, Malformed> {
        name.parse().map(Self).map_err(|_| Malformed("there is no such time zone".into()))
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

/// An expression in a time zone. Where the clocks change, it keeps to vixie cron's rules: what has a fixed time runs once on such
/// a day, at the first moment after a gap; what repeats by the hour or minute runs by the time that passes.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The expression.
    pub expression: Expression,
    /// Whose clocks it speaks of.
    pub zone: TimeZone,
}

impl Schedule {
    /// A schedule.
    #[must_use]
    pub const fn new(expression: Expression, zone: TimeZone) -> Self {
        Self { expression, zone }
    }

    /// The first tick after `moment`; none when there is none before the year 5000.
    #[must_use]
    pub fn after(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = self.zone.0.from_utc_datetime(&moment.trunc_subsecs(0).naive_utc());
        self.expression.cron.find_next_occurrence(&local, false).ok().map(|tick| tick.to_utc())
    }

    /// The last tick at or before `moment`.
    fn latest(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = self.zone.0.from_utc_datetime(&moment.trunc_subsecs(0).naive_utc());
        self.expression.cron.find_previous_occurrence(&local, true).ok().map(|tick| tick.to_utc())
    }
}

/// Why a run is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its tick came.
    Scheduled,
    /// Its tick came and went while nobody was there.
    CaughtUp,
    /// An operator asked for it.
    Manual,
}

impl Kind {
    /// The name in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::CaughtUp => "caught_up",
            Self::Manual => "manual",
        }
    }
}

/// The run that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its tick: the last one that has come.
    pub tick: DateTime<Utc>,
    /// Why it is made.
    pub kind: Kind,
    /// Ticks before it that get no run of their own.
    pub missed: i32,
    /// The first of these.
    pub missed_from: Option<DateTime<Utc>>,
    /// The tick after it, which has not come.
    pub next: Option<DateTime<Utc>>,
}

/// What is due at `now` of a schedule whose first tick without a run is `next_tick`: nothing, or one run, however many ticks have
/// come. Every tick is the tick of one run or counted as missed by one, and none is in two.
#[must_use]
pub fn due(schedule: &Schedule, next_tick: DateTime<Utc>, now: DateTime<Utc>) -> Option<Due> {
    if now < next_tick {
        return None;
    }
    // A schedule that was changed may have no tick since: what was missed by the old one is run.
    let tick = schedule.latest(now).filter(|latest| *latest >= next_tick).unwrap_or(next_tick);
    let passed = std::iter::successors(Some(next_tick), |passed| schedule.after(*passed));
    let missed = passed.take_while(|passed| *passed < tick).take(MOST_MISSED as usize).count();
    let missed = i32::try_from(missed).unwrap_or(MOST_MISSED);
    let late = (now - tick).to_std().is_ok_and(|late| late > LATE);
    let kind = if missed > 0 || late { Kind::CaughtUp } else { Kind::Scheduled };
    Some(Due { tick, kind, missed, missed_from: (missed > 0).then_some(next_tick), next: schedule.after(now) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schedule(expression: &str, zone: &str) -> Schedule {
        Schedule::new(expression.to_owned().try_into().unwrap(), zone.to_owned().try_into().unwrap())
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn ticks(schedule: &Schedule, from: &str, until: &str) -> Vec<String> {
        let all = std::iter::successors(schedule.after(at(from)), |tick| schedule.after(*tick));
        all.take_while(|tick| *tick < at(until)).map(|tick| tick.format("%dT%H:%M").to_string()).collect()
    }

    #[test]
    fn a_wrong_expression_says_what_is_wrong() {
        let refused = |text: &str| Expression::try_from(text.to_owned()).unwrap_err().to_string();
        for text in ["", "* * * *", "60 * * * *", "* * * * 8", "0 0 30 2 *", "0 0 0 0 0 0 0", "often", "5/ * * * *"] {
            assert!(!refused(text).is_empty(), "{text}");
        }
        assert_eq!(refused("0 0 30 2 *"), "no day is like that");
        assert!(TimeZone::try_from("Europe/Atlantis".to_owned()).is_err());
        assert!(Expression::try_from("0 0 29 2 *".to_owned()).is_ok());
    }

    #[test]
    fn weekdays_are_those_of_crontab() {
        // 2026-11-25 is a Wednesday.
        for (day, date) in
            [("0", 29), ("1", 30), ("3", 25), ("6", 28), ("7", 29), ("SUN", 29), ("1-5", 25), ("5-7", 27)]
        {
            let tick = schedule(&format!("0 12 * * {day}"), "UTC").after(at("2026-11-25T00:00:00Z")).unwrap();
            assert_eq!(tick, at(&format!("2026-11-{date}T12:00:00Z")), "{day}");
        }
        // A day of the month or of the week, as in crontab.
        assert_eq!(
            ticks(&schedule("0 12 26 * 5", "UTC"), "2026-11-25T00:00:00Z", "2026-11-29T00:00:00Z"),
            ["26T12:00", "27T12:00"]
        );
    }

    #[test]
    fn seconds_may_come_first() {
        assert_eq!(
            schedule("*/2 * * * * *", "UTC").after(at("2026-11-25T00:00:00.7Z")),
            Some(at("2026-11-25T00:00:02Z"))
        );
    }

    #[test]
    fn a_change_of_the_clocks_neither_doubles_nor_loses_a_tick() {
        // Berlin: 2026-03-29 02:00 becomes 03:00 at 01:00 UTC; 2026-10-25 03:00 becomes 02:00 at 01:00 UTC.
        let spring = ("2026-03-28T22:30:00Z", "2026-03-29T22:00:00Z");
        let autumn = ("2026-10-24T21:30:00Z", "2026-10-25T23:00:00Z");
        let nightly = schedule("30 2 * * *", "Europe/Berlin");
        assert_eq!(ticks(&nightly, spring.0, spring.1), ["29T01:00"]);
        assert_eq!(ticks(&nightly, autumn.0, autumn.1), ["25T00:30"]);
        let hourly = schedule("0 * * * *", "Europe/Berlin");
        assert_eq!(ticks(&hourly, spring.0, spring.1).len(), 23);
        assert_eq!(ticks(&hourly, autumn.0, autumn.1).len(), 25);
    }

    #[test]
    fn one_tick_that_came_is_scheduled_and_more_are_caught_up_by_one_run() {
        let every_five = schedule("*/5 * * * *", "UTC");
        let next = at("2026-11-25T12:00:00Z");
        assert_eq!(due(&every_five, next, at("2026-11-25T11:59:59.999Z")), None);
        let now = due(&every_five, next, at("2026-11-25T12:00:00Z")).unwrap();
        assert_eq!(
            (now.tick, now.kind, now.missed, now.next),
            (next, Kind::Scheduled, 0, Some(at("2026-11-25T12:05:00Z")))
        );
        let late = due(&every_five, next, at("2026-11-25T12:02:00Z")).unwrap();
        assert_eq!((late.tick, late.kind, late.missed), (next, Kind::CaughtUp, 0));
        let missed = due(&every_five, next, at("2026-11-25T13:02:00Z")).unwrap();
        assert_eq!((missed.tick, missed.kind, missed.missed), (at("2026-11-25T13:00:00Z"), Kind::CaughtUp, 12));
        assert_eq!((missed.missed_from, missed.next), (Some(next), Some(at("2026-11-25T13:05:00Z"))));
    }

    const ZONES: [&str; 6] =
        ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns"];
    const EXPRESSIONS: [&str; 8] = [
        "0 * * * *",
        "*/30 * * * *",
        "*/5 * * * *",
        "30 2 * * *",
        "0 0 * * *",
        "15 1,2,3 * * 0",
        "0 3 1 * *",
        "*/20 * * * * *",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// However the looks fall, before and after changes of the clocks too: the runs' ticks and the missed ones together are
        /// the schedule's ticks, each once.
        #[test]
        fn every_tick_is_run_or_counted_once(
            expression in prop::sample::select(&EXPRESSIONS[..]), zone in prop::sample::select(&ZONES[..]),
            // Around the changes of 2026: March to April, and October to November.
            start in prop_oneof![1_772_300_000_i64..1_775_500_000, 1_790_000_000_i64..1_794_000_000],
            steps in prop::collection::vec(1_i64..200_000, 1..20),
        ) {
            let schedule = schedule(expression, zone);
            let start = DateTime::from_timestamp(start, 0).unwrap();
            let first = schedule.after(start).unwrap();
            let (mut now, mut next, mut told) = (start, first, 0);
            for step in steps {
                now += TimeDelta::milliseconds(step * 997);
                let Some(due) = due(&schedule, next, now) else { continue };
                prop_assert!(due.tick >= next && due.tick <= now);
                next = due.next.unwrap();
                prop_assert!(next > now);
                told += due.missed + 1;
            }
            let came = std::iter::successors(Some(first), |tick| schedule.after(*tick)).take_while(|tick| *tick < next);
            prop_assert_eq!(told, i32::try_from(came.count()).unwrap());
        }
    }
}
