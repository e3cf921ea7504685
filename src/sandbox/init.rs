//! PID 1 of the sandbox: makes it, starts the command in it and waits for that.

use std::env;
use std::ffi::OsString;

use anyhow::{Context, bail};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};

use super::signals::Signals;
use super::{INSIDE, Options, etc, exec, mounts, refusal, start_again, table};
use crate::kernel::{host, netns};

pub(super) const PART: &str = "init";
/// The same, without the lines about the table.
pub(super) const QUIET_PART: &str = "quiet-init";

/// Sets the sandbox up in namespaces of its own, then runs the command.
///
/// `parent` is the caller's process as /proc numbers it.
pub(super) fn run(parent: u32, options: &Options, say: &mut dyn FnMut(&str)) -> anyhow::Result<u8> {
    if std::process::id() != 1 {
        bail!("{INSIDE} is started by `cttune sandbox` alone");
    }
    die_with(parent)?;
    let signals = Signals::block().context("blocking signals")?;
    // Every user in the sandbox may read what is made here, whatever the caller's umask is.
    let callers = umask(Mode::S_IWGRP | Mode::S_IWOTH);
    set_up(options.flows, &mut |line| {
        if !options.quiet {
            say(line);
        }
    })?;
    umask(callers);
    let child = start_again(exec::PART)
        .args(&options.command)
        .env("PATH", search_path())
        .env("CTTUNE_STATE_DIR", mounts::STATE)
        .spawn()
        .context("starting the command")?;
    signals.supervise(&child)
}

/// Ends this process, and with it everything in the sandbox, as soon as the caller's ends.
fn die_with(parent: u32) -> anyhow::Result<()> {
    set_pdeathsig(Signal::SIGKILL).context("tying the sandbox to its caller")?;
    let now = host::read_own_status("PPid").context("reading PPid in /proc/self/status")?;
    if now != parent.to_string() {
        bail!("the caller of the sandbox is gone");
    }
    Ok(())
}

/// Everything that the command will find, the flows last: short ones expire while we work.
fn set_up(flows: u32, say: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
    // Taken before /etc and /run are covered: the path then leads into what covers them.
    let directory = env::current_dir();
    // First of all, so that no mount is ever made outside, however this process was started.
    let own = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    unshare(own).map_err(|errno| refusal::because("making the sandbox's namespaces", errno))?;
    mounts::set_up(directory.as_deref().ok())?;
    etc::set_up()?;
    netns::raise_loopback().context("bringing lo up")?;
    table::set_up(flows, say)?;
    directory
        .and_then(env::set_current_dir)
        .or_else(|_| env::set_current_dir("/"))
        .context("changing to /")
}

/// The caller's PATH, with the running program in front under the name `cttune`.
fn search_path() -> OsString {
    const USUAL: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut path = OsString::from(mounts::PROGRAMS);
    path.push(":");
    path.push(env::var_os("PATH").unwrap_or_else(|| USUAL.into()));
    path
}
