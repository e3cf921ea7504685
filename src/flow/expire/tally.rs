//! How many flows were looked at, what became of them, and why the others were left alone.

use std::collections::BTreeMap;

use super::{KeptWhy, Shortening};
use crate::flow::Top;
use crate::tunable::Key;

/// Numbers of flows. Of a count they are what would be, of a run what was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Flows that have no more time than their timeout now.
    pub(crate) clamped: u64,
    /// Flows whose idle time was counted.
    pub(crate) re_aged: u64,
    /// Flows that were ended.
    pub(crate) deleted: u64,
    /// Flows that had ended by themselves before they were reached.
    pub(crate) gone: u64,
    /// Flows that the kernel refused to change.
    pub(crate) failed: u64,
    /// Flows of which too little is known, or the kernel's answer was lost.
    pub(crate) unknown: u64,
    /// Flows that the last of all passes still changed, so that others may be left.
    pub(crate) late: u64,
    /// Flows that are not proven idle, and likely are by the history of the timeout.
    pub(crate) likely_idle: u64,
    pub(crate) kept: BTreeMap<KeptWhy, u64>,
    /// By the sysctl that applies, and what it says, or a policy or service in its place.
    pub(crate) shares: BTreeMap<(Key, u32), Share>,
}

/// The selected flows of one timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// All of them.
    pub(crate) flows: u64,
    /// Those that are likely idle for longer than the timeout, by its history.
    pub(crate) silent: u64,
    /// The timeout, in seconds.
    pub(crate) timeout: u32,
    /// The seconds that one of them gets at least, and at most.
    pub(crate) least: u32,
    pub(crate) most: u32,
}

/// What ending flows would do.
#[derive(Debug)]
pub(crate) struct Preview {
    pub(crate) tally: Tally,
    /// The largest groups of the flows that would be ended.
    pub(crate) top: Top,
    /// A few of the flows, a line each.
    pub(crate) examples: Vec<String>,
}

impl Tally {
    /// Flows that were picked to be changed, whatever became of them.
    pub(crate) fn selected(&self) -> u64 {
        self.clamped + self.re_aged + self.deleted + self.gone + self.failed
    }

    /// Flows that were left alone for a reason that is known.
    pub(crate) fn kept(&self) -> u64 {
        self.kept.values().sum()
    }

    /// Flows that `--match` covers.
    pub(crate) fn examined(&self) -> u64 {
        self.selected() + self.kept() + self.unknown
    }

    /// The reasons, each with its flows, in the order in which they are looked for.
    pub(crate) fn kept_why(&self) -> impl Iterator<Item = (KeptWhy, u64)> {
        self.kept.iter().map(|(why, flows)| (*why, *flows))
    }

    /// The selected flows by the timeout that applies to them, in catalog order.
    pub(crate) fn shares(&self) -> impl Iterator<Item = (Key, Share)> {
        self.shares.iter().map(|((key, _), share)| (*key, *share))
    }

    /// Counts a flow that is left alone.
    pub(crate) fn keep(&mut self, why: KeptWhy) {
        *self.kept.entry(why).or_default() += 1;
    }

    /// Counts a flow that is selected.
    pub(crate) fn select(&mut self, one: Shortening) {
        let share = Share {
            flows: 1,
            silent: u64::from(one.is_silent),
            timeout: one.timeout,
            least: one.seconds,
            most: one.seconds,
        };
        self.add_share(one.key, share);
    }

    fn add_share(&mut self, key: Key, more: Share) {
        let share = self.shares.entry((key, more.timeout));
        let add = |share: &mut Share| {
            share.flows += more.flows;
            share.silent += more.silent;
            share.least = share.least.min(more.least);
            share.most = share.most.max(more.most);
        };
        share.and_modify(add).or_insert(more);
    }

    /// Adds what was counted of other flows.
    pub(crate) fn merge(&mut self, other: &Tally) {
        self.add_changes(other);
        self.unknown += other.unknown;
        self.likely_idle += other.likely_idle;
        for (why, flows) in &other.kept {
            *self.kept.entry(*why).or_default() += flows;
        }
        for (key, more) in other.shares() {
            self.add_share(key, more);
        }
    }

    /// Adds what a later pass over the same flows changed. What it left alone was counted by the
    /// first.
    pub(crate) fn add_changes(&mut self, later: &Tally) {
        self.clamped += later.clamped;
        self.re_aged += later.re_aged;
        self.deleted += later.deleted;
        self.gone += later.gone;
        self.failed += later.failed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flow_is_counted_once() {
        let mut tally = Tally {
            clamped: 5,
            gone: 1,
            failed: 2,
            unknown: 3,
            ..Tally::default()
        };
        tally.keep(KeptWhy::Helper);
        tally.keep(KeptWhy::Keep);
        tally.keep(KeptWhy::Helper);
        assert_eq!((tally.selected(), tally.kept()), (8, 3));
        assert_eq!(tally.examined(), 14);
        let why: Vec<_> = tally.kept_why().collect();
        assert_eq!(why, [(KeptWhy::Keep, 1), (KeptWhy::Helper, 2)]);
        let later = Tally {
            clamped: 1,
            unknown: 9,
            ..Tally::default()
        };
        tally.add_changes(&later);
        assert_eq!((tally.selected(), tally.unknown), (9, 3));
    }
}
