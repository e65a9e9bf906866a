//! The meaning of a stream's state. Pure.

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

    /// The id that follows.
    #[must_use]
    pub fn next(self) -> Self {
        match self.seq.checked_add(1) {
            Some(seq) => Self { seq, ..self },
            None => Self { ms: self.ms.saturating_add(1), seq: 0 },
        }
    }

    /// The id before; the first of all has none before it.
    #[must_use]
    pub fn previous(self) -> Self {
        match (self.ms, self.seq.checked_sub(1)) {
            (_, Some(seq)) => Self { seq, ..self },
            (0, None) => self,
            (ms, None) => Self { ms: ms - 1, seq: u64::MAX },
        }
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

/// A stream as it stood at the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The last entry that had ever been added.
    pub last_id: Id,
    /// Entries ever added, where Redis tells it (7 and newer).
    pub entries_added: Option<u64>,
}

/// The last known state of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Everything up to it, that included, was dealt with: it is in the inbox, or was taken.
    pub last_id: Id,
    /// Entries that were ever added up to it, where Redis tells that.
    pub read: Option<u64>,
    /// The last look; none: nobody has looked yet.
    pub seen: Option<Seen>,
    /// The Redis process.
    pub run_id: Option<String>,
    /// What was lost, and nobody has taken note of.
    pub lost: Option<String>,
}

/// The severity of an [`Alert`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Something was lost that no look finds. It stays until an operator takes note of it.
    Lost,
    /// Nothing of what is there is known to be ours.
    Another,
    /// Nobody can look. It ends by itself with the first look that can.
    CannotLook,
}

impl Severity {
    /// As `stream_cursors.alert_kind` has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Another => "another",
            Self::CannotLook => "cannot_look",
        }
    }
}

/// A fault of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alert {
    /// Another Redis process answers, and what was read is not there.
    Another,
    /// It was seen before, and is no more.
    Gone,
    /// Its counters fell.
    Anew,
    /// Redis was started again, or another took over, and it keeps no append-only file: what it had not saved is gone.
    Restored,
    /// Entries are gone that were not read.
    Trimmed {
        /// Where it begins; none: it is empty.
        first: Option<Id>,
        /// Up to where it was read.
        read: Id,
        /// The number of lost entries, where it is known.
        entries: Option<u64>,
    },
    /// Something was lost earlier, and nobody has taken note of it.
    Before(String),
    /// So many events were delivered to the worker while the stream's group was given none.
    Elsewhere(u64),
    /// There is no such stream: the sidecar makes it when it subscribes.
    Absent,
    /// The worker's group is none of its groups.
    Unread {
        /// Those that there are.
        groups: Vec<String>,
    },
    /// The Redis that answers follows another one.
    Replica,
    /// The clocks of the database and of Redis differ by so many seconds: one of them is wrong, and nothing can be said about when.
    Clock(i64),
}

impl Alert {
    /// Its severity.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        match self {
            Self::Gone | Self::Anew | Self::Restored | Self::Trimmed { .. } | Self::Elsewhere(_) | Self::Before(_) => {
                Severity::Lost
            }
            Self::Another => Severity::Another,
            Self::Absent | Self::Unread { .. } | Self::Replica | Self::Clock(_) => Severity::CannotLook,
        }
    }

    /// Whether what is in the stream is somebody else's, or nobody knows what of it was delivered.
    #[must_use]
    pub fn forbids_taking(&self) -> bool {
        self.severity() != Severity::Lost
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
            Self::Restored => f.write_str(
                "Redis was started again, or another took over, and it keeps no append-only file: what came after its last snapshot is gone",
            ),
            Self::Trimmed { first, read, entries } => {
                f.write_str("the stream was trimmed before it was read: it ")?;
                match first {
                    Some(first) => write!(f, "begins at {first}, and was read up to {read}")?,
                    None => write!(f, "is empty, and was read up to {read}")?,
                }
                entries.map_or(Ok(()), |entries| write!(f, "; {entries} entries are gone"))
            }
            Self::Before(lost) => f.write_str(lost),
            Self::Elsewhere(events) => write!(
                f,
                "{events} events were delivered that are not from this stream: not the component's Redis, or worker.reconcile.stream_prefix is not what the component puts before its topics"
            ),
            Self::Absent => f.write_str(
                "there is no such stream, which the sidecar makes when it subscribes: not the component's Redis, or the sidecar has not subscribed, or worker.reconcile.stream_prefix is not what the component puts before its topics",
            ),
            Self::Unread { groups } => {
                f.write_str("the worker's group does not read the stream: not the component's Redis, or the sidecar has not subscribed, or worker.reconcile.group is not its consumerID; its groups: ")?;
                f.write_str(&if groups.is_empty() { "none".to_owned() } else { groups.join(", ") })
            }
            Self::Replica => f.write_str(
                "cannot be looked at: a replica answers, which may not have what was published; data.redis.addr has to name the primary",
            ),
            Self::Clock(off) => {
                write!(f, "cannot be looked at: the database's clock is {off:+} s off that of Redis; set them")
            }
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

/// Whether another Redis answers than the one that was read: another process, and the last entry that was seen is neither there nor
/// the last that was ever added. One that was restarted with its data, or took over from its master, has it.
#[must_use]
pub fn is_another(has_entry: bool, known: &Known, last_id: Id, run_id: Option<&str>) -> bool {
    let seen = known.seen.map(|seen| seen.last_id).filter(|seen| *seen > Id::default());
    seen.is_some_and(|seen| known.is_of_another_process(run_id) && !has_entry && last_id != seen)
}

/// What is wrong with a stream of a Redis that is the one that was read. None: all that was published since the last look is there.
///
/// | stream | known | |
/// |---|---|---|
/// | absent, or its counters fell | it was seen before | [`Alert::Gone`], [`Alert::Anew`] |
/// | absent, or without the worker's group | | [`Alert::Absent`], [`Alert::Unread`]: nobody knows whose it is |
/// | of the entries behind what was read, some are gone | it was seen before | [`Alert::Trimmed`] |
///
/// The entries behind what was read are those that were ever added, less those that were added up to it. Where the stream begins behind
/// it, they are all that is there; where it begins before it, nothing was trimmed that far. What was deleted by its id is told apart.
#[must_use]
pub fn alert(stream: &Stream, known: &Known) -> Option<Alert> {
    if let Some(seen) = known.seen {
        if !stream.exists {
            return Some(Alert::Gone);
        }
        let fell = stream.entries_added.zip(seen.entries_added).is_some_and(|(now, then)| now < then);
        // More entries stand behind the last that was seen than were added since.
        let fresh = stream.first.is_some_and(|first| first > seen.last_id).then_some(stream.length);
        let added = stream.entries_added.zip(seen.entries_added).and_then(|(now, then)| now.checked_sub(then));
        let recounted = fresh.zip(added).is_some_and(|(fresh, added)| fresh > added);
        if fell || recounted || stream.last_id < seen.last_id {
            return Some(Alert::Anew);
        }
    }
    if !stream.exists {
        return Some(Alert::Absent);
    }
    if stream.group.is_none() {
        return Some(Alert::Unread { groups: stream.groups.clone() });
    }
    known.seen?;
    let trimmed = |entries| Some(Alert::Trimmed { first: stream.first, read: known.last_id, entries });
    if stream.last_deleted.is_some_and(|deleted| deleted > known.last_id) {
        return trimmed(None);
    }
    if stream.first.is_some_and(|first| first <= known.last_id) {
        return None;
    }
    match (stream.entries_added, known.read) {
        (Some(added), Some(read)) => match added.checked_sub(read).and_then(|behind| behind.checked_sub(stream.length))
        {
            Some(0) => None,
            Some(gone) => trimmed(Some(gone)),
            None => Some(Alert::Anew),
        },
        // An old Redis: nobody knows what was between.
        _ if known.last_id > Id::default() && stream.last_id > known.last_id => trimmed(None),
        _ => None,
    }
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
        let first = (length > 0).then_some(id(first));
        let groups = vec!["order-worker".to_owned()];
        Stream {
            exists: true,
            length,
            first,
            last_id: id(last),
            entries_added: Some(added),
            last_deleted: None,
            group,
            groups,
        }
    }

    /// Read up to an entry, when so many had been added, all of them.
    fn known(last: u64, added: u64) -> Known {
        let seen = Some(Seen { last_id: id(last), entries_added: Some(added) });
        Known { last_id: id(last), read: Some(added), seen, ..Known::default() }
    }

    #[test]
    fn a_stream_that_grew_or_was_trimmed_behind_the_cursor_is_well() {
        assert_eq!(alert(&stream(1, 9, 9, 9), &Known::default()), None);
        assert_eq!(alert(&stream(1, 9, 9, 9), &known(5, 5)), None);
        assert_eq!(alert(&stream(5, 9, 5, 9), &known(5, 5)), None, "trimmed up to what was read");
        assert_eq!(alert(&stream(6, 9, 4, 9), &known(5, 5)), None, "all that is new is there");
        assert_eq!(alert(&stream(0, 5, 0, 5), &known(5, 5)), None, "emptied after it was read");
        let deleted = Stream { last_deleted: Some(id(4)), ..stream(1, 9, 8, 9) };
        assert_eq!(alert(&deleted, &known(5, 5)), None, "one that was read was deleted");
        assert_eq!(alert(&Stream { entries_added: None, ..stream(0, 5, 0, 5) }, &known(5, 5)), None);
        assert_eq!(alert(&stream(0, 0, 0, 0), &known(0, 0)), None, "nothing was ever published");
    }

    #[test]
    fn what_was_lost_is_told_apart() {
        let says = |stream: &Stream, known: &Known, words: &str| {
            let told = alert(stream, known);
            assert!(told.as_ref().is_some_and(|told| told.to_string().contains(words)), "{told:?}");
            assert_eq!(told.unwrap().severity(), Severity::Lost);
        };
        says(&Stream::default(), &known(5, 5), "is gone");
        says(&Stream::default(), &known(0, 0), "is gone");
        says(&stream(7, 9, 3, 3), &known(5, 5), "begins anew");
        says(&stream(1, 4, 4, 6), &known(5, 5), "begins anew");
        says(&stream(6, 30, 30, 30), &known(5, 5), "begins anew");
        says(
            &stream(8, 9, 2, 9),
            &known(5, 5),
            "trimmed before it was read: it begins at 8-0, and was read up to 5-0; 2 entries",
        );
        says(&stream(0, 9, 0, 9), &known(5, 5), "is empty, and was read up to 5-0; 4 entries");
        says(&stream(0, 9, 0, 9), &known(0, 0), "is empty, and was read up to 0-0; 9 entries");
        says(&Stream { entries_added: None, ..stream(8, 9, 2, 9) }, &known(5, 5), "trimmed before it was read");
        says(&Stream { last_deleted: Some(id(7)), ..stream(1, 9, 8, 9) }, &known(5, 5), "trimmed before it was read");
        // Nothing came since the last look, at which 4 entries had still to be delivered; now they are gone.
        let seen = Some(Seen { last_id: id(9), entries_added: Some(9) });
        says(&stream(0, 9, 0, 9), &Known { seen, ..known(5, 5) }, "4 entries");
        says(&stream(9, 9, 1, 9), &Known { seen, ..known(5, 5) }, "3 entries");
        assert_eq!(alert(&stream(6, 9, 4, 9), &Known { seen, ..known(5, 5) }), None);
    }

    #[test]
    fn whose_a_stream_is_says_its_group() {
        let says = |stream: &Stream, known: &Known, words: &str| {
            let told = alert(stream, known).unwrap();
            assert!(told.to_string().contains(words) && told.severity() == Severity::CannotLook, "{told:?}");
        };
        let foreign = |length| Stream { group: None, groups: vec!["orders".into()], ..stream(1, 9, length, 9) };
        says(&foreign(9), &Known::default(), "group does not read the stream");
        says(&foreign(0), &known(9, 9), "its groups: orders");
        says(&Stream::default(), &Known::default(), "worker.reconcile.stream_prefix");
    }

    #[test]
    fn counters_that_begin_anew_and_agree_by_chance_are_told() {
        let seen = Some(Seen { last_id: id(5), entries_added: Some(2) });
        let known = Known { seen, read: Some(0), ..Known::default() };
        assert_eq!(alert(&stream(7, 8, 2, 2), &known), Some(Alert::Anew));
        assert_eq!(alert(&stream(4, 8, 4, 4), &known), None);
    }

    #[test]
    fn another_redis_is_another_process_without_what_was_read() {
        let known = Known { run_id: Some("a".into()), ..known(5, 5) };
        let other = |has_entry, known: &Known, last, run_id| is_another(has_entry, known, id(last), run_id);
        assert!(other(false, &known, 9, Some("b")) && other(false, &known, 9, None));
        assert!(!other(true, &known, 9, Some("b")), "restarted with its data");
        assert!(!other(false, &known, 5, Some("b")), "restarted, and trimmed to nothing before");
        assert!(!other(false, &known, 9, Some("a")), "the same process");
        assert!(!other(false, &Known { seen: None, ..known }, 9, Some("b")), "it was never read");
    }

    #[test]
    fn ids_are_ordered_by_time_and_read_back() {
        let one: Id = "1700000000000-3".parse().unwrap();
        assert_eq!(one.to_string(), "1700000000000-3");
        assert!(one > "1700000000000-2".parse().unwrap() && one < "1700000000001".parse().unwrap());
        assert_eq!(one.before(Duration::from_secs(10)), id(1_699_999_990_000));
        assert_eq!((one.next().previous(), id(7).previous().next()), (one, id(7)));
        assert_eq!(Id::default().previous(), Id::default());
        assert!("soon".parse::<Id>().is_err());
    }
}
