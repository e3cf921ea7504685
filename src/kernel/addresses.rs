//! The addresses and routes of the calling thread's network namespace.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;

use super::ctnetlink::list_route;
use super::links;

const RTM_GETROUTE: u16 = 26;
/// Bytes of `struct rtmsg`, and `RTA_DST`.
const ROUTE_HEADER: usize = 12;
const DESTINATION: u16 = 1;
/// RTPROT_KERNEL: made for an address of an interface.
const BY_KERNEL: u8 = 2;
/// RTN_UNICAST.
const UNICAST: u8 = 1;

/// Reads the addresses of all interfaces; anybody may.
pub(crate) fn read_addresses() -> io::Result<BTreeSet<IpAddr>> {
    let interfaces = getifaddrs().map_err(io::Error::from)?;
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        if let Some(v4) = address.as_sockaddr_in() {
            return Some(IpAddr::V4(v4.ip()));
        }
        address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip()))
    });
    Ok(addresses.collect())
}

/// Reads the destinations of all routes, those of its own addresses included; anybody may. Not the
/// default ones, and not the networks of its addresses: who else is there has an address of his own.
pub(crate) fn read_routes() -> io::Result<Vec<IpNet>> {
    let mut routes = Vec::new();
    list_route(RTM_GETROUTE, ROUTE_HEADER, |header, attributes| {
        // struct rtmsg: the family, then the length of the destination's prefix; who made the route,
        // and its type, behind more.
        let length = header.get(1).copied().unwrap_or(0);
        if (header.get(5), header.get(7)) == (Some(&BY_KERNEL), Some(&UNICAST)) {
            return Ok(());
        }
        for attribute in attributes {
            let attribute = attribute?;
            if attribute.kind == DESTINATION && length > 0 {
                routes.extend(
                    links::address(attribute.value).and_then(|to| IpNet::new(to, length).ok()),
                );
            }
        }
        Ok(())
    })
    .map_err(|error| io::Error::other(error.to_string()))?;
    Ok(routes)
}
