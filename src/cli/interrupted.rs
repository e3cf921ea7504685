//! A change that was interrupted, or whose watcher was: the next command reports it, and the next
//! apply completes it.

use super::args::{Cli, Command, Planning};
use super::out::Out;
use super::{change, place};
use crate::change::{Entry, Here, Kind, Status, unfinished};
use crate::diagnostic::Place;

/// Reports it. Without permission to read the journal there is no report.
pub(super) fn tell(cli: &Cli, out: Out) {
    if matches!(
        cli.command,
        Command::Sandbox(_)
            | Command::SandboxInside(_)
            | Command::WatchPending(_)
            | Command::Completions(_)
            | Command::Complete(_)
            | Command::Rollback(_)
    ) {
        return;
    }
    let Ok(here) = change::here(&cli.global) else {
        return;
    };
    let place = place::of(&cli.global);
    let Some(entry) = unfinished(&here) else {
        return;
    };
    if entry.state.status() == Status::Started {
        out.note(&interrupted(&entry, &place));
    } else {
        let (id, profile) = (entry.record.id, &entry.record.profile);
        out.note(&format!(
            "note: change {id} ({profile}) was not confirmed in time, and the process that should \
             have undone it is gone; to undo it: {}",
            place.cttune(&format!("rollback {id}"))
        ));
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

/// What is asked for. Where no profile is named and an apply was interrupted, that one is meant: it
/// may have come before the profile was remembered.
pub(super) fn planning(asked: &Planning, here: &Here) -> Planning {
    let desired = &asked.desired;
    match here.interrupted_apply() {
        Some(record)
            if desired.profile.is_none() && desired.set.is_empty() && !desired.no_profile =>
        {
            let interrupted = change::planning_of(&record);
            Planning {
                desired: interrupted.desired,
                adopt: asked.adopt || interrupted.adopt,
                ..asked.clone()
            }
        }
        _ => asked.clone(),
    }
}
