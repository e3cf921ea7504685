//! What every command that changes something shares: the lock, the journal, the way it ends.

use std::time::Duration;

use super::args::Global;
use super::failure::{DIFFERS, FAILED, Failure, LEFT};
use crate::change::Lock;
use crate::change::journal::{Folder, JournalError};
use crate::diagnostic::Hint;
use crate::files::{Root, state};
use crate::kernel::host;
use crate::plan::{Cause, Ending, Outcome, Record, Signal, Standing};
use crate::profile;

/// The state directory's journal.
pub(super) fn journal(root: &Root) -> Folder {
    Folder::new(&state::directory(root))
}

/// Takes the lock, or waits for it as long as `--wait` says.
pub(super) fn lock(
    root: &Root,
    wait: Option<&str>,
    stop: &dyn Fn() -> Option<Signal>,
) -> anyhow::Result<Lock> {
    let patience = wait
        .map(|text| duration("--wait", text))
        .transpose()?
        .unwrap_or_default();
    let taken = Lock::take_within(&state::directory(root), patience, &|| stop().is_some());
    taken.map_err(|error| match stop() {
        Some(signal) => stopped(signal).into(),
        None => Failure::of(FAILED, &error).unchanged().into(),
    })
}

/// A time of the command line.
pub(super) fn duration(option: &str, text: &str) -> Result<Duration, Failure> {
    let seconds = profile::parse_duration(text).map_err(|wrong| {
        Failure::usage(format!("{option} {text}: {wrong}")).hint("write 90s, 2m or 1h30m")
    })?;
    Ok(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// Whether a change was made in the network namespace that we are in. Within one boot the kernel's
/// number tells, whatever the namespace was called; later only the name is left.
pub(super) fn is_here(record: &Record, global: &Global) -> bool {
    let made = &record.occasion;
    let same_boot = host::read_boot_id().is_ok_and(|boot_id| boot_id == made.boot_id);
    match (made.netns_inode, host::read_netns_inode()) {
        (Some(then), Some(now)) if same_boot => then == now,
        _ => made.netns == global.netns,
    }
}

/// Refuses to act here upon a change that was made elsewhere.
pub(super) fn belongs_here(record: &Record, global: &Global, root: &Root) -> Result<(), Failure> {
    let made = &record.occasion;
    if made.root != root.base() {
        let root = made.root.display();
        let message = format!("change {} was made below {root}", record.id);
        return Err(Failure::new(FAILED, message)
            .unchanged()
            .hint(format!("add --root {root}")));
    }
    if is_here(record, global) {
        return Ok(());
    }
    let message = format!("change {} was made in another network namespace", record.id);
    Err(Failure::new(FAILED, message)
        .unchanged()
        .hint(match &made.netns {
            Some(netns) if made.netns == global.netns => {
                format!("{netns} is not what it was then: what the change did went with it")
            }
            Some(netns) => format!("add --netns {netns}"),
            None => "run it where the change was made, without --netns".to_owned(),
        }))
}

/// Whether a change was made where we are.
pub(super) fn is_of(record: &Record, global: &Global, root: &Root) -> bool {
    belongs_here(record, global, root).is_ok()
}

/// The changes here that are not done with, oldest first; those that ended with their boot are
/// not among them.
///
/// # Errors
/// If the journal cannot be read.
pub(super) fn unfinished(root: &Root, global: &Global) -> Result<Vec<Record>, Failure> {
    let boot_id = host::read_boot_id().unwrap_or_default();
    let records = journal(root).unfinished().map_err(journal_failure)?;
    Ok(records
        .into_iter()
        .map(|record| record.in_boot(&boot_id))
        .filter(|record| record.standing.is_unfinished() && is_of(record, global, root))
        .collect())
}

/// Writes down how older changes stand, now that `by` was carried out: those that were interrupted
/// are done with, and those that were never confirmed ended with their boot. The lock is held.
pub(super) fn settle(root: &Root, global: &Global, by: Option<u64>) {
    let journal = journal(root);
    let boot_id = host::read_boot_id().unwrap_or_default();
    for record in journal.unfinished().unwrap_or_default() {
        let was = record.standing;
        let mut record = record.in_boot(&boot_id);
        if record.standing == Standing::Begun
            && by.is_none_or(|by| record.id < by)
            && is_of(&record, global, root)
        {
            record.standing = Standing::Resumed;
        }
        if record.standing != was {
            // Only a word in a listing: what holds is compared anyway.
            let _ = journal.mark(&record);
        }
    }
}

/// A journal that cannot be kept or read.
pub(super) fn journal_failure(error: JournalError) -> Failure {
    Failure::of(FAILED, &error).unchanged()
}

/// Turns the ending into an exit code.
pub(super) fn end(outcome: &Outcome, record: &Record, detailed: bool) -> anyhow::Result<u8> {
    let cause = match &outcome.ending {
        Ending::Complete if detailed && outcome.changed() => return Ok(DIFFERS),
        Ending::Complete => return Ok(0),
        Ending::Partly(message) => {
            return Err(
                Failure::new(LEFT, format!("{message}; the rest of the plan holds"))
                    .hint("try again when more memory is free, or with a smaller table")
                    .into(),
            );
        }
        Ending::Undone(cause) => cause,
        Ending::Left(cause, left) => return Err(left_failure(cause, left, record).into()),
    };
    match cause {
        Cause::Failed { message, hint } => {
            let failure = Failure::new(FAILED, message).undone();
            Err(failure.maybe_hint(hint.clone()).into())
        }
        Cause::Signal(signal) => {
            let message = format!("stopped by {}", signal.name());
            Err(Failure::new(signal.exit_code(), message).undone().into())
        }
    }
}

fn left_failure(cause: &Cause, left: &[String], record: &Record) -> Failure {
    let what = match cause {
        Cause::Failed { message, .. } => message.clone(),
        Cause::Signal(signal) => format!("stopped by {}", signal.name()),
    };
    let mut failure = Failure::new(LEFT, what);
    failure.messages.extend(left.iter().cloned());
    failure.hint(put_rest_back(record.undoes.unwrap_or(record.id)))
}

/// What to do about what is left of a change.
pub(super) fn put_rest_back(id: u64) -> Hint {
    Hint::cttune(format!("rollback {id}")).to("when the cause is gone, undo the rest")
}

/// A signal before anything was changed.
pub(super) fn stopped(signal: Signal) -> Failure {
    Failure::new(signal.exit_code(), format!("stopped by {}", signal.name())).unchanged()
}
