//! Ends the flows that the operator names.
//!
//! In: a selection that is never empty, the operator's own sessions. Out: a preview; then a
//! [`Tally`] of what was ended, and how many flows came back at once. Rule: a flow is ended by the
//! tuple, zone and id that were dumped, chunk by chunk, and written to the save file before that.
//! The sessions that run cttune are kept. Passes go on until one finds no flow that was not there
//! before: what traffic creates again is counted and left.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher;
use std::io::Write;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;

use super::flows::{
    Act, FlowContext, FlowError, Log, Pace, Pass, Run, Since, Worker, again, logged, look, passes,
    read, wait,
};
use crate::change::signal::Signal;
use crate::flow::expire::{KeptWhy, Moment, Preview, Session, Tally};
use crate::flow::guard::{Class, Lent};
use crate::flow::{
    By, Census, Compared, Filter, Flow, Gather, Query, Selection, Sightings, StatusBit, save_line,
    summary_line,
};
use crate::kernel::ctnetlink::{Changes, each_flow, read_listeners, undisturbed};

/// Passes at most, should new flows match all the time.
const PASSES: usize = 8;
/// Before another pass: the packets of a call come 20 ms apart, and the next creates its flow again.
const BETWEEN_PACKETS: Duration = Duration::from_millis(25);

/// Flows that a preview shows.
const EXAMPLES: usize = 10;

/// Groups that are named.
const GROUPS: usize = 5;

/// Flows that are to be ended.
#[derive(Debug)]
pub(crate) struct Kill {
    selection: Selection,
    sessions: Vec<Session>,
    pace: Pace,
    first: Option<Sightings>,
    /// Of sightings that a guard lent: every timeout that held meanwhile.
    lent_under: Option<Vec<u32>>,
    clock: Instant,
    log: Option<Log>,
    detail: Detail,
}

/// What was ended.
#[derive(Debug)]
pub(crate) struct Killed {
    pub(crate) ended: Preview,
    /// Flows that traffic created again at once.
    pub(crate) recreated: u64,
    pub(crate) broken_off: Option<FlowError>,
}

impl Kill {
    /// Prepares to end the flows of a selection, at most `rate` a second.
    pub(crate) fn new(
        selection: Selection,
        sessions: Vec<Session>,
        rate: Option<u32>,
        log: Option<Log>,
    ) -> Self {
        let is_listened_to = read_listeners().is_ok_and(|who| who.destroy);
        Kill {
            selection,
            sessions,
            pace: Pace::new(rate, is_listened_to),
            first: None,
            lent_under: None,
            clock: Instant::now(),
            log,
            detail: Detail::Count,
        }
    }

    /// Gathers the largest groups and examples of what is ended.
    pub(crate) fn gather_groups(&mut self) {
        self.detail = Detail::Groups;
    }

    pub(crate) fn pace(&self) -> Pace {
        self.pace
    }

    /// For how long flows have to be watched, to tell which are idle.
    pub(crate) fn time_to_watch(&self) -> Option<Duration> {
        self.selection.longest_idle().map(Duration::from_secs)
    }

    /// Takes what a guard has watched, if that was for long enough, and it watches all the flows that
    /// may be selected: those of established connections.
    pub(crate) fn borrow(&mut self, lent: Lent<'_>, clock: Instant) -> bool {
        let needed = self.time_to_watch().unwrap_or_default();
        if lent.watched(clock.elapsed()) < needed || !self.selection.is_of_established() {
            return false;
        }
        self.lent_under = Some(lent.timeouts.to_vec());
        let sightings = lent.sightings.into_owned();
        self.first = Some(sightings.of_tag(Class::Established.tag()));
        self.clock = clock;
        true
    }

    /// Notes the flows that may turn out to be idle.
    ///
    /// # Errors
    /// If the table cannot be read, or a signal comes.
    pub(crate) fn look(&mut self, context: &mut FlowContext<'_>) -> Result<(), FlowError> {
        let selection = self.selection.without_idle();
        let first = again(|| {
            let noter = Noter(Sightings::default());
            Ok(read(&selection, self.clock, noter, context)?.0)
        })?;
        self.first = Some(first.seal());
        Ok(())
    }

    /// Waits until the flows were watched for long enough.
    ///
    /// # Errors
    /// If a signal comes.
    pub(crate) fn watch(
        &mut self,
        stop: &dyn Fn() -> Option<Signal>,
        progress: &dyn Fn(Duration),
    ) -> Result<(), FlowError> {
        let time = self.time_to_watch().unwrap_or_default();
        wait(time, stop, |passed| {
            progress(passed);
            Ok(())
        })
    }

    /// Counts what would be ended, and ends nothing.
    ///
    /// # Errors
    /// If the table cannot be read, or a signal comes.
    pub(crate) fn preview(&self, context: &mut FlowContext<'_>) -> Result<Preview, FlowError> {
        again(|| {
            let counter = Counter {
                kill: self,
                since: Since::start(self.clock),
                sum: self.sum(Detail::Groups),
            };
            let counter = read(&self.walked(), self.clock, counter, context)?;
            Ok(counter.sum.finish())
        })
    }

    /// Whether there are flows, and the selection covers all of them. The first that it does not
    /// cover ends the walk.
    ///
    /// # Errors
    /// If the table cannot be read.
    pub(crate) fn covers_all(&self) -> Result<bool, FlowError> {
        let mut covered = None;
        let walked = undisturbed(|| {
            each_flow(&Filter::default(), |flow| {
                covered = Some(self.selection.covers(flow));
                match covered {
                    Some(false) => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                }
            })
        });
        walked?;
        Ok(covered == Some(true))
    }

    fn sum(&self, detail: Detail) -> Sum {
        let query = Query {
            by: By::Auto,
            prefixes: None,
            selection: self.selection.clone(),
            extent: None,
            services: crate::flow::Services::default(),
        };
        Sum {
            tally: Tally::default(),
            census: Census::new(&query),
            detail,
            examples: Vec::new(),
        }
    }

    /// Ends the flows; `save` gets a line for each before.
    pub(crate) fn run(
        &self,
        mut save: Option<&mut dyn Write>,
        context: &mut FlowContext<'_>,
    ) -> Killed {
        let matching = self.selection.matching.iter();
        let act = Act::new("kill", matching.map(ToString::to_string).collect(), None);
        let (mut sum, mut tally) = (self.sum(self.detail), Tally::default());
        let mut known = Known::default();
        let ended = logged(self.log.as_ref(), &act, |changed| {
            let ended = passes(PASSES, &mut tally, |number| {
                let save: Option<&mut dyn Write> = match &mut save {
                    Some(save) => Some(&mut **save),
                    None => None,
                };
                if number > 1 {
                    std::thread::sleep(BETWEEN_PACKETS);
                }
                known.begin(number);
                let mut pass = Pass::default();
                let ended = self.pass(&mut sum, &mut pass, &mut known, save, context);
                if pass.lost > 0 {
                    // Some may still be there, and are ended then.
                    known.ended.clear();
                }
                (pass, ended)
            });
            *changed = tally.deleted;
            ended.map(drop)
        });
        sum.tally = tally;
        Killed {
            ended: sum.finish(),
            recreated: known.recreated,
            broken_off: ended.err(),
        }
    }

    fn pass<'a>(
        &'a self,
        sum: &'a mut Sum,
        pass: &'a mut Pass,
        known: &'a mut Known,
        save: Option<&'a mut dyn Write>,
        context: &mut FlowContext<'_>,
    ) -> Result<(), FlowError> {
        std::thread::scope(|scope| {
            let mut ender = Ender {
                kill: self,
                changes: Changes::beside(scope, context.threads)?,
                run: self.pace.start(),
                save,
                lines: String::new(),
                known,
                sum,
                pass,
            };
            look(&self.walked(), self.clock, &mut ender, context)
        })
    }

    /// The selection without what only watching tells.
    fn walked(&self) -> Cow<'_, Selection> {
        match self.first {
            None => Cow::Borrowed(&self.selection),
            Some(_) => Cow::Owned(self.selection.without_idle()),
        }
    }

    /// Whether the flow is one to end, and why not.
    fn why_kept(&self, flow: &Flow<'_>, moment: Moment) -> Option<Result<(), KeptWhy>> {
        let idle = self
            .first
            .as_ref()
            .map(|first| match first.compare(flow, moment.at) {
                Compared::Same(then, millis) => {
                    let under = self.lent_under.as_ref();
                    let silent = under.map_or(millis, |under| then.silent(moment.at, under));
                    u64::from(silent / 1000)
                }
                // It sent meanwhile, or is new.
                _ => 0,
            });
        if !self.selection.covers_idle(flow, idle) {
            return None;
        }
        let carries = |session: &Session| session.is_carried_by(flow);
        let kept = if self.selection.keeps_idle(flow, idle) {
            Some(KeptWhy::Keep)
        } else if self.sessions.iter().any(carries) {
            Some(KeptWhy::SshSession)
        } else if flow.status.has(StatusBit::Dying) {
            Some(KeptWhy::Dying)
        } else {
            None
        };
        Some(kept.map_or(Ok(()), Err))
    }
}

/// Notes flows.
struct Noter(Sightings);

impl Gather for Noter {
    fn add(&mut self, flow: &Flow<'_>, at: Duration) {
        let at = u32::try_from(at.as_millis()).unwrap_or(u32::MAX);
        self.0.add(flow, at, 0);
    }

    fn part(&self) -> Self {
        Noter(self.0.alike())
    }

    fn merge(&mut self, part: Self) {
        self.0.merge(part.0);
    }
}

/// What is gathered of the flows that were ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    Count,
    /// The largest groups, and examples.
    Groups,
}

fn deleted(tally: &mut Tally) -> &mut u64 {
    &mut tally.deleted
}

/// Flows that are, or would be, ended.
struct Sum {
    tally: Tally,
    census: Census,
    detail: Detail,
    examples: Vec<String>,
}

impl Sum {
    fn add(&mut self, flow: &Flow<'_>) {
        if self.detail == Detail::Count {
            return;
        }
        self.census.add(flow);
        if self.examples.len() < EXAMPLES {
            self.examples.push(summary_line(flow));
        }
    }

    fn finish(self) -> Preview {
        Preview {
            tally: self.tally,
            top: self.census.finish(None, GROUPS),
            examples: self.examples,
        }
    }
}

struct Counter<'a> {
    kill: &'a Kill,
    since: Since,
    sum: Sum,
}

impl Gather for Counter<'_> {
    fn add(&mut self, flow: &Flow<'_>, at: Duration) {
        match self.kill.why_kept(flow, self.since.moment(at)) {
            None => {}
            Some(Err(why)) => self.sum.tally.keep(why),
            Some(Ok(())) => {
                self.sum.tally.deleted += 1;
                self.sum.add(flow);
            }
        }
    }

    fn part(&self) -> Self {
        let sum = Sum {
            tally: Tally::default(),
            census: self.sum.census.part(),
            detail: self.sum.detail,
            examples: Vec::new(),
        };
        Counter { sum, ..*self }
    }

    fn merge(&mut self, part: Self) {
        self.sum.tally.merge(&part.sum.tally);
        self.sum.census.merge(part.sum.census);
        self.sum.examples.extend(part.sum.examples);
        self.sum.examples.truncate(EXAMPLES);
    }

    fn is_decided(&self) -> bool {
        self.sum.census.is_decided()
    }
}

/// The flows that were ended, by their tuple and zone.
#[derive(Debug, Default)]
struct Known {
    /// The pass that met a flow last: a dump may tell of one twice.
    ended: HashMap<u64, usize, RandomState>,
    hasher: RandomState,
    pass: usize,
    /// Flows of this pass that an earlier one had ended.
    recreated: u64,
}

impl Known {
    fn begin(&mut self, pass: usize) {
        (self.pass, self.recreated) = (pass, 0);
    }

    /// Whether a flow is met for the first time.
    fn is_new(&mut self, flow: &Flow<'_>) -> bool {
        let (tuple, zone, _) = flow.identity();
        match self.ended.entry(self.hasher.hash_one((tuple, zone))) {
            Entry::Vacant(entry) => {
                entry.insert(self.pass);
                true
            }
            Entry::Occupied(mut entry) => {
                self.recreated += u64::from(entry.insert(self.pass) != self.pass);
                false
            }
        }
    }
}

struct Ender<'a> {
    kill: &'a Kill,
    changes: Changes<()>,
    run: Run,
    save: Option<&'a mut dyn Write>,
    /// Lines for the save file.
    lines: String,
    known: &'a mut Known,
    sum: &'a mut Sum,
    pass: &'a mut Pass,
}

impl Ender<'_> {
    fn end(&mut self, flow: &Flow<'_>) {
        if !self.known.is_new(flow) {
            return;
        }
        if self.save.is_some() {
            self.lines.push_str(&save_line(flow));
            self.lines.push('\n');
        }
        self.sum.add(flow);
        self.changes.delete(flow, ());
    }
}

impl Worker for Ender<'_> {
    fn finish_chunk(&mut self) -> Result<(), FlowError> {
        let pass = &mut *self.pass;
        let answered = self
            .changes
            .finish(|(), answer| pass.answered(answer, deleted));
        Ok(answered?)
    }

    fn flow(&mut self, flow: &Flow<'_>, moment: Moment, _: u32) {
        match self.kill.why_kept(flow, moment) {
            None => {}
            Some(Err(why)) => self.pass.tally.keep(why),
            Some(Ok(())) => self.end(flow),
        }
    }

    fn end_of_chunk(&mut self, stop: &dyn Fn() -> Option<Signal>) -> Result<(), FlowError> {
        if let Some(save) = &mut self.save {
            // What was not saved is not ended.
            let written = save.write_all(self.lines.as_bytes());
            written
                .and_then(|()| save.flush())
                .map_err(FlowError::Save)?;
            self.lines.clear();
        }
        let waiting = u32::try_from(self.changes.waiting()).unwrap_or(u32::MAX);
        let pass = &mut *self.pass;
        self.changes
            .send(|(), answer| pass.answered(answer, deleted))?;
        self.run.sent(waiting, stop)
    }
}
