//! What Dapr delivers is a witness: it has to come from the streams that are looked at.
//!
//! A stream with the worker's group may be left over from another setting of the component (a namespace, another database of Redis):
//! it looks well for ever, and says nothing. When nothing was pending with the group at one look, then everything that Dapr delivers
//! until the next was given to the group meanwhile: a group that stood still is not the one that Dapr reads by.

use super::stream::Group;
use super::{Id, Stream};

/// The state of a stream, and what had been delivered by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Witness {
    /// Counted after the stream was read.
    delivered: u64,
    last_delivered: Id,
    nothing_pending: bool,
}

impl Witness {
    /// Of a stream that the group reads; `delivered` was counted after it was read.
    pub(super) fn of(stream: &Stream, delivered: u64) -> Option<Self> {
        let Group { last_delivered, oldest_pending } = stream.group.as_ref()?;
        Some(Self { delivered, last_delivered: *last_delivered, nothing_pending: oldest_pending.is_none() })
    }

    /// The number of events that came from elsewhere until `stream` was read anew; `delivered` was counted before that.
    pub(super) fn came_from_elsewhere(self, stream: &Stream, delivered: u64) -> Option<u64> {
        let stood_still = stream.group.as_ref().is_some_and(|group| group.last_delivered == self.last_delivered);
        let came = delivered.saturating_sub(self.delivered);
        (self.nothing_pending && stood_still && came > 0).then_some(came)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(last: u64, pending: Option<u64>) -> Stream {
        let id = |ms| Id { ms, seq: 0 };
        let group = Group { last_delivered: id(last), oldest_pending: pending.map(id) };
        Stream { exists: true, group: Some(group), ..Stream::default() }
    }

    #[test]
    fn what_is_delivered_while_the_group_stands_still_comes_came_from_elsewhere() {
        let witness = Witness::of(&stream(5, None), 7).unwrap();
        assert_eq!(witness.came_from_elsewhere(&stream(5, None), 9), Some(2));
        assert_eq!(witness.came_from_elsewhere(&stream(5, None), 7), None, "nothing came");
        assert_eq!(witness.came_from_elsewhere(&stream(6, None), 9), None, "the group was given it");
        let pending = Witness::of(&stream(5, Some(4)), 7).unwrap();
        assert_eq!(pending.came_from_elsewhere(&stream(5, None), 9), None, "it was pending");
        assert_eq!(Witness::of(&Stream::default(), 7), None);
    }
}
