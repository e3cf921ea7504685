//! What every change of flows shares, whether they are shortened, ended by name or by a guard.
//!
//! In: what to do with a flow. Out: a [`Tally`] of what was done, and how it ended. Rule: what is
//! about to be done is written down first; each chunk of a dump is acted upon before the next one
//! is looked at; then everything is looked at again, until a pass changes nothing. What was done to
//! a flow cannot be undone, so a pass is never repeated for an error that came after its first
//! change.

mod error;
mod log;
mod look;
mod pace;

pub(crate) use error::FlowError;
pub(crate) use log::{Act, Log};
pub(super) use look::{Since, read};
pub(crate) use look::{Worker, look, unix_seconds};
pub(super) use pace::wait;
pub(crate) use pace::{Pace, Run};

use crate::change::signal::Signal;
use crate::flow::expire::{Change, OwnUpdate, Session, Tally};
use crate::kernel::ctnetlink::{Answer, undisturbed};

/// What is known beside the machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Past {
    /// The operator's own connections.
    pub(crate) sessions: Vec<Session>,
    /// How the timeout of established TCP changed, oldest first.
    pub(crate) changes: Vec<Change>,
    /// What it was, and until when, as the operator tells it; used before the changes.
    pub(crate) was: Option<(i64, Option<i64>)>,
    /// What cttune itself set.
    pub(crate) updates: Vec<OwnUpdate>,
    /// Where it is written down what is done; none in tests.
    pub(crate) log: Option<Log>,
}

/// What a pass over the flows asks and reports between two chunks.
pub(crate) struct FlowContext<'a> {
    /// Asked between two chunks: did a signal come?
    pub(crate) stop: &'a dyn Fn() -> Option<Signal>,
    /// Told after each chunk how many flows were looked at in this pass.
    pub(crate) progress: &'a mut dyn FnMut(u64),
    /// Threads that may work; none for as many as cores are idle.
    pub(crate) threads: Option<usize>,
}

/// What one pass over the table did.
#[derive(Default)]
pub(super) struct Pass {
    pub(super) tally: Tally,
    /// Requests whose answers were lost.
    pub(super) lost: u64,
}

impl Pass {
    /// Counts what became of a request; `done` is where one that was made counts.
    pub(super) fn answered(&mut self, answer: Answer, done: fn(&mut Tally) -> &mut u64) {
        match answer {
            Answer::Done => *done(&mut self.tally) += 1,
            Answer::Gone => self.tally.gone += 1,
            Answer::Refused(_) => self.tally.failed += 1,
            Answer::Unknown => self.lost += 1,
        }
    }
}

/// Passes over the table until one changes nothing, `most` of them; how many flows the last one
/// changed. `total` is what all of them did.
pub(super) fn passes(
    most: usize,
    total: &mut Tally,
    mut pass: impl FnMut(usize) -> (Pass, Result<(), FlowError>),
) -> Result<u64, FlowError> {
    let mut changed = 0;
    for number in 1..=most {
        let (done, ended) = pass(number);
        changed = done.tally.selected() + done.lost;
        if number == 1 {
            *total = done.tally;
            total.unknown += done.lost;
        } else {
            total.add_changes(&done.tally);
        }
        match ended {
            Ok(()) if changed == 0 => break,
            Ok(()) => {}
            Err(FlowError::Dump(error)) if error.is_passing() && number < most => {}
            Err(error) => return Err(error),
        }
    }
    Ok(changed)
}

/// Does work that is written down before and after; it says how many flows it changed.
pub(super) fn logged(
    log: Option<&Log>,
    act: &Act,
    work: impl FnOnce(&mut u64) -> Result<(), FlowError>,
) -> Result<(), FlowError> {
    let Some(log) = log else {
        return work(&mut 0);
    };
    log.begin(act)?;
    let mut changed = 0;
    let ended = work(&mut changed);
    let noted = log.end(act, changed);
    ended.and(noted.map_err(FlowError::from))
}

/// Does work that changes nothing again, if its dump was disturbed.
pub(super) fn again<T>(mut work: impl FnMut() -> Result<T, FlowError>) -> Result<T, FlowError> {
    undisturbed(|| match work() {
        Err(FlowError::Dump(error)) => Err(error),
        ended => Ok(ended),
    })?
}
