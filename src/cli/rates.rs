//! Reads counters and the kernel log, once or twice with a pause between.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use super::out::Out;
use super::progress::Progress;
use crate::assess::kernel_log::KernelLog;
use crate::assess::{Rates, Trend, Unread};
use crate::diagnostic::said;
use crate::kernel::ctnetlink::count_expectations;
use crate::kernel::log;
use crate::kernel::{counters, host, namespaces, sysctl};
use crate::tunable::{Conntrack, Host};

/// There while the module that tells of expectations is loaded.
const NETLINK: &str = "/sys/module/nf_conntrack_netlink";
/// How often a bar moves during the pause.
const TICK: Duration = Duration::from_millis(200);

/// The first of two looks, and the pause after it.
pub(super) fn look_ahead(interval: Duration, out: Out) -> anyhow::Result<(Instant, Trend)> {
    let start = Instant::now();
    let trend = Trend {
        interval,
        count: sysctl::read_count()?,
        counters: counters::read_counters()?,
    };
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let progress = Progress::new(out, "watching", millis(interval));
    while let Some(left) = interval.checked_sub(start.elapsed()) {
        std::thread::sleep(left.min(TICK));
        progress.at(millis(start.elapsed()));
    }
    Ok((start, trend))
}

/// Whether flows can be read without a change: asking loads the module that answers.
pub(super) fn netlink_answers(host: &Host) -> bool {
    host.conntrack == Conntrack::BuiltIn || Path::new(NETLINK).exists()
}

/// The counters and the kernel log until now.
pub(super) fn read(
    earlier: Option<(Instant, Trend)>,
    log: log::Reading,
    host: &Host,
    unread: &mut Vec<Unread>,
) -> Rates {
    let expectations = (netlink_answers(host) && host.conntrack != Conntrack::NotLoaded)
        .then(|| or_unread("expectations", count_expectations(), unread));
    let counters = or_unread("counters", counters::read_counters(), unread);
    // The pause may have been longer than it was meant to be.
    let trend = earlier.map(|(start, trend)| Trend {
        interval: start.elapsed(),
        ..trend
    });
    let log = log.finish().map_err(|error| said(&error));
    let log = or_unread("kernel log", log, unread);
    Rates {
        counters: counters.flatten(),
        expectations: expectations.flatten(),
        trend,
        log,
        netns_inode: host::read_netns_inode(),
        flow_size: host::read_flow_size(),
        names: BTreeMap::new(),
    }
}

/// Finds names for the other namespaces of which the kernel log tells.
pub(super) fn name_namespaces(rates: &mut Rates) {
    let mut inodes = rates
        .log
        .as_ref()
        .map(KernelLog::inodes)
        .unwrap_or_default();
    if let Some(own) = rates.netns_inode {
        inodes.remove(&own);
    }
    if !inodes.is_empty() {
        let mut known = namespaces::names(&inodes);
        let named = |inode: u64| (inode, known.remove(&inode));
        rates.names = inodes.into_iter().map(named).collect();
    }
}

/// What was read, or nothing and the reason for it beside the others.
pub(super) fn or_unread<T, E: ToString>(
    what: &'static str,
    read: Result<T, E>,
    unread: &mut Vec<Unread>,
) -> Option<T> {
    read.map_err(|why| unread.push(Unread::new(what, why))).ok()
}
