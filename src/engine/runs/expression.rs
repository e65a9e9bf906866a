//! A cron expression, as Debian's cron reads it. Pure.
//!
//! Kept by hand on purpose: the libraries at hand take a field for a star only when it is nothing but `*`, and forget it after
//! that. crontab asks whether a field *begins* with a star, of the days (is it "and" or "or") and of minute and hour (does a change
//! of the clocks matter).

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use serde::Deserialize;

use crate::platform::settings::rule::Malformed;

/// Within so many days everything has come that ever comes: a 29 February on a given weekday, over a year like 2100.
const LONGEST: usize = 41 * 366;

/// A cron expression: five fields as in crontab(5), or six with the seconds first; or a name of crontab's, as `@hourly`. Sunday is 0
/// or 7.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Expression {
    text: String,
    seconds: Field,
    minutes: Field,
    hours: Field,
    days: Field,
    months: Field,
    weekdays: Field,
}

/// The values of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Field {
    /// Bit n: n is one of them.
    values: u64,
    /// Whether it begins with a star.
    star: bool,
}

/// What a field counts.
struct Unit {
    name: &'static str,
    first: u32,
    last: u32,
    /// Names of the values from the first on.
    names: &'static [&'static str],
}

const fn unit(name: &'static str, first: u32, last: u32, names: &'static [&'static str]) -> Unit {
    Unit { name, first, last, names }
}

const SECOND: Unit = unit("second", 0, 59, &[]);
const MINUTE: Unit = unit("minute", 0, 59, &[]);
const HOUR: Unit = unit("hour", 0, 23, &[]);
const DAY: Unit = unit("day of the month", 1, 31, &[]);
const MONTH: Unit =
    unit("month", 1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]);
const WEEKDAY: Unit = unit("day of the week", 0, 7, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]);

impl Expression {
    /// What is allowed.
    pub const ALLOWED: &str = "a cron expression of five fields, or of six with the seconds first, or @hourly, @daily, @weekly, @monthly, @yearly";

    /// Whether it repeats by the hour or the minute, so that it goes by the time that passes, not by what a clock shows.
    pub(super) const fn is_wild(&self) -> bool {
        self.minutes.star || self.hours.star
    }

    /// The first time at or after `from`, on a clock that is never changed.
    pub(super) fn first_from(&self, from: NaiveDateTime) -> Option<NaiveDateTime> {
        let days = from.date().iter_days().take(LONGEST).filter(|date| self.includes(*date));
        let mut times = days.filter_map(|date| {
            let earliest = if date == from.date() { from.time() } else { NaiveTime::MIN };
            self.first_time_from(earliest).map(|time| date.and_time(time))
        });
        times.next()
    }

    /// A day of the month or of the week where both are given, and both of them where one begins with a star.
    fn includes(&self, date: NaiveDate) -> bool {
        let day = self.days.has(date.day());
        let weekday = self.weekdays.has(date.weekday().num_days_from_sunday());
        let either = if self.days.star || self.weekdays.star { day && weekday } else { day || weekday };
        either && self.months.has(date.month())
    }

    fn first_time_from(&self, from: NaiveTime) -> Option<NaiveTime> {
        let mut times = self.hours.from(from.hour()).flat_map(|hour| {
            let least = if hour == from.hour() { from.minute() } else { 0 };
            self.minutes.from(least).filter_map(move |minute| {
                let least = if (hour, minute) == (from.hour(), from.minute()) { from.second() } else { 0 };
                let second = self.seconds.from(least).next()?;
                NaiveTime::from_hms_opt(hour, minute, second)
            })
        });
        times.next()
    }
}

impl Field {
    const fn has(self, value: u32) -> bool {
        self.values >> value & 1 == 1
    }

    /// Its values from `least` on, rising.
    fn from(self, least: u32) -> impl Iterator<Item = u32> {
        (least..60).filter(move |value| self.has(*value))
    }

    /// Reads a field: values, ranges and stars, each perhaps with a step, and commas between.
    fn read(text: &str, unit: &Unit) -> Result<Self, Malformed> {
        let mut values = 0;
        for part in text.split(',') {
            let refuse = |why: String| Malformed(format!("{part:?} as {}: {why}", unit.name));
            let value = |text: &str| unit.value(text).ok_or_else(|| refuse(unit.allowed()));
            let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
            let (first, last) = if range == "*" {
                (unit.first, unit.last)
            } else if let Some((first, last)) = range.split_once('-') {
                let (first, last) = (value(first)?, value(last)?);
                // Friday to Sunday.
                (first, if unit.last == 7 && last == 0 && first > 0 { 7 } else { last })
            } else {
                let value = value(range)?;
                if let Some(step) = step {
                    return Err(refuse(format!("a step follows a range: {range}-{}/{step}", unit.last)));
                }
                (value, value)
            };
            if first > last {
                return Err(refuse(format!(
                    "it runs backwards: {range} is two ranges, one to the end and one from the beginning"
                )));
            }
            let step: usize = match step.map(str::parse) {
                None => 1,
                Some(Ok(step)) if step > 0 => step,
                Some(_) => return Err(refuse("a step is a whole number from 1".to_owned())),
            };
            values |= (first..=last).step_by(step).fold(0, |bits, value| bits | 1 << value);
        }
        if unit.last == 7 {
            // Sunday.
            values = (values | values >> 7) & 0x7f;
        }
        Ok(Self { values, star: text.starts_with('*') })
    }
}

impl Unit {
    /// A number or a name.
    fn value(&self, text: &str) -> Option<u32> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let number = || text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        let value = named.and_then(|place| u32::try_from(place).ok()).map(|place| self.first + place).or_else(number);
        value.filter(|value| (self.first..=self.last).contains(value))
    }

    /// The values that it may have, for people.
    fn allowed(&self) -> String {
        let names = match self.names {
            [] => String::new(),
            [first, second, ..] => format!(", {first}, {second}, …"),
            [name] => format!(", {name}"),
        };
        format!("allowed are {} to {}{names}, ranges, lists, and steps behind * or a range", self.first, self.last)
    }
}

impl TryFrom<String> for Expression {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        let fields = match text.trim().to_ascii_lowercase().as_str() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@reboot" => {
                return Err(Malformed("there is no reboot here: order-worker cron run starts a job".to_owned()));
            }
            name if name.starts_with('@') => {
                return Err(Malformed(format!("{name} is none of @hourly, @daily, @weekly, @monthly, @yearly")));
            }
            _ => text.as_str(),
        };
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let (second, rest) = match fields.as_slice() {
            [second, rest @ ..] if rest.len() == 5 => (*second, rest),
            rest => ("0", rest),
        };
        let [minute, hour, day, month, weekday] = rest else {
            return Err(Malformed(format!("{} fields, not five, or six with the seconds first", fields.len())));
        };
        let expression = Self {
            seconds: Field::read(second, &SECOND)?,
            minutes: Field::read(minute, &MINUTE)?,
            hours: Field::read(hour, &HOUR)?,
            days: Field::read(day, &DAY)?,
            months: Field::read(month, &MONTH)?,
            weekdays: Field::read(weekday, &WEEKDAY)?,
            text,
        };
        if expression.first_from(DateTime::UNIX_EPOCH.naive_utc()).is_none() {
            return Err(Malformed("no day is like that".to_owned()));
        }
        Ok(expression)
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Expression, Malformed> {
        Expression::try_from(text.to_owned())
    }

    #[test]
    fn a_wrong_expression_says_which_field_and_what_is_allowed() {
        for (text, says) in [
            ("", "0 fields"),
            ("* * * *", "4 fields"),
            ("0 0 0 0 0 0 0", "7 fields"),
            ("often", "1 fields"),
            ("60 * * * *", "\"60\" as minute: allowed are 0 to 59"),
            ("* 24 * * *", "\"24\" as hour: allowed are 0 to 23"),
            ("* * 0 * *", "\"0\" as day of the month: allowed are 1 to 31"),
            ("* * * 13 *", "\"13\" as month: allowed are 1 to 12, jan, feb, …"),
            ("* * * * 8", "\"8\" as day of the week: allowed are 0 to 7, sun, mon, …"),
            ("* * * * monday", "\"monday\" as day of the week"),
            ("61 * * * * *", "\"61\" as second"),
            ("5/10 * * * *", "a step follows a range: 5-59/10"),
            ("5/ * * * *", "a step follows a range"),
            ("*/0 * * * *", "a step is a whole number from 1"),
            ("*/x * * * *", "a step is a whole number from 1"),
            ("0 22-2 * * *", "it runs backwards"),
            ("+5 * * * *", "\"+5\" as minute"),
            ("1,,2 * * * *", "\"\" as minute"),
            ("*-5 * * * *", "\"*-5\" as minute"),
            ("99999999999 * * * *", "as minute"),
            ("? * * * *", "\"?\" as minute"),
            // Quartz has these, crontab has not.
            ("0 0 L * *", "\"L\" as day of the month"),
            ("0 0 15W * *", "\"15W\" as day of the month"),
            ("0 0 * * 5#1", "\"5#1\" as day of the week"),
            ("0 0 30 2 *", "no day is like that"),
            ("0 0 31 4,6,9,11 *", "no day is like that"),
            ("@reboot", "order-worker cron run"),
            ("@often", "none of @hourly"),
        ] {
            let refusal = read(text).unwrap_err().to_string();
            assert!(refusal.contains(says), "{text}: {refusal}");
        }
        for rare in ["0 0 29 2 *", "0 0 29 2 */7", "0 0 31 12 */7"] {
            assert!(read(rare).is_ok(), "{rare}");
        }
    }

    #[test]
    fn one_schedule_can_be_written_in_many_ways() {
        for (one, other) in [
            ("@hourly", "0 * * * *"),
            ("@Daily", "0 0 * * *"),
            ("@midnight", "0 0 * * *"),
            ("@weekly", "0 0 * * 0"),
            ("@monthly", "0 0 1 * *"),
            ("@yearly", "0 0 1 1 *"),
            ("@annually", "0 0 1 JAN *"),
            ("0 0 * * 7", "0 0 * * sun"),
            ("0 0 * * 5-7", "0 0 * * fri-sun"),
            ("0 0 * * 5-0", "0 0 * * Fri-Sun"),
            ("0 0 * * 5,6,0", "0 0 * * 5-7"),
            ("0 0 * * 1-5", "0 0 * * MON-FRI"),
            ("0 0 * * 0-7", "0 0 * * 0-6"),
            ("0 0 * * mon,WED", "0 0 * * 1,3"),
            ("0 0 * 6-8/2 *", "0 0 * jun,aug *"),
            ("1-7/3 * * * *", "1,4,7 * * * *"),
            ("  0\t5  * * * ", "0 5 * * *"),
            ("0 0 5 * * *", "0 5 * * *"),
            ("*/70 * * * *", "*/60 * * * *"),
        ] {
            let fields = |text: &str| {
                let of = read(text).unwrap();
                (of.seconds, of.minutes, of.hours, of.days, of.months, of.weekdays)
            };
            assert_eq!(fields(one), fields(other), "{one} and {other}");
        }
    }
}
