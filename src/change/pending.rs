//! A pending change: its deadline, its confirmation, its end.
//!
//! Until it is confirmed a change is live alone, so that a power cycle undoes it too. A watcher that
//! outlives the terminal undoes it at its deadline.

use std::path::Path;
use std::time::Duration;

use super::engine::{Until, apply};
use super::error::{ChangeError, Effect};
use super::here::Here;
use super::lock::Lock;
use super::outcome::Outcome;
use super::preflight::preflight;
use super::present;
use super::record::{Entry, Record, by_name};
use super::restore::undo_steps;
use super::revert::{Conflict, Foreign, overwritten};
use super::session::{Applied, Done, Session, remaining};
use super::signal::Signal;
use super::state::Deadline;
use super::status::Status;
use super::system::Running;
use super::watcher::{arm_watcher, disarm_watcher};
use crate::diagnostic::{Hint, told};
use crate::files::Root;
use crate::kernel::host;
use crate::plan::{Permission, Plan, Step};

/// How long the watcher waits for another cttune, before it looks again.
const WATCHER_WAIT: Duration = Duration::from_secs(3600);
/// How often the watcher looks whether the change was confirmed or undone: it ends then.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long SIGTERM waits for another cttune, to undo a change.
const TERMINATE_WAIT: Duration = Duration::from_secs(5);
/// How long Ctrl-C waits for it.
const UNDO_WAIT: Duration = Duration::from_secs(3600);

pub(super) fn deadline(within: Duration) -> anyhow::Result<Deadline> {
    let until = host::read_boottime()?.saturating_add(within);
    // Rounded up: the operator gets no less than was promised.
    let rounded = u64::from(until.subsec_nanos() > 0);
    Ok(Deadline {
        boottime: until.as_secs().saturating_add(rounded),
        within: within.as_secs(),
    })
}

fn until(entry: &Entry) -> Duration {
    Duration::from_secs(entry.state.deadline.map_or(0, |deadline| deadline.boottime))
}

/// Whether the deadline of an entry passed, this long ago.
pub(crate) fn is_overdue(entry: &Entry, since: Duration) -> bool {
    let until = until(entry).saturating_add(since);
    host::read_boottime().is_ok_and(|now| now >= until)
}

/// Makes the plan of a record's profile from what is current.
pub(crate) type Replanner<'a> = &'a mut dyn FnMut(&Record) -> anyhow::Result<Plan>;

/// Refuses to confirm values that somebody else changed since.
fn refuse_overwritten(entry: &Entry, system: &mut Running) -> Result<(), ChangeError> {
    let present = present::read([entry], system);
    let overwritten = overwritten(entry, &present);
    refuse(overwritten.iter().map(Conflict::to_string).collect())
}

/// Refuses to confirm what another line overrides at the next boot, unless the operator knew.
fn refuse_overridden(record: &Record, again: &Plan) -> Result<(), ChangeError> {
    if record.allow_overridden {
        return Ok(());
    }
    let permission = Permission {
        max_below_count: true,
        overridden: false,
    };
    let blocked = again.blocked.iter();
    let blocked = blocked.filter(|blocked| !blocked.is_permitted(permission));
    let mut messages: Vec<String> = blocked.map(ToString::to_string).collect();
    let is_known = |path: &Path| {
        let mut files = record.steps.iter().filter_map(Step::file);
        files.any(|change| change.path == path)
    };
    for step in &again.steps {
        if let Step::EditLine { path, why, .. } = step
            && !is_known(path)
        {
            messages.push(format!("the plan would now also {}: {why}", step.summary()));
        }
    }
    refuse(messages)
}

fn refuse(messages: Vec<String>) -> Result<(), ChangeError> {
    if messages.is_empty() {
        return Ok(());
    }
    Err(ChangeError::of(messages).hint(start_over()))
}

fn start_over() -> Hint {
    Hint::cttune("rollback").to("undo it, then apply it again")
}

impl Session<'_> {
    /// The status of a change, and whether another cttune is changing it right now.
    pub(crate) fn look_at(&self, id: u64) -> Result<(Entry, bool), ChangeError> {
        let entry = self.here.journal()?.entry(id)?;
        Ok((entry, self.here.is_locked()))
    }

    /// What apply does while a change is pending: the same change gets more time from now on, and
    /// any other is refused. The lock is held.
    pub(super) fn extend(
        &self,
        mut entry: Entry,
        plan: &Plan,
        within: Option<Duration>,
    ) -> anyhow::Result<Applied> {
        let id = entry.record.id;
        let is_same = entry.record.profile == plan.profile
            && entry.record.overrides == by_name(&plan.overrides)
            && !plan.steps.iter().any(Step::is_live);
        let (Some(within), true) = (within, is_same) else {
            let message = format!("change {id} of {} is pending", entry.record.profile);
            let keep = Hint::cttune("confirm").to("keep it");
            let undo = Hint::cttune("rollback").to("undo it");
            return Err(ChangeError::new(message).hint(keep.and(undo)).into());
        };
        entry.state.deadline = Some(deadline(within)?);
        let journal = self.here.journal().map_err(ChangeError::from)?;
        journal.save(&entry).map_err(ChangeError::from)?;
        // The first watcher would look again at the old deadline, which may be later than the new
        // one.
        arm_watcher(&entry, self.here.root())
            .map_err(|error| ChangeError::new(told(&error)).effect(Effect::Pending(id)))?;
        Ok(Applied::Pending(Box::new(entry), Outcome::nothing()))
    }

    /// Confirms the change that is pending here: writes its files. `wait` is the time for another
    /// cttune to finish; `again` makes the plan of the profile from what is current now.
    pub(crate) fn confirm(
        &self,
        wait: Option<Duration>,
        again: Replanner<'_>,
    ) -> anyhow::Result<Done> {
        // Read before the lock: its error says what is missing.
        self.here.unfinished().map_err(ChangeError::from)?;
        let _lock = self.lock(wait.unwrap_or(self.wait))?;
        let Some(mut entry) = self.pending()? else {
            return Err(self.none_pending()?.into());
        };
        let id = entry.record.id;
        let still_pending = |error: ChangeError| error.effect(Effect::Pending(id));
        let rest = entry.record.rest();
        let past = self.console.past(&rest);
        let mut system = Running::new(self.here.root().clone()).with_past(past);
        refuse_overwritten(&entry, &mut system).map_err(still_pending)?;
        preflight(&rest, &mut system)
            .map_err(|error| still_pending(ChangeError::from(error).hint(start_over())))?;
        let plan = again(&entry.record).inspect_err(|_| {
            self.console
                .note(&format!("note: change {id} is still pending"));
        })?;
        refuse_overridden(&entry.record, &plan).map_err(still_pending)?;
        let journal = self.here.journal().map_err(ChangeError::from)?;
        // From here on a kill leaves an interrupted change, which a rollback undoes completely.
        entry.state.turn(Status::Started)?;
        journal
            .save(&entry)
            .map_err(|error| still_pending(error.into()))?;
        self.console.start(&rest);
        let outcome = self.run(&mut entry, Some(&journal), &mut system, |entry, context| {
            apply(entry, Until::End, context)
        });
        disarm_watcher(&entry);
        Ok(Done {
            plan: rest,
            outcome,
            id: Some(id),
            again: id,
            flows: system.into_expired(),
        })
    }

    /// Why there is nothing to confirm.
    fn none_pending(&self) -> Result<ChangeError, ChangeError> {
        let (entries, _) = self.here.journal()?.read()?;
        let elsewhere = entries
            .iter()
            .rfind(|entry| entry.state.status() == Status::Pending);
        if let Some(Err(error)) = elsewhere.map(|entry| self.here.demand(&entry.record)) {
            return Ok(error);
        }
        let newest = entries
            .iter()
            .rfind(|entry| entry.state.deadline.is_some() && self.here.is_of(&entry.record));
        let Some(entry) = newest else {
            return Ok(nothing());
        };
        let id = entry.record.id;
        Ok(match entry.state.status() {
            Status::Expired => {
                let message = format!("change {id} was not confirmed in time and was undone");
                ChangeError::new(message).hint("apply it again, with more time")
            }
            Status::Rebooted => {
                let message = format!("change {id} was never confirmed, and a reboot undid it");
                ChangeError::new(message).hint("apply it again")
            }
            Status::Failed => remaining(entry),
            _ => nothing(),
        })
    }

    /// Undoes a change that is pending, since a signal came at its question.
    pub(crate) fn undo_pending(&self, id: u64, signal: Signal) -> anyhow::Result<Entry> {
        // A second signal ends the wait.
        let stop = || signal != Signal::Terminate && self.signals.has(Signal::Terminate);
        let wait = match signal {
            Signal::Terminate => TERMINATE_WAIT,
            Signal::Interrupt | Signal::HangUp => UNDO_WAIT,
        };
        let taken = Lock::take_within(self.here.root(), wait, &stop);
        let _lock = taken.map_err(|error| ChangeError {
            signal: Some(signal),
            ..ChangeError::from(error).effect(Effect::Pending(id))
        })?;
        let entry = undo(&self.here, id, Status::Undone)?;
        disarm_watcher(&entry);
        if entry.state.status() == Status::Failed {
            return Err(remaining(&entry).into());
        }
        Ok(entry)
    }
}

/// Waits for the deadline of a change of the machine, and undoes it unless it was confirmed, undone
/// or given more time. Gives whether all of it is undone or confirmed.
pub(crate) fn watch(id: u64) -> anyhow::Result<bool> {
    loop {
        // Opened anew every time: while it sleeps it keeps no file system busy.
        let here = Here::read(Root::machine(), None);
        let entry = here.journal()?.entry(id)?;
        if !entry.state.status().is_unfinished() {
            return Ok(true);
        }
        if !is_overdue(&entry, Duration::ZERO) {
            drop(here);
            let next = host::read_boottime()?.saturating_add(LOOK_EVERY);
            host::wait_until_boottime(next.min(until(&entry)));
            continue;
        }
        let _lock = Lock::take_within(here.root(), WATCHER_WAIT, &|| false)?;
        // Whoever had the lock may have confirmed it, or given it more time.
        let entry = here.journal()?.entry(id)?;
        if entry.state.status().is_unfinished() && is_overdue(&entry, Duration::ZERO) {
            let undone = undo(&here, id, Status::Expired)?;
            return Ok(undone.state.status() != Status::Failed);
        }
    }
}

/// Undoes an unfinished change, but nothing that somebody else changed since, and writes what
/// became of it. The lock is held.
pub(super) fn undo(here: &Here, id: u64, to: Status) -> Result<Entry, ChangeError> {
    let journal = here.journal()?;
    let mut entry = journal.entry(id)?;
    if !entry.state.status().is_unfinished() {
        return Ok(entry);
    }
    let mut system = Running::new(here.root().clone());
    let (remaining, conflicts) = undo_steps(&entry, Foreign::Keep, &mut system);
    let status = if remaining.is_empty() {
        to
    } else {
        Status::Failed
    };
    entry.state.turn(status)?;
    let conflicts = conflicts.iter();
    let foreign = conflicts.map(|conflict| format!("{conflict}; it was left as it is"));
    entry.state.remaining = remaining.into_iter().chain(foreign).collect();
    journal.save(&entry).map_err(|error| {
        let message = format!("change {id} was undone, but {error}");
        ChangeError::new(message).effect(Effect::Remaining)
    })?;
    Ok(entry)
}
fn nothing() -> ChangeError {
    let hint = Hint::cttune("history").to("see all changes");
    ChangeError::new("no change is pending").hint(hint)
}
