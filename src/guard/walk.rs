//! One walk over the table: notes what is silent, and ends what was chosen.

use super::{Guard, GuardError};
use crate::change::Signal;
use crate::change::flows::{FlowContext, FlowError, Pace, Run, Worker, look};
use crate::flow::expire::Moment;
use crate::flow::guard::{Choice, Class, Ended, Judge, decide};
use crate::flow::{Flow, Selection, Sightings, summary_line};
use crate::kernel::ctnetlink::{Answer, Changes};

/// Walks are tried again so often if the kernel rebuilds the table meanwhile.
const TRIES: usize = 3;

pub(super) struct Walk<'a> {
    judge: &'a Judge,
    sightings: &'a mut Sightings,
    /// The flows that are still to end.
    choice: Choice,
    changes: Option<(Changes<Class>, Run)>,
    dry_run: bool,
    ended: Ended,
    report: &'a mut dyn FnMut(&str),
}

impl Walk<'_> {
    /// Walks once. No flow ends without a pace.
    pub(super) fn over(
        guard: &mut Guard,
        choice: &Choice,
        pace: Option<Pace>,
        stop: &dyn Fn() -> Option<Signal>,
        report: &mut dyn FnMut(&str),
    ) -> Result<Ended, GuardError> {
        let mut ended = Ended::default();
        let mut left = choice.clone();
        let mut tries = 0;
        loop {
            tries += 1;
            let changes = match pace.filter(|_| !guard.dry_run) {
                Some(pace) => Some((Changes::open().map_err(FlowError::from)?, pace.start())),
                None => None,
            };
            guard.sightings.begin_round();
            let mut walk = Walk {
                judge: &guard.judge,
                sightings: &mut guard.sightings,
                choice: left.clone(),
                changes,
                dry_run: guard.dry_run,
                ended: Ended::default(),
                report: &mut *report,
            };
            let mut context = FlowContext {
                stop,
                progress: &mut |_| (),
                threads: Some(1),
            };
            let walked = look(&Selection::default(), guard.clock, &mut walk, &mut context);
            ended.add_all(&walk.ended);
            left = walk.choice;
            match walked {
                Ok(()) => {
                    let sightings = std::mem::take(&mut guard.sightings);
                    guard.sightings = sightings.end_round();
                    return Ok(ended);
                }
                Err(error) => {
                    guard.sightings.give_up_round();
                    match error {
                        FlowError::Dump(error) if error.is_passing() && tries < TRIES => {}
                        // The operator hears of what ended, whatever came in between.
                        _ if ended.total() > 0 => return Ok(ended),
                        error => return Err(error.into()),
                    }
                }
            }
        }
    }

    fn end(&mut self, flow: &Flow<'_>, class: Class) {
        (self.report)(&format!("{} {}", class.name(), summary_line(flow)));
        match &mut self.changes {
            Some((changes, _)) => changes.delete(flow, class),
            None => self.ended.add(class),
        }
    }
}

impl Worker for Walk<'_> {
    fn flow(&mut self, flow: &Flow<'_>, moment: Moment, _: u32) {
        let (judge, sightings) = (self.judge, &mut *self.sightings);
        let choice = &mut self.choice;
        if let Some(class) = decide(flow, moment, judge, sightings, choice, self.dry_run) {
            self.end(flow, class);
        }
    }

    fn end_of_chunk(&mut self, stop: &dyn Fn() -> Option<Signal>) -> Result<(), FlowError> {
        let Some((changes, run)) = &mut self.changes else {
            return Ok(());
        };
        let waiting = u32::try_from(changes.waiting()).unwrap_or(u32::MAX);
        let ended = &mut self.ended;
        changes.send(|class, answer| {
            if answer == Answer::Done {
                ended.add(class);
            }
        })?;
        run.sent(waiting, stop)
    }
}
