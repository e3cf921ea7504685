//! What fuzz targets give bytes to: each reads one kind of foreign text or kernel message.

use std::hint::black_box;
use std::path::Path;

use jiff::Timestamp;

use super::{FlowData, SysctlTree};
use crate::assess::kernel_log::{KernelLog, parse_journal, parse_kmsg, parse_syslog};
use crate::conntrack::{Flow, Messages};
use crate::flow::{Field, Terms};
use crate::profile::{self, Source};
use crate::render;
use crate::tunable::{Counters, Key};

/// Messages of a dump.
pub fn netlink(bytes: &[u8]) {
    for message in Messages(bytes).flatten() {
        if let Ok(flow) = Flow::parse(message.body) {
            black_box(FlowData::from(&flow));
        }
    }
}

/// A profile, and the report of its mistakes.
pub fn profile(text: &str) {
    if let Err(mistakes) = profile::parse(&Source::new("fuzz.toml", text)) {
        black_box(render::mistakes::mistakes(&mistakes, true));
    }
}

/// A file of sysctl.d, as both readers see it, with the report of `check --explain`.
pub fn sysctl(bytes: &[u8]) {
    let path = Path::new("/etc/sysctl.d/50-fuzz.conf");
    let tree = SysctlTree::empty().with_file(path, Some(bytes.to_vec()));
    for reader in ["procps", "systemd"] {
        black_box(tree.winners(reader));
        black_box(tree.explained_winners(reader, Key::ALL[0].file_name()));
    }
}

/// Records of /dev/kmsg, of journalctl, and lines of a kern.log.
pub fn kernel_log(text: &str) {
    let mut log = KernelLog::default();
    for line in text.lines() {
        if let Some((_, _, message)) = parse_kmsg(line) {
            log.add(message, Timestamp::UNIX_EPOCH);
        }
        if let Some((time, message)) = parse_journal(line) {
            log.add(&message, time);
        }
        if let Some((_, message)) = parse_syslog(line) {
            log.add(message, Timestamp::UNIX_EPOCH);
        }
    }
    black_box(log.unnamed());
}

/// The text of /proc/net/stat/nf_conntrack.
pub fn counters(text: &str) {
    black_box(Counters::parse(text));
}

/// A record of the journal, and the same bytes as the state of a change.
pub fn journal(bytes: &[u8]) {
    black_box(crate::change::can_be_read(bytes));
}

/// Terms of `--match`, and fields of `--by`.
pub fn terms(text: &str) {
    let _ = black_box(Terms::parse(text));
    let _ = black_box(Field::parse_list(text));
}
