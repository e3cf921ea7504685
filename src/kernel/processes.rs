//! The processes of this machine, and which of a few named programs run.

use std::collections::BTreeSet;
use std::fs;

/// Those of `names` that a process here goes by: `/proc/PID/comm`, which the kernel cuts off
/// after 15 bytes. Processes of containers count, where this `/proc` shows them.
pub(crate) fn running(names: &[&'static str]) -> BTreeSet<&'static str> {
    // It may have ended since.
    let comms = pids().filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).ok());
    comms
        .filter_map(|comm| names.iter().copied().find(|name| *name == comm.trim_end()))
        .collect()
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
        let ours = fs::read_to_string("/proc/self/comm").unwrap();
        let ours: &'static str = ours.trim_end().to_owned().leak();
        let found = running(&[ours, "no such program"]);
        assert_eq!(found, BTreeSet::from([ours]));
    }
}
