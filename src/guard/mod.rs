//! Acting: keeps the table below its high mark by ending flows that were watched and silent.
//!
//! In: [`GuardParameters`], and what is known of the past. Out: [`Event`]s, one for each step that
//! did something. Rule: observe, decide ([`flow::guard`](crate::flow::guard)), act. No sysctl is
//! changed, and nothing is left behind: after any end of the process the machine is as it would be
//! without a guard, but for the flows that were ended. While an operator's command holds the lock,
//! no flow is ended.

mod error;
mod first;
mod lend;
mod operators;
mod pace;
mod status;
mod walk;

use std::borrow::Cow;
use std::time::{Duration, Instant};

pub(crate) use error::GuardError;
pub(crate) use lend::{Lender, borrow};
pub(crate) use status::{lock_name, read_status, remove_status, write_status};

use operators::Operators;
use pace::{Urgency, WalkPace};
use walk::Walk;

use crate::change::expire::history;
use crate::change::flows::{FlowError, Pace, Past};
use crate::change::{Here, Lock, LockError, Signal};
use crate::flow::Selection;
use crate::flow::Sightings;
use crate::flow::expire::{Proof, Protected, Rules, Timeouts};
use crate::flow::guard::{
    Choice, Class, Event, Fill, Growth, GuardParameters, Judge, Lent, Ripe, What, choose, spared,
};
use crate::kernel::ctnetlink::{read_listeners, read_policies};
use crate::kernel::{host, sysctl};
use crate::tunable::Key;

/// Milliseconds that the guard's clock shows at its start: flows may have been idle for so long
/// before, if the operator trusts the history.
const BEGINNING: u32 = 1 << 30;

/// Milliseconds of the clock from which on it is turned back.
const LATE: u32 = 3 << 30;

/// Timeouts that are remembered; with more of them everything is observed anew.
const MOST_TIMEOUTS: usize = 256;

/// Seconds that a pass takes at most, where a rate is set.
const LONGEST_PASS: u32 = 2;

/// How often as long as a pass the rest after it is, if it was not enough.
const REST: u32 = 20;

/// How long no flow may end until that is said: those that end soonest have to be watched first.
const HELPLESS_AFTER: Duration = Duration::from_secs(4);

/// How long a pass waits until enough flows may end.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Between two passes at least.
const BREATH: Duration = Duration::from_millis(100);

/// The rest at least, where no flow may end.
const SHORTEST_REST: Duration = Duration::from_millis(250);

/// The rest where no watched flow will be ripe.
const RARELY: Duration = Duration::from_secs(10);

/// Keeps a table below its mark.
pub(crate) struct Guard {
    parameters: GuardParameters,
    past: Past,
    operators: Operators,
    judge: Judge,
    sightings: Sightings,
    /// Zero of the clock that sightings share. It stands still while the machine sleeps, as the
    /// kernel's times do.
    clock: Instant,
    begun: Instant,
    /// Since when flows are watched: later, where all that was seen was forgotten.
    since: Instant,
    growth: Growth,
    pace: WalkPace,
    /// Only counts what would end.
    dry_run: bool,
    /// For how long the first pass waits until as many flows as have to end may end.
    patience: Duration,
    /// Since when flows have to end and none may, by the time since the guard began.
    powerless: Option<Duration>,
    /// Since when a pass waits until enough flows may end.
    waits: Option<Duration>,
    is_helpless: bool,
    /// Why no flow ends, as it was said last.
    said: Option<What>,
    /// A pass was cut short by the rate: the next one goes on, down to the low mark.
    goes_on: bool,
    /// When the next pass may begin, by the time since the guard began.
    next_pass: Duration,
}

impl Guard {
    /// Reads what decides. No flow has been seen yet.
    pub(crate) fn prepare(
        parameters: GuardParameters,
        past: Past,
        dry_run: bool,
        patience: Duration,
    ) -> Result<Self, GuardError> {
        let operators = Operators::read();
        let rules = rules(&parameters, &past, &operators)?;
        let begun = Instant::now();
        let beginning = Duration::from_millis(BEGINNING.into());
        Ok(Guard {
            judge: Judge::new(rules, parameters.trust_history),
            sightings: Sightings::limited(parameters.most()),
            clock: begun.checked_sub(beginning).unwrap_or(begun),
            begun,
            since: begun,
            growth: Growth::default(),
            pace: WalkPace::default(),
            dry_run,
            patience,
            powerless: None,
            waits: None,
            is_helpless: false,
            said: None,
            goes_on: false,
            next_pass: Duration::ZERO,
            parameters,
            past,
            operators,
        })
    }

    pub(crate) fn parameters(&self) -> &GuardParameters {
        &self.parameters
    }

    /// Whether anything is known of how the timeout of established TCP changed.
    pub(crate) fn is_history_known(&self) -> bool {
        self.judge.is_history_known()
    }

    /// Takes other parameters and another past, and keeps what was observed. What was inferred while
    /// the history was trusted is part of it, and forgotten where it is not any more.
    pub(crate) fn renew(
        &mut self,
        parameters: GuardParameters,
        past: Past,
    ) -> Result<(), GuardError> {
        self.past = past;
        self.operators = Operators::read();
        let rules = rules(&parameters, &self.past, &self.operators)?;
        self.judge.renew(rules);
        let withdraws = self.judge.trusts_history && !parameters.trust_history;
        self.judge.trusts_history = parameters.trust_history;
        self.sightings.limit(parameters.most());
        self.next_pass = Duration::ZERO;
        self.parameters = parameters;
        self.pace = WalkPace::default();
        if withdraws {
            self.forget();
        }
        Ok(())
    }

    /// Begins to watch anew.
    fn forget(&mut self) {
        self.sightings = Sightings::limited(self.parameters.most());
        self.since = Instant::now();
    }

    /// Reads the count, and does what there is to do. `report` gets each flow that ends.
    pub(crate) fn step(
        &mut self,
        here: &Here,
        stop: &dyn Fn() -> Option<Signal>,
        report: &mut dyn FnMut(&str),
    ) -> Result<Event, GuardError> {
        let fill = read_fill()?;
        let now = self.begun.elapsed();
        self.growth.note(now, fill.count);
        let what = match self.work(fill, here, stop, report) {
            Err(error) if error.is_passing() => What::Disturbed,
            worked => worked?,
        };
        let fill = match what {
            What::Rested => fill,
            _ => read_fill()?,
        };
        let next = self.growth.next_poll(fill, &self.parameters);
        let is_worth_it = matches!(what, What::Ended { .. }) && !self.is_helpless;
        Ok(Event {
            fill,
            high: self.parameters.high.of(fill.max),
            low: self.parameters.low.of(fill.max),
            observed: self.sightings.iter().count(),
            unwatched: self.sightings.missed(),
            min_idle: self.parameters.min_idle.clone(),
            what,
            is_helpless: self.is_helpless,
            // The flood was faster than the pass; others may take the lock before the next one.
            next: if is_worth_it && self.excess(fill) > 0 {
                BREATH.min(next)
            } else {
                next
            },
        })
    }

    fn work(
        &mut self,
        fill: Fill,
        here: &Here,
        stop: &dyn Fn() -> Option<Signal>,
        report: &mut dyn FnMut(&str),
    ) -> Result<What, GuardError> {
        let excess = self.excess(fill);
        if excess == 0 {
            (self.is_helpless, self.goes_on) = (false, false);
            (self.said, self.powerless, self.waits) = (None, None, None);
        } else if self.begun.elapsed() >= self.next_pass
            && let Some(done) = self.relieve(excess, here, stop, report)?
        {
            return Ok(done);
        }
        let urgency = self.urgency(fill, excess);
        if !self.pace.is_due(self.begun.elapsed(), urgency) {
            return Ok(self.or_helpless(What::Rested));
        }
        self.observe(stop)?;
        // Now more is known.
        if excess > 0
            && let Some(done) = self.relieve(excess, here, stop, report)?
        {
            return Ok(done);
        }
        Ok(self.or_helpless(What::Observed))
    }

    /// What the step did, or that the guard is helpless, if that is news.
    fn or_helpless(&mut self, what: What) -> What {
        let now = self.begun.elapsed();
        let since = self.powerless;
        self.is_helpless |= since.is_some_and(|since| now.saturating_sub(since) >= HELPLESS_AFTER);
        let is_news = self.is_helpless && self.is_news(What::Helpless);
        if is_news { What::Helpless } else { what }
    }

    /// Notes that this is said; whether it was not before.
    fn is_news(&mut self, what: What) -> bool {
        let before = self.said.replace(what);
        before != self.said
    }

    /// What was observed, for another process, which takes it for watched: nothing where part of it
    /// is inferred.
    pub(crate) fn lend(&self) -> Lent<'_> {
        let now = i64::try_from(host::read_monotonic().as_millis()).unwrap_or(i64::MAX);
        let since = self.since.saturating_duration_since(self.clock).as_millis();
        Lent {
            zero: now - i64::from(self.at()),
            since: u32::try_from(since).unwrap_or(u32::MAX),
            timeouts: Cow::Borrowed(self.judge.timeouts(Class::Established)),
            sightings: if self.judge.trusts_history {
                Cow::Owned(Sightings::default())
            } else {
                Cow::Borrowed(&self.sightings)
            },
        }
    }

    /// How many flows are to end.
    fn excess(&self, fill: Fill) -> u64 {
        let spared = if self.dry_run {
            spared(&self.sightings, self.at())
        } else {
            0
        };
        let count = fill.count.saturating_sub(spared);
        if self.goes_on {
            return count.saturating_sub(self.parameters.low.of(fill.max));
        }
        Fill { count, ..fill }.excess(&self.parameters)
    }

    /// How soon flows may have to end.
    fn urgency(&self, fill: Fill, excess: u64) -> Urgency {
        let (growth, calm) = (&self.growth, self.pace.calm());
        if self.is_helpless {
            Urgency::Helpless
        } else if excess > 0 || growth.reaches_high_within(fill, &self.parameters, calm) {
            Urgency::Near
        } else {
            Urgency::Calm
        }
    }

    /// Looks at every flow, so that what is silent becomes known.
    fn observe(&mut self, stop: &dyn Fn() -> Option<Signal>) -> Result<(), GuardError> {
        self.renew_rules()?;
        let begun = Instant::now();
        let nothing = Choice::default();
        let walked = Walk::over(self, &nothing, None, stop, &mut |_| ());
        self.walked(begun.elapsed());
        walked.map(drop)
    }

    /// A walk took so long, and may have shown every flow.
    fn walked(&mut self, took: Duration) {
        let smallest = self.parameters.min_idle.smallest();
        self.pace.walked(took, self.begun.elapsed(), smallest);
    }

    /// Ends as many flows, or all that may end; nothing where nothing was tried.
    fn relieve(
        &mut self,
        excess: u64,
        here: &Here,
        stop: &dyn Fn() -> Option<Signal>,
        report: &mut dyn FnMut(&str),
    ) -> Result<Option<What>, GuardError> {
        let begun = Instant::now();
        self.renew_rules()?;
        let is_listened_to = read_listeners().is_ok_and(|who| who.destroy);
        let pace = Pace::new(self.parameters.rate, is_listened_to);
        // So that no operator waits long for the lock.
        let most = pace.most_in(LONGEST_PASS).unwrap_or(u64::MAX).max(1);
        let wanted = excess.min(most);
        let (choice, ripe) = match first::choice(self, wanted)? {
            Some(choice) => (choice, Ripe::default()),
            None => choose(
                &self.sightings,
                &self.judge,
                &self.parameters,
                self.at(),
                wanted,
            ),
        };
        if self.has_to_wait(&choice, ripe, wanted) {
            let rest = ripe.enough.or(ripe.next);
            let rest = rest.map_or(RARELY, |millis| Duration::from_millis(millis.into()));
            let rest = rest.max(begun.elapsed() * REST).max(SHORTEST_REST);
            self.next_pass = self.begun.elapsed() + rest;
            return Ok(None);
        }
        let _lock = match self.dry_run.then_some(()) {
            Some(()) => None,
            None => match Lock::take(here.root()) {
                Ok(lock) => Some(lock),
                Err(LockError::Held { .. }) => {
                    let rest = (begun.elapsed() * REST).max(SHORTEST_REST);
                    self.next_pass = self.begun.elapsed() + rest;
                    let is_news = self.is_news(What::StoodAside);
                    return Ok(is_news.then_some(What::StoodAside));
                }
                Err(error) => return Err(error.into()),
            },
        };
        self.said = None;
        let ended = Walk::over(self, &choice, Some(pace), stop, report)?;
        let took = begun.elapsed();
        self.walked(took);
        self.goes_on = excess > most;
        (self.powerless, self.waits) = (None, None);
        // A flood may have filled the table meanwhile; that is no reason to wait.
        let is_worth_it = ended.total() >= wanted / 2;
        self.is_helpless = !is_worth_it && self.excess(read_fill()?) > 0;
        // One that did not bring enough is not repeated at once: it would take a processor, and
        // bring less.
        let rest = if self.is_helpless { REST } else { 0 };
        self.next_pass = self.begun.elapsed() + took * rest;
        Ok(Some(What::Ended { ended, took }))
    }

    /// Whether none of the wanted flows may end yet, or more of them may very soon.
    fn has_to_wait(&mut self, choice: &Choice, ripe: Ripe, wanted: u64) -> bool {
        let now = self.begun.elapsed();
        if choice.flows() == 0 {
            self.goes_on = false;
            self.powerless.get_or_insert(now);
            return true;
        }
        // A flood may bring more as fast as flows become ripe: that is not waited for again and again.
        let since = *self.waits.get_or_insert(now);
        let is_soon = ripe.enough.is_some() && now.saturating_sub(since) < LONGEST_WAIT;
        let is_enough = choice.flows() as u64 >= wanted;
        !is_enough && (is_soon || now < self.patience)
    }

    /// Reads the sysctls and policies of now.
    fn renew_rules(&mut self) -> Result<(), GuardError> {
        let min_idle = self.parameters.min_idle.of(Class::Established);
        self.operators.renew(Duration::from_millis(min_idle.into()));
        let rules = rules(&self.parameters, &self.past, &self.operators)?;
        self.judge.renew(rules.clone());
        if self.judge.remembered() > MOST_TIMEOUTS {
            self.judge = Judge::new(rules, self.parameters.trust_history);
            self.forget();
        }
        if self.at() > LATE {
            self.sightings.turn_back(BEGINNING);
            self.clock += Duration::from_millis(BEGINNING.into());
        }
        Ok(())
    }

    /// Milliseconds of the clock that sightings share.
    fn at(&self) -> u32 {
        u32::try_from(self.clock.elapsed().as_millis()).unwrap_or(u32::MAX)
    }
}

/// What decides about flows, read now.
fn rules(
    parameters: &GuardParameters,
    past: &Past,
    operators: &Operators,
) -> Result<Rules, GuardError> {
    let snapshot = sysctl::read_snapshot().map_err(FlowError::from)?;
    Ok(Rules {
        protected: Protected {
            selection: Selection {
                matching: Vec::new(),
                keep: parameters.keep.clone(),
            },
            sessions: [&past.sessions, &operators.sessions]
                .into_iter()
                .flatten()
                .copied()
                .collect(),
        },
        policies: read_policies().map_err(FlowError::from)?,
        timeouts: Timeouts::of(&snapshot),
        history: history(past, &snapshot),
        proof: Proof::Nothing,
        spread: 0,
        grace: 0,
    })
}

fn read_fill() -> Result<Fill, GuardError> {
    let count = sysctl::read_count().map_err(FlowError::from)?;
    let max = sysctl::read(Key::Max).map_err(FlowError::from)?.value();
    count
        .zip(max)
        .and_then(|(count, max)| Fill::new(count, max))
        .ok_or(GuardError::NoTable)
}
