//! The processes of this machine, and which of a few named programs run.

use std::fs::{self, File};
use std::io::Read;

use nix::sys::signal::{SigSet, Signal};

use crate::boot::writers::Process;

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

/// The processes that this `/proc` shows.
pub(super) fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
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
}
