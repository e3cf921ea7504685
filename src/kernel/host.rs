//! Facts about the machine: CPUs, memory, how the kernel has conntrack.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};
use nix::unistd::{SysconfVar, gethostname, sysconf};

use crate::diagnostic::plain::one_line;
use crate::tunable::{Conntrack, Host};

/// Reads the facts that sizing and persistence need.
///
/// # Errors
/// Where `/proc/meminfo` or the number of CPUs cannot be read.
pub(crate) fn read_host() -> io::Result<Host> {
    Ok(Host {
        cpus: read_cpus()?,
        memory: read_memory()?,
        conntrack: read_conntrack(),
    })
}

/// How the kernel that runs has conntrack.
pub(crate) fn read_conntrack() -> Conntrack {
    // Only a loadable module has a state of loading; a built-in one has a folder without it, and
    // one without parameters not even that.
    if Path::new("/sys/module/nf_conntrack/initstate").exists() {
        Conntrack::Module
    } else if Path::new("/proc/sys/net/netfilter/nf_conntrack_count").exists() {
        Conntrack::BuiltIn
    } else {
        Conntrack::NotLoaded
    }
}

/// Threads of this process that can run at once; one where at least as many others run already as
/// there are cores.
pub(crate) fn read_idle_cores() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let others = parse_running(&load).map_or(0, |running| running.saturating_sub(1));
    if others < cores { cores } else { 1 }
}

/// The threads that run, of `/proc/loadavg`.
fn parse_running(load: &str) -> Option<usize> {
    let (running, _) = load.split_ascii_whitespace().nth(3)?.split_once('/')?;
    running.parse().ok()
}

/// The machine's name, for people; `localhost` where it has none.
pub(crate) fn read_name() -> String {
    gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .filter(|name| !name.is_empty())
        .map_or_else(|| "localhost".to_owned(), |name| one_line(&name))
}

/// The kernel's release, such as `6.18.44`; empty where it cannot be read.
pub(crate) fn read_release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Bytes that the kernel allocates for one flow, its extensions not included; `None` where that may
/// not be read, as by an ordinary user, or where the allocator does not say.
pub(crate) fn read_flow_size() -> Option<u64> {
    // Not object_size: the slab aligns its objects.
    let text = fs::read_to_string("/sys/kernel/slab/nf_conntrack/slab_size").ok()?;
    text.trim().parse().ok()
}

/// Whether the calling thread's network namespace forwards packets, of either family.
pub(crate) fn forwards() -> bool {
    ["ipv4/ip_forward", "ipv6/conf/all/forwarding"]
        .iter()
        .filter_map(|name| fs::read_to_string(format!("/proc/sys/net/{name}")).ok())
        .any(|text| text.trim() != "0")
}

/// A field of /proc/self/status, such as `SigIgn` (proc_pid_status(5)); `None` where /proc does not
/// show this process.
pub(crate) fn read_own_status(field: &str) -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

/// The kernel's id of this boot.
///
/// # Errors
/// Where procfs is not there.
pub(crate) fn read_boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

/// The inode of the calling thread's network namespace, by which the kernel log names it; `None`
/// where the mounted /proc belongs to a PID namespace that this process is not in.
pub(crate) fn read_netns_inode() -> Option<u64> {
    // Not /proc/self: that is the main thread's namespace.
    fs::metadata("/proc/thread-self/ns/net")
        .ok()
        .map(|metadata| metadata.ino())
}

/// Seconds since the boot, time in suspend included; this clock cannot be set.
pub(crate) fn read_boottime() -> io::Result<Duration> {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME)?;
    let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
    let nanoseconds = u32::try_from(now.tv_nsec()).unwrap_or(0);
    Ok(Duration::new(seconds, nanoseconds))
}

/// Time since the boot without that in suspend, as the kernel's timers count it.
pub(crate) fn read_monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// Waits until so much time has passed since the boot, or a signal comes.
pub(crate) fn wait_until_boottime(until: Duration) {
    let seconds = i64::try_from(until.as_secs()).unwrap_or(i64::MAX);
    let until = TimeSpec::new(seconds, i64::from(until.subsec_nanos()));
    let _ = clock_nanosleep(
        ClockId::CLOCK_BOOTTIME,
        ClockNanosleepFlags::TIMER_ABSTIME,
        &until,
    );
}

/// The values that a variable has in the environments of the processes that started this one,
/// nearest first, as far as they may be read. Those of other pid namespaces are not seen.
pub(crate) fn read_ancestors_variable(name: &str) -> Vec<String> {
    let mut values = Vec::new();
    let mut process = nix::unistd::getppid().as_raw();
    // Longer chains than this are not typed by people.
    for _ in 0..64 {
        if process <= 1 {
            break;
        }
        let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        values.extend(find_variable(&environment, name));
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        process = parent.and_then(|id| id.trim().parse().ok()).unwrap_or(0);
    }
    values
}

/// The values that a variable has in the environments of all processes that may be read.
pub(crate) fn read_everybodys_variable(name: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let environments =
        processes.filter_map(|process| fs::read(process.path().join("environ")).ok());
    let values = environments.filter_map(|environment| find_variable(&environment, name));
    let mut values: Vec<String> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}

/// A variable of `/proc/PID/environ`.
fn find_variable(environment: &[u8], name: &str) -> Option<String> {
    let variables = environment.split(|byte| *byte == 0);
    let mut values = variables.filter_map(|variable| {
        let text = std::str::from_utf8(variable).ok()?;
        text.strip_prefix(name)?.strip_prefix('=')
    });
    values.next().map(str::to_owned)
}

/// Whether systemd runs the machine and this process is in its namespaces, so that a timer of
/// systemd can act after this process has ended.
pub(crate) fn is_systemds() -> bool {
    let shared = |kind: &str| {
        let link = |process: &str| fs::read_link(format!("/proc/{process}/ns/{kind}")).ok();
        let own = link("thread-self");
        own.is_some() && own == link("1")
    };
    Path::new("/run/systemd/system").is_dir() && ["mnt", "net", "pid"].into_iter().all(shared)
}

fn read_cpus() -> io::Result<u32> {
    let online = sysconf(SysconfVar::_NPROCESSORS_ONLN)?.unwrap_or(1);
    Ok(u32::try_from(online).unwrap_or(1).max(1))
}

fn read_memory() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").map_err(|error| {
        let said = crate::diagnostic::said(&error);
        io::Error::new(error.kind(), format!("cannot read /proc/meminfo: {said}"))
    })?;
    parse_mem_total(&text).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "/proc/meminfo names no MemTotal",
        )
    })
}

/// `MemTotal` of `/proc/meminfo`, which is in KiB, as bytes.
fn parse_mem_total(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mem_total_is_in_bytes() {
        assert_eq!(
            parse_mem_total("MemTotal:       24689764 kB\nMemFree: 1 kB\n"),
            Some(25_282_318_336)
        );
        assert_eq!(parse_mem_total("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn running_threads_are_counted() {
        assert_eq!(parse_running("0.20 0.18 0.12 3/80 11206\n"), Some(3));
        assert_eq!(parse_running("0.20 0.18 0.12\n"), None);
        assert!(read_idle_cores() >= 1);
    }

    #[test]
    fn a_variable_is_found_by_its_whole_name() {
        let environment = b"A=1\0SSH_CONNECTION_X=2\0\xff=3\0SSH_CONNECTION=a 1 b 2\0";
        for (name, value) in [
            ("SSH_CONNECTION", Some("a 1 b 2")),
            ("A", Some("1")),
            ("B", None),
        ] {
            let found = find_variable(environment, name);
            assert_eq!(found.as_deref(), value, "{name}");
        }
    }

    #[test]
    fn this_machine_has_cpus_and_memory() {
        let host = read_host().unwrap();
        assert!(host.cpus >= 1);
        assert!(host.memory > 64 << 20);
    }
}
