//! The caller's own process: makes the user and PID namespaces, starts PID 1 in them and waits.
//!
//! It makes no mount namespace: even a mistake here cannot change a mount of the host.

use std::path::Path;

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

use super::idmap::IdMap;
use super::signals::Signals;
use super::terminal::Terminal;
use super::{Options, init, mounts, own_pid_in_proc, refusal, start_again};

/// Runs the command in a sandbox and returns its exit code, 128 + n if signal n ended it, 126 if
/// it could not be executed, 127 if it was not found.
///
/// Takes the calling process over: it must have one thread, and stays in the new user namespace.
/// An error means that the sandbox itself failed: exit with 125.
pub(crate) fn run(options: &Options) -> anyhow::Result<u8> {
    if options.command.is_empty() {
        bail!("no command to run in the sandbox");
    }
    if Path::new(mounts::HOME).exists() {
        return Err(refusal::inside());
    }
    // From here on no signal is lost: PID 1 inherits the mask and answers them once it can.
    let signals = Signals::block().context("blocking signals")?;
    let terminal = Terminal::remember();
    enter_namespaces()?;
    let part = if options.quiet {
        init::QUIET_PART
    } else {
        init::PART
    };
    let child = start_again(part)
        .arg(own_pid_in_proc()?.to_string())
        .arg(options.flows.to_string())
        .args(&options.command)
        .spawn()
        .map_err(|error| refusal::because("starting PID 1 of the sandbox", error))?;
    let code = signals.supervise(&child)?;
    terminal.give_back();
    Ok(code)
}

/// A new user namespace, in which the caller is root, and a PID namespace for its children.
fn enter_namespaces() -> anyhow::Result<()> {
    let ids = IdMap::prepare()?;
    match unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWPID) {
        Ok(()) => ids.write(),
        Err(Errno::EINVAL) => bail!(
            "making a user namespace: {}: this kernel has none, or the process has threads",
            Errno::EINVAL
        ),
        Err(errno) => Err(refusal::because("making a user namespace", errno)),
    }
}
