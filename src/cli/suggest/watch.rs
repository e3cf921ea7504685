//! Watches the table: which flows end, come back and speak while the time passes.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::change::Here;
use crate::change::flows::Log;
use crate::cli::out::Out;
use crate::cli::profile_edit;
use crate::cli::progress::Progress;
use crate::cli::walk::Table;
use crate::files::Root;
use crate::flow::expire::{History, Timeouts};
use crate::flow::{
    Extent, Filter, FirstLook, Observed, PastTimeouts, Returned, Returns, SecondLook,
};
use crate::kernel::ctnetlink::{DumpError, each_flow, undisturbed};
use crate::kernel::{counters, host, sysctl};
use crate::profile::suggest::{ESTABLISHED, Observation, STREAM};
use crate::tunable::{Counter, Key, Snapshot};

/// How often the entries are counted.
const TICK: Duration = Duration::from_millis(250);
/// How often the table is read for flows that come back, at most; a reading takes no more than one
/// part in so many of the time.
const PAUSE: Duration = Duration::from_secs(5);
const PART: u32 = 20;

/// Reads the table, counts its entries for a time, and reads it again.
pub(super) fn watch(
    time: Duration,
    headroom: f64,
    root: &Root,
    out: Out,
) -> anyhow::Result<Observation> {
    let live = profile_edit::loaded("watch")?;
    let before = Timeouts::of(&live);
    let past = past_timeouts(&live, root);
    let table = Table::new(out, live.count.unwrap_or(0));
    let first = table.gather(&Filter::default(), Extent::Exact, || {
        FirstLook::new(before.clone(), past.clone(), table.entries)
    });
    let first = match first {
        Ok((first, _)) => Some(first.seal()),
        Err(DumpError::NoRight) => {
            out.note(
                "note: reading flows: permission denied, needs root (CAP_NET_ADMIN); only limits \
                 are suggested",
            );
            None
        }
        Err(error) => return Err(error.into()),
    };
    let returns = first
        .as_ref()
        .map(|_| Returns::new(Timeouts::of(&live), table.entries));
    let mut watched = Watched {
        peak: live.count.unwrap_or(0),
        returns,
    };
    watched.watch(table.clock, time, out)?;
    let mut flows = match &first {
        Some(first) => {
            let start = || SecondLook::new(first, &ESTABLISHED, &STREAM);
            let (second, _) = table.gather(&Filter::default(), Extent::Exact, start)?;
            Some(second.finish())
        }
        None => None,
    };
    let live = profile_edit::loaded("watch")?;
    let peak = watched.peak.max(live.count.unwrap_or(0));
    let mut returned = watched.returned();
    if Timeouts::of(&live) != before {
        out.note(
            "note: timeouts were changed while it watched: idle times are not known; run it again",
        );
        returned.clear();
        flows.iter_mut().for_each(Observed::forget_idle_times);
    }
    Ok(Observation {
        name: host::read_name(),
        host: host::read_host()?,
        peak,
        returned,
        live,
        seconds: time.as_secs(),
        refused: refused(),
        forwards: host::forwards(),
        flows,
        headroom,
    })
}

/// Packets dropped and flows evicted since the boot.
fn refused() -> Option<u64> {
    let counters = counters::read_counters().ok().flatten();
    counters.map(|counters| {
        let counted = [Counter::Drop, Counter::EarlyDrop];
        let totals = counted
            .into_iter()
            .filter_map(|counter| counters.total(counter));
        totals.sum()
    })
}

/// What the timeouts were since the boot, as the journal tells it.
fn past_timeouts(live: &Snapshot, root: &Root) -> PastTimeouts {
    let here = Here::read(root.clone(), None);
    let now = jiff::Timestamp::now().as_second();
    let updates = Log::of(root).updates(now);
    let history = |key| {
        let present = live.value(key).unwrap_or(0);
        let history = match here.changes_of(key).as_slice() {
            [] => History::unchanged(present, now),
            changes => History::of(changes, present, now),
        };
        history.with_updates(&updates)
    };
    PastTimeouts {
        established: history(Key::TcpTimeoutEstablished),
        stream: history(Key::UdpTimeoutStream),
        now,
    }
}

/// What is gathered between the two readings.
struct Watched {
    /// The most entries at once.
    peak: i64,
    /// None without the right to read flows.
    returns: Option<Returns>,
}

impl Watched {
    /// Counts the entries all the time, and reads the table every few seconds.
    fn watch(&mut self, start: Instant, time: Duration, out: Out) -> anyhow::Result<()> {
        let begun = Instant::now();
        let progress = Progress::watching(out, "watching", time);
        let mut next = Duration::ZERO;
        while let Some(left) = time.checked_sub(begun.elapsed()) {
            if begun.elapsed() >= next {
                let reading = Instant::now();
                self.read(start)?;
                next = begun.elapsed() + PAUSE.max(reading.elapsed() * PART);
            }
            std::thread::sleep(left.min(TICK));
            self.peak = self.peak.max(sysctl::read_count()?.unwrap_or(0));
            progress.watched(begun.elapsed());
        }
        self.read(start)
    }

    fn read(&mut self, start: Instant) -> anyhow::Result<()> {
        let Some(returns) = &mut self.returns else {
            return Ok(());
        };
        // A flow that a second try gives again is the same.
        undisturbed(|| {
            each_flow(&Filter::default(), |flow| {
                returns.add(flow, millis(start));
                ControlFlow::Continue(())
            })
        })?;
        Ok(())
    }

    fn returned(self) -> Vec<Returned> {
        self.returns.map(Returns::finish).unwrap_or_default()
    }
}

fn millis(start: Instant) -> u32 {
    u32::try_from(start.elapsed().as_millis()).unwrap_or(u32::MAX)
}
