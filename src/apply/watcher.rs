//! A process that outlives the terminal and takes an unconfirmed change back.
//!
//! Where systemd runs the machine it is a transient timer, which also survives the end of the
//! session's scope; else a child in a session of its own. Either runs `cttune watch-pending`,
//! which sleeps by the journal's deadline, so that giving a change more time needs no new one.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;

use crate::files::state;
use crate::kernel::host;

/// The hidden command that the watcher runs.
const COMMAND: &str = "watch-pending";

/// Starts the watcher of a change.
///
/// # Errors
/// If it cannot be started: then nothing would take the change back.
pub fn arm_watcher(id: u64, within: Duration, state: &Path) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("cannot find this program again")?;
    if host::is_systemds() && arm_timer(&program, id, within, state)? {
        return Ok(());
    }
    // setsid(1) would do, but need not be there; the child calls it itself.
    Command::new(program)
        .args([COMMAND, &id.to_string(), "--detach"])
        .env(state::VARIABLE, state)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/")
        .spawn()
        .map(drop)
        .context("cannot start the process that would take the change back")
}

/// Asks systemd for a timer; false if there is no systemd-run.
fn arm_timer(program: &Path, id: u64, within: Duration, state: &Path) -> anyhow::Result<bool> {
    let mut variable = OsString::from(format!("--setenv={}=", state::VARIABLE));
    variable.push(state);
    let run = Command::new("systemd-run")
        .arg("--quiet")
        .arg("--collect")
        .arg(format!("--unit=cttune-confirm-{id}"))
        .arg(format!("--on-active={}", within.as_secs()))
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
            anyhow::bail!("systemd-run made no timer for the change: {}", said.trim())
        }
        Err(_) => Ok(false),
    }
}
