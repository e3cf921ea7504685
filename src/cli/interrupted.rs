//! A change that was killed half-way is told of by whatever is run next, and so is one whose
//! watcher was.

use std::time::Duration;

use super::args::{Cli, Command};
use super::change;
use super::out::Out;
use super::place;
use crate::change::Lock;
use crate::diagnostic::Place;
use crate::files::state;
use crate::kernel::host;
use crate::plan::{Origin, Record, Standing};

/// Time that the watcher of a change has to take it back.
const GRACE: Duration = Duration::from_secs(5);

/// Says so if a change here was interrupted, or should have been taken back and was not. Whoever
/// may not read the journal is not told.
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
    let Ok(root) = place::root(&cli.global) else {
        return;
    };
    let unfinished = change::unfinished(&root, &cli.global).unwrap_or_default();
    let Some(record) = unfinished.last() else {
        return;
    };
    if Lock::is_held(&state::directory(&root)) {
        return;
    }
    let place = place::of(&cli.global);
    match record.standing {
        Standing::Begun => out.note(&interrupted(record, &place)),
        _ if is_overdue(record) => out.note(&format!(
            "note: change {} ({}) was not confirmed and should have been taken back, but what \
             watched it is gone: `{}` undoes it",
            record.id,
            record.profile,
            place.cttune(&format!("rollback {}", record.id))
        )),
        _ => {}
    }
}

fn interrupted(record: &Record, place: &Place) -> String {
    let (what, finish) = match record.origin {
        Origin::Apply => (
            "an apply",
            format!("`{}` finishes it", place.cttune("apply")),
        ),
        Origin::Rollback => ("a rollback", "which also finishes the rollback".to_owned()),
    };
    format!(
        "note: {what} was interrupted at step {} of {} ({}, change {}): `{}` undoes it, {finish}",
        (record.reached() + 1).min(record.steps.len()),
        record.steps.len(),
        record.profile,
        record.id,
        place.cttune(&format!("rollback {}", record.undoes.unwrap_or(record.id))),
    )
}

/// Whether its time was over long enough ago for the watcher to have acted.
fn is_overdue(record: &Record) -> bool {
    let now = host::read_boottime().unwrap_or_default();
    let until = record.deadline.map_or(0, |deadline| deadline.boottime);
    now > Duration::from_secs(until) + GRACE
}
