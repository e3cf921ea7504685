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
    mut gather: G,
    told: Told<'_>,
) -> Result<Gathered<G>, DumpError> {
    let mut reader = Reader::start(reading)?;
    if !may_split(reading)? {
        reader.read_rest(&mut gather, told)?;
        return Ok(reader.shown.gathered(gather));
    }
    let mut first = (Split::default(), gather);
    let is_over = reader.read_first(&mut first, told)?;
    let (split, mut gather) = first;
    if is_over {
        return Ok(reader.shown.gathered(gather));
    }
    if !gather.is_decided() {
        reader.read_rest(&mut gather, told)?;
        return Ok(reader.shown.gathered(gather));
    }
    let mut part = gather.part();
    let shown = if let Some(halves) = split.halves(reading.filter) {
        gather = gather.part();
        side_by_side(&halves, reading, [&mut gather, &mut part], told)?
    } else {
        reader.receive_here(&mut part, told)?;
        reader.shown
    };
    gather.merge(part);
    Ok(shown.gathered(gather))
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
fn side_by_side(
    halves: &[Filter; 2],
    reading: &Reading<'_>,
    [here, there]: [&mut dyn Gather; 2],
    told: Told<'_>,
) -> Result<Shown, DumpError> {
    let [one, other] = halves
        .each_ref()
        .map(|filter| Reading { filter, ..*reading });
    let (read_there, is_stopped) = (AtomicU64::new(0), AtomicBool::new(false));
    let (here, in_thread) = scope(|scope| {
        let thread = Builder::new().name("dump".into());
        let thread = thread.spawn_scoped(scope, || {
            half(&other, there, &mut |looked_at| {
                read_there.store(looked_at, Relaxed);
                break_if(is_stopped.load(Relaxed))
            })
        });
        let here = half(&one, here, &mut |looked_at| {
            told(looked_at + read_there.load(Relaxed))
        });
        if here.as_ref().map_or(true, |half| half.is_part) {
            is_stopped.store(true, Relaxed);
        }
        // No thread may be to be had.
        let thread = thread.ok();
        let thread =
            thread.map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        (here, thread)
    });
    let mut whole = here?;
    let other = match in_thread {
        Some(other) => other?,
        None => half(&other, there, told)?,
    };
    whole.add(other);
    Ok(whole)
}

/// Reads what one filter lets pass.
fn half(
    reading: &Reading<'_>,
    gather: &mut dyn Gather,
    told: Told<'_>,
) -> Result<Shown, DumpError> {
    let mut half = Reader::start(reading)?;
    half.read_rest(gather, told)?;
    Ok(half.shown)
}

fn break_if(is_over: bool) -> ControlFlow<()> {
    if is_over {
        ControlFlow::Break(())
    } else {
        ControlFlow::Continue(())
    }
}

/// What was shown of a table.
#[derive(Debug, Clone, Copy, Default)]
struct Shown {
    looked_at: u64,
    is_part: bool,
}

/// A dump, and what was shown of it.
struct Reader<'a> {
    dump: Dump,
    reading: &'a Reading<'a>,
    shown: Shown,
}

impl<'a> Reader<'a> {
    fn start(reading: &'a Reading<'a>) -> Result<Self, DumpError> {
        Ok(Reader {
            dump: Dump::start(reading.filter)?,
            reading,
            shown: Shown::default(),
        })
    }

    /// Reads the flows that decide how the rest is read. Tells whether nothing is left to read.
    fn read_first(&mut self, gather: &mut dyn Gather, told: Told<'_>) -> Result<bool, DumpError> {
        let mut is_stopped = false;
        self.read(gather, &mut |looked_at, gather| {
            is_stopped = told(looked_at).is_break();
            let is_decided = looked_at >= FIRST && gather.is_decided();
            break_if(is_stopped || is_decided || looked_at >= LAST_OF_FIRST)
        })?;
        let has_more = self.shown.is_part && !is_stopped;
        self.shown.is_part = is_stopped;
        Ok(!has_more)
    }

    /// Reads what is left of a dump.
    fn read_rest(&mut self, gather: &mut dyn Gather, told: Told<'_>) -> Result<(), DumpError> {
        self.read(gather, &mut |looked_at, _| told(looked_at))
    }

    fn read(
        &mut self,
        gather: &mut dyn Gather,
        told: &mut dyn FnMut(u64, &dyn Gather) -> ControlFlow<()>,
    ) -> Result<(), DumpError> {
        let shown = &mut self.shown;
        while let Some(chunk) = self.dump.next_chunk()? {
            shown.show(chunk, self.reading, gather)?;
            let sample = self.reading.sample;
            let is_enough = sample.is_some_and(|most| shown.looked_at >= most);
            if told(shown.looked_at, gather).is_break() || is_enough {
                shown.is_part = true;
                return self.dump.check_buckets();
            }
        }
        Ok(())
    }

    /// Receives the rest of a dump in this thread, and lets another show it.
    fn receive_here(&mut self, gather: &mut dyn Gather, told: Told<'_>) -> Result<(), DumpError> {
        let Reader { dump, reading, .. } = self;
        let (before, seen) = (self.shown.looked_at, AtomicU64::new(0));
        let (to_show, batches) = sync_channel::<Vec<Taken>>(AHEAD);
        let (to_reuse, looked_at) = channel();
        let ended: Result<_, DumpError> = scope(|scope| {
            let thread = Builder::new().name("count".into());
            let thread = thread.spawn_scoped(scope, || {
                let mut part = Shown::default();
                for batch in batches {
                    for taken in &batch {
                        part.show(taken.chunk(), reading, gather)?;
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
            Ok(Some(Shown { is_part, ..part }))
        });
        match ended? {
            Some(part) => self.shown.add(part),
            // No thread is to be had.
            None => self.read_rest(gather, told)?,
        }
        Ok(())
    }
}

impl Shown {
    fn gathered<G>(self, gather: G) -> Gathered<G> {
        Gathered {
            gather,
            looked_at: self.looked_at,
            is_part: self.is_part,
        }
    }

    /// Shows the flows of a chunk, as many as a sample has.
    fn show(
        &mut self,
        chunk: Chunk<'_>,
        reading: &Reading<'_>,
        gather: &mut dyn Gather,
    ) -> Result<(), DumpError> {
        let most = reading.sample.unwrap_or(u64::MAX);
        let at = chunk.filled.saturating_duration_since(reading.clock);
        let _enough = chunk.each(&mut |flow| {
            // Kernels before 5.15 do not filter by status.
            if reading.filter.tells_of(flow) {
                gather.add(flow, at);
                self.looked_at += 1;
            }
            break_if(self.looked_at >= most)
        })?;
        Ok(())
    }

    fn add(&mut self, part: Shown) {
        self.looked_at += part.looked_at;
        self.is_part |= part.is_part;
    }
}
