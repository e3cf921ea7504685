//! Interfaces and neighbours of the calling thread's network namespace, over netlink.
//!
//! Follows rtnetlink(7): RTM_GETLINK, RTM_GETNEIGH; linux/if_link.h, linux/neighbour.h.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ctnetlink::{ListError, list_route};
use crate::assess::Bridge;
use crate::conntrack::Attributes;

const RTM_GETLINK: u16 = 18;
const RTM_GETNEIGH: u16 = 30;
/// Bytes of `struct ifinfomsg` and `struct ndmsg`.
const LINK_HEADER: usize = 16;
const NEIGHBOUR_HEADER: usize = 12;
/// `IFLA_MASTER`, `IFLA_LINKINFO` and `IFLA_INFO_SLAVE_KIND` in it.
const MASTER: u16 = 10;
const LINK_INFO: u16 = 18;
const SLAVE_KIND: u16 = 4;
/// `NDA_DST`, and `NUD_FAILED` of `ndm_state`.
const DESTINATION: u16 = 1;
const FAILED: u16 = 0x20;

/// Reads whether bridges pass packets to iptables, and how many ports they have; anybody may. None
/// where br_netfilter is not loaded.
pub(crate) fn read_bridge() -> io::Result<Option<Bridge>> {
    let read = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/net/bridge/bridge-nf-call-{name}"));
        text.is_ok_and(|text| text.trim() == "1")
    };
    let calls = (read("iptables"), read("ip6tables"));
    if calls == (false, false) {
        return Ok(None);
    }
    let ports = count_bridge_ports()?;
    Ok(Some(Bridge { calls, ports }))
}

fn count_bridge_ports() -> io::Result<u64> {
    let mut ports = 0;
    list_route(RTM_GETLINK, LINK_HEADER, |_, attributes| {
        let (mut has_master, mut is_port) = (false, false);
        for attribute in attributes {
            let attribute = attribute?;
            match attribute.kind {
                MASTER => has_master = true,
                LINK_INFO => is_port |= names_bridge(attribute.nested()),
                _ => {}
            }
        }
        ports += u64::from(has_master && is_port);
        Ok(())
    })
    .map_err(told)?;
    Ok(ports)
}

fn names_bridge(attributes: Attributes<'_>) -> bool {
    let kinds = attributes.filter_map(Result::ok);
    kinds
        .filter(|attribute| attribute.kind == SLAVE_KIND)
        .any(|attribute| attribute.value.starts_with(b"bridge"))
}

/// Neighbours that did not answer when they were last looked for.
pub(crate) fn read_failed_neighbours() -> io::Result<BTreeSet<IpAddr>> {
    let mut failed = BTreeSet::new();
    list_route(RTM_GETNEIGH, NEIGHBOUR_HEADER, |header, attributes| {
        // struct ndmsg: family, padding, index, then the state.
        let state = header.get(8..10).and_then(<[u8]>::first_chunk);
        let state = state.map_or(0, |bytes| u16::from_ne_bytes(*bytes));
        for attribute in attributes {
            let attribute = attribute?;
            if attribute.kind == DESTINATION && state & FAILED != 0 {
                failed.extend(address(attribute.value));
            }
        }
        Ok(())
    })
    .map_err(told)?;
    Ok(failed)
}

/// An address as netlink has it.
pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from);
    let v6 = <[u8; 16]>::try_from(bytes).ok().map(Ipv6Addr::from);
    v4.map(IpAddr::from).or(v6.map(IpAddr::from))
}

fn told(error: ListError) -> io::Error {
    io::Error::other(error.to_string())
}
