//! Which groups lose flows under each candidate timeout: by protocol, destination and port.

use std::hash::BuildHasher;

use crate::flow::field::Seen;
use crate::flow::frequent::{Frequent, Summed};
use crate::flow::{Column, Field, Flow, Value};

/// Timeouts that are compared at most.
pub(crate) const MOST: usize = 16;

/// Groups that are shown.
const SHOWN: usize = 3;

/// What tells groups apart.
pub(crate) const COLUMNS: [Column; 3] = [
    Column::whole(Field::Proto),
    Column::whole(Field::Dst),
    Column::whole(Field::Dport),
];

/// Flows of a group that would have ended, by candidate.
#[derive(Debug, Clone, Copy, Default)]
struct Ended([u32; MOST]);

impl Summed for Ended {
    fn add(&mut self, other: Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum = sum.saturating_add(more);
        }
    }
}

/// Flows under count.
#[derive(Debug)]
pub(super) struct Losses(Frequent<[Value; 3], Ended>);

/// A group that loses flows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loss {
    /// One for each of [`COLUMNS`].
    pub(crate) by: [Value; 3],
    /// Flows that would have ended.
    pub(crate) dropped: u64,
    /// All flows of the group that the timeout applies to.
    pub(crate) flows: u64,
}

impl Losses {
    pub(super) fn new() -> Self {
        Losses(Frequent::default())
    }

    /// The same without flows.
    pub(super) fn part(&self) -> Self {
        Losses(self.0.part())
    }

    /// Adds what a part has counted.
    pub(super) fn merge(&mut self, part: Self) {
        self.0.merge(part.0);
    }

    /// Counts a flow that would have ended under the first `ended` candidates.
    pub(super) fn add(&mut self, flow: &Flow<'_>, ended: usize) {
        let seen = Seen::from(flow);
        let mut sums = Ended::default();
        for sum in sums.0.iter_mut().take(ended) {
            *sum = 1;
        }
        let group = COLUMNS.map(|column| column.of(&seen));
        let hash = self.0.hasher().hash_one(group);
        self.0.add_hashed(hash, || group, sums);
    }

    /// The largest losses under each of so many candidates.
    pub(super) fn largest(self, candidates: usize, scale: impl Fn(u64) -> u64) -> Vec<Vec<Loss>> {
        let all: Vec<_> = self.0.sums().collect();
        let of_candidate = |place: usize| {
            let loss = |(by, flows, ended): &(&[Value; 3], u64, &Ended)| Loss {
                by: **by,
                dropped: scale(ended.0.get(place).copied().unwrap_or(0).into()),
                flows: scale(*flows),
            };
            let mut losses: Vec<Loss> = all.iter().map(loss).filter(|l| l.dropped > 0).collect();
            losses.sort_unstable_by(|one, other| {
                let more = other.dropped.cmp(&one.dropped);
                more.then_with(|| one.by.cmp(&other.by))
            });
            losses.truncate(SHOWN);
            losses
        };
        (0..candidates).map(of_candidate).collect()
    }
}
