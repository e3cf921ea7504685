//! A process that outlives the terminal and undoes a change that was not confirmed.
//!
//! Where systemd runs the machine it is a transient timer, which also survives the end of the
//! session's scope; else a child in a session of its own. Either runs `cttune watch-pending`,
//! which reads the deadline in the journal: one that a later watcher replaced finds nothing to do.
//! Rule: it keeps no lock and no open file of the command that started it while it waits.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use super::record::Entry;
use super::state::Deadline;
use crate::files::{Root, state};
use crate::kernel::host;

/// The hidden command that the watcher runs.
const COMMAND: &str = "watch-pending";
/// What it prints once the end of the terminal cannot end it any more.
pub(crate) const READY: &str = "ready\n";

/// Starts the watcher of a change that has a deadline, and makes sure that it watches.
pub(super) fn arm_watcher(entry: &Entry, root: &Root) -> anyhow::Result<()> {
    let state = state::directory(root);
    let id = entry.record.id;
    if let (Some(deadline), true) = (entry.state.deadline, host::is_systemds())
        && arm_timer(id, deadline, &state)?
    {
        return Ok(());
    }
    // setsid(1) need not be installed; the child calls setsid(2) itself. After an upgrade the path of
    // this program may be another program, or nothing.
    let mut watcher = Command::new("/proc/self/exe")
        .arg0("cttune")
        .args([COMMAND, &id.to_string(), "--detach"])
        .env(state::VARIABLE, state)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .current_dir("/")
        .spawn()
        .context("cannot start the process that would undo the change")?;
    let mut said = String::new();
    let heard = watcher
        .stdout
        .take()
        .map(|mut pipe| pipe.read_to_string(&mut said));
    match heard {
        Some(Ok(_)) if said == READY => Ok(()),
        _ => bail!("the process that would undo the change ended at once"),
    }
}

/// Leaves the session of the command that started this process: the signals of its terminal, and
/// every file that it had open, such as a lock of flock(1) or a pipe that is read to its end.
pub(crate) fn leave_session() {
    // It fails only for the leader of a session.
    let _ = nix::unistd::setsid();
    let open = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    let numbers: Vec<i32> = open
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // The one that the folder was read from is closed already.
        let _ = nix::unistd::close(number);
    }
}

/// Closes the standard output, so that its reader sees the end.
pub(crate) fn close_stdout() -> anyhow::Result<()> {
    let null = fs::OpenOptions::new().write(true).open("/dev/null")?;
    Ok(nix::unistd::dup2_stdout(null)?)
}

/// Ends the timer of a change that was confirmed or undone. A child ends by itself.
pub(super) fn disarm_watcher(entry: &Entry) {
    if let (Some(deadline), true) = (entry.state.deadline, host::is_systemds()) {
        // Left alone it finds nothing to do at the deadline.
        let _ = Command::new("systemctl")
            .args(["stop", "--quiet"])
            .arg(format!("{}.timer", unit(entry.record.id, deadline)))
            .stdin(Stdio::null())
            .output();
    }
}

fn unit(id: u64, deadline: Deadline) -> String {
    format!("cttune-confirm-{id}-{}", deadline.boottime)
}

/// Asks systemd for a timer; false if there is no systemd-run.
fn arm_timer(id: u64, deadline: Deadline, state: &Path) -> anyhow::Result<bool> {
    let program = std::env::current_exe().context("cannot find this program again")?;
    let until = Duration::from_secs(deadline.boottime);
    let within = until.saturating_sub(host::read_boottime()?);
    let mut variable = OsString::from(format!("--setenv={}=", state::VARIABLE));
    variable.push(state);
    let run = Command::new("systemd-run")
        .arg("--quiet")
        .arg("--collect")
        // A change that is given more time gets another timer; the first finds nothing to do yet.
        .arg(format!("--unit={}", unit(id, deadline)))
        .arg(format!("--on-active={}ms", within.as_millis()))
        .arg("--timer-property=AccuracySec=100ms")
        .arg(variable)
        .arg(program)
        .args([COMMAND, &id.to_string()])
        .stdin(Stdio::null())
        .output();
    match run {
        Ok(output) if output.status.success() => Ok(true),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("systemd-run made no timer for the change: {}", said.trim())
        }
        Err(_) => Ok(false),
    }
}
