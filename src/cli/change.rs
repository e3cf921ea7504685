//! What every command that changes something shares: the lock, the journal, the way it ends.

use std::time::Duration;

use super::failure::{DIFFERS, FAILED, Failure, LEFT};
use super::out::Out;
use crate::apply::journal::{Folder, JournalError};
use crate::apply::{Lock, LockError};
use crate::files::{Root, state};
use crate::plan::{Cause, Ending, Outcome, Record, Signal};
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
    Lock::take_within(&state::directory(root), patience, &|| stop().is_some())
        .map_err(|error| locked(error).into())
}

/// A time of the command line.
pub(super) fn duration(option: &str, text: &str) -> Result<Duration, Failure> {
    let seconds = profile::parse_duration(text).map_err(|wrong| {
        Failure::usage(format!("{option} {text}: {wrong}")).hint("write 90s, 2m or 1h30m")
    })?;
    Ok(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

fn locked(error: LockError) -> Failure {
    let failure = Failure::new(FAILED, format!("{error}; nothing was changed"));
    match error {
        LockError::Held { .. } => failure.hint("--wait 30s waits until it is done"),
        LockError::Io { .. } => failure.hint(format!(
            "run it as root, or name another folder in {}",
            state::VARIABLE
        )),
    }
}

/// A journal that cannot be kept or read.
pub(super) fn journal_failure(error: JournalError) -> Failure {
    Failure::new(FAILED, format!("{error}; nothing was changed")).maybe_hint(error.hint())
}

/// Turns the ending into an exit code; what went wrong is said on the way.
pub(super) fn end(
    outcome: &Outcome,
    record: &Record,
    detailed: bool,
    out: Out,
) -> anyhow::Result<u8> {
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
            let message = format!("{message}; everything is as it was");
            Err(Failure::new(FAILED, message).maybe_hint(*hint).into())
        }
        Cause::Signal(signal) => {
            let message = format!("stopped by {}; everything is as it was", signal.name());
            out.failure(&Failure::new(signal.exit_code(), message));
            Ok(signal.exit_code())
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
    failure.hint(format!(
        "when the cause is gone, `cttune rollback {}` puts the rest back",
        record.undoes.unwrap_or(record.id)
    ))
}
