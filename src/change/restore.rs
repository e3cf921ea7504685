//! Writes files and restores single things, each read back.

use std::path::Path;

use super::present;
use super::record::Record;
use super::revert::keeps_max;
use super::target::{Target, TargetError};
use crate::plan::Step;
use crate::tunable::Key;

/// The mode of a file that did not exist before.
const NEW_FILE: u32 = 0o644;

/// Replaces a file, or removes it, and reads it back: its bytes and its mode.
pub(super) fn write_file(
    path: &Path,
    to: Option<&[u8]>,
    target: &mut dyn Target,
) -> Result<(), TargetError> {
    let Some(bytes) = to else {
        target.remove_file(path)?;
        return check(path, None, 0, target);
    };
    let mode = target.file_mode(path)?.unwrap_or(NEW_FILE);
    target.replace_file(path, bytes)?;
    check(path, Some(bytes), mode, target)
}

fn check(
    path: &Path,
    to: Option<&[u8]>,
    mode: u32,
    target: &mut dyn Target,
) -> Result<(), TargetError> {
    let found = target.read_file(path)?;
    let what = match (to, found.as_deref()) {
        (None, Some(_)) => "it was still there",
        (Some(_), None) => "it was not there",
        (Some(to), Some(found)) if to != found => "its bytes differed",
        (Some(_), Some(_)) if target.file_mode(path)? != Some(mode) => "its mode differed",
        _ => return Ok(()),
    };
    let path = path.to_owned();
    Err(TargetError::ReadBack { path, what })
}

/// Does one step of an undo, or says what stays and why.
pub(super) fn restore(step: &Step, target: &mut dyn Target) -> Result<(), String> {
    if let Some(change) = step.file() {
        return restore_file(change.path, change.to, target)
            .map_err(|error| format!("{} was not restored: {error}", change.path.display()));
    }
    match step {
        Step::UnloadModule { .. } => target
            .unload_module()
            .map_err(|error| format!("the module nf_conntrack stays loaded: {error}")),
        Step::LoadModule { .. } => target
            .load_module()
            .map_err(|error| format!("the module nf_conntrack is not loaded: {error}")),
        Step::WriteLive { key, to, .. } => restore_value(*key, *to, target),
        _ => Ok(()),
    }
}

/// Restores a file; on a full disk in place: its old bytes fit.
fn restore_file(
    path: &Path,
    before: Option<&[u8]>,
    target: &mut dyn Target,
) -> Result<(), TargetError> {
    match (write_file(path, before, target), before) {
        (Err(error), Some(bytes)) if error.is_full() => {
            target.overwrite_file(path, bytes)?;
            let mode = target.file_mode(path)?.unwrap_or(NEW_FILE);
            check(path, Some(bytes), mode, target)
        }
        (written, _) => written,
    }
}

fn restore_value(key: Key, before: i64, target: &mut dyn Target) -> Result<(), String> {
    let now = target.read(key).ok().flatten();
    if now == Some(before) {
        return Ok(());
    }
    // The table may have grown since the undo was computed.
    let count = present::count(target);
    if let Some(why) = keeps_max(key, before, now.unwrap_or(i64::MAX), count) {
        return Err(why);
    }
    target.write(key, before).map_err(|error| {
        let now = target.read(key).ok().flatten();
        let now = now.map_or_else(|| "an unknown value".to_owned(), |now| now.to_string());
        format!("{key} stays at {now} instead of {before}: {error}")
    })
}

/// Removes what a kill left beside the files of a change that was undone, and the folders that the
/// change created.
pub(super) fn clear_up(record: &Record, target: &mut dyn Target) {
    let files = record.steps.iter();
    let files = files.filter_map(|step| Some(step.file()?.path));
    target.clear_up(&files.collect::<Vec<_>>(), &record.folders);
}
