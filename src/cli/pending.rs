//! The question whether to keep a pending change.

use std::io::{self, BufRead};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::args::Global;
use super::failure::{FAILED, Failure};
use super::out::Out;
use super::{change, confirm, place};
use crate::change::{Entry, Record, Session, Signal, Status};
use crate::diagnostic::Hint;

/// How long a change of another command is waited for when Enter confirms.
const CONFIRM_WAIT: Duration = Duration::from_secs(60);
/// How long a Ctrl-C may come after the terminal hung up.
const TOGETHER: Duration = Duration::from_millis(300);

/// Waits for Enter, which confirms; for Ctrl-C, which undoes the change now; or for its deadline, or
/// a `confirm` elsewhere. A terminal that hangs up leaves the change to its watcher.
pub(super) fn ask(id: u64, session: &Session<'_>, global: &Global, out: Out) -> anyhow::Result<u8> {
    let place = place::of(global);
    out.question("Press Enter to keep it, Ctrl-C to undo it now\n");
    let stdin = io::stdin();
    loop {
        if let Some(signal) = stopped(session) {
            return match signal {
                Signal::HangUp => Ok(signal.exit_code()),
                signal => undo(id, session, signal, out),
            };
        }
        let (entry, is_locked) = session.look_at(id).map_err(change::failure)?;
        if entry.state.status() != Status::Pending && !is_locked {
            return ended_elsewhere(&entry, out);
        }
        let mut waiting = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        if poll(&mut waiting, PollTimeout::from(250u16)).unwrap_or(0) == 0 {
            continue;
        }
        let mut line = String::new();
        if stdin.lock().read_line(&mut line).unwrap_or(0) > 0 {
            let mut again = |record: &Record| confirm::replan(record, global);
            let done = session.confirm(Some(CONFIRM_WAIT), &mut again);
            return confirm::tell(&done.map_err(change::told)?, &place, out);
        }
        // Ctrl-D, or a terminal that is gone.
        if stopped(session).is_none() {
            out.note(&format!(
                "still pending; keep it: {}",
                place.cttune("confirm")
            ));
            return Ok(0);
        }
    }
}

/// The signal to obey. Ctrl-C goes before all others, also where the terminal hung up just before.
fn stopped(session: &Session<'_>) -> Option<Signal> {
    let signals = session.signals();
    let since = Instant::now();
    while signals.caught() == Some(Signal::HangUp)
        && !signals.has(Signal::Interrupt)
        && since.elapsed() < TOGETHER
    {
        std::thread::sleep(Duration::from_millis(10));
    }
    match signals.caught() {
        Some(_) if signals.has(Signal::Interrupt) => Some(Signal::Interrupt),
        caught => caught,
    }
}

fn undo(id: u64, session: &Session<'_>, signal: Signal, out: Out) -> anyhow::Result<u8> {
    let entry = session.undo_pending(id, signal).map_err(change::told)?;
    match entry.state.status() {
        Status::Undone => {
            for foreign in &entry.state.remaining {
                out.note(&format!("note: {foreign}"));
            }
            out.note("undone; everything is as it was");
            Ok(signal.exit_code())
        }
        _ => ended_elsewhere(&entry, out),
    }
}

/// What somebody else made of a change while its question was open.
fn ended_elsewhere(entry: &Entry, out: Out) -> anyhow::Result<u8> {
    let status = entry.state.status();
    match status {
        Status::Applied | Status::Partial => {
            out.note("confirmed by another command");
            Ok(0)
        }
        Status::Expired => {
            Err(Failure::new(FAILED, "not confirmed in time; everything is as it was").into())
        }
        Status::Failed => Err(change::failure(crate::change::remaining(entry)).into()),
        status => Err(
            Failure::new(FAILED, format!("the change is {status} by now"))
                .hint(Hint::cttune("history").to("see its steps"))
                .into(),
        ),
    }
}
