//! One pass that shortens or ends flows.

use super::Expiry;
use crate::change::flows::{FlowContext, FlowError, Pass, Run, Worker, look};
use crate::change::signal::Signal;
use crate::conntrack::Shorter;
use crate::flow::expire::{KeptWhy, Moment, Shortening, Verdict};
use crate::flow::{Compared, Flow, TcpState};
use crate::kernel::ctnetlink::Changes;

struct Actor<'a> {
    expiry: &'a Expiry,
    is_later: bool,
    changes: Changes<()>,
    pass: &'a mut Pass,
    run: Run,
}

impl Expiry {
    /// Acts on every flow once.
    pub(super) fn pass(
        &self,
        number: usize,
        context: &mut FlowContext<'_>,
    ) -> (Pass, Result<(), FlowError>) {
        let mut pass = Pass::default();
        let ended = std::thread::scope(|scope| {
            let mut actor = Actor {
                expiry: self,
                is_later: number > 1,
                changes: Changes::beside(scope, context.threads)?,
                pass: &mut pass,
                run: self.pace.start(),
            };
            look(self.selection(), self.clock, &mut actor, context)
        });
        (pass, ended)
    }
}

impl Actor<'_> {
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
                self.pass.tally.select(one);
                self.changes.shorten(shorter, ());
            }
            _ => self.pass.tally.keep(KeptWhy::WithinTimeout),
        }
    }
}

impl Worker for Actor<'_> {
    fn finish_chunk(&mut self) -> Result<(), FlowError> {
        let (done, pass) = (self.expiry.done(), &mut *self.pass);
        let answered = self
            .changes
            .finish(|(), answer| pass.answered(answer, done));
        Ok(answered?)
    }

    fn flow(&mut self, flow: &Flow<'_>, moment: Moment, age: u32) {
        let verdict = self.mend(flow, moment);
        match verdict.unwrap_or_else(|| self.expiry.verdict(flow, moment)) {
            Verdict::Keep(why) => self.pass.tally.keep(why),
            Verdict::Unknown => self.pass.tally.unknown += 1,
            Verdict::Shorten(one) => self.shorten(flow, one, age),
            Verdict::Delete(one) => {
                self.pass.tally.select(one);
                self.changes.delete(flow, ());
            }
        }
    }

    fn end_of_chunk(&mut self, stop: &dyn Fn() -> Option<Signal>) -> Result<(), FlowError> {
        let waiting = u32::try_from(self.changes.waiting()).unwrap_or(u32::MAX);
        let (done, pass) = (self.expiry.done(), &mut *self.pass);
        self.changes
            .send(|(), answer| pass.answered(answer, done))?;
        self.run.sent(waiting, stop)
    }
}
