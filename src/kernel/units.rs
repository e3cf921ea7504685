//! Units of systemd, by systemctl(1).

use std::io;
use std::path::Path;
use std::process::Command;

use super::program;
use crate::diagnostic::{Advise, Hint};

/// A unit could not be enabled or disabled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnitError {
    #[error("cannot run systemctl: {}", crate::diagnostic::said(.0))]
    NoSystemctl(#[source] io::Error),
    #[error("systemctl {arguments} failed: {said}")]
    Failed { arguments: String, said: String },
}

impl Advise for UnitError {
    fn hint(&self) -> Option<Hint> {
        let journal = Hint::on_host("journalctl -b -n 20 -t systemd");
        Some(journal.to("see what systemd said"))
    }
}

/// The unit that loads the timeouts of services.
const SERVICES: &str = "cttune-services.service";

/// Has systemd read its units again. That of services is started where its file is there, and no
/// longer counts as started where it is not.
///
/// # Errors
/// With what systemctl said.
pub(crate) fn reload() -> Result<(), UnitError> {
    done(&["daemon-reload"])?;
    match systemctl(&["cat", SERVICES])? {
        // A restart would take the table away on the way.
        (true, _) => done(&["reload-or-restart", SERVICES]),
        (false, _) => systemctl(&["stop", SERVICES]).map(drop),
    }
}

/// Whether systemd runs here.
pub(crate) fn is_there() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Whether a unit is enabled.
///
/// # Errors
/// If systemctl cannot be run.
pub(crate) fn is_enabled(unit: &str) -> Result<bool, UnitError> {
    let (is_done, _) = systemctl(&["is-enabled", "--quiet", unit])?;
    Ok(is_done)
}

/// Enables a unit and starts it, or stops it and disables it, and reads that back. A unit that is
/// not there is not enabled.
///
/// # Errors
/// With what systemctl said.
pub(crate) fn enable(unit: &str, to: bool) -> Result<(), UnitError> {
    // A file that was written or removed is not known to systemd yet.
    done(&["daemon-reload"])?;
    if to {
        done(&["enable", "--quiet", "--now", unit])?;
    } else if is_enabled(unit)? {
        done(&["disable", "--quiet", "--now", unit])?;
    }
    if is_enabled(unit)? == to {
        return Ok(());
    }
    Err(UnitError::Failed {
        arguments: format!("is-enabled {unit}"),
        said: "it is as before".to_owned(),
    })
}

fn done(arguments: &[&str]) -> Result<(), UnitError> {
    match systemctl(arguments)? {
        (true, _) => Ok(()),
        (false, said) => Err(UnitError::Failed {
            arguments: arguments.join(" "),
            said,
        }),
    }
}

/// Whether it succeeded, and what it said.
fn systemctl(arguments: &[&str]) -> Result<(bool, String), UnitError> {
    let run = program::run(Command::new("systemctl").args(arguments), "");
    let output = run.map_err(UnitError::NoSystemctl)?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok((output.status.success(), said))
}

/// The part of a unit's name that stands for a text, as systemd-escape(1) writes it.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'/' => escaped.push('-'),
            b'.' if index == 0 => escaped.push_str("\\x2e"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'_' | b'.' => {
                escaped.push(byte.into());
            }
            other => escaped.push_str(&format!("\\x{other:02x}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_systemd_does() {
        for (text, name) in [
            ("blue", "blue"),
            ("a-b", "a\\x2db"),
            (".x/y", "\\x2ex-y"),
            ("ä", "\\xc3\\xa4"),
        ] {
            assert_eq!(escaped(text), name);
        }
    }
}
