//! Shortens flows to the current timeouts: looks, counts, and acts, pass by pass.
//!
//! In: [`ExpireParameters`], and what is known of the past. Out: a [`Tally`] of what would be or of
//! what was, and how it ended. Rule: what to do with a flow is decided in
//! [`flow::expire`](crate::flow::expire). Each chunk of a dump is acted upon before the next one is
//! received, since the kernel offers no compare-and-set; then everything is looked at again, until
//! a pass changes nothing. What was done to a flow cannot be undone, so a pass is never repeated
//! for an error that came after its first change.

mod act;
mod count;

use std::time::{Duration, Instant};

use count::{Counter, Looker};

use super::flows::{
    Act, FlowContext, FlowError, Log, Pace, Past, Since, again, logged, passes, read, unix_seconds,
    wait,
};
use crate::change::signal::Signal;
use crate::flow::expire::{History, Moment, Proof, Protected, Rules, Tally, Timeouts, Verdict};
use crate::flow::guard::{Class, Lent};
use crate::flow::{Flow, Selection, Sightings};
use crate::kernel::ctnetlink::{read_flowtables, read_listeners, read_policies};
use crate::kernel::sysctl;
use crate::profile::{ExpireMode, ExpireParameters};
use crate::service::Table;
use crate::tunable::{Key, Snapshot};

/// Passes over the table. A second one finds what changed its state just when it was acted upon,
/// and a third what the second found late: more were never needed.
const PASSES: usize = 3;

/// Timeouts that a packet of an established connection may bring it back to.
const BOUNDS: [Key; 3] = [
    Key::TcpTimeoutEstablished,
    Key::TcpTimeoutUnacknowledged,
    Key::TcpTimeoutMaxRetrans,
];

/// What became of the flows, and why it ended early, if it did.
#[derive(Debug)]
pub(crate) struct Expired {
    pub(crate) tally: Tally,
    pub(crate) broken_off: Option<FlowError>,
}

/// Flows that are to be shortened, with all that decides about them.
#[derive(Debug)]
pub(crate) struct Expiry {
    mode: ExpireMode,
    /// How long flows are watched.
    watch: Duration,
    pace: Pace,
    rules: Rules,
    first: Option<Sightings>,
    /// What two looks share. It stands still while the machine sleeps, as the kernel's times do.
    clock: Instant,
    log: Option<Log>,
}

impl Expiry {
    /// Reads what decides: timeouts, policies, listeners.
    ///
    /// # Errors
    /// Where one of them cannot be read: then nothing may be changed.
    pub(crate) fn prepare(parameters: &ExpireParameters, past: &Past) -> Result<Expiry, FlowError> {
        Expiry::under(parameters, past, &sysctl::read_snapshot()?)
    }

    /// The same under timeouts that are not set yet.
    ///
    /// # Errors
    /// As [`Expiry::prepare`].
    pub(crate) fn under(
        parameters: &ExpireParameters,
        past: &Past,
        snapshot: &Snapshot,
    ) -> Result<Expiry, FlowError> {
        let is_listened_to = match parameters.mode {
            ExpireMode::Delete => read_listeners().is_ok_and(|who| who.destroy),
            ExpireMode::Clamp | ExpireMode::ReAge => read_listeners().is_ok_and(|who| who.update),
        };
        let timeouts = Timeouts::of(snapshot);
        let rules = Rules {
            protected: Protected {
                selection: Selection {
                    matching: parameters.matching.clone(),
                    keep: parameters.keep.clone(),
                },
                sessions: past.sessions.iter().copied().collect(),
            },
            policies: read_policies()?,
            proof: proof(parameters, &timeouts),
            timeouts,
            history: history(past, snapshot),
            spread: seconds(parameters.spread),
            grace: seconds(parameters.grace),
        };
        let watch = parameters.observe.unwrap_or(parameters.settle);
        Ok(Expiry {
            mode: parameters.mode,
            watch: Duration::from_secs(seconds(watch).into()),
            pace: Pace::new(parameters.rate.map(seconds), is_listened_to),
            rules,
            first: None,
            clock: Instant::now(),
            log: past.log.clone(),
        })
    }

    /// The same under a table of services that is not loaded yet.
    #[must_use]
    pub(crate) fn with_services(mut self, services: &Table) -> Self {
        self.rules.policies = self
            .rules
            .policies
            .with_services(services.policies().map(|(_, policy)| policy));
        self
    }

    /// The same with the first look that another has taken, before the timeouts changed. The
    /// timeouts of both are those that held meanwhile.
    #[must_use]
    pub(crate) fn after(mut self, other: Expiry) -> Self {
        if let (
            Proof::Watched { timeouts, .. },
            Proof::Watched {
                timeouts: others, ..
            },
        ) = (&mut self.rules.proof, other.rules.proof)
        {
            timeouts.extend(others);
        }
        Expiry {
            first: other.first,
            clock: other.clock,
            ..self
        }
    }

    /// Takes what a guard has watched as the first look, if that was for long enough.
    pub(crate) fn borrow(&mut self, lent: Lent<'_>, clock: Instant) -> bool {
        let Proof::Watched { timeouts, .. } = &mut self.rules.proof else {
            return false;
        };
        if lent.watched(clock.elapsed()) < self.watch {
            return false;
        }
        timeouts.extend(lent.timeouts.iter());
        let sightings = lent.sightings.into_owned();
        self.first = Some(sightings.of_tag(Class::Established.tag()));
        self.clock = clock;
        true
    }

    /// How fast flows are changed.
    pub(crate) fn pace(&self) -> Pace {
        self.pace
    }

    /// Whether flows have to be watched.
    pub(crate) fn needs_sample(&self) -> bool {
        self.mode != ExpireMode::Clamp && self.rules.proof != Proof::Nothing
    }

    /// Takes the first look, and waits until a second one proves something.
    ///
    /// # Errors
    /// If the table cannot be read, or a signal comes.
    pub(crate) fn sample(&mut self, context: &mut FlowContext<'_>) -> Result<(), FlowError> {
        self.look(context)?;
        self.watch(context.stop, &|_| ())
    }

    /// Takes the first look.
    ///
    /// # Errors
    /// As [`Expiry::sample`].
    pub(crate) fn look(&mut self, context: &mut FlowContext<'_>) -> Result<(), FlowError> {
        let first = again(|| {
            let looker = Looker {
                rules: &self.rules,
                since: Since::start(self.clock),
                sightings: Sightings::default(),
            };
            Ok(read(self.selection(), self.clock, looker, context)?.sightings)
        })?;
        self.first = Some(first.seal());
        Ok(())
    }

    /// Waits until a second look proves something, and notes every timeout that held meanwhile.
    ///
    /// # Errors
    /// As [`Expiry::sample`].
    pub(crate) fn watch(
        &mut self,
        stop: &dyn Fn() -> Option<Signal>,
        progress: &dyn Fn(Duration),
    ) -> Result<(), FlowError> {
        let proof = &mut self.rules.proof;
        wait(self.watch, stop, |passed| {
            if let Proof::Watched { timeouts, .. } = proof {
                for key in BOUNDS {
                    let read = sysctl::read(key)?.value();
                    let seconds = read.and_then(|seconds| u32::try_from(seconds).ok());
                    timeouts.extend(seconds.filter(|seconds| !timeouts.contains(seconds)));
                }
            }
            progress(passed);
            Ok(())
        })
    }

    /// For how long flows are watched.
    pub(crate) fn time_to_watch(&self) -> Duration {
        self.watch
    }

    /// Counts what would be done, and does nothing. Without a look, in the modes that need one, it
    /// is what would be done at most.
    ///
    /// # Errors
    /// If the table cannot be read, or a signal comes.
    pub(crate) fn count(&self, context: &mut FlowContext<'_>) -> Result<Tally, FlowError> {
        again(|| {
            let counter = Counter {
                expiry: self,
                since: Since::start(self.clock),
                tally: Tally::default(),
                selected: 0,
            };
            let mut counter = read(self.selection(), self.clock, counter, context)?;
            *self.done()(&mut counter.tally) += counter.selected;
            Ok(counter.tally)
        })
    }

    /// Does it.
    pub(crate) fn run(&self, context: &mut FlowContext<'_>) -> Expired {
        let act = Act::new(self.mode.name(), self.matching(), self.highest());
        let mut tally = Tally::default();
        let ended = logged(self.log.as_ref(), &act, |changed| {
            let ended = passes(PASSES, &mut tally, |number| self.pass(number, context));
            *changed = tally.selected();
            tally.late = ended?;
            Ok(())
        });
        Expired {
            tally,
            broken_off: ended.err(),
        }
    }

    fn selection(&self) -> &Selection {
        &self.rules.protected.selection
    }

    fn matching(&self) -> Vec<String> {
        let matching = &self.selection().matching;
        matching.iter().map(ToString::to_string).collect()
    }

    /// The highest value that an established flow is given; none where flows are ended.
    fn highest(&self) -> Option<u32> {
        let timeout = self.rules.timeouts.get(Key::TcpTimeoutEstablished)?;
        let policies = self.rules.policies.0.iter();
        let longest = policies.filter_map(|policy| policy.seconds.iter().copied().max().flatten());
        let longest = longest.fold(timeout, u32::max);
        match self.mode {
            ExpireMode::Clamp => Some(longest.saturating_add(self.rules.spread)),
            ExpireMode::ReAge => {
                let highest = longest.max(self.rules.grace);
                Some(highest.saturating_add(self.rules.spread))
            }
            ExpireMode::Delete => None,
        }
    }

    fn verdict(&self, flow: &Flow<'_>, moment: Moment) -> Verdict {
        let first = self.first.as_ref();
        match self.mode {
            ExpireMode::Clamp => self.rules.clamp(flow, moment.now),
            ExpireMode::ReAge => self.rules.re_age(flow, first, moment),
            ExpireMode::Delete => self.rules.delete(flow, first, moment),
        }
    }

    /// Where a flow counts that was changed.
    fn done(&self) -> fn(&mut Tally) -> &mut u64 {
        match self.mode {
            ExpireMode::Clamp => |tally| &mut tally.clamped,
            ExpireMode::ReAge => |tally| &mut tally.re_aged,
            ExpireMode::Delete => |tally| &mut tally.deleted,
        }
    }
}

/// What counts as proof: what was watched, before what is inferred.
fn proof(parameters: &ExpireParameters, timeouts: &Timeouts) -> Proof {
    match parameters.observe {
        Some(minimum) => Proof::Watched {
            minimum: seconds(minimum),
            timeouts: BOUNDS.iter().filter_map(|key| timeouts.get(*key)).collect(),
        },
        None if parameters.trust_history => Proof::History,
        None => Proof::Nothing,
    }
}

/// A parameter's seconds or number; profiles and the command line keep it within 31 bits.
fn seconds(parameter: i64) -> u32 {
    u32::try_from(parameter.max(0)).unwrap_or(u32::MAX)
}

/// The history of the timeout of established TCP. Where there is a flowtable it tells nothing: what a
/// flow sends while it is in it leaves its time as it is.
pub(crate) fn history(past: &Past, timeouts: &Snapshot) -> History {
    let has_flowtable = || !read_flowtables().is_ok_and(|all| all.is_empty());
    let present = timeouts.value(Key::TcpTimeoutEstablished);
    let Some(present) = present.filter(|_| !has_flowtable()) else {
        return History::default();
    };
    let history = match past.was {
        Some((was, until)) => History::told(was, until, present, unix_seconds()),
        None => History::of(&past.changes, present, unix_seconds()),
    };
    history.with_updates(&past.updates)
}
