//! Reads the table, all of it or a sample, for who gathers what its flows tell.

use std::ops::ControlFlow;
use std::time::Instant;

use super::failure::{FAILED, Failure};
use super::out::Out;
use super::progress::Progress;
use crate::diagnostic::Hint;
use crate::flow::{Extent, Filter, Gather, Sample};
use crate::kernel::ctnetlink::{DumpError, Reading, gather, undisturbed};
use crate::kernel::sysctl;

/// A table that is to be read.
pub(super) struct Table {
    /// The number of its entries.
    pub(super) entries: u64,
    /// When the clock began that its flows are shown with.
    pub(super) clock: Instant,
    out: Out,
}

impl Table {
    /// The table of the calling thread's network namespace.
    pub(super) fn find(out: Out) -> anyhow::Result<Self> {
        match sysctl::read_count()? {
            Some(entries) => Ok(Table::new(out, entries)),
            None => Err(Failure::new(FAILED, "connection tracking is not loaded")
                .hint(Hint::on_host("modprobe nf_conntrack").to("load it, as root"))
                .into()),
        }
    }

    /// The same with so many entries.
    pub(super) fn new(out: Out, entries: i64) -> Self {
        Table {
            entries: u64::try_from(entries).unwrap_or(0),
            clock: Instant::now(),
            out,
        }
    }

    /// Shows flows to what `start` makes, as far as the table is to be read, and how far that is;
    /// again, if it was disturbed. The sample is none if all of the table was read.
    pub(super) fn gather<G: Gather>(
        &self,
        filter: &Filter,
        extent: Extent,
        start: impl Fn() -> G,
    ) -> Result<(G, Option<Sample>), DumpError> {
        let progress = Progress::new(self.out, "reading the table", self.entries);
        let reading = Reading {
            filter,
            clock: self.clock,
            sample: match extent {
                Extent::Sample(flows) => Some(flows),
                Extent::Budget(_) => Some(u64::MAX),
                Extent::Exact => None,
            },
            threads: self.out.threads,
        };
        undisturbed(|| {
            let begun = Instant::now();
            let read = gather(&reading, start(), &mut |looked_at| {
                progress.at(looked_at);
                if extent.is_over(begun.elapsed()) {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
            if !read.is_part {
                return Ok((read.gather, None));
            }
            let table = sysctl::read_count()?.and_then(|count| u64::try_from(count).ok());
            let sample = Sample {
                looked_at: read.looked_at,
                table: table.unwrap_or(0).max(read.looked_at),
            };
            Ok((read.gather, Some(sample)))
        })
    }
}
