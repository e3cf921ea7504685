//! One walk over the flows that `--match` covers, for somebody who counts or changes them.

use std::ops::ControlFlow;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{FlowContext, FlowError};
use crate::change::signal::Signal;
use crate::flow::expire::Moment;
use crate::flow::{Filter, Flow, Gather, Selected, Selection};
use crate::kernel::ctnetlink::{Reading, Visitor, gather, walk};

/// What changes flows.
pub(crate) trait Worker {
    /// Waits for what is still to be done to the flows of the chunk before: another thread may do it.
    /// Nothing of that makes a flow of the next chunk wait longer than its age says.
    fn finish_chunk(&mut self) -> Result<(), FlowError> {
        Ok(())
    }

    /// A flow, when it was dumped, and the whole seconds that have passed since.
    fn flow(&mut self, flow: &Flow<'_>, moment: Moment, age: u32);

    /// What was gathered of a chunk is done before the next is received.
    fn end_of_chunk(&mut self, _: &dyn Fn() -> Option<Signal>) -> Result<(), FlowError> {
        Ok(())
    }
}

/// Shows every flow that the selection covers to a worker. `clock` is what two looks share.
pub(crate) fn look<W: Worker>(
    selection: &Selection,
    clock: Instant,
    worker: &mut W,
    context: &mut FlowContext<'_>,
) -> Result<(), FlowError> {
    let mut look = Look {
        worker,
        selection,
        context,
        clock,
        looked_at: 0,
        moment: Moment { now: 0, at: 0 },
        age: 0,
    };
    let ended = walk(&Filter::of(selection), &mut look);
    ended.and(worker.finish_chunk())
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
    type Error = FlowError;

    fn start_of_chunk(&mut self, filled: Instant) -> Result<(), FlowError> {
        self.worker.finish_chunk()?;
        let at = filled.saturating_duration_since(self.clock).as_millis();
        self.moment = Moment {
            now: unix_seconds(),
            at: u32::try_from(at).unwrap_or(u32::MAX),
        };
        self.age = u32::try_from(filled.elapsed().as_secs()).unwrap_or(u32::MAX);
        Ok(())
    }

    fn flow(&mut self, flow: &Flow<'_>) -> ControlFlow<()> {
        if self.selection.covers(flow) {
            self.looked_at += 1;
            self.worker.flow(flow, self.moment, self.age);
        }
        ControlFlow::Continue(())
    }

    fn end_of_chunk(&mut self) -> Result<ControlFlow<()>, FlowError> {
        self.worker.end_of_chunk(self.context.stop)?;
        (self.context.progress)(self.looked_at);
        match (self.context.stop)() {
            Some(signal) => Err(FlowError::Stopped(signal)),
            None => Ok(ControlFlow::Continue(())),
        }
    }
}

/// Shows every flow that the selection covers to who gathers, before anything is changed.
/// `clock` is what two looks share.
pub(in crate::change) fn read<G: Gather>(
    selection: &Selection,
    clock: Instant,
    gatherer: G,
    context: &mut FlowContext<'_>,
) -> Result<G, FlowError> {
    let covered = Selection {
        matching: selection.matching.clone(),
        keep: Vec::new(),
    };
    let reading = Reading {
        filter: &Filter::of(selection),
        clock,
        sample: None,
        threads: context.threads,
    };
    let selected = Selected {
        selection: &covered,
        gather: gatherer,
    };
    let mut stopped = None;
    let read = gather(&reading, selected, &mut |looked_at| {
        (context.progress)(looked_at);
        stopped = (context.stop)();
        match stopped {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    })?;
    match stopped {
        Some(signal) => Err(FlowError::Stopped(signal)),
        None => Ok(read.gather.gather),
    }
}

/// What the clock of the looks showed when the kernel told of a flow, at most, as a moment.
#[derive(Clone, Copy)]
pub(in crate::change) struct Since(i64);

impl Since {
    pub(in crate::change) fn start(clock: Instant) -> Self {
        let passed = i64::try_from(clock.elapsed().as_secs()).unwrap_or(0);
        Since(unix_seconds() - passed)
    }

    pub(in crate::change) fn moment(self, at: Duration) -> Moment {
        Moment {
            now: self.0 + i64::try_from(at.as_secs()).unwrap_or(0),
            at: u32::try_from(at.as_millis()).unwrap_or(u32::MAX),
        }
    }
}

pub(crate) fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
