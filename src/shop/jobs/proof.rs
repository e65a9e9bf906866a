//! The proof that no payment is under way, before an order is given up for lack of one.
//!
//! An order that nobody paid in time is given up because no payment came. That nothing is here proves it only where everything that was
//! published is here, or is known to be on its way. So order_cleanup and reservation_cleanup act on a *positive proof*: ignorance is not
//! knowledge. Where it is missing they spare the order, and say so: in the run, by the doctor, in a gauge and an alert.
//!
//! | what is known | the jobs act |
//! |---|---|
//! | the streams were looked through since the tick, and nothing was lost | on what was due at the tick |
//! | not since the tick, or something that was published before it has still to be delivered | wait for a look, then on nothing |
//! | a stream was never looked at, has lost something, cannot be looked at, has a watermark in the future | on nothing |
//! | `worker.reconcile.enabled: false` | by the clock |
//! | no worker in mode event or all was ever here: there is no stream to wait for | by the clock |
//! | an event is in the inbox whose order nobody can tell | on orders that were placed after it came |
//! | something in the inbox speaks of an order, in whatever state | not on that one |

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;

use super::Terms;

/// An event may be about an order that was placed so much later: clocks differ.
const AROUND: TimeDelta = TimeDelta::minutes(5);

/// Why nothing is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Reason {
    /// A stream was never looked at.
    NeverLooked,
    /// A stream has lost entries, and no operator has acknowledged it.
    Lost,
    /// A stream cannot be read.
    CannotLook,
    /// The watermark is in the future: a clock was wrong.
    Future,
    /// The watermark is behind: what was published since it may have still to be delivered, or nobody has looked since.
    Behind,
    /// An event is in the inbox whose order nobody can tell. It holds up orders that were placed before it came.
    Unreadable,
}

/// The missing knowledge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// In one word.
    pub reason: Reason,
    /// For people.
    pub why: String,
}

/// The ground on which the jobs act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// Everything that was published before this moment is in the inbox.
    Streams(DateTime<Utc>),
    /// The clock: the configuration says that the streams are not looked at.
    SwitchedOff,
    /// The clock: no payment event is ever taken in here.
    NoEvents,
}

/// Events of the inbox whose order cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// How many; 1,000 are that or more.
    pub events: i64,
    /// When the last of them came.
    pub until: DateTime<Utc>,
}

impl Unreadable {
    /// Whether one of them may speak of an order that was placed then.
    #[must_use]
    pub fn may_speak_of(&self, placed: DateTime<Utc>) -> bool {
        placed <= self.until + AROUND
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (events, until) = (self.events, self.until.format("%Y-%m-%d %H:%M:%SZ"));
        write!(f, "{events} events whose order nobody can tell, the last of {until}: order-worker dead list")
    }
}

#[derive(Debug, sqlx::FromRow)]
struct EvidenceRow {
    now: DateTime<Utc>,
    takes_events: bool,
    unreadable: i64,
    unreadable_until: Option<DateTime<Utc>>,
    /// Of each stream the time up to which everything is known, and what is wrong with it.
    watermarks: Vec<Option<DateTime<Utc>>>,
    alerts: Vec<Option<String>>,
    alert_kinds: Vec<Option<String>>,
}

/// The result of a stream's last look.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Looked {
    stream: String,
    watermark: Option<DateTime<Utc>>,
    /// Its kind, and what it says.
    alert: Option<(String, String)>,
}

/// Everything that is known, read from the database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The database's clock.
    pub now: DateTime<Utc>,
    /// Whether the streams are looked at.
    enabled: bool,
    /// How far the watermark may be behind.
    patience: TimeDelta,
    /// Whether a worker that takes payment events in was ever registered.
    takes_events: bool,
    streams: Vec<Looked>,
    /// Events that may speak of any order.
    pub unreadable: Option<Unreadable>,
}

impl Evidence {
    /// Reads it.
    pub async fn read(connection: &mut PgConnection, terms: &Terms) -> Result<Self, sqlx::Error> {
        let streams = terms.streams();
        let names = streams.unwrap_or_default();
        let row: EvidenceRow =
            sqlx::query_as(include_str!("sql/evidence.sql")).bind(names).fetch_one(connection).await?;
        let looks = row.watermarks.into_iter().zip(row.alert_kinds.into_iter().zip(row.alerts));
        Ok(Self {
            now: row.now,
            enabled: streams.is_some(),
            patience: terms.patience(),
            takes_events: row.takes_events,
            unreadable: row.unreadable_until.map(|until| Unreadable { events: row.unreadable, until }),
            streams: names
                .iter()
                .cloned()
                .zip(looks)
                .map(|(stream, (watermark, (kind, alert)))| Looked { stream, watermark, alert: kind.zip(alert) })
                .collect(),
        })
    }

    /// By what the jobs go. Pure.
    ///
    /// # Errors
    ///
    /// [`Lack`]: what is not known, so that nothing may be given up.
    pub fn ground(&self) -> Result<Ground, Lack> {
        if !self.enabled {
            return Ok(Ground::SwitchedOff);
        }
        if !self.takes_events {
            return Ok(Ground::NoEvents);
        }
        let mut until = self.now;
        for Looked { stream, watermark, alert } in &self.streams {
            let lack = |reason, why: &str| Err(Lack { reason, why: format!("{stream}: {why}") });
            match (alert, watermark) {
                (Some((kind, why)), _) if kind == "lost" => return lack(Reason::Lost, why),
                (Some((_, why)), _) => return lack(Reason::CannotLook, why),
                (None, None) => return lack(Reason::NeverLooked, "nobody has looked at the stream yet"),
                (None, Some(watermark)) if *watermark > self.now => {
                    let why = format!("all is in the inbox until {watermark}, which is to come: a clock was wrong");
                    return lack(Reason::Future, &why);
                }
                (None, Some(watermark)) => until = until.min(*watermark),
            }
        }
        Ok(Ground::Streams(until))
    }

    /// By what a run of this tick goes: everything that was published before it has to be known, also what was published late. A loss
    /// before it would have been seen by a look that began after it. Pure.
    ///
    /// # Errors
    ///
    /// As [`ground`](Self::ground); or the watermark is behind the tick.
    pub fn covers(&self, tick: DateTime<Utc>) -> Result<Ground, Lack> {
        match self.ground()? {
            Ground::Streams(watermark) if watermark < tick => Err(self.behind(watermark)),
            ground => Ok(ground),
        }
    }

    fn behind(&self, watermark: DateTime<Utc>) -> Lack {
        let seconds = (self.now - watermark).num_seconds();
        let why = format!(
            "all that was published until {seconds} s ago is in the inbox; what came since has still to be delivered, or nobody has looked since"
        );
        Lack { reason: Reason::Behind, why }
    }

    /// As [`ground`](Self::ground), where the watermark is no farther behind than runs wait for.
    ///
    /// # Errors
    ///
    /// [`Lack`].
    pub fn now_known(&self) -> Result<Ground, Lack> {
        self.ground().and_then(|ground| match ground {
            Ground::Streams(watermark) if self.now - watermark > self.patience => Err(self.behind(watermark)),
            ground => Ok(ground),
        })
    }

    /// Everything for which something is not given up, for gauges.
    #[must_use]
    pub fn reasons(&self) -> Vec<Reason> {
        let lack = self.now_known().err().map(|lack| lack.reason);
        lack.into_iter().chain(self.unreadable.as_ref().map(|_| Reason::Unreadable)).collect()
    }

    /// How long ago everything was published that is in the inbox, seconds; none: nobody knows.
    #[must_use]
    pub fn watermark_age(&self) -> Option<f64> {
        match self.ground() {
            Ok(Ground::Streams(watermark)) => Some((self.now - watermark).as_seconds_f64()),
            _ => None,
        }
    }

    /// Streams with something wrong.
    #[must_use]
    pub fn alerts(&self) -> usize {
        self.streams.iter().filter(|stream| stream.alert.is_some()).count()
    }
}

/// Orders that a run did not give up, though their time was up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spared {
    /// Orders; where nothing may be given up only those of the first batch are counted.
    #[serde(rename = "spared")]
    pub orders: u64,
    /// Why.
    pub because: BTreeSet<String>,
}

impl Spared {
    /// In a sentence, as it stands in the ledger; none: nothing was spared.
    #[must_use]
    pub fn describe(written: &Value) -> Option<String> {
        serde_json::from_value::<Self>(written.clone()).ok().map(|spared| spared.to_string())
    }

    /// So many orders, for this.
    pub(super) fn note(&mut self, orders: u64, why: impl FnOnce() -> String) {
        if orders > 0 {
            self.orders += orders;
            self.because.insert(why());
        }
    }

    /// This and what was spared before.
    #[must_use]
    pub(super) fn and(mut self, before: Option<Self>) -> Self {
        let before = before.unwrap_or_default();
        self.orders += before.orders;
        self.because.extend(before.because);
        self
    }
}

impl fmt::Display for Spared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let because: Vec<&str> = self.because.iter().map(String::as_str).collect();
        write!(f, "{}: {}", self.orders, because.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + minute * 60, 0).unwrap()
    }

    fn looked(stream: &str, watermark: Option<i64>, alert: Option<(&str, &str)>) -> Looked {
        let alert = alert.map(|(kind, why)| (kind.to_owned(), why.to_owned()));
        Looked { stream: stream.into(), watermark: watermark.map(at), alert }
    }

    fn evidence(streams: Vec<Looked>) -> Evidence {
        let patience = TimeDelta::minutes(5);
        Evidence { now: at(100), enabled: true, patience, takes_events: true, streams, unreadable: None }
    }

    fn lacks(streams: Vec<Looked>) -> (Reason, String) {
        let lack = evidence(streams).ground().unwrap_err();
        (lack.reason, lack.why)
    }

    #[test]
    fn all_is_known_up_to_where_the_stream_that_is_farthest_behind_was_looked_through() {
        let streams = vec![looked("a", Some(99), None), looked("b", Some(90), None)];
        assert_eq!(evidence(streams.clone()).ground(), Ok(Ground::Streams(at(90))));
        assert_eq!(evidence(streams).watermark_age(), Some(600.0));
    }

    #[test]
    fn a_run_needs_a_look_that_began_after_its_tick() {
        let known = evidence(vec![looked("a", Some(97), None), looked("b", Some(99), None)]);
        assert_eq!(known.covers(at(97)), Ok(Ground::Streams(at(97))));
        assert_eq!(known.covers(at(98)).unwrap_err().reason, Reason::Behind);
        assert_eq!(known.reasons(), vec![]);
        let behind = evidence(vec![looked("a", Some(90), None)]);
        assert_eq!(behind.reasons(), vec![Reason::Behind]);
        assert!(behind.now_known().unwrap_err().why.contains("600 s ago"));
        assert_eq!(Evidence { enabled: false, ..behind }.covers(at(98)), Ok(Ground::SwitchedOff));
    }

    #[test]
    fn where_one_stream_is_not_known_nothing_is() {
        let well = || looked("a", Some(99), None);
        for (other, reason, words) in [
            (looked("b", None, None), Reason::NeverLooked, "b: nobody has looked"),
            (looked("b", Some(99), Some(("lost", "is gone"))), Reason::Lost, "b: is gone"),
            (looked("b", Some(99), Some(("another", "another Redis"))), Reason::CannotLook, "another Redis"),
            (looked("b", None, Some(("cannot_look", "Redis: refused"))), Reason::CannotLook, "Redis: refused"),
            (looked("b", Some(101), None), Reason::Future, "a clock was wrong"),
        ] {
            let (is, why) = lacks(vec![well(), other]);
            assert!(is == reason && why.contains(words), "{is:?}: {why}");
        }
        let unknown = evidence(vec![looked("b", None, None)]);
        assert_eq!((unknown.watermark_age(), unknown.reasons()), (None, vec![Reason::NeverLooked]));
    }

    #[test]
    fn the_clock_counts_where_somebody_says_so_or_no_event_ever_comes() {
        let unknown = evidence(vec![looked("b", None, None)]);
        assert_eq!(Evidence { enabled: false, ..unknown.clone() }.ground(), Ok(Ground::SwitchedOff));
        assert_eq!(Evidence { takes_events: false, ..unknown }.ground(), Ok(Ground::NoEvents));
    }

    #[test]
    fn an_unreadable_event_may_speak_of_any_order_that_was_there() {
        let unreadable = Unreadable { events: 1, until: at(10) };
        assert!(unreadable.may_speak_of(at(9)) && unreadable.may_speak_of(at(12)));
        assert!(!unreadable.may_speak_of(at(16)));
    }
}
