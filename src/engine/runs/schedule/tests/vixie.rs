//! A second cron for comparison: the main loop of vixie cron with Debian's changes (cron.c, entry.c), minute by minute. It shares
//! nothing with the product but the time zones.

use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, Timelike, Utc};
use jiff::Timestamp;
use jiff::tz::TimeZoneDatabase;

/// entry.c's flags and bits.
struct Entry {
    fields: [Vec<u32>; 5],
    stars: [bool; 5],
}

impl Entry {
    fn load(text: &str) -> Self {
        let words: Vec<&str> = text.split(' ').collect();
        let bounds = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)];
        let mut fields: [Vec<u32>; 5] = std::array::from_fn(|at| Self::list(words[at], bounds[at]));
        if fields[4].iter().any(|day| day % 7 == 0) {
            fields[4].extend([0, 7]);
        }
        Self { fields, stars: std::array::from_fn(|at| words[at].starts_with('*')) }
    }

    fn list(word: &str, (low, high): (u32, u32)) -> Vec<u32> {
        let element = |part: &str| -> Vec<u32> {
            let (range, step) = part.split_once('/').unwrap_or((part, "1"));
            let (first, last) = match range.split_once('-') {
                _ if range == "*" => (low, high),
                Some((first, last)) => (first.parse().unwrap(), last.parse().unwrap()),
                None => (range.parse().unwrap(), range.parse().unwrap()),
            };
            (first..=last).filter(|value| (value - first) % step.parse::<u32>().unwrap() == 0).collect()
        };
        word.split(',').flat_map(element).collect()
    }

    /// Whether find_jobs takes it at this virtual minute.
    fn is_found(&self, minutes: i64, do_wild: bool, do_non_wild: bool) -> bool {
        let time: NaiveDateTime = DateTime::from_timestamp(minutes * 60, 0).unwrap().naive_utc();
        let has = |at: usize, value: u32| self.fields[at].contains(&value);
        let (dom, dow) = (has(2, time.day()), has(4, time.weekday().num_days_from_sunday()));
        let day = if self.stars[2] || self.stars[4] { dom && dow } else { dom || dow };
        let wild = self.stars[0] || self.stars[1];
        has(0, time.minute())
            && has(1, time.hour())
            && has(3, time.month())
            && day
            && ((do_non_wild && !wild) || (do_wild && wild))
    }
}

/// The minutes in which cron starts the entry, of those after `from` and before `until`.
pub(super) fn minutes(text: &str, zone: &str, from: DateTime<Utc>, until: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let (entry, zone) = (Entry::load(text), TimeZoneDatabase::bundled().get(zone).unwrap());
    let clock = |moment: DateTime<Utc>| {
        let ahead = zone.to_offset(Timestamp::from_second(moment.timestamp()).unwrap());
        (moment.timestamp() + i64::from(ahead.seconds())) / 60
    };
    // It has run for some hours when it is looked at.
    let mut now = from - TimeDelta::hours(6);
    let mut virtual_time = clock(now);
    let mut started = Vec::new();
    while now + TimeDelta::minutes(1) < until {
        now += TimeDelta::minutes(1);
        let time_running = clock(now);
        let difference = time_running - virtual_time;
        let found = if difference == 1 {
            virtual_time = time_running;
            entry.is_found(virtual_time, true, true)
        } else if difference > -(3 * 60) && difference <= 0 {
            entry.is_found(time_running, true, false)
        } else if difference > 0 && difference <= 3 * 60 {
            let late = difference <= 5;
            let mut found = entry.is_found(time_running, !late, false);
            while virtual_time < time_running {
                virtual_time += 1;
                found |= entry.is_found(virtual_time, late, true);
            }
            found
        } else {
            virtual_time = time_running;
            entry.is_found(virtual_time, true, true)
        };
        if found && now > from {
            started.push(now);
        }
    }
    started
}
