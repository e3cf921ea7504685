//! Who listens to conntrack's events in this network namespace.
//!
//! The kernel sends them each change to a flow (conntrackd, `conntrack -E`), which slows changes down.
//! Follows `netlink_seq_show` in the kernel's net/netlink/af_netlink.c.

use std::fs;
use std::io;

/// `NETLINK_NETFILTER`.
const NETFILTER: &str = "12";

/// Bits of `NFNLGRP_CONNTRACK_UPDATE` (2) and `NFNLGRP_CONNTRACK_DESTROY` (3): group n is bit n - 1.
const UPDATE: u32 = 1 << 1;
const DESTROY: u32 = 1 << 2;

/// Which events somebody listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Listeners {
    /// Changes of flows.
    pub(crate) update: bool,
    /// Ends of flows.
    pub(crate) destroy: bool,
}

/// Finds out whether somebody listens, from `/proc/thread-self/net/netlink`.
///
/// Listeners in other namespaces, which get no event of this one and yet slow it down, are not
/// seen.
pub(crate) fn read_listeners() -> io::Result<Listeners> {
    // Not /proc/net, which is the main thread's: this one may be in another namespace.
    fs::read_to_string("/proc/thread-self/net/netlink").map(|text| parse(&text))
}

/// Columns: sk, Eth (the protocol), Pid, Groups (the first 32, hexadecimal), …
fn parse(text: &str) -> Listeners {
    let groups = text.lines().filter_map(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let is_netfilter = columns.next()? == NETFILTER;
        let groups = u32::from_str_radix(columns.nth(1)?, 16).ok()?;
        is_netfilter.then_some(groups)
    });
    let groups = groups.fold(0, |all, groups| all | groups);
    Listeners {
        update: groups & UPDATE != 0,
        destroy: groups & DESTROY != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_sockets_to_netfilter_in_the_groups_of_conntrack() {
        let head = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n";
        for (line, update, destroy) in [
            ("", false, false),
            ("0 12 719 00000007 0 0 0 2 0 18129\n", true, true),
            ("0 12 719 00000002 0 0 0 2 0 18129\n", true, false),
            ("0 12 719 00000001 0 0 0 2 0 18129\n", false, false),
            ("0 0  719 00000007 0 0 0 2 0 18129\n", false, false),
            ("0 12 719\n", false, false),
        ] {
            let found = parse(&format!("{head}{line}"));
            assert_eq!(found, Listeners { update, destroy }, "{line}");
        }
    }
}
