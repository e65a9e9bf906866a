//! What a stream's state means. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::Stream;

/// The id of a stream's entry: milliseconds of Redis' clock, and a number within them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// Unix time in milliseconds.
    pub ms: u64,
    /// Among those of the same millisecond.
    pub seq: u64,
}

impl Id {
    /// The first id of the time so long before.
    #[must_use]
    pub fn before(self, time: Duration) -> Self {
        Self { ms: self.ms.saturating_sub(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)), seq: 0 }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl FromStr for Id {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (ms, seq) = text.split_once('-').unwrap_or((text, "0"));
        Ok(Self { ms: ms.parse()?, seq: seq.parse()? })
    }
}

/// What was seen of a stream at the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Everything up to it was looked at.
    pub last_id: Id,
    /// Entries ever added, where Redis tells it (7 and newer).
    pub entries_added: Option<u64>,
    /// The Redis process.
    pub run_id: Option<String>,
}

/// What is wrong with a stream: something may be lost that no look can find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alert {
    /// Another Redis process answers, and what was read is not there.
    Another,
    /// It was read before, and is no more.
    Gone,
    /// Its counters fell.
    Anew,
    /// It begins behind what was read, and more was added than is there.
    Trimmed {
        /// Where it begins.
        first: Id,
        /// Up to where it was read.
        read: Id,
    },
    /// The worker's group is none of its groups.
    Unread,
}

impl Alert {
    /// Whether what is in the stream is somebody else's, or nobody knows what of it was delivered.
    #[must_use]
    pub const fn forbids_taking(self) -> bool {
        matches!(self, Self::Another | Self::Unread)
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Another => f.write_str(
                "Redis lost its data, or this is another Redis: another process answers, and what was read is not there; nothing is taken from it",
            ),
            Self::Gone => f.write_str("the stream is gone: Redis lost its data, or this is another Redis"),
            Self::Anew => f.write_str("the stream begins anew: Redis lost its data, or this is another Redis"),
            Self::Trimmed { first, read } => {
                write!(f, "the stream was trimmed before it was read: it begins at {first}, and was read up to {read}")
            }
            Self::Unread => f.write_str(
                "the worker's group does not read the stream: not the component's Redis, or the sidecar has not subscribed, or worker.reconcile.group is not its consumerID",
            ),
        }
    }
}

impl Known {
    /// Whether another Redis process answers than the one that was read.
    #[must_use]
    pub fn is_of_another_process(&self, run_id: Option<&str>) -> bool {
        self.run_id.is_some() && self.run_id.as_deref() != run_id
    }
}

/// Whether another Redis answers than the one that was read: another process, and the last entry that was read is not there. One
/// that was restarted with its data, or took over from its master, has it.
#[must_use]
pub fn is_another(has_entry: bool, known: &Known, run_id: Option<&str>) -> bool {
    known.last_id > Id::default() && known.is_of_another_process(run_id) && !has_entry
}

/// What is wrong with a stream of a Redis that is the one that was read. None: all that was published can be found.
///
/// | stream | known | |
/// |---|---|---|
/// | absent, or its counters fell | it was read before | [`Alert::Gone`], [`Alert::Anew`] |
/// | begins behind what was read, and more was added than is there | it was read before | [`Alert::Trimmed`] |
/// | there, without the worker's group | | [`Alert::Unread`]: nobody delivers it |
#[must_use]
pub fn alert(stream: &Stream, known: &Known) -> Option<Alert> {
    let was_read = known.last_id > Id::default();
    if was_read && !stream.exists {
        return Some(Alert::Gone);
    }
    let fell = stream.entries_added.zip(known.entries_added).is_some_and(|(now, then)| now < then);
    if was_read && (fell || stream.last_id < known.last_id) {
        return Some(Alert::Anew);
    }
    if stream.exists && stream.group.is_none() && stream.length > 0 {
        return Some(Alert::Unread);
    }
    let first = stream.first.filter(|first| was_read && *first > known.last_id)?;
    let added = stream.entries_added.zip(known.entries_added).map(|(now, then)| now - then);
    added.is_none_or(|added| added > stream.length).then_some(Alert::Trimmed { first, read: known.last_id })
}

#[cfg(test)]
mod tests {
    use super::super::stream::Group;
    use super::*;

    fn id(ms: u64) -> Id {
        Id { ms, seq: 0 }
    }

    fn stream(first: u64, last: u64, length: u64, added: u64) -> Stream {
        let group = Some(Group { last_delivered: id(last), oldest_pending: None });
        Stream { exists: true, length, first: Some(id(first)), last_id: id(last), entries_added: Some(added), group }
    }

    fn known(last: u64, added: u64) -> Known {
        Known { last_id: id(last), entries_added: Some(added), run_id: None }
    }

    #[test]
    fn a_stream_that_grew_or_was_trimmed_behind_the_cursor_is_well() {
        assert_eq!(alert(&stream(1, 9, 9, 9), &Known::default()), None);
        assert_eq!(alert(&stream(1, 9, 9, 9), &known(5, 5)), None);
        assert_eq!(alert(&stream(5, 9, 5, 9), &known(5, 5)), None, "trimmed up to what was read");
        assert_eq!(alert(&stream(6, 9, 4, 9), &known(5, 5)), None, "all that is new is there");
        assert_eq!(alert(&Stream::default(), &Known::default()), None, "nothing was ever published");
    }

    #[test]
    fn what_was_lost_is_told_apart() {
        let says = |stream: &Stream, known: &Known, words: &str| {
            let told = alert(stream, known).map(|alert| alert.to_string());
            assert!(told.as_ref().is_some_and(|told| told.contains(words)), "{told:?}");
        };
        says(&Stream::default(), &known(5, 5), "is gone");
        says(&stream(7, 9, 3, 3), &known(5, 5), "begins anew");
        says(&stream(1, 4, 4, 6), &known(5, 5), "begins anew");
        says(&stream(8, 9, 2, 9), &known(5, 5), "trimmed before it was read");
        says(&Stream { entries_added: None, ..stream(8, 9, 2, 9) }, &known(5, 5), "trimmed before it was read");
        says(&Stream { group: None, ..stream(1, 9, 9, 9) }, &Known::default(), "group does not read");
    }

    #[test]
    fn another_redis_is_another_process_without_what_was_read() {
        let known = Known { run_id: Some("a".into()), ..known(5, 5) };
        assert!(is_another(false, &known, Some("b")) && is_another(false, &known, None));
        assert!(!is_another(true, &known, Some("b")), "restarted with its data");
        assert!(!is_another(false, &known, Some("a")), "the same process");
        assert!(!is_another(false, &Known { last_id: Id::default(), ..known }, Some("b")), "it was never read");
    }

    #[test]
    fn ids_are_ordered_by_time_and_read_back() {
        let one: Id = "1700000000000-3".parse().unwrap();
        assert_eq!(one.to_string(), "1700000000000-3");
        assert!(one > "1700000000000-2".parse().unwrap() && one < "1700000000001".parse().unwrap());
        assert_eq!(one.before(Duration::from_secs(10)), id(1_699_999_990_000));
        assert!("soon".parse::<Id>().is_err());
    }
}
