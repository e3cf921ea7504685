//! Has systemd read its units again, and run the one that loads the timeouts of services.

use std::process::{Command, Stdio};

const UNIT: &str = "cttune-services.service";

/// Reads the units again; the unit of services is started where its file is there, and no longer
/// counts as started where it is not.
///
/// # Errors
/// What systemctl said.
pub(crate) fn reload() -> Result<(), String> {
    systemctl(&["daemon-reload"])?;
    match systemctl(&["cat", UNIT]) {
        // A restart would take the table away on the way.
        Ok(()) => systemctl(&["reload-or-restart", UNIT]),
        Err(_) => systemctl(&["stop", UNIT]).or(Ok(())),
    }
}

fn systemctl(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("systemctl")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}
