//! Two looks at a table: which flows sent, began, closed or stayed silent in between.
//!
//! Rule: a flow that sent goes on; one that was silent ends when its time is over. Of the flows
//! that begin, as many close early as were seen to close; the others live for their timeout.

use std::time::Duration;

use super::idle::Seen;
use crate::flow::expire::{Moment, Timeouts};
use crate::flow::sample::as_f64;
use crate::flow::{Compared, Flow, Gather, Selection, Sightings};
use crate::tunable::Key;

/// Flows that are followed at most; 24 bytes each.
const MOST: u64 = 1 << 20;

/// Seconds by which a second look may end later than planned.
const LATE: u32 = 5;

/// The tag of a flow whose timeout is not known.
const NO_KEY: u8 = u8::MAX;

/// The flows that were there at first.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    /// One in so many flows is followed.
    one_in: u64,
    /// Flows with more time left than this last until the second look unless they close.
    lasts: u32,
    flows: Sightings,
    timeouts: Timeouts,
    selection: &'a Selection,
    /// By tag: flows that last.
    lasting: [u64; 256],
    /// Milliseconds at which the first look began; none while it is empty.
    at: Option<u32>,
}

/// Flows of one timeout while they were watched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Turnover {
    /// Flows that began, or came from another state.
    pub(super) began: u64,
    /// Flows that closed, or went to another state, before their time was over.
    pub(super) closed: u64,
}

impl Gather for Watch<'_> {
    fn add(&mut self, flow: &Flow<'_>, at: Duration) {
        if self.selection.matches(flow) && self.follows(flow) {
            self.note(flow, u32::try_from(at.as_millis()).unwrap_or(u32::MAX));
        }
    }

    fn part(&self) -> Self {
        Watch {
            flows: self.flows.alike(),
            timeouts: self.timeouts.clone(),
            lasting: [0; 256],
            ..*self
        }
    }

    fn merge(&mut self, part: Self) {
        self.flows.merge(part.flows);
        for (lasting, more) in self.lasting.iter_mut().zip(part.lasting) {
            *lasting += more;
        }
        self.at = self.at.into_iter().chain(part.at).min();
    }
}

impl<'a> Watch<'a> {
    /// Nothing yet, of a table with about so many entries, for so many seconds.
    pub(crate) fn new(
        entries: u64,
        seconds: u32,
        timeouts: Timeouts,
        selection: &'a Selection,
    ) -> Self {
        Watch {
            one_in: entries / MOST + 1,
            lasts: seconds.saturating_add(LATE),
            flows: Sightings::default(),
            timeouts,
            selection,
            lasting: [0; 256],
            at: None,
        }
    }

    fn note(&mut self, flow: &Flow<'_>, at: u32) {
        let key = self.timeouts.of_flow(flow).map(|(key, _)| key);
        let tag = tag(key);
        self.flows.add(flow, at, tag);
        self.at.get_or_insert(at);
        if flow.timeout.is_some_and(|left| left > self.lasts)
            && let Some(lasting) = self.lasting.get_mut(usize::from(tag))
        {
            *lasting += 1;
        }
    }

    /// Makes it ready to be compared with.
    #[must_use]
    pub(crate) fn seal(mut self) -> Self {
        self.flows = self.flows.seal();
        self
    }

    /// The flows, for the rules of expiry.
    pub(super) fn sightings(&self) -> &Sightings {
        &self.flows
    }

    /// Ids are hashes, so that one in so many of them is a fair choice.
    pub(super) fn follows(&self, flow: &Flow<'_>) -> bool {
        u64::from(flow.id).is_multiple_of(self.one_in)
    }

    /// Milliseconds at which the first flow was seen.
    pub(super) fn began_at(&self) -> u32 {
        self.at.unwrap_or(0)
    }

    pub(super) fn one_in(&self) -> u64 {
        self.one_in
    }

    /// Flows of a timeout that would have lasted.
    pub(super) fn lasting(&self, key: Option<Key>) -> u64 {
        self.lasting
            .get(usize::from(tag(key)))
            .copied()
            .unwrap_or(0)
    }

    /// What a second look tells of a flow: the idle time, and whether it is one that lasts and
    /// still has the same timeout.
    pub(super) fn compare(&self, flow: &Flow<'_>, key: Option<Key>, moment: Moment) -> Compare {
        let window = (moment.at.saturating_sub(self.began_at()) / 1000).saturating_add(1);
        let active = Seen::Active { seconds: window };
        let of = |tagged: u8, left: u32| tagged == tag(key) && left > self.lasts;
        match self.flows.compare(flow, moment.at) {
            Compared::Same(then, millis) => Compare {
                seen: Seen::Silent {
                    seconds: millis / 1000,
                    left: then.left,
                },
                began: false,
                lasted: of(then.tag, then.left),
            },
            Compared::Moved(then) => Compare {
                seen: active,
                began: then.tag != tag(key),
                lasted: of(then.tag, then.left),
            },
            Compared::Unseen => Compare {
                seen: active,
                began: true,
                lasted: false,
            },
            Compared::Unclear => Compare {
                seen: Seen::Nothing,
                began: false,
                lasted: true,
            },
        }
    }
}

/// A flow at the second look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Compare {
    pub(super) seen: Seen,
    /// Whether it was not there under the same timeout.
    pub(super) began: bool,
    /// Whether it was there under the same timeout, and had time enough to last.
    pub(super) lasted: bool,
}

impl Turnover {
    /// Of the flows that begin, the share that closes early. Where the difference is within what
    /// chance makes of such numbers, as many close as begin.
    pub(super) fn closing(self) -> f64 {
        let (began, closed) = (as_f64(self.began), as_f64(self.closed));
        if self.closed == 0 {
            0.0
        } else if closed >= began || !self.is_growing() {
            1.0
        } else {
            closed / began
        }
    }

    /// Flows that close for good, more than begin, a second.
    pub(super) fn decline(self, seconds: f64) -> f64 {
        let (began, closed) = (as_f64(self.began), as_f64(self.closed));
        let excess = closed - began;
        if excess > 2.0 * (began + closed).sqrt() {
            excess / seconds
        } else {
            0.0
        }
    }

    fn is_growing(self) -> bool {
        let (began, closed) = (as_f64(self.began), as_f64(self.closed));
        began - closed > 2.0 * (began + closed).sqrt()
    }
}

fn tag(key: Option<Key>) -> u8 {
    key.map_or(NO_KEY, |key| key as u8)
}
