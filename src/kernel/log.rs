//! The kernel log: what it says about full tables.
//!
//! From /dev/kmsg; where that is denied, from kern.log or the journal, which members of a group may
//! read (adm, systemd-journal).

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use jiff::{SignedDuration, Timestamp};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::time::{ClockId, clock_gettime};

use super::ahead::Ahead;
use crate::assess::kernel_log::{
    KernelLog, begins_a_boot, parse_journal, parse_kmsg, parse_syslog,
};
use crate::files::Root;

const KMSG: &str = "/dev/kmsg";
const SYSLOG: &str = "/var/log/kern.log";
/// No record of /dev/kmsg is longer (CONSOLE_EXT_LOG_MAX).
const RECORD: usize = 8192;
/// Bytes that are read of a file, its last ones.
const SYSLOG_BYTES: u64 = 64 << 20;

/// Whether journalctl is worth its time, which is more than the rest of a check takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Journal {
    /// Ask it where nothing else tells.
    Asked,
    /// Do without.
    Skipped,
}

/// The kernel log as another thread reads it: /dev/kmsg takes a read for each of its records.
pub(crate) type Reading = Ahead<io::Result<KernelLog>>;

pub(crate) fn start(journal: Journal) -> Reading {
    Ahead::start("log", move || read_kernel_log(journal))
}

/// Reads what the kernel logged about full tables since boot.
///
/// # Errors
/// Where no source can be read; it is the reason of the first.
fn read_kernel_log(journal: Journal) -> io::Result<KernelLog> {
    let reason = match read_kmsg() {
        Ok(log) => return Ok(log),
        Err(reason) => reason,
    };
    if let Ok(log) = read_syslog(Path::new(SYSLOG)) {
        return Ok(log);
    }
    let log = match journal {
        Journal::Asked => read_journal().unwrap_or(None),
        Journal::Skipped => None,
    };
    log.ok_or(reason)
}

fn read_kmsg() -> io::Result<KernelLog> {
    let mut kmsg = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(KMSG)?;
    let boot = read_boot_time()?;
    let mut log = KernelLog::default();
    let mut record = [0; RECORD];
    let mut is_first = true;
    loop {
        let length = match kmsg.read(&mut record) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EAGAIN) => break,
                // Records were overwritten while we read; the next read goes on behind them.
                Some(Errno::EPIPE) => {
                    log.is_cut = true;
                    continue;
                }
                Some(Errno::EINTR) => continue,
                _ => return Err(error),
            },
        };
        let record = String::from_utf8_lossy(record.get(..length).unwrap_or_default());
        // Most are about something else.
        if !is_first && !record.contains("nf_conntrack") {
            continue;
        }
        if let Some((sequence, since_boot, text)) = parse_kmsg(&record) {
            log.is_cut |= is_first && sequence > 0;
            is_first = false;
            log.add(text, boot.saturating_add(since_boot).unwrap_or(boot));
        }
    }
    Ok(log)
}

/// The time at which the log's clock was zero. It does not run in suspend.
fn read_boot_time() -> io::Result<Timestamp> {
    let up = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    let up = SignedDuration::from_secs(up.tv_sec());
    let now = Timestamp::now();
    Ok(now.checked_sub(up).unwrap_or(now))
}

fn read_syslog(path: &Path) -> io::Result<KernelLog> {
    let boot = read_boot_time()?;
    // Until the beginning of this boot is found: older lines may be in a rotated file.
    let mut log = KernelLog::default();
    log.is_cut = true;
    let file = Root::machine().open(path).map_err(io::Error::other)?;
    let mut file = file.ok_or(io::ErrorKind::NotFound)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(SYSLOG_BYTES)))?;
    for_lines(file.take(SYSLOG_BYTES), |line| {
        if let Some((since_boot, text)) = parse_syslog(line) {
            if begins_a_boot(text) {
                log = KernelLog::default();
            }
            log.add(text, boot.saturating_add(since_boot).unwrap_or(boot));
        }
    })?;
    Ok(log)
}

/// `None` where the journal has no line that we may read.
fn read_journal() -> io::Result<Option<KernelLog>> {
    let mut is_readable = false;
    journalctl(&["--lines=1"], |_| is_readable = true)?;
    if !is_readable {
        return Ok(None);
    }
    let mut log = KernelLog::default();
    journalctl(&["--grep=table full"], |record| {
        if let Some((time, text)) = parse_journal(record) {
            log.add(&text, time);
        }
    })?;
    Ok(Some(log))
}

/// Gives every record of this boot's kernel messages to `each`, as JSON.
fn journalctl(options: &[&str], each: impl FnMut(&str)) -> io::Result<()> {
    let mut child = Command::new("journalctl")
        .args(["--dmesg", "--boot", "--quiet", "--no-pager"])
        .args(["--output=json", "--output-fields=MESSAGE"])
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let told = child.stdout.take().map(|stdout| for_lines(stdout, each));
    child.wait()?;
    told.unwrap_or(Ok(()))
}

/// Gives every line to `each`, one at a time; what is no UTF-8 is replaced.
fn for_lines(from: impl Read, mut each: impl FnMut(&str)) -> io::Result<()> {
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        each(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kern_log_is_read_from_the_last_boot_on() {
        let line =
            "fw kernel: [    2.500000] nf_conntrack: table full in netns 7, dropping packet\n";
        let boot = "fw kernel: [    0.000000] Linux version 6.1.0\n";
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, number, is_cut) in [
            (
                format!("{line}{line}{boot}{line}\u{fffd}garbage\n"),
                Some(1),
                false,
            ),
            (format!("{line}{line}"), Some(2), true),
            (format!("{line}{boot}"), None, false),
        ] {
            std::fs::write(file.path(), &text).unwrap();
            let log = read_syslog(file.path()).unwrap();
            assert_eq!(log.about(7).map(|lines| lines.number), number, "{text}");
            assert_eq!(log.is_cut, is_cut, "{text}");
        }
    }
}
