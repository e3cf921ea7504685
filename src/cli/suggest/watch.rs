//! Watches the table: which flows end, come back and speak while the time passes.

use std::time::{Duration, Instant};

use crate::cli::out::Out;
use crate::cli::progress::Progress;
use crate::cli::{profile_edit, walk};
use crate::flow::expire::Timeouts;
use crate::flow::{Extent, Filter, FirstLook, Flow, SecondLook};
use crate::kernel::ctnetlink::{DumpError, undisturbed};
use crate::kernel::{counters, host, sysctl};
use crate::profile::suggest::{ESTABLISHED, Observation, STREAM};
use crate::tunable::Counter;

/// How often the entries are counted.
const TICK: Duration = Duration::from_millis(250);

/// Reads the table, counts its entries for a time, and reads it again.
pub(super) fn watch(time: Duration, headroom: f64, out: Out) -> anyhow::Result<Observation> {
    let live = profile_edit::loaded("watch")?;
    let start = Instant::now();
    let entries = u64::try_from(live.count.unwrap_or(0)).unwrap_or(0);
    let progress = walk::progress(out, entries);
    let first = undisturbed(|| {
        let mut look = FirstLook::new(Timeouts::of(&live), entries);
        each(start, &progress, |flow, at| look.add(flow, at))?;
        Ok(look.seal())
    });
    drop(progress);
    let first = match first {
        Ok(first) => Some(first),
        Err(DumpError::NoRight) => {
            out.note(
                "note: reading flows: permission denied, needs root (CAP_NET_ADMIN); only limits \
                 are suggested",
            );
            None
        }
        Err(error) => return Err(error.into()),
    };
    let peak = count(time, live.count.unwrap_or(0), out)?;
    let flows = match &first {
        Some(first) => Some(undisturbed(|| {
            let mut look = SecondLook::new(first, &ESTABLISHED, &STREAM);
            let progress = walk::progress(out, entries);
            each(start, &progress, |flow, at| look.add(flow, at))?;
            Ok(look.finish())
        })?),
        None => None,
    };
    let live = profile_edit::loaded("watch")?;
    let counters = counters::read_counters().ok().flatten();
    let refused = counters.map(|counters| {
        let counted = [Counter::Drop, Counter::EarlyDrop];
        let totals = counted
            .into_iter()
            .filter_map(|counter| counters.total(counter));
        totals.sum()
    });
    Ok(Observation {
        name: host::read_name(),
        host: host::read_host()?,
        peak: peak.max(live.count.unwrap_or(0)),
        live,
        seconds: time.as_secs(),
        refused,
        forwards: host::forwards(),
        flows,
        headroom,
    })
}

/// The most entries at once.
fn count(time: Duration, at_first: i64, out: Out) -> anyhow::Result<i64> {
    let start = Instant::now();
    let progress = Progress::new(out, "watching", time.as_secs());
    let mut peak = at_first;
    while let Some(left) = time.checked_sub(start.elapsed()) {
        std::thread::sleep(left.min(TICK));
        peak = peak.max(sysctl::read_count()?.unwrap_or(0));
        progress.at(start.elapsed().as_secs());
    }
    Ok(peak)
}

/// Gives every flow to `take`, with the milliseconds at which it was read.
fn each(
    start: Instant,
    progress: &Progress,
    mut take: impl FnMut(&Flow<'_>, u32),
) -> Result<(), DumpError> {
    walk::walk(&Filter::default(), Extent::Exact, progress, |flow| {
        let at = start.elapsed().as_millis();
        take(flow, u32::try_from(at).unwrap_or(u32::MAX));
    })?;
    Ok(())
}
