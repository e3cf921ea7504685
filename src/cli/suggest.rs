//! `cttune profile suggest`: watches the host and writes a profile for what it does.

use std::path::Path;
use std::time::{Duration, Instant};

use super::args::Global;
use super::change;
use super::failure::{FAILED, Failure};
use super::out::Out;
use super::profile_edit;
use super::progress::Progress;
use super::walk;
use crate::flow::expire::Timeouts;
use crate::flow::{Extent, Filter, FirstLook, Flow, SecondLook};
use crate::kernel::ctnetlink::{DumpError, undisturbed};
use crate::kernel::{counters, host, sysctl};
use crate::profile::suggest::{ESTABLISHED, Observation, STREAM, suggest};
use crate::tunable::Counter;

/// How often the entries are counted.
const TICK: Duration = Duration::from_millis(250);

/// Runs it.
pub(super) fn run(
    headroom: f64,
    observe: &str,
    file: Option<&Path>,
    global: &Global,
    out: Out,
) -> anyhow::Result<u8> {
    if global.root.is_some() {
        let failure = Failure::usage("--root cannot go with profile suggest");
        return Err(failure
            .hint("an image does nothing that could be watched")
            .into());
    }
    let time = change::duration("--observe", observe)?;
    // Before the wait, not after it.
    if let Some(file) = file.filter(|file| file.symlink_metadata().is_ok()) {
        let failure = Failure::new(FAILED, format!("{} is there already", file.display()));
        return Err(failure.hint("name another file, or remove it first").into());
    }
    if let Some(file) = file {
        profile_edit::rehearse(file)?;
    }
    let seen = watch(time, headroom, out)?;
    let text = suggest(&seen);
    match file {
        None => profile_edit::print(&text, out),
        Some(file) => profile_edit::write(file, None, &text, out)?,
    }
    Ok(0)
}

/// Looks at the table, counts its entries for a time, and looks again.
fn watch(time: Duration, headroom: f64, out: Out) -> anyhow::Result<Observation> {
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
                "note: no right to look at flows, so limits are suggested and no timeouts; run \
                 it as root",
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

/// The most entries that there are at once.
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

/// Gives every flow to `take`, with the milliseconds at which it was told of.
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
