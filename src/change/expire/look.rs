//! One walk over the flows that `--match` covers, for somebody who works on them.

use std::ops::ControlFlow;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::{ExpireError, FlowContext};
use crate::change::signal::Signal;
use crate::flow::expire::{KeptWhy, Moment, Rules, Tally, Verdict};
use crate::flow::{Filter, Flow, Selection, Sightings};
use crate::kernel::ctnetlink::{Visitor, walk};

/// What is done with flows.
pub(crate) trait Worker {
    /// A flow, when it was dumped, and the whole seconds that have passed since.
    fn flow(&mut self, flow: &Flow<'_>, moment: Moment, age: u32);

    /// What was gathered of a chunk is done before the next is received.
    fn end_of_chunk(&mut self, _: &dyn Fn() -> Option<Signal>) -> Result<(), ExpireError> {
        Ok(())
    }
}

/// Shows every flow that the selection covers to a worker. `clock` is what two looks share.
pub(crate) fn look<W: Worker>(
    selection: &Selection,
    clock: Instant,
    worker: &mut W,
    context: &mut FlowContext<'_>,
) -> Result<(), ExpireError> {
    let mut look = Look {
        worker,
        selection,
        context,
        clock,
        looked_at: 0,
        moment: Moment { now: 0, at: 0 },
        age: 0,
    };
    walk(&Filter::of(selection), &mut look)
}

struct Look<'a, 'b, W> {
    worker: &'a mut W,
    selection: &'a Selection,
    context: &'a mut FlowContext<'b>,
    clock: Instant,
    looked_at: u64,
    moment: Moment,
    age: u32,
}

impl<W: Worker> Visitor for Look<'_, '_, W> {
    type Error = ExpireError;

    fn start_of_chunk(&mut self, filled: Instant) {
        let at = filled.saturating_duration_since(self.clock).as_millis();
        self.moment = Moment {
            now: unix_seconds(),
            at: u32::try_from(at).unwrap_or(u32::MAX),
        };
        self.age = u32::try_from(filled.elapsed().as_secs()).unwrap_or(u32::MAX);
    }

    fn flow(&mut self, flow: &Flow<'_>) -> ControlFlow<()> {
        if self.selection.covers(flow) {
            self.looked_at += 1;
            self.worker.flow(flow, self.moment, self.age);
        }
        ControlFlow::Continue(())
    }

    fn end_of_chunk(&mut self) -> Result<ControlFlow<()>, ExpireError> {
        self.worker.end_of_chunk(self.context.stop)?;
        (self.context.progress)(self.looked_at);
        match (self.context.stop)() {
            Some(signal) => Err(ExpireError::Stopped(signal)),
            None => Ok(ControlFlow::Continue(())),
        }
    }
}

/// Notes the flows that may turn out to be idle.
pub(super) struct Looker<'a> {
    pub(super) rules: &'a Rules,
    pub(super) sightings: Sightings,
}

impl Worker for Looker<'_> {
    fn flow(&mut self, flow: &Flow<'_>, moment: Moment, _: u32) {
        if self.rules.is_candidate(flow, moment.now) {
            self.sightings.add(flow, moment.at, 0);
        }
    }
}

/// Counts what would be done.
pub(super) struct Counter<'a, V> {
    pub(super) rules: &'a Rules,
    pub(super) verdict: V,
    pub(super) tally: Tally,
    /// Flows that would be changed.
    pub(super) selected: u64,
}

impl<V: Fn(&Flow<'_>, Moment) -> Verdict> Worker for Counter<'_, V> {
    fn flow(&mut self, flow: &Flow<'_>, moment: Moment, _: u32) {
        match (self.verdict)(flow, moment) {
            Verdict::Keep(why) => {
                let is_likely =
                    why == KeptWhy::NotProven && self.rules.is_likely_idle(flow, moment.now);
                self.tally.likely_idle += u64::from(is_likely);
                self.tally.keep(why);
            }
            Verdict::Unknown => self.tally.unknown += 1,
            Verdict::Shorten(one) | Verdict::Delete(one) => {
                self.tally.select(one.key, one.timeout, one.is_silent);
                self.selected += 1;
            }
        }
    }
}

pub(super) fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
