//! Work that failed as a whole is made again in smaller parts, within the same turn, until the row that is to blame stands alone.
//!
//! A turn over `n` rows with one that cannot be done takes about `2 log2(n)` more tries, whatever other turns do meanwhile, and all
//! others get through. Inbox, runs and the settling of what was sent go by it. Pure.

/// The parts of one turn, from left to right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    left: usize,
    part: usize,
}

impl Split {
    /// A turn over `rows` rows, tried as a whole at first.
    #[must_use]
    pub const fn new(rows: usize) -> Self {
        Self { left: rows, part: rows }
    }

    /// The most rows of the next try; none: the turn is over.
    #[must_use]
    pub fn next(&self) -> Option<usize> {
        (self.left > 0).then(|| self.part.clamp(1, self.left))
    }

    /// These first rows got through, of as many as were tried; fewer mean that there are no more.
    pub fn got_through(&mut self, rows: usize) {
        self.left = if self.next() == Some(rows) { self.left - rows } else { 0 };
    }

    /// The last try failed, with these rows in hand. True: it was one row, which is to blame; the turn goes on behind it. False: fewer are
    /// tried next.
    pub fn failed(&mut self, rows: usize) -> bool {
        if rows > 1 {
            self.part = rows / 2;
            return false;
        }
        self.left -= 1;
        self.part = self.left;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Makes a turn over `rows` rows, of which `bad` ones fail. Returns those that stood alone, those that got through, and the tries.
    fn turn(rows: usize, bad: &[usize]) -> (Vec<usize>, Vec<usize>, usize) {
        let (mut split, mut at, mut tries) = (Split::new(rows), 0, 0);
        let (mut alone, mut through) = (Vec::new(), Vec::new());
        while let Some(part) = split.next() {
            tries += 1;
            if !bad.iter().any(|bad| (at..at + part).contains(bad)) {
                through.extend(at..at + part);
                split.got_through(part);
                at += part;
            } else if split.failed(part) {
                alone.push(at);
                at += 1;
            }
        }
        (alone, through, tries)
    }

    #[test]
    fn one_bad_row_of_five_hundred_is_found_in_twenty_tries() {
        for bad in [0, 1, 255, 256, 300, 499] {
            let (alone, through, tries) = turn(500, &[bad]);
            assert_eq!((alone, through.len()), (vec![bad], 499));
            assert!(tries <= 20, "{tries} tries for row {bad}");
        }
        assert_eq!(turn(500, &[]).2, 1);
    }

    #[test]
    fn a_turn_that_comes_short_is_over() {
        let mut split = Split::new(500);
        split.got_through(3);
        assert_eq!(split.next(), None);
    }

    proptest! {
        #[test]
        fn exactly_the_bad_rows_stand_alone(rows in 1usize..200, bad in prop::collection::btree_set(0usize..200, 0..12)) {
            let bad: Vec<usize> = bad.into_iter().filter(|bad| *bad < rows).collect();
            let (alone, through, _) = turn(rows, &bad);
            prop_assert_eq!(&alone, &bad);
            prop_assert_eq!(through.len() + alone.len(), rows);
        }
    }
}
