//! Rolls changes back with the journal alone: no profile is read.

use super::engine::apply_revert;
use super::error::{ChangeError, Effect};
use super::here::Here;
use super::journal::{Damage, Journal, JournalError};
use super::outcome::{Ending, Outcome};
use super::present;
use super::record::{Entry, Kind, Record};
use super::restore::clear_up;
use super::revert::{Conflict, Foreign, Revert, revert};
use super::session::{Done, Session};
use super::status::Status;
use super::system::Running;
use super::watcher::disarm_watcher;
use crate::diagnostic::{Hint, told};
use crate::plan::Plan;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// The newest apply.
    Last,
    One(u64),
    /// Every one after this.
    After(u64),
}

/// Asks whether to roll these changes back; an error is a no.
pub(crate) type Asker<'a> = &'a mut dyn FnMut(&[(Entry, Revert)]) -> anyhow::Result<()>;

impl Session<'_> {
    /// How a rollback would undo these changes, newest first, each from where the one before it
    /// leads.
    pub(crate) fn reverts(&self, which: Which) -> anyhow::Result<Vec<(Entry, Revert)>> {
        let journal = self.here.journal().map_err(ChangeError::from)?;
        let (entries, damaged) = journal.read().map_err(ChangeError::from)?;
        let undone = select(which, &self.here, &entries);
        refuse_damage(undone.as_deref().ok(), which, damaged)?;
        let undone = undone?;
        for entry in &undone {
            self.here.demand(&entry.record)?;
        }
        let mut system = Running::new(self.here.root().clone());
        let mut present = present::read(&undone, &mut system);
        let mut reverts = Vec::new();
        for entry in undone {
            let revert = revert(&entry, &present, Foreign::Overwrite);
            present = present.after(&revert.plan);
            reverts.push((entry, revert));
        }
        Ok(reverts)
    }

    /// Rolls changes back. What somebody else changed since is overwritten only if `overwrite` says
    /// so. A rollback that fails on the way is no error here: the outcome says so.
    pub(crate) fn rollback(
        &self,
        which: Which,
        overwrite: bool,
        ask: Asker<'_>,
    ) -> anyhow::Result<Done> {
        // Read before the lock: its error says what is missing.
        let journal = self.here.journal().map_err(ChangeError::from)?;
        journal.read().map_err(ChangeError::from)?;
        let _lock = self.lock(self.wait)?;
        self.settle(Some(0));
        let reverts = self.reverts(which)?;
        if !overwrite {
            refuse_conflicts(&reverts)?;
        }
        ask(&reverts)?;
        let mut records = reverts.iter().map(|(entry, _)| &entry.record);
        if records.any(Record::is_about_flows) {
            self.console
                .note("flows are left alone: each gets its old timeout back at its next packet");
        }
        // Several rollbacks in one.
        let mut all = Done {
            plan: Plan::of("rollback", Vec::new()),
            outcome: Outcome::nothing(),
            id: None,
            again: 0,
            flows: None,
        };
        for (entry, _) in reverts {
            let id = entry.record.id;
            if let Err(error) = self.undo(entry, &mut all) {
                if all.outcome.reports.is_empty() {
                    return Err(error);
                }
                let message = format!("{}; change {id} is still applied", told(&error));
                all.outcome.ending = Ending::Failed(ChangeError::new(message), Vec::new());
                all.again = id;
            }
            if all.outcome.ending != Ending::Complete {
                break;
            }
        }
        Ok(all)
    }

    fn undo(&self, undone: Entry, all: &mut Done) -> anyhow::Result<()> {
        let journal = self.here.journal().map_err(ChangeError::from)?;
        let mut system = Running::new(self.here.root().clone());
        let present = present::read([&undone], &mut system);
        let revert = revert(&undone, &present, Foreign::Overwrite);
        let mut entry = self.entry(&revert.plan, &mut system);
        entry.record.kind = Kind::Rollback;
        entry.record.undoes = Some(undone.record.id);
        entry.state.remaining = revert.kept;
        if entry.record.steps.is_empty() && entry.state.remaining.is_empty() {
            clear_up(&undone.record, &mut system);
            mark_undone(undone, &journal)?;
            // A rollback of it that was interrupted is done with as well.
            self.settle(None);
            return Ok(());
        }
        let kept = match journal.begin(&mut entry) {
            Ok(()) => Some(&journal),
            // On a full disk the undo matters more than the redo; a kill leaves the change itself
            // applied, to be rolled back again.
            Err(error) if error.is_full() => {
                entry.record.id = 0;
                self.console.note(&format!(
                    "note: {error}: this rollback cannot be undone itself"
                ));
                None
            }
            Err(error) => return Err(ChangeError::from(error).into()),
        };
        // It asks for no signal: an undo is short, and worse when it is left half-way.
        let outcome = self.run(&mut entry, kept, &mut system, apply_revert);
        clear_up(&undone.record, &mut system);
        disarm_watcher(&undone);
        let id = (entry.record.id > 0).then_some(entry.record.id);
        all.plan.steps.extend(entry.record.steps);
        all.outcome.reports.extend(outcome.reports);
        all.outcome.ending = outcome.ending;
        all.id = id;
        all.again = undone.record.id;
        if all.outcome.ending == Ending::Complete {
            mark_undone(undone, &journal)?;
        } else if undone.state.status() == Status::Pending {
            // Its watcher would only try again what cannot be done.
            mark(undone, Status::Failed, &journal)?;
        }
        self.settle(id);
        Ok(())
    }
}

/// The changes to undo, newest first.
fn select(which: Which, here: &Here, entries: &[Entry]) -> Result<Vec<Entry>, ChangeError> {
    // Without a number only what was applied here is meant.
    let to_undo = |entry: &&Entry| {
        entry.record.kind == Kind::Apply
            && entry.state.status().can_be_rolled_back()
            && here.is_of(&entry.record)
    };
    let find = |id: u64| {
        let found = entries.iter().find(|entry| entry.record.id == id);
        found.ok_or_else(|| ChangeError::from(JournalError::Missing(id)))
    };
    match which {
        Which::After(id) => {
            find(id)?;
            let after = entries.iter().rev().filter(|entry| entry.record.id > id);
            Ok(after.filter(to_undo).cloned().collect())
        }
        Which::One(id) => {
            let entry = find(id)?;
            let status = entry.state.status();
            if !status.can_be_rolled_back() {
                return Err(ChangeError::new(format!("change {id} is {status} already")));
            }
            Ok(vec![entry.clone()])
        }
        Which::Last => match entries.iter().rfind(to_undo) {
            Some(last) => Ok(vec![last.clone()]),
            None => Err(ChangeError::new("the journal has no change to undo")
                .hint(Hint::cttune("history").to("see all changes"))),
        },
    }
}

/// Refuses where a damaged record may be of a change that was made after the oldest one that is
/// undone, or be the very one that is meant. An older one does not matter.
fn refuse_damage(
    undone: Option<&[Entry]>,
    which: Which,
    damaged: Vec<Damage>,
) -> Result<(), ChangeError> {
    let asked = match which {
        Which::Last => None,
        Which::One(id) | Which::After(id) => Some(id),
    };
    let oldest = undone.and_then(|undone| undone.iter().map(|entry| entry.record.id).min());
    for (id, error) in damaged {
        if oldest.is_none_or(|oldest| id > oldest) || asked.is_some_and(|asked| id >= asked) {
            return Err(error.into());
        }
    }
    Ok(())
}

fn refuse_conflicts(reverts: &[(Entry, Revert)]) -> Result<(), ChangeError> {
    let reverts = reverts.iter();
    let Some((entry, _)) = reverts
        .clone()
        .find(|(_, revert)| !revert.conflicts.is_empty())
    else {
        return Ok(());
    };
    let id = entry.record.id;
    let mut messages = vec![format!("change {id} was overwritten in part")];
    let conflicts = reverts.flat_map(|(_, revert)| &revert.conflicts);
    messages.extend(conflicts.map(Conflict::to_string));
    Err(ChangeError::of(messages).hint(
        Hint::say("--overwrite-changed restores the old values all the same")
            .and(Hint::cttune("history").to("undo a later change first")),
    ))
}

/// Writes that a change was undone. If it was itself a rollback, what that undid is applied again;
/// and so on, down to the apply.
fn mark_undone(undone: Entry, journal: &Journal) -> anyhow::Result<()> {
    let mut below = undone.record.undoes;
    let mut to = Status::RolledBack;
    mark(undone, to, journal)?;
    // Old records are not kept for ever.
    while let Some(entry) = below.and_then(|id| journal.entry(id).ok()) {
        below = entry.record.undoes;
        to = match to {
            Status::RolledBack => Status::Applied,
            _ => Status::RolledBack,
        };
        let was_undone = entry.state.status() == Status::RolledBack;
        if was_undone || to == Status::RolledBack {
            mark(entry, to, journal)?;
        }
    }
    Ok(())
}

fn mark(mut entry: Entry, to: Status, journal: &Journal) -> anyhow::Result<()> {
    if entry.state.turn(to).is_err() {
        // What was undone in another way since keeps that status.
        return Ok(());
    }
    journal.save(&entry).map_err(|error| {
        let id = entry.record.id;
        let message =
            format!("change {id} was undone, but {error}: `cttune history` does not show it");
        ChangeError::new(message).effect(Effect::Remaining).into()
    })
}
