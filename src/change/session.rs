//! Everything that a command does to a change: apply, confirm, roll back.
//!
//! A session is opened once for a place, with the signals and the console of the command. Its
//! methods take the lock, so that one change is made at a time. Rule: it prints nothing and asks
//! nothing itself; it calls the console.

use std::time::Duration;

use super::engine::{Context, Until, apply};
use super::error::{ChangeError, Effect};
use super::flows::Past;
use super::here::Here;
use super::journal::Journal;
use super::lock::Lock;
use super::outcome::Outcome;
use super::pending::{self, is_overdue};
use super::preflight::{PreflightError, preflight};
use super::present;
use super::record::Entry;
use super::signal::Signals;
use super::status::Status;
use super::system::{Running, System};
use super::watcher::arm_watcher;
use crate::diagnostic::{Hint, told};
use crate::flow::expire::Tally;
use crate::kernel::sysctl;
use crate::plan::{Blocked, Made, Permission, Plan, Report, Step};
use crate::profile::ExpireMode;
use crate::service::Table;
use crate::tunable::Reading;

/// What a session tells the command that opened it, and asks of it.
pub(crate) trait Console {
    /// A plan is about to be applied.
    fn start(&self, plan: &Plan);
    fn step(&self, step: &Step, report: &Report);
    fn flows(&self, read: u64);
    fn note(&self, text: &str);
    /// Proves in private that a table does what it says; the error says what it did instead.
    fn prove(&self, table: &Table) -> Result<(), ChangeError>;
    /// What is known about the past of flows, if this plan is applied now.
    fn past(&self, plan: &Plan) -> Past;
}

pub(crate) struct Session<'a> {
    pub(super) here: Here,
    pub(super) signals: Signals,
    pub(super) console: &'a dyn Console,
    /// How long another cttune is waited for.
    pub(super) wait: Duration,
}

/// Makes the plan, from what is current.
pub(crate) type Planner<'a> = &'a mut dyn FnMut() -> anyhow::Result<Plan>;
/// Asks which steps of a plan to apply; an error is a no.
pub(crate) type Chooser<'a> = &'a mut dyn FnMut(Plan) -> anyhow::Result<Plan>;

pub(crate) enum Consent<'a> {
    Given,
    Ask(Chooser<'a>),
    /// Nobody can be asked.
    Missing,
}

pub(crate) struct Request<'a> {
    pub(crate) plan: Planner<'a>,
    pub(crate) permission: Permission,
    /// How long the change stays pending; `None` applies all of it now.
    pub(crate) within: Option<Duration>,
    pub(crate) consent: Consent<'a>,
}

pub(crate) enum Applied {
    Nothing(Plan),
    Done(Box<Done>),
    /// The live steps were applied, and wait to be confirmed.
    Pending(Box<Entry>, Outcome),
}

/// A plan that was applied to its end, or undone.
pub(crate) struct Done {
    pub(crate) plan: Plan,
    pub(crate) outcome: Outcome,
    /// What rolls it back; `None` where nothing is there to roll back.
    pub(crate) id: Option<u64>,
    /// What undoes the rest of it, where something remains.
    pub(crate) again: u64,
    pub(crate) flows: Option<(ExpireMode, Tally)>,
}

impl<'a> Session<'a> {
    /// Opens a session. From now on signals are remembered instead of ending the process.
    pub(crate) fn open(
        here: Here,
        wait: Duration,
        console: &'a dyn Console,
    ) -> anyhow::Result<Self> {
        Ok(Session {
            here,
            signals: Signals::catch()?,
            console,
            wait,
        })
    }

    pub(crate) fn signals(&self) -> &Signals {
        &self.signals
    }

    /// Applies a plan: all of it now, or its live steps until they are confirmed. One that fails on
    /// the way is no error here: the outcome says so.
    pub(crate) fn apply(&self, mut request: Request<'_>) -> anyhow::Result<Applied> {
        let plan = (request.plan)()?;
        let mut system = Running::new(self.here.root().clone());
        // While another cttune changes something, what it leaves decides.
        if !self.here.is_locked() {
            refuse_blocked(&plan, request.permission)?;
            // An unreadable journal is ignored here; the lock below fails with the same error.
            let unfinished = self.here.unfinished().unwrap_or_default();
            if plan.steps.is_empty() && unfinished.is_empty() {
                return Ok(Applied::Nothing(plan));
            }
            request.consent.demand()?;
            match preflight(&plan, &mut system) {
                // Another cttune took the lock meanwhile: the plan is made again below.
                Err(PreflightError::Moved(_)) => {}
                checked => checked.map_err(ChangeError::from)?,
            }
        }
        request.consent.demand()?;
        let _lock = self.lock(self.wait)?;
        let pending = self.pending()?;
        // Another cttune may have changed something before the lock was taken.
        let plan = (request.plan)()?;
        if let Some(entry) = pending {
            return self.extend(entry, &plan, request.within);
        }
        refuse_blocked(&plan, request.permission)?;
        if plan.steps.is_empty() {
            self.settle(None);
            return Ok(Applied::Nothing(plan));
        }
        let (plan, is_whole) = self.agreed(plan, &mut request, &mut system)?;
        self.prove(&plan)?;
        let mut entry = self.entry(&plan, &mut system);
        entry.record.allow_overridden = request.permission.overridden || !is_whole;
        let system = system.with_past(self.console.past(&plan));
        self.apply_agreed(plan, entry, request.within, system)
    }

    /// The plan that the operator agrees to, and whether it is the whole plan. Whatever happened
    /// while the answer was waited for is found here.
    fn agreed(
        &self,
        plan: Plan,
        request: &mut Request<'_>,
        system: &mut Running,
    ) -> anyhow::Result<(Plan, bool)> {
        self.console.start(&plan);
        let Consent::Ask(choose) = &mut request.consent else {
            preflight(&plan, system).map_err(ChangeError::from)?;
            return Ok((plan, true));
        };
        let chosen = choose(plan.clone())?;
        preflight(&chosen, system).map_err(ChangeError::from)?;
        let again = (request.plan)()?;
        refuse_blocked(&again, request.permission)?;
        refuse_other(&plan, again)?;
        let is_whole = chosen.steps == plan.steps;
        Ok((chosen, is_whole))
    }

    fn prove(&self, plan: &Plan) -> Result<(), ChangeError> {
        let mut steps = plan.steps.iter();
        let table = steps.find_map(Step::table);
        table.map_or(Ok(()), |table| self.console.prove(table))
    }

    fn apply_agreed(
        &self,
        plan: Plan,
        mut entry: Entry,
        within: Option<Duration>,
        mut system: Running,
    ) -> anyhow::Result<Applied> {
        let (deadline, until) = match within {
            Some(within) => (Some(pending::deadline(within)?), Until::Pending),
            None => (None, Until::End),
        };
        entry.state.deadline = deadline;
        let journal = Journal::create(self.here.root()).map_err(ChangeError::from)?;
        journal.begin(&mut entry).map_err(ChangeError::from)?;
        // Before anything is changed: without a watcher nothing would undo the change.
        if within.is_some()
            && let Err(error) = arm_watcher(&entry, self.here.root())
        {
            entry.state.turn(Status::Undone)?;
            let _ = journal.save(&entry);
            return Err(ChangeError::new(told(&error)).into());
        }
        let outcome = self.run(&mut entry, Some(&journal), &mut system, |entry, context| {
            apply(entry, until, context)
        });
        let (id, status) = (entry.record.id, entry.state.status());
        if status.is_applied() {
            self.settle(Some(id));
        }
        if status == Status::Pending {
            return Ok(Applied::Pending(Box::new(entry), outcome));
        }
        Ok(Applied::Done(Box::new(Done {
            plan,
            id: outcome.changed().then_some(id),
            again: id,
            outcome,
            flows: system.into_expired(),
        })))
    }

    pub(super) fn entry(&self, plan: &Plan, system: &mut dyn System) -> Entry {
        let is_machine = self.here.root().is_machine();
        let live = is_machine.then(|| sysctl::read_snapshot().ok()).flatten();
        let mut entry = Entry::new(plan, self.here.origin(), live.as_ref());
        entry.record.folders = present::missing_folders(plan, system);
        entry
    }

    /// Calls the engine. The state goes to the journal, if it is kept; the console
    /// shows what happens.
    pub(super) fn run(
        &self,
        entry: &mut Entry,
        journal: Option<&Journal>,
        system: &mut dyn System,
        engine: impl FnOnce(&mut Entry, &mut Context<'_>) -> Outcome,
    ) -> Outcome {
        let mut context = Context {
            system,
            save: &mut |entry| journal.map_or(Ok(()), |journal| journal.save(entry)),
            stop: &|| self.signals.caught(),
            step: &mut |step, report| self.console.step(step, report),
            flows: &mut |read| self.console.flows(read),
        };
        engine(entry, &mut context)
    }

    pub(super) fn lock(&self, wait: Duration) -> Result<Lock, ChangeError> {
        let stop = || self.signals.caught().is_some();
        let taken = Lock::take_within(self.here.root(), wait, &stop);
        taken.map_err(|error| match self.signals.caught() {
            Some(signal) => ChangeError::stopped(signal),
            None => error.into(),
        })
    }

    /// Writes what became of older changes, now that `by` was applied: interrupted ones are done
    /// with, and those that were never confirmed ended with their boot. The lock is held.
    pub(super) fn settle(&self, by: Option<u64>) {
        // An unreadable journal is ignored here; what needs it fails with the error.
        let Ok(journal) = self.here.journal() else {
            return;
        };
        for entry in journal.unfinished().unwrap_or_default() {
            let was = entry.state.status();
            let mut entry = self.here.in_boot(entry);
            if entry.state.status() == Status::Started
                && by.is_none_or(|by| entry.record.id < by)
                && self.here.is_of(&entry.record)
            {
                let _ = entry.state.turn(Status::Resumed);
            }
            if entry.state.status() != was {
                // Only for the listing: what is present is compared anyway.
                let _ = journal.save(&entry);
            }
        }
    }

    /// The pending change here, if there is one. One whose deadline passed is undone
    /// first: its watcher may have ended. The lock is held.
    pub(super) fn pending(&self) -> Result<Option<Entry>, ChangeError> {
        let mut unfinished = self.here.unfinished()?.into_iter();
        let Some(entry) = unfinished.rfind(|entry| entry.state.status() == Status::Pending) else {
            self.settle(Some(0));
            return Ok(None);
        };
        if !is_overdue(&entry, Duration::ZERO) {
            return Ok(Some(entry));
        }
        let undone = pending::undo(&self.here, entry.record.id, Status::Expired)?;
        match undone.state.status() {
            Status::Failed => Err(remaining(&undone)),
            _ => Ok(None),
        }
    }
}

impl Consent<'_> {
    fn demand(&self) -> Result<(), ChangeError> {
        match self {
            Consent::Given | Consent::Ask(_) => Ok(()),
            Consent::Missing => Err(ChangeError::new("there is no terminal to ask on")
                .hint("--yes applies without asking; --dry-run shows the plan")),
        }
    }
}

/// Refuses a plan that is blocked, unless the operator allowed it.
pub(crate) fn refuse_blocked(plan: &Plan, permission: Permission) -> Result<(), ChangeError> {
    let blocked = plan.blocked.iter();
    let blocked = blocked.filter(|blocked| !blocked.is_permitted(permission));
    let blocked: Vec<&Blocked> = blocked.collect();
    let Some(first) = blocked.first() else {
        return Ok(());
    };
    let messages = blocked.iter().map(ToString::to_string).collect();
    Err(ChangeError::of(messages).hint(first.hint()))
}

/// Refuses to apply a plan that would be another one by now. How many flows there are does not
/// matter: those that come are left alone if the plan had none to shorten.
fn refuse_other(plan: &Plan, mut again: Plan) -> Result<(), ChangeError> {
    if !plan.steps.iter().any(Step::is_expire) {
        again.steps.retain(|step| !step.is_expire());
    }
    let live = |key| sysctl::read(key).ok().and_then(Reading::value);
    let changed = Made::of(plan).differences(&again, live);
    if changed.is_empty() {
        return Ok(());
    }
    let mut messages = vec!["the plan is out of date: this changed since the question".to_owned()];
    messages.extend(changed);
    Err(ChangeError::of(messages).hint("run it again: it plans anew"))
}

/// What remains of a change that could not be undone completely.
pub(crate) fn remaining(entry: &Entry) -> ChangeError {
    let id = entry.record.id;
    let mut messages = vec![format!("change {id} was undone, but not all of it")];
    messages.extend(entry.state.remaining.clone());
    ChangeError::of(messages)
        .hint(undo_rest(id))
        .effect(Effect::Remaining)
}

/// What to do about a change that is not undone completely.
pub(crate) fn undo_rest(id: u64) -> Hint {
    Hint::cttune(format!("rollback {id}")).to("when the cause is gone, undo the rest")
}
