//! What a step of the guard did.

use std::time::Duration;

use super::{Class, Fill, MinIdle};

/// One step.
#[derive(Debug)]
pub(crate) struct Event {
    /// After the step.
    pub(crate) fill: Fill,
    /// Flows.
    pub(crate) high: u64,
    pub(crate) low: u64,
    /// Flows that are watched.
    pub(crate) observed: usize,
    /// Flows that could end and are not watched: memory allows no more.
    pub(crate) unwatched: u64,
    pub(crate) min_idle: MinIdle,
    pub(crate) what: What,
    /// The mark is reached, and no flow may end.
    pub(crate) is_helpless: bool,
    /// Until the count is read again.
    pub(crate) next: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// The count was read.
    Rested,
    /// Every flow was looked at.
    Observed,
    /// Flows ended.
    Ended { ended: Ended, took: Duration },
    /// The mark is reached and no flow may end; said once until one may.
    Helpless,
    /// Another command of cttune holds the lock.
    StoodAside,
    /// The kernel resized the hash table, or lost answers, during each try; the next step tries
    /// again.
    Disturbed,
}

impl What {
    /// The name that machines read.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            What::Rested => "rested",
            What::Observed => "observed",
            What::Ended { .. } => "ended",
            What::Helpless => "helpless",
            What::StoodAside => "stood-aside",
            What::Disturbed => "disturbed",
        }
    }
}

/// Flows that ended, by class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ended([u64; Class::ALL.len()]);

impl Ended {
    pub(crate) fn add(&mut self, class: Class) {
        if let Some(flows) = self.0.get_mut(class as usize) {
            *flows += 1;
        }
    }

    /// Adds what another step ended.
    pub(crate) fn add_all(&mut self, other: &Ended) {
        for (flows, more) in self.0.iter_mut().zip(other.0) {
            *flows += more;
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Each class and its flows.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Class, u64)> {
        Class::ALL.into_iter().zip(self.0)
    }
}
