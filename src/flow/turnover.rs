//! How many flows begin and end, as two readings of the same part of a table tell.
//!
//! In: the flows of a dump in its order, again and again. Out: the flows that came and went between
//! two of them. Rule: a dump goes through the buckets in their order, so that two dumps that are
//! broken off tell of the same part up to the last flow that both have; only that part is compared.
//! A flow that begins and ends between two readings is not seen.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::time::Duration;

use foldhash::quality::RandomState;

use super::{Flow, Gather};

/// The flows of one reading, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    names: Vec<u64>,
    state: RandomState,
}

/// What changed between two readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turnover {
    pub(crate) began: u64,
    pub(crate) ended: u64,
    /// Flows of the later reading in the part that was compared.
    pub(crate) of: u64,
}

impl Reading {
    /// An empty one that can be compared with this one.
    pub(crate) fn next(&self) -> Self {
        Reading {
            names: Vec::new(),
            state: self.state.clone(),
        }
    }

    /// What changed since an earlier one; none where the two have no flow in common. `is_part`
    /// where one of the dumps was broken off.
    pub(crate) fn since(&self, earlier: &Reading, is_part: bool) -> Option<Turnover> {
        let (now, then) = (
            earlier.common(self, is_part)?,
            self.common(earlier, is_part)?,
        );
        let [mine, theirs] = [now, then].map(|part| part.iter().collect::<HashSet<_>>());
        Some(Turnover {
            began: mine.difference(&theirs).count() as u64,
            ended: theirs.difference(&mine).count() as u64,
            of: mine.len() as u64,
        })
    }

    /// The part of `other` up to the last flow that is here too.
    fn common<'a>(&self, other: &'a Reading, is_part: bool) -> Option<&'a [u64]> {
        if !is_part {
            return Some(&other.names);
        }
        let mine: HashSet<&u64> = self.names.iter().collect();
        let last = other.names.iter().rposition(|name| mine.contains(name))?;
        other.names.get(..=last)
    }
}

impl Gather for Reading {
    fn add(&mut self, flow: &Flow<'_>, _: Duration) {
        self.names.push(self.state.hash_one(flow.identity()));
    }

    fn part(&self) -> Self {
        self.next()
    }

    fn merge(&mut self, part: Self) {
        self.names.extend(part.names);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(names: &[u64]) -> Reading {
        Reading {
            names: names.to_vec(),
            ..Reading::default()
        }
    }

    #[test]
    fn only_the_part_that_both_readings_have_is_compared() {
        for (earlier, later, is_part, expected) in [
            // Whole tables.
            (&[1, 2, 3][..], &[2, 3, 4, 5][..], false, Some((2, 1, 4))),
            (&[], &[1], false, Some((1, 0, 1))),
            (&[1], &[], false, Some((0, 1, 0))),
            // 9 and 8 are behind the last flow that both have: perhaps they were there before.
            (&[1, 2, 3, 4], &[1, 7, 3, 9, 8], true, Some((1, 1, 3))),
            (&[1, 2, 3], &[1, 2, 3], true, Some((0, 0, 3))),
            (&[1, 2], &[3, 4], true, None),
            (&[], &[3], true, None),
        ] {
            let told = reading(later).since(&reading(earlier), is_part);
            let told = told.map(|one| (one.began, one.ended, one.of));
            assert_eq!(told, expected, "{earlier:?} {later:?}");
        }
    }
}
