//! The reader: every flow of the table, shown to who gathers, by two threads where that is faster.
//!
//! In: a [`Reading`] and a [`Gather`]. Out: what was gathered. Rule: the first flows are a random
//! sample of the table; they decide whether two dumps, each with a filter of its own, tell of the
//! table side by side. What the first dump told is dropped then, so that each flow is gathered once.
//! Where no filter splits the table, one thread receives and another looks at what was received.
//! Nothing is changed while flows are read this way.

use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{channel, sync_channel};
use std::thread::{Builder, scope};
use std::time::Instant;

use crate::conntrack::Filter;
use crate::flow::{Gather, Split};
use crate::kernel::{host, sysctl};

use super::dump::{Chunk, Dump, DumpError, Taken};

/// Flows that decide how the rest is read; and those after which one thread reads on, where they
/// did not decide what is gathered.
const FIRST: u64 = 2048;
const LAST_OF_FIRST: u64 = 4 * FIRST;

/// A table with fewer entries is read before a second thread would help.
const LARGE: i64 = 16_384;

/// Chunks that the other thread gets at once, and how many of those wait for it. Each time it is
/// woken costs as much as a chunk takes to copy: with single chunks that is a twelfth of the whole.
const TOGETHER: usize = 16;
const AHEAD: usize = 2;

/// How a table is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading<'a> {
    /// The kernel leaves out what it excludes, as far as it can: match every flow again.
    pub(crate) filter: &'a Filter,
    /// When the clock that flows are shown with began.
    pub(crate) clock: Instant,
    /// Flows of a sample, which one thread reads; none for all flows.
    pub(crate) sample: Option<u64>,
    /// Threads that may read; none for as many as cores are idle.
    pub(crate) threads: Option<usize>,
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Gathered<G> {
    pub(crate) gather: G,
    /// Flows that were shown.
    pub(crate) looked_at: u64,
    /// Whether the reading ended before the table did.
    pub(crate) is_part: bool,
}

/// Told after each chunk how many flows were shown by then; breaks to end the reading.
pub(crate) type Told<'a> = &'a mut dyn FnMut(u64) -> ControlFlow<()>;

/// Shows the flows of the table of the calling thread's network namespace.
///
/// # Errors
/// That of any thread; what was gathered is lost then.
pub(crate) fn gather<G: Gather>(
    reading: &Reading<'_>,
    gather: G,
    told: Told<'_>,
) -> Result<Gathered<G>, DumpError> {
    let mut dump = Dump::start(reading.filter)?;
    if !may_split(reading)? {
        let mut whole = Gathered::none(gather);
        whole.read(&mut dump, reading, &mut |looked_at, _| told(looked_at))?;
        return Ok(whole);
    }
    let mut first = Gathered::none((Split::default(), gather));
    let mut is_stopped = false;
    first.read(&mut dump, reading, &mut |looked_at, gather| {
        is_stopped = told(looked_at).is_break();
        let is_decided = looked_at >= FIRST && gather.is_decided();
        break_if(is_stopped || is_decided || looked_at >= LAST_OF_FIRST)
    })?;
    let (split, gather) = first.gather;
    let mut rest = Gathered {
        gather,
        looked_at: first.looked_at,
        is_part: is_stopped,
    };
    if is_stopped || !first.is_part {
        return Ok(rest);
    }
    match split.halves(reading.filter) {
        Some(halves) if rest.gather.is_decided() => {
            side_by_side(&halves, reading, &rest.gather, told)
        }
        _ if rest.gather.is_decided() => received_here(&mut dump, rest, reading, told),
        _ => {
            rest.read(&mut dump, reading, &mut |looked_at, _| told(looked_at))?;
            Ok(rest)
        }
    }
}

/// Whether two threads may read, and would be faster.
fn may_split(reading: &Reading<'_>) -> Result<bool, DumpError> {
    if reading.sample.is_some() || reading.threads == Some(1) {
        return Ok(false);
    }
    let is_large = sysctl::read_count()?.is_some_and(|entries| entries >= LARGE);
    let threads = || reading.threads.unwrap_or_else(host::read_idle_cores);
    Ok(is_large && threads() > 1)
}

/// Reads both halves at once, the first one in this thread.
fn side_by_side<G: Gather>(
    halves: &[Filter; 2],
    reading: &Reading<'_>,
    gather: &G,
    told: Told<'_>,
) -> Result<Gathered<G>, DumpError> {
    let [one, other] = halves
        .each_ref()
        .map(|filter| Reading { filter, ..*reading });
    let mine = gather.part();
    let (theirs, spare) = (mine.part(), mine.part());
    let (read_there, is_stopped) = (AtomicU64::new(0), AtomicBool::new(false));
    scope(|scope| {
        let thread = Builder::new().name("dump".into());
        let thread = thread.spawn_scoped(scope, || {
            half(&other, theirs, &mut |looked_at| {
                read_there.store(looked_at, Relaxed);
                break_if(is_stopped.load(Relaxed))
            })
        });
        let mine = half(&one, mine, &mut |looked_at| {
            told(looked_at + read_there.load(Relaxed))
        });
        if mine.as_ref().map_or(true, |half| half.is_part) {
            is_stopped.store(true, Relaxed);
        }
        let theirs = match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            // No thread is to be had.
            Err(_) => half(&other, spare, told),
        };
        let (mut whole, other) = (mine?, theirs?);
        let is_part = other.is_part;
        whole.add(other, is_part);
        Ok(whole)
    })
}

/// Receives the rest of a dump in this thread, and lets another look at it.
fn received_here<G: Gather>(
    dump: &mut Dump,
    mut whole: Gathered<G>,
    reading: &Reading<'_>,
    told: Told<'_>,
) -> Result<Gathered<G>, DumpError> {
    let mut part = Gathered::none(whole.gather.part());
    let (before, seen) = (whole.looked_at, AtomicU64::new(0));
    let (to_show, batches) = sync_channel::<Vec<Taken>>(AHEAD);
    let (to_reuse, looked_at) = channel();
    let ended: Result<_, DumpError> = scope(|scope| {
        let thread = Builder::new().name("count".into());
        let thread = thread.spawn_scoped(scope, || {
            for batch in batches {
                for taken in &batch {
                    part.show(taken.chunk(), reading)?;
                }
                seen.store(part.looked_at, Relaxed);
                // Nobody waits for the last ones.
                let _ = to_reuse.send(batch);
            }
            Ok::<_, DumpError>(part)
        });
        let Ok(thread) = thread else { return Ok(None) };
        let mut is_part = false;
        let mut receive = || {
            let (mut batch, mut spare) = (Vec::new(), Vec::new());
            loop {
                spare.extend(
                    looked_at
                        .try_iter()
                        .flatten()
                        .map(|taken: Taken| taken.bytes),
                );
                let taken = dump.take_chunk(spare.pop().unwrap_or_default())?;
                is_part = told(before + seen.load(Relaxed)).is_break();
                let is_over = taken.is_none() || is_part;
                batch.extend(taken);
                if is_over || batch.len() == TOGETHER {
                    // The other thread ends early only with an error.
                    let sent = to_show.send(std::mem::take(&mut batch));
                    if is_over || sent.is_err() {
                        return if is_part {
                            dump.check_buckets()
                        } else {
                            Ok(())
                        };
                    }
                }
            }
        };
        let received = receive();
        drop(to_show);
        let part = thread.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        received?;
        Ok(Some((part, is_part)))
    });
    match ended? {
        Some((part, is_part)) => whole.add(part, is_part),
        // No thread is to be had.
        None => whole.read(dump, reading, &mut |looked_at, _| told(looked_at))?,
    }
    Ok(whole)
}

/// Reads what one filter lets pass.
fn half<G: Gather>(
    reading: &Reading<'_>,
    gather: G,
    told: Told<'_>,
) -> Result<Gathered<G>, DumpError> {
    let mut half = Gathered::none(gather);
    let mut dump = Dump::start(reading.filter)?;
    half.read(&mut dump, reading, &mut |looked_at, _| told(looked_at))?;
    Ok(half)
}

fn break_if(is_over: bool) -> ControlFlow<()> {
    if is_over {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}

impl<G: Gather> Gathered<G> {
    fn none(gather: G) -> Self {
        Gathered {
            gather,
            looked_at: 0,
            is_part: false,
        }
    }

    /// Reads what is left of a dump.
    fn read(
        &mut self,
        dump: &mut Dump,
        reading: &Reading<'_>,
        told: &mut dyn FnMut(u64, &G) -> ControlFlow<()>,
    ) -> Result<(), DumpError> {
        while let Some(chunk) = dump.next_chunk()? {
            self.show(chunk, reading)?;
            let is_enough = reading.sample.is_some_and(|most| self.looked_at >= most);
            if told(self.looked_at, &self.gather).is_break() || is_enough {
                self.is_part = true;
                return dump.check_buckets();
            }
        }
        Ok(())
    }

    /// Shows the flows of a chunk, as many as a sample has.
    fn show(&mut self, chunk: Chunk<'_>, reading: &Reading<'_>) -> Result<(), DumpError> {
        let most = reading.sample.unwrap_or(u64::MAX);
        let at = chunk.filled.saturating_duration_since(reading.clock);
        let _enough = chunk.each(&mut |flow| {
            // Kernels before 5.15 do not filter by status.
            if reading.filter.tells_of(flow) {
                self.gather.add(flow, at);
                self.looked_at += 1;
            }
            break_if(self.looked_at >= most)
        })?;
        Ok(())
    }

    fn add(&mut self, part: Gathered<G>, is_part: bool) {
        self.gather.merge(part.gather);
        self.looked_at += part.looked_at;
        self.is_part |= is_part;
    }
}
