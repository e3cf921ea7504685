//! The next command tells of a change that was interrupted, or whose watcher was.

use super::args::{Cli, Command};
use super::out::Out;
use super::{change, place};
use crate::change::{Entry, Kind, Unfinished, unfinished};
use crate::diagnostic::Place;

/// Tells of it. Whoever may not read the journal is not told.
pub(super) fn tell(cli: &Cli, out: Out) {
    if matches!(
        cli.command,
        Command::Sandbox(_)
            | Command::SandboxInside(_)
            | Command::WatchPending(_)
            | Command::Completions(_)
            | Command::Rollback(_)
    ) {
        return;
    }
    let Ok(here) = change::here(&cli.global) else {
        return;
    };
    let place = place::of(&cli.global);
    match unfinished(&here) {
        Some(Unfinished::Interrupted(entry)) => out.note(&interrupted(&entry, &place)),
        Some(Unfinished::Forgotten(entry)) => {
            let (id, profile) = (entry.record.id, &entry.record.profile);
            out.note(&format!(
                "note: change {id} ({profile}) was not confirmed in time, and the process that \
                 should have undone it is gone; to undo it: {}",
                place.cttune(&format!("rollback {id}"))
            ));
        }
        None => {}
    }
}

fn interrupted(entry: &Entry, place: &Place) -> String {
    let record = &entry.record;
    let (what, finish) = match record.kind {
        Kind::Apply => (
            "an apply",
            format!("to finish it: {}", place.cttune("apply")),
        ),
        Kind::Rollback => ("a rollback", "which also finishes the rollback".to_owned()),
    };
    let steps = record.steps.len();
    format!(
        "note: {what} was interrupted at step {} of {steps} ({}, change {}); to undo it: {}; {finish}",
        (entry.state.reached() + 1).min(steps),
        record.profile,
        record.id,
        place.cttune(&format!("rollback {}", record.undoes.unwrap_or(record.id))),
    )
}
