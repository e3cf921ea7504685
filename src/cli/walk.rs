//! Walks through the table, all of it or a sample.

use std::time::Instant;

use super::failure::{FAILED, Failure};
use super::out::Out;
use super::progress::Progress;
use crate::diagnostic::Hint;
use crate::flow::{Extent, Filter, Flow, Sample};
use crate::kernel::ctnetlink::{Dump, DumpError};
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
    mut each: impl FnMut(&Flow<'_>),
) -> Result<Option<Sample>, DumpError> {
    let start = Instant::now();
    let mut looked_at = 0;
    let mut dump = Dump::start(filter)?;
    while let Some(chunk) = dump.next_chunk()? {
        for flow in chunk {
            let flow = flow?;
            looked_at += 1;
            each(&flow);
            if extent.is_full(looked_at) {
                break;
            }
        }
        progress.at(looked_at);
        if extent.is_full(looked_at) || extent.is_over(start.elapsed()) {
            dump.check_buckets()?;
            let table = sysctl::read_count()?.and_then(|count| u64::try_from(count).ok());
            let table = table.unwrap_or(looked_at).max(looked_at);
            return Ok(Some(Sample { looked_at, table }));
        }
    }
    Ok(None)
}
