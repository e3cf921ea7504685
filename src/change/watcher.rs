//! A process that outlives the terminal and takes an unconfirmed change back.
//!
//! Where systemd runs the machine it is a transient timer, which also survives the end of the
//! session's scope; else a child in a session of its own. Either runs `cttune watch-pending`,
//! which goes by the journal's deadline: one that a later watcher replaced finds nothing to do.
//! Rule: it holds no lock and no descriptor of ours while it waits.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::files::state;
use crate::kernel::host;
use crate::plan::{Deadline, Record};

/// The hidden command that the watcher runs.
const COMMAND: &str = "watch-pending";
/// What it says once nothing can end it with the terminal any more.
pub(crate) const READY: &str = "ready\n";

/// Starts the watcher of a change that has a deadline, and makes sure that it watches.
///
/// # Errors
/// If it cannot be started: then nothing would take the change back.
pub(crate) fn arm_watcher(record: &Record, state: &Path) -> anyhow::Result<()> {
    if let (Some(deadline), true) = (record.deadline, host::is_systemds())
        && arm_timer(record.id, deadline, state)?
    {
        return Ok(());
    }
    // setsid(1) would do, but need not be there; the child calls it itself. Our own name may lead
    // to another program by now, or nowhere: an upgrade.
    let mut watcher = Command::new("/proc/self/exe")
        .arg0("cttune")
        .args([COMMAND, &record.id.to_string(), "--detach"])
        .env(state::VARIABLE, state)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .current_dir("/")
        .spawn()
        .context("cannot start the process that would take the change back")?;
    let mut said = String::new();
    let heard = watcher
        .stdout
        .take()
        .map(|mut pipe| pipe.read_to_string(&mut said));
    match heard {
        Some(Ok(_)) if said == READY => Ok(()),
        _ => bail!("the process that would take the change back ended at once"),
    }
}

/// Leaves the session that we were started in: its terminal's signals, and every descriptor that
/// came with it, such as a lock of flock(1) or the pipe that somebody reads to its end.
pub(crate) fn leave_session() {
    // It fails only for who leads a session already.
    let _ = nix::unistd::setsid();
    let open = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    let numbers: Vec<i32> = open
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // The one that the folder was read through is closed already.
        let _ = nix::unistd::close(number);
    }
}

/// Gives the standard output back to whoever waits for its end.
///
/// # Errors
/// Where there is no /dev/null.
pub(crate) fn close_stdout() -> anyhow::Result<()> {
    let null = fs::OpenOptions::new().write(true).open("/dev/null")?;
    Ok(nix::unistd::dup2_stdout(null)?)
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
        .arg(format!("--unit=cttune-confirm-{id}-{}", deadline.boottime))
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
