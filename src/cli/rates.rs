//! Looks at a table over time: once, or twice with a pause between.

use std::time::{Duration, Instant};

use super::out::Out;
use super::progress::Progress;
use crate::assess::{Rates, Trend, Unread};
use crate::kernel::{counters, ctnetlink, host, links, log, sysctl};

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

/// What the table went through until now.
pub(super) fn read(earlier: Option<(Instant, Trend)>) -> Rates {
    let mut unread = Vec::new();
    let counters = or_unread("the counters", counters::read_counters(), &mut unread);
    // The pause may have been longer than it was meant to be.
    let trend = earlier.map(|(start, trend)| Trend {
        interval: start.elapsed(),
        ..trend
    });
    let log = or_unread("the kernel log", log::read_kernel_log(), &mut unread);
    let expectations = ctnetlink::count_expectations();
    let expectations = or_unread("the expectations", expectations, &mut unread);
    let bridge = or_unread("the bridges", links::read_bridge(), &mut unread);
    Rates {
        expectations,
        bridge: bridge.flatten(),
        counters: counters.flatten(),
        trend,
        log,
        netns_inode: host::read_netns_inode(),
        flow_size: host::read_flow_size(),
        unread,
    }
}

/// What was read, or nothing and the reason for it beside the others.
pub(super) fn or_unread<T, E: ToString>(
    what: &'static str,
    read: Result<T, E>,
    unread: &mut Vec<Unread>,
) -> Option<T> {
    read.map_err(|why| unread.push(Unread::new(what, &why)))
        .ok()
}
