//! Private namespaces with a table filled as in the story, and a command run in them.
//!
//! In: a command and how many flows. Out: the command's exit code. Rule: nothing of the system
//! outside can be changed and nothing is left; a command never runs in a sandbox that was set up
//! only in part. The only user of flow creation.
//!
//! Three processes of the same program: the caller's own makes the user and PID namespaces and
//! waits (`outer`); its child is PID 1 in there, makes the other namespaces and fills them
//! (`init`); that one's child becomes the command (`exec`). When PID 1 ends, for whatever
//! reason, the kernel ends and removes everything in its namespaces.
//! Follows namespaces(7), user_namespaces(7), pid_namespaces(7) and mount_namespaces(7).

mod copy;
mod disk;
mod etc;
mod exec;
mod idmap;
mod init;
mod mounts;
mod outer;
mod refusal;
mod signals;
mod story;
mod table;
mod terminal;

pub(crate) use outer::run;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, bail};

/// The hidden subcommand that the sandbox starts itself again with; all that follows it goes to
/// [`run_inside`] as it is.
pub(crate) const INSIDE: &str = "sandbox-inside";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// Flows in the table; 0 leaves it empty, [`story::FLOWS`] is the story.
    pub(crate) flows: u32,
    /// Print no line about the simulated table.
    pub(crate) quiet: bool,
    pub(crate) command: Vec<OsString>,
}

/// Runs the part of a sandbox that `args` name, in a process that [`run`] started.
///
/// `say` gets one line for the operator at a time, to be written to stderr. Called by hand it
/// changes nothing: it refuses, or works in namespaces of its own.
pub(crate) fn run_inside(args: &[OsString], say: &mut dyn FnMut(&str)) -> anyhow::Result<u8> {
    let number = |text: &OsString| text.to_str()?.parse::<u32>().ok();
    match args {
        [part, target] if part == idmap::PART => {
            idmap::write_when_told(number(target).context("not a process id")?)?;
            Ok(0)
        }
        [part, parent, flows, command @ ..] if part == init::PART || part == init::QUIET_PART => {
            let options = Options {
                flows: number(flows).context("not a number of flows")?,
                quiet: part == init::QUIET_PART,
                command: command.to_vec(),
            };
            init::run(number(parent).context("not a process id")?, &options, say)
        }
        [part, command, args @ ..] if part == exec::PART => Ok(exec::run(command, args, say)),
        _ => bail!("{INSIDE} is started by `cttune sandbox` alone"),
    }
}

/// This program once more, to do another part.
fn start_again(part: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("cttune").args([INSIDE, part]);
    command
}

/// A process as the mounted /proc numbers it, which need not be how the kernel does.
fn own_pid_in_proc() -> anyhow::Result<u32> {
    let link = std::fs::read_link("/proc/self").context("reading /proc/self: is /proc mounted?")?;
    let text = std::str::from_utf8(link.as_os_str().as_bytes())?;
    text.parse().context("reading /proc/self")
}
