//! The processes of this machine, and which of a few named programs run.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;

use nix::sys::signal::{SigSet, Signal};

use crate::boot::writers::Process;

/// A thread of the kernel, in the flags of a process (include/linux/sched.h).
const PF_KTHREAD: u32 = 0x0020_0000;

/// Those of `names` that a process here goes by: `/proc/PID/comm`, which the kernel cuts off
/// after 15 bytes. Processes of containers count, where this `/proc` shows them.
pub(crate) fn running(names: &[&'static str]) -> Vec<Process> {
    // It may have ended since.
    let of = |pid: u32| {
        // One read has it whole; a machine may have thousands.
        let mut comm = [0; 64];
        let mut file = File::open(format!("/proc/{pid}/comm")).ok()?;
        let length = file.read(&mut comm).ok()?;
        let comm = comm.get(..length)?.trim_ascii_end();
        let is_it = |name: &&&str| name.as_bytes() == comm;
        let name = *names.iter().find(is_it)?;
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = line
            .split(|byte| *byte == 0)
            .filter(|word| !word.is_empty());
        let arguments = words.map(|word| String::from_utf8_lossy(word).into_owned());
        Some(Process {
            name,
            pid,
            arguments: arguments.collect(),
            unit: None,
        })
    };
    pids().filter_map(of).collect()
}

/// Makes a write past `ulimit -f` fail (EFBIG) where the signal would end this process.
pub(crate) fn survive_size_limit() {
    // It fails for no signal that exists.
    let _ = SigSet::from(Signal::SIGXFSZ).thread_block();
}

/// The processes that this `/proc` shows, but for the children of kthreadd: the kernel's threads, of
/// which there may be more than of all others, and helpers that the kernel starts, such as the one
/// that takes a core dump (kernel/umh.c).
pub(super) fn pids() -> impl Iterator<Item = u32> {
    let children = children_of_kthreadd();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(move |pid| !children.contains(pid))
}

/// The children of kthreadd; none where the kernel does not list children (`CONFIG_PROC_CHILDREN`) or
/// this `/proc` is a container's, with another process 2.
fn children_of_kthreadd() -> BTreeSet<u32> {
    let is_kthreadd = |stat: &str| {
        // The flags of proc_pid_stat(5) are the seventh field behind the name, which ends with the
        // last bracket.
        let flags = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(6)?;
        Some(flags.parse::<u32>().ok()? & PF_KTHREAD != 0)
    };
    let stat = fs::read_to_string("/proc/2/stat").unwrap_or_default();
    if is_kthreadd(&stat) != Some(true) {
        return BTreeSet::new();
    }
    let children = fs::read_to_string("/proc/2/task/2/children").unwrap_or_default();
    let pids = children.split_ascii_whitespace();
    pids.filter_map(|pid| pid.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_runs_is_found_and_one_that_does_not_is_not() {
        let name = fs::read_to_string("/proc/self/comm").unwrap();
        let name: &'static str = name.trim_end().to_owned().leak();
        let found = running(&[name, "no such program"]);
        let own = found.iter().find(|one| one.pid == std::process::id());
        assert_eq!(own.unwrap().arguments, std::env::args().collect::<Vec<_>>());
        assert!(found.iter().all(|one| one.name == name));
    }

    #[test]
    fn only_children_of_kthreadd_are_left_out() {
        let children = children_of_kthreadd();
        let own = std::process::id();
        let parent = std::os::unix::process::parent_id();
        for pid in [own, parent] {
            assert!(!children.contains(&pid));
        }
        assert!(pids().any(|pid| pid == own));
    }
}
