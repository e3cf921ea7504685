//! A change that was killed half-way is told of by whatever is run next.

use super::args::{Cli, Command};
use super::out::Out;
use super::{change, survey};
use crate::apply::Lock;
use crate::files::state;
use crate::plan::{Origin, Standing};

/// Says so if the newest change was interrupted. Whoever may not read the journal is not told.
pub(super) fn tell(cli: &Cli, out: Out) {
    let quiet = matches!(
        cli.command,
        Command::Sandbox(_)
            | Command::SandboxInside(_)
            | Command::WatchPending(_)
            | Command::Completions(_)
            | Command::Rollback(_)
    );
    let Ok(root) = survey::root(&cli.global) else {
        return;
    };
    if quiet {
        return;
    }
    let Ok(Some(record)) = change::journal(&root).newest() else {
        return;
    };
    if record.standing != Standing::Begun || Lock::is_held(&state::directory(&root)) {
        return;
    }
    let (what, finish) = match record.origin {
        Origin::Apply => ("an apply", "`cttune apply` finishes it"),
        Origin::Rollback => ("a rollback", "`cttune history` shows it"),
    };
    out.note(&format!(
        "note: {what} was interrupted at step {} of {} ({}, change {}): `cttune rollback {}` puts \
         it back, {finish}",
        (record.reached() + 1).min(record.steps.len()),
        record.steps.len(),
        record.profile,
        record.id,
        record.undoes.unwrap_or(record.id),
    ));
}
