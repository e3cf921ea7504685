//! `cttune check --deep`: walks the table, and asks netlink for the rest.

use super::out::Out;
use super::rates::or_unread;
use super::walk;
use crate::assess::{Deep, Unread};
use crate::flow::{Extent, Filter, PressureCount};
use crate::kernel::ctnetlink::{read_flowtables, read_policies, undisturbed};

/// Reads it; all of the table, or of a large one a sample.
pub(super) fn read(out: Out, unread: &mut Vec<Unread>) -> anyhow::Result<Deep> {
    let entries = walk::entries()?;
    let extent = Extent::for_table(entries);
    let progress = walk::progress(out, entries);
    let pressure = undisturbed(|| {
        let mut count = PressureCount::default();
        let sample = walk::walk(&Filter::default(), extent, &progress, |flow| {
            count.add(flow);
        })?;
        Ok(count.finish(sample))
    })?;
    drop(progress);
    Ok(Deep {
        pressure,
        policies: or_unread("the timeout policies", read_policies(), unread),
        flowtables: or_unread("the flowtables", read_flowtables(), unread),
    })
}
