//! The last step to the command: signals as a fresh process has them, then the command itself.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::SigSet;

use crate::diagnostic::said;

pub(super) const PART: &str = "exec";

/// Becomes the command. Returns only if that failed, with the exit code a shell would give.
pub(super) fn run(command: &OsStr, args: &[OsString], say: &mut dyn FnMut(&str)) -> u8 {
    let error = match SigSet::all().thread_unblock() {
        Ok(()) => Command::new(command).args(args).exec(),
        Err(errno) => errno.into(),
    };
    let (code, why) = if exists(command) {
        (126, said(&error))
    } else {
        (127, "command not found".to_owned())
    };
    say(&format!("cttune sandbox: {}: {why}", command.display()));
    code
}

/// Whether there is a file to execute. Asked after the failure, since its errno does not show it: a
/// directory of PATH that may not be read gives EACCES, a missing interpreter ENOENT.
fn exists(command: &OsStr) -> bool {
    if command.as_encoded_bytes().contains(&b'/') {
        return Path::new(command).exists();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    !command.is_empty() && env::split_paths(&path).any(|directory| directory.join(command).exists())
}
