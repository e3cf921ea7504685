//! One pass that shortens or ends flows.

use super::look::{Worker, look};
use super::pace::Run;
use super::{ExpireError, Expiry, FlowContext};
use crate::change::signal::Signal;
use crate::conntrack::Shorter;
use crate::flow::expire::{KeptWhy, Moment, Shortening, Tally, Verdict};
use crate::flow::{Compared, Flow, TcpState};
use crate::kernel::ctnetlink::{Answer, Changes};

/// What one pass did.
pub(super) struct Pass {
    pub(super) tally: Tally,
    /// Changes whose answers were lost.
    pub(super) lost: u64,
    pub(super) ended: Result<(), ExpireError>,
}

impl Pass {
    fn answered(&mut self, expiry: &Expiry, answer: Answer) {
        match answer {
            Answer::Done => *expiry.done(&mut self.tally) += 1,
            Answer::Gone => self.tally.gone += 1,
            Answer::Refused(_) => self.tally.failed += 1,
            Answer::Unknown => self.lost += 1,
        }
    }
}

pub(super) struct Actor<'a> {
    expiry: &'a Expiry,
    is_later: bool,
    changes: Changes<()>,
    pass: &'a mut Pass,
    run: Run,
}

impl Actor<'_> {
    /// Acts on every flow once. `is_later` for all but the first pass.
    pub(super) fn pass(expiry: &Expiry, is_later: bool, context: &mut FlowContext<'_>) -> Pass {
        let mut pass = Pass {
            tally: Tally::default(),
            lost: 0,
            ended: Ok(()),
        };
        // Here and not beside: a flow may speak between its dump and what is done to it, so each
        // chunk is acted upon before the next one is received.
        let changes = match Changes::open() {
            Ok(changes) => changes,
            Err(error) => {
                pass.ended = Err(error.into());
                return pass;
            }
        };
        let mut actor = Actor {
            expiry,
            is_later,
            changes,
            pass: &mut pass,
            run: expiry.pace.start(),
        };
        let ended = look(expiry.selection(), expiry.clock, &mut actor, context);
        pass.ended = ended;
        pass
    }

    /// What a later pass does to a flow that the first look saw and that changed its state just
    /// when its time was set: the kernel took that time for one of the new state.
    fn mend(&self, flow: &Flow<'_>, moment: Moment) -> Option<Verdict> {
        let first = self.expiry.first.as_ref().filter(|_| self.is_later)?;
        let is_closing = flow.tcp_state() != Some(TcpState::Established)
            && !matches!(first.compare(flow, moment.at), Compared::Unseen);
        is_closing.then(|| self.expiry.rules.clamp(flow, moment.now))
    }

    fn shorten(&mut self, flow: &Flow<'_>, one: Shortening, age: u32) {
        // By now it has less than was dumped, by its age and the second that was rounded off.
        let left = flow
            .timeout
            .unwrap_or(0)
            .saturating_sub(age.saturating_add(1));
        match Shorter::new(flow, one.seconds) {
            Some(shorter) if left >= one.seconds => {
                self.pass.tally.select(one.key, one.timeout, one.is_silent);
                self.changes.shorten(shorter, ());
            }
            _ => self.pass.tally.keep(KeptWhy::WithinTimeout),
        }
    }
}

impl Worker for Actor<'_> {
    fn flow(&mut self, flow: &Flow<'_>, moment: Moment, age: u32) {
        let verdict = self.mend(flow, moment);
        match verdict.unwrap_or_else(|| self.expiry.verdict(flow, moment)) {
            Verdict::Keep(why) => self.pass.tally.keep(why),
            Verdict::Unknown => self.pass.tally.unknown += 1,
            Verdict::Shorten(one) => self.shorten(flow, one, age),
            Verdict::Delete(one) => {
                self.pass.tally.select(one.key, one.timeout, one.is_silent);
                self.changes.delete(flow, ());
            }
        }
    }

    fn end_of_chunk(&mut self, stop: &dyn Fn() -> Option<Signal>) -> Result<(), ExpireError> {
        let waiting = u32::try_from(self.changes.waiting()).unwrap_or(u32::MAX);
        let (expiry, pass) = (self.expiry, &mut *self.pass);
        self.changes
            .send(|(), answer| pass.answered(expiry, answer))?;
        self.run.sent(waiting, stop)
    }
}
