//! `cttune check --deep`: reads the whole table, and asks netlink and nft for the rest.

use super::out::Out;
use super::rates::or_unread;
use super::walk::Table;
use crate::assess::{Deep, Network, Unread};
use crate::flow::{Extent, Filter, NatCount, Prefixes, PressureCount};
use crate::kernel::ctnetlink::{read_flowtables, read_policies};
use crate::kernel::{addresses, links, rules};

/// Reads it; all of the table, or of a large one a sample. `host` is how much of an address is one
/// host's.
pub(super) fn read(out: Out, host: Prefixes, unread: &mut Vec<Unread>) -> anyhow::Result<Deep> {
    let rules = or_unread("firewall rules", rules::read_rules(), unread);
    let ranges = rules.as_ref().map(|rules| rules.ranges.clone());
    let ranges = ranges.unwrap_or_default();
    let table = Table::find(out)?;
    let extent = Extent::for_table(table.entries);
    let start = || (PressureCount::new(host), NatCount::new(ranges.clone()));
    let ((pressure, nat), sample) = table.gather(&Filter::default(), extent, start)?;
    let (addresses, routes) = (addresses::read_addresses(), addresses::read_routes());
    let bridge = or_unread("bridges", links::read_bridge(), unread);
    Ok(Deep {
        bridge: bridge.flatten(),
        pressure: pressure.finish(sample),
        nat: nat.finish(sample),
        rules,
        network: Network {
            addresses: or_unread("addresses", addresses, unread),
            routes: or_unread("routes", routes, unread),
            failed: or_unread("neighbours", links::read_failed_neighbours(), unread),
        },
        policies: or_unread("timeout policies", read_policies(), unread),
        flowtables: or_unread("flowtables", read_flowtables(), unread),
    })
}
