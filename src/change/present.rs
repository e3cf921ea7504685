//! Reads what is present of everything that entries of the journal are about.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::record::Entry;
use super::revert::{Count, Present};
use super::system::System;
use crate::plan::{Plan, Step};
use crate::service::Found;
use crate::tunable::Key;

/// Reads every value and file of these entries once.
pub(super) fn read<'a>(
    entries: impl IntoIterator<Item = &'a Entry>,
    system: &mut dyn System,
) -> Present {
    let mut present = Present {
        count: count(system),
        ..Present::default()
    };
    let mut has_table = false;
    let (mut keys, mut paths) = (Vec::<Key>::new(), BTreeSet::new());
    for step in entries.into_iter().flat_map(|entry| &entry.record.steps) {
        match step {
            Step::WriteLive { key, .. } if !keys.contains(key) => keys.push(*key),
            Step::Service { .. } => has_table = true,
            step => paths.extend(step.file().map(|change| change.path)),
        }
    }
    if has_table {
        let read = system.read_table();
        present.table = Some(read.unwrap_or_else(|error| Found::Unread(error.to_string())));
    }
    for key in keys {
        match system.read(key) {
            Ok(Some(value)) => drop(present.values.insert(key, value)),
            Ok(None) => {}
            Err(_) => drop(present.unread.insert(key)),
        }
    }
    for path in paths {
        let path = path.to_owned();
        match system.read_file(&path) {
            Ok(Some(bytes)) => drop(present.files.insert(path, bytes)),
            Ok(None) => {}
            Err(error) => drop(present.unread_files.insert(path, error.to_string())),
        }
    }
    present
}

pub(super) fn count(system: &mut dyn System) -> Count {
    match system.count() {
        Ok(Some(count)) => Count::Entries(count),
        Ok(None) => Count::NotLoaded,
        Err(_) => Count::Unread,
    }
}

/// The folders that a plan's files need and that do not exist, outermost first: its undo removes
/// them.
pub(super) fn missing_folders(plan: &Plan, system: &mut dyn System) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for change in plan.steps.iter().filter_map(Step::file) {
        for folder in system.missing_folders(change.path) {
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
    }
    folders
}
