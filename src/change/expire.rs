//! Brings flows under the timeouts that hold: samples, counts, and acts, pass by pass.
//!
//! In: [`ExpireParameters`], and what is known of the past. Out: a [`Tally`] of what would be or of
//! what was, and how it ended. Rule: what to do with a flow is decided in
//! [`flow::expire`](crate::flow::expire). Each chunk of a dump is acted upon before the next one is
//! received, since the kernel offers no compare-and-set; then everything is looked at again, until
//! a pass changes nothing. What was done to a flow cannot be undone, and so is never begun twice.

use std::ops::ControlFlow;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;

use super::signal::Signal;
use crate::conntrack::Shorter;
use crate::diagnostic::{Advise, Hint};
use crate::flow::expire::{
    Change, History, KeptWhy, Moment, Protected, Rules, Session, Shortening, Tally, Timeouts,
    Verdict,
};
use crate::flow::{Compared, Filter, Flow, Selection, Sightings, TcpState};
use crate::kernel::ctnetlink::{
    Answer, ChangeError, Changes, DumpError, ListError, PolicyError, Visitor, read_listeners,
    read_policies, undisturbed, walk,
};
use crate::kernel::sysctl::{self, ReadError};
use crate::profile::{ExpireMode, ExpireParameters};
use crate::tunable::{Key, Snapshot};

/// Passes over the table. A second one finds what changed its state just when it was acted upon,
/// and a third what the second found late: more were never needed.
const PASSES: usize = 3;

/// Flows in a second, where somebody listens to the events of the changes.
const LISTENED_RATE: u32 = 20_000;

/// How long a wait goes on without asking for signals.
const NAP: Duration = Duration::from_millis(50);

/// What is known beside the machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Past {
    /// The operator's own connections.
    pub(crate) sessions: Vec<Session>,
    /// How the timeout of established TCP changed, oldest first.
    pub(crate) changes: Vec<Change>,
    /// What it was, and until when, as the operator tells it; goes before the changes.
    pub(crate) was: Option<(i64, Option<i64>)>,
}

/// Why flows could not be brought under their timeouts.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExpireError {
    /// A timeout could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There may be timeout policies, which beat the sysctls.
    #[error(transparent)]
    Policies(#[from] PolicyError),
    /// The table could not be read.
    #[error(transparent)]
    Dump(#[from] DumpError),
    /// The changes could not be sent.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The operator asked to stop.
    #[error("stopped by {}", .0.name())]
    Stopped(Signal),
}

impl ExpireError {
    /// Whether there is no right to.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(
            self,
            ExpireError::Dump(DumpError::NoRight)
                | ExpireError::Policies(PolicyError(ListError::Refused(Errno::EPERM)))
        )
    }
}

impl Advise for ExpireError {
    fn hint(&self) -> Option<Hint> {
        match self {
            ExpireError::Dump(error) => error.hint(),
            _ => None,
        }
    }
}

/// What the work is done with.
pub(crate) struct Hands<'a> {
    /// Asked between two chunks: did a signal come?
    pub(crate) stop: &'a dyn Fn() -> Option<Signal>,
    /// Told after each chunk how many flows were looked at in this pass.
    pub(crate) progress: &'a mut dyn FnMut(u64),
}

/// What became of the flows, and why it ended before its time, if it did.
#[derive(Debug)]
pub(crate) struct Expired {
    /// The flows.
    pub(crate) tally: Tally,
    /// None if all was done.
    pub(crate) broken_off: Option<ExpireError>,
}

/// Flows that are to be brought under their timeouts, with all that decides about them.
#[derive(Debug)]
pub(crate) struct Expiry {
    mode: ExpireMode,
    settle: Duration,
    rate: Option<u32>,
    is_listened_to: bool,
    rules: Rules,
    first: Option<Sightings>,
    clock: Instant,
}

impl Expiry {
    /// Reads what decides: timeouts, policies, listeners.
    ///
    /// # Errors
    /// Where one of them cannot be read: then nothing may be changed.
    pub(crate) fn prepare(
        parameters: &ExpireParameters,
        past: &Past,
    ) -> Result<Expiry, ExpireError> {
        Expiry::under(parameters, past, &sysctl::read_snapshot()?)
    }

    /// The same under timeouts that may not hold yet.
    ///
    /// # Errors
    /// As [`Expiry::prepare`].
    pub(crate) fn under(
        parameters: &ExpireParameters,
        past: &Past,
        timeouts: &Snapshot,
    ) -> Result<Expiry, ExpireError> {
        let is_listened_to = match parameters.mode {
            ExpireMode::Delete => read_listeners().is_ok_and(|who| who.destroy),
            ExpireMode::Clamp | ExpireMode::ReAge => read_listeners().is_ok_and(|who| who.update),
        };
        let rules = Rules {
            protected: Protected {
                selection: Selection {
                    matching: parameters.matching.clone(),
                    keep: parameters.keep.clone(),
                },
                sessions: past.sessions.clone(),
                policies: read_policies()?,
            },
            timeouts: Timeouts::of(timeouts),
            history: history(past, timeouts),
            spread: seconds(parameters.spread),
            grace: seconds(parameters.grace),
        };
        let asked = parameters.rate.map(seconds);
        Ok(Expiry {
            mode: parameters.mode,
            settle: Duration::from_secs(seconds(parameters.settle).into()),
            rate: asked.or(is_listened_to.then_some(LISTENED_RATE)),
            is_listened_to,
            rules,
            first: None,
            clock: Instant::now(),
        })
    }

    /// The same with the first sample that another has taken, before the timeouts changed.
    #[must_use]
    pub(crate) fn after(self, other: Expiry) -> Self {
        Expiry {
            first: other.first,
            clock: other.clock,
            ..self
        }
    }

    /// Flows in a second, if they are limited.
    pub(crate) fn rate(&self) -> Option<u32> {
        self.rate
    }

    /// Whether somebody is told of each change, which slows everything down.
    pub(crate) fn is_listened_to(&self) -> bool {
        self.is_listened_to
    }

    /// Whether two samples have to prove that a flow is idle.
    pub(crate) fn needs_sample(&self) -> bool {
        self.mode != ExpireMode::Clamp
    }

    /// Takes the first of two samples, and waits until a second one can prove something.
    ///
    /// # Errors
    /// If the table cannot be read, or a signal comes.
    pub(crate) fn sample(&mut self, hands: &mut Hands<'_>) -> Result<(), ExpireError> {
        let first = again(|| {
            let mut looker = Looker {
                rules: &self.rules,
                sightings: Sightings::default(),
            };
            self.look(&mut looker, hands)?;
            Ok(looker.sightings)
        })?;
        self.first = Some(first.seal());
        pause(self.settle, hands.stop)
    }

    /// Counts what would be done, and does nothing. Without a sample, in the modes that need one,
    /// it is what would be done at most.
    ///
    /// # Errors
    /// If the table cannot be read, or a signal comes.
    pub(crate) fn count(&self, hands: &mut Hands<'_>) -> Result<Tally, ExpireError> {
        again(|| {
            let mut counter = Counter {
                expiry: self,
                tally: Tally::default(),
            };
            self.look(&mut counter, hands)?;
            Ok(counter.tally)
        })
    }

    /// Does it.
    pub(crate) fn run(&self, hands: &mut Hands<'_>) -> Expired {
        let mut tally = Tally::default();
        for pass in 1..=PASSES {
            let done = self.pass(pass > 1, hands);
            let changed = done.tally.selected() + done.lost;
            if pass == 1 {
                tally = done.tally;
                tally.unknown += done.lost;
            } else {
                tally.add_changes(&done.tally);
            }
            let broken_off = match done.ended {
                Ok(()) if changed > 0 && pass < PASSES => continue,
                Ok(()) => {
                    tally.late = changed;
                    None
                }
                Err(ExpireError::Dump(error)) if error.is_passing() && pass < PASSES => continue,
                Err(error) => Some(error),
            };
            return Expired { tally, broken_off };
        }
        let broken_off = None;
        Expired { tally, broken_off }
    }

    fn pass(&self, is_later: bool, hands: &mut Hands<'_>) -> Pass {
        let mut pass = Pass {
            tally: Tally::default(),
            lost: 0,
            ended: Ok(()),
        };
        let changes = match Changes::open() {
            Ok(changes) => changes,
            Err(error) => {
                pass.ended = Err(error.into());
                return pass;
            }
        };
        let mut actor = Actor {
            expiry: self,
            is_later,
            changes,
            pass: &mut pass,
            begun: Instant::now(),
            sent: 0,
        };
        let ended = self.look(&mut actor, hands);
        pass.ended = ended;
        pass
    }

    /// Shows every flow that `--match` covers to a worker.
    fn look<W: Worker>(&self, worker: &mut W, hands: &mut Hands<'_>) -> Result<(), ExpireError> {
        let selection = &self.rules.protected.selection;
        let mut look = Look {
            worker,
            selection,
            hands,
            clock: self.clock,
            looked_at: 0,
            moment: Moment { now: 0, at: 0 },
            age: 0,
        };
        walk(&Filter::of(selection), &mut look)
    }

    fn verdict(&self, flow: &Flow<'_>, moment: Moment) -> Verdict {
        let first = self.first.as_ref();
        match self.mode {
            ExpireMode::Clamp => self.rules.clamp(flow, moment.now),
            ExpireMode::ReAge => self.rules.re_age(flow, first, moment),
            ExpireMode::Delete => self.rules.delete(flow, first, moment),
        }
    }

    fn done<'a>(&self, tally: &'a mut Tally) -> &'a mut u64 {
        match self.mode {
            ExpireMode::Clamp => &mut tally.clamped,
            ExpireMode::ReAge => &mut tally.re_aged,
            ExpireMode::Delete => &mut tally.deleted,
        }
    }
}

/// What is done with the flows that `--match` covers.
trait Worker {
    /// A flow, when it was dumped, and the whole seconds that have passed since.
    fn flow(&mut self, flow: &Flow<'_>, moment: Moment, age: u32);

    /// What was gathered of a chunk is done before the next is received.
    fn end_of_chunk(&mut self, _: &dyn Fn() -> Option<Signal>) -> Result<(), ExpireError> {
        Ok(())
    }
}

/// A worker's way through the table.
struct Look<'a, 'b, W> {
    worker: &'a mut W,
    selection: &'a Selection,
    hands: &'a mut Hands<'b>,
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
        self.worker.end_of_chunk(self.hands.stop)?;
        (self.hands.progress)(self.looked_at);
        match (self.hands.stop)() {
            Some(signal) => Err(ExpireError::Stopped(signal)),
            None => Ok(ControlFlow::Continue(())),
        }
    }
}

/// Notes the flows that may turn out to be idle.
struct Looker<'a> {
    rules: &'a Rules,
    sightings: Sightings,
}

impl Worker for Looker<'_> {
    fn flow(&mut self, flow: &Flow<'_>, moment: Moment, _: u32) {
        if self.rules.is_candidate(flow, moment.now) {
            self.sightings.add(flow, moment.at, 0);
        }
    }
}

/// Counts what would be done.
struct Counter<'a> {
    expiry: &'a Expiry,
    tally: Tally,
}

impl Worker for Counter<'_> {
    fn flow(&mut self, flow: &Flow<'_>, moment: Moment, _: u32) {
        match self.expiry.verdict(flow, moment) {
            Verdict::Keep(why) => self.tally.keep(why),
            Verdict::Unknown => self.tally.unknown += 1,
            Verdict::Shorten(one) | Verdict::Delete(one) => {
                self.tally.select(one.key, one.timeout, one.is_silent);
                *self.expiry.done(&mut self.tally) += 1;
            }
        }
    }
}

/// What one pass did.
struct Pass {
    tally: Tally,
    /// Changes whose answers were lost.
    lost: u64,
    ended: Result<(), ExpireError>,
}

/// Does it.
struct Actor<'a> {
    expiry: &'a Expiry,
    is_later: bool,
    changes: Changes<()>,
    pass: &'a mut Pass,
    begun: Instant,
    sent: u32,
}

impl Actor<'_> {
    /// What a later pass does to a flow that the first sample held and that changed its state just
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
        self.changes.send(|(), answer| match answer {
            Answer::Done => *expiry.done(&mut pass.tally) += 1,
            Answer::Gone => pass.tally.gone += 1,
            Answer::Refused(_) => pass.tally.failed += 1,
            Answer::Unknown => pass.lost += 1,
        })?;
        self.sent = self.sent.saturating_add(waiting);
        let Some(rate) = self.expiry.rate.filter(|_| waiting > 0) else {
            return Ok(());
        };
        let due = Duration::from_secs_f64(f64::from(self.sent) / f64::from(rate.max(1)));
        pause(due.saturating_sub(self.begun.elapsed()), stop)
    }
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// A parameter's seconds or number; profiles and the command line keep it within 31 bits.
fn seconds(parameter: i64) -> u32 {
    u32::try_from(parameter.max(0)).unwrap_or(u32::MAX)
}

fn history(past: &Past, timeouts: &Snapshot) -> History {
    let Some(present) = timeouts.value(Key::TcpTimeoutEstablished) else {
        return History::default();
    };
    match past.was {
        Some((was, until)) => History::told(was, until, present, unix_seconds()),
        None => History::of(&past.changes, present, unix_seconds()),
    }
}

/// Does work that changes nothing again, if its dump was disturbed.
fn again<T>(mut work: impl FnMut() -> Result<T, ExpireError>) -> Result<T, ExpireError> {
    undisturbed(|| match work() {
        Err(ExpireError::Dump(error)) => Err(error),
        ended => Ok(ended),
    })?
}

/// Waits, unless a signal comes.
fn pause(time: Duration, stop: &dyn Fn() -> Option<Signal>) -> Result<(), ExpireError> {
    let until = Instant::now() + time;
    loop {
        if let Some(signal) = stop() {
            return Err(ExpireError::Stopped(signal));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(NAP));
    }
}
