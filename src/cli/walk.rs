//! Walks through the table, all of it or a sample.

use std::ops::ControlFlow;
use std::time::Instant;

use super::failure::{FAILED, Failure};
use super::out::Out;
use super::progress::Progress;
use crate::diagnostic::Hint;
use crate::flow::{Extent, Filter, Flow, Sample};
use crate::kernel::ctnetlink::{self, DumpError, Visitor};
use crate::kernel::sysctl;

/// The number of entries in the table.
pub(super) fn entries() -> anyhow::Result<u64> {
    match sysctl::read_count()? {
        Some(count) => Ok(u64::try_from(count).unwrap_or(0)),
        None => Err(Failure::new(FAILED, "connection tracking is not loaded")
            .hint(Hint::on_host("modprobe nf_conntrack").to("load it, as root"))
            .into()),
    }
}

/// Shows how far a walk through a table with so many entries is.
pub(super) fn progress(out: Out, entries: u64) -> Progress {
    Progress::new(out, "reading the table", entries)
}

/// Gives flows to `each`, as far as the table is to be read. The sample is none if all of it was.
pub(super) fn walk(
    filter: &Filter,
    extent: Extent,
    progress: &Progress,
    each: impl FnMut(&Flow<'_>),
) -> Result<Option<Sample>, DumpError> {
    let mut reader = Reader {
        extent,
        progress,
        each,
        begun: Instant::now(),
        looked_at: 0,
        is_sample: false,
    };
    ctnetlink::walk(filter, &mut reader)?;
    if !reader.is_sample {
        return Ok(None);
    }
    let looked_at = reader.looked_at;
    let table = sysctl::read_count()?.and_then(|count| u64::try_from(count).ok());
    let table = table.unwrap_or(looked_at).max(looked_at);
    Ok(Some(Sample { looked_at, table }))
}

struct Reader<'a, F> {
    extent: Extent,
    progress: &'a Progress,
    each: F,
    begun: Instant,
    looked_at: u64,
    /// Whether the walk ended early.
    is_sample: bool,
}

impl<F: FnMut(&Flow<'_>)> Visitor for Reader<'_, F> {
    type Error = DumpError;

    fn flow(&mut self, flow: &Flow<'_>) -> ControlFlow<()> {
        self.looked_at += 1;
        (self.each)(flow);
        self.is_sample = self.extent.is_full(self.looked_at);
        if self.is_sample {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn end_of_chunk(&mut self) -> Result<ControlFlow<()>, DumpError> {
        self.progress.at(self.looked_at);
        self.is_sample |= self.extent.is_over(self.begun.elapsed());
        Ok(if self.is_sample {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    }
}
