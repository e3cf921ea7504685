//! Loading the conntrack module, and unloading it again when that is undone.

use std::io;
use std::process::Command;

use super::program;

/// The module could not be loaded or unloaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModuleError {
    /// There is no `modprobe`.
    #[error("cannot run modprobe: {}", crate::diagnostic::said(.0))]
    NoModprobe(#[source] io::Error),
    /// `modprobe` said no.
    #[error("modprobe {arguments} failed: {said}")]
    Failed {
        /// What it was asked.
        arguments: String,
        /// What it answered.
        said: String,
    },
}

/// Loads `nf_conntrack`, with the options that modprobe.d gives it.
///
/// # Errors
/// With what modprobe said.
pub(crate) fn load() -> Result<(), ModuleError> {
    modprobe(&["nf_conntrack"])
}

/// Unloads `nf_conntrack`. The kernel refuses while anything uses it, so that a
/// program that began to use it meanwhile keeps it.
///
/// # Errors
/// With what modprobe said, "in use" among it.
pub(crate) fn unload() -> Result<(), ModuleError> {
    modprobe(&["-r", "nf_conntrack"])
}

fn modprobe(arguments: &[&str]) -> Result<(), ModuleError> {
    let run = program::run(Command::new("modprobe").args(arguments), "");
    let output = run.map_err(ModuleError::NoModprobe)?;
    if output.status.success() {
        return Ok(());
    }
    Err(ModuleError::Failed {
        arguments: arguments.join(" "),
        said: program::said(&output),
    })
}
