//! The counters of each CPU over netlink, for kernels without /proc/net/stat/nf_conntrack.
//!
//! Follows include/uapi/linux/netfilter/nfnetlink_conntrack.h, `ctattr_stats_cpu`.

use crate::tunable::{Counter, Counters};

use super::listing::{ListError, list};

/// `NFNL_SUBSYS_CTNETLINK` and `IPCTNL_MSG_CT_GET_STATS_CPU`.
const GET_STATS: u16 = 0x0104;

/// Reads the counters of the calling thread's network namespace; `None` where the kernel tells
/// none. Needs `CAP_NET_ADMIN` over it.
pub(crate) fn read_statistics() -> Result<Option<Counters>, ListError> {
    let mut counters = Counters::default();
    let mut is_told = false;
    list(GET_STATS, |_, attributes| {
        let mut values = Vec::new();
        for attribute in attributes {
            let attribute = attribute?;
            values.push((attribute.kind, attribute.u32()?));
        }
        let value = |counter| {
            let found = values.iter().find(|(kind, _)| *kind == kind_of(counter));
            found.map(|(_, value)| *value)
        };
        counters.add_cpu(value);
        is_told = true;
        Ok(())
    })?;
    Ok(is_told.then_some(counters))
}

/// `CTA_STATS_*`.
fn kind_of(counter: Counter) -> u16 {
    match counter {
        Counter::Invalid => 4,
        Counter::InsertFailed => 9,
        Counter::Drop => 10,
        Counter::EarlyDrop => 11,
        Counter::IcmpError => 12,
        Counter::SearchRestart => 13,
        Counter::ClashResolve => 14,
        Counter::ChainTooLong => 15,
    }
}
