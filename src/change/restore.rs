//! Writes files and restores single things, each read back.

use std::path::Path;

use super::present;
use super::record::{Entry, Record};
use super::revert::{Conflict, Foreign, keeps_buckets, keeps_max, revert};
use super::system::{System, SystemError};
use crate::diagnostic::plain::Shown;
use crate::files::NEW_FILE;
use crate::plan::Step;
use crate::service::{Found, Table};
use crate::tunable::Key;

/// Replaces a file, or removes it, and reads it back: its bytes and its mode.
pub(super) fn write_file(
    path: &Path,
    to: Option<&[u8]>,
    system: &mut dyn System,
) -> Result<(), SystemError> {
    let Some(bytes) = to else {
        system.remove_file(path)?;
        return check(path, None, 0, system);
    };
    let mode = system.file_mode(path)?.unwrap_or(NEW_FILE);
    system.replace_file(path, bytes)?;
    check(path, Some(bytes), mode, system)
}

/// Makes nft's table what is wanted and reads it back.
pub(super) fn load_table(
    to: Option<&Table>,
    replace: bool,
    system: &mut dyn System,
) -> Result<(), SystemError> {
    let from = match system.read_table()? {
        Found::Ours(from) => from,
        // What is written replaces the rules of the table alone: it must be ours.
        Found::Foreign(part) => {
            return Err(SystemError::TableReadBack(part.to_string()));
        }
        Found::Unread(why) => return Err(SystemError::TableReadBack(why)),
    };
    system.load_table(&Table::transaction(Some(&from), to, replace))?;
    let wanted = to.cloned().unwrap_or_default();
    match system.read_table()? {
        Found::Ours(now) if now == wanted => match &wanted.lifeline {
            Some(lifeline) if from.lifeline != wanted.lifeline => system.end_tracked(lifeline),
            _ => Ok(()),
        },
        Found::Ours(now) if now.is_empty() => {
            Err(SystemError::TableReadBack("it was gone".to_owned()))
        }
        Found::Ours(now) => Err(SystemError::TableReadBack(now.difference(&wanted))),
        Found::Foreign(part) => Err(SystemError::TableReadBack(part.to_string())),
        Found::Unread(why) => Err(SystemError::TableReadBack(why)),
    }
}

fn check(
    path: &Path,
    to: Option<&[u8]>,
    mode: u32,
    system: &mut dyn System,
) -> Result<(), SystemError> {
    let found = system.read_file(path)?;
    let what = match (to, found.as_deref()) {
        (None, Some(_)) => "it was still there",
        (Some(_), None) => "it was not there",
        (Some(to), Some(found)) if to != found => "its bytes differed",
        (Some(_), Some(_)) if system.file_mode(path)? != Some(mode) => "its mode differed",
        _ => return Ok(()),
    };
    let path = path.to_owned();
    Err(SystemError::ReadBack { path, what })
}

/// Undoes whatever the steps of an entry changed, past single failures. Gives what remains, and what
/// somebody else changed since.
pub(super) fn undo_steps(
    entry: &Entry,
    foreign: Foreign,
    system: &mut dyn System,
) -> (Vec<String>, Vec<Conflict>) {
    let present = present::read([entry], system);
    let revert = revert(entry, &present, foreign);
    let mut remaining = revert.kept;
    let mut undo = Undo::default();
    for step in &revert.plan.steps {
        remaining.extend(undo.restore(step, system).err());
    }
    clear_up(&entry.record, system);
    (remaining, revert.conflicts)
}

/// An undo that is under way, step by step.
#[derive(Default)]
pub(super) struct Undo {
    /// Whether max was not restored, though it was to be.
    max_stays: bool,
}

impl Undo {
    /// Does one step, or says what stays and why.
    pub(super) fn restore(&mut self, step: &Step, system: &mut dyn System) -> Result<(), String> {
        let Step::WriteLive { key, to, .. } = step else {
            return restore(step, system);
        };
        if *key == Key::Buckets && self.max_stays {
            let now = (system.read(*key).ok().flatten()).zip(system.read(Key::Max).ok().flatten());
            if let Some(why) = now.and_then(|(now, max)| keeps_buckets(*key, *to, now, max)) {
                return Err(why);
            }
        }
        let restored = restore_value(*key, *to, system);
        self.max_stays |= *key == Key::Max && restored.is_err();
        restored
    }
}

fn restore(step: &Step, system: &mut dyn System) -> Result<(), String> {
    if let Some(change) = step.file() {
        return restore_file(change.path, change.to, system)
            .map_err(|error| format!("{} was not restored: {error}", change.path.shown()));
    }
    match step {
        Step::UnloadModule { .. } => system
            .unload_module()
            .map_err(|error| format!("the module nf_conntrack stays loaded: {error}")),
        Step::LoadModule { .. } => system
            .load_module()
            .map_err(|error| format!("the module nf_conntrack is not loaded: {error}")),
        Step::EnableUnit { unit, to, .. } => system
            .enable_unit(unit, *to)
            .map_err(|error| format!("{unit} is as the change left it: {error}")),
        Step::Service { to, replace, .. } => load_table(to.as_ref(), *replace, system)
            .map_err(|error| format!("nft table inet cttune was not restored: {error}")),
        Step::ReloadUnits { .. } => system
            .reload_units()
            .map_err(|error| format!("systemd's units were not read again: {error}")),
        _ => Ok(()),
    }
}

/// Restores a file; on a full disk in place: its old bytes fit.
fn restore_file(
    path: &Path,
    before: Option<&[u8]>,
    system: &mut dyn System,
) -> Result<(), SystemError> {
    match (write_file(path, before, system), before) {
        (Err(error), Some(bytes)) if error.is_full() => {
            system.overwrite_file(path, bytes)?;
            let mode = system.file_mode(path)?.unwrap_or(NEW_FILE);
            check(path, Some(bytes), mode, system)
        }
        (written, _) => written,
    }
}

fn restore_value(key: Key, before: i64, system: &mut dyn System) -> Result<(), String> {
    let now = system.read(key).ok().flatten();
    if now == Some(before) {
        return Ok(());
    }
    // The table may have grown since the undo was computed.
    let count = present::count(system);
    if let Some(why) = keeps_max(key, before, now.unwrap_or(i64::MAX), count) {
        return Err(why);
    }
    system.write(key, before).map_err(|error| {
        let now = system.read(key).ok().flatten();
        let now = now.map_or_else(|| "an unknown value".to_owned(), |now| now.to_string());
        format!("{key} stays at {now} instead of {before}: {error}")
    })
}

/// Removes what a kill left beside the files of a change that was undone, and the folders that the
/// change created.
pub(super) fn clear_up(record: &Record, system: &mut dyn System) {
    let files = record.steps.iter();
    let files = files.filter_map(|step| Some(step.file()?.path));
    system.clear_up(&files.collect::<Vec<_>>(), &record.folders);
}
