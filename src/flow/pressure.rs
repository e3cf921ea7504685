//! What presses on a table: flows that the kernel cannot evict, ports of translated addresses,
//! long silent connections to push services, sources that hold much of it.
//!
//! In: every flow that was looked at, once. Out: [`Pressure`], numbers for the whole table, each
//! with how far it can be off where only a sample was looked at.
//! Follows early_drop_list and gc_worker_can_early_drop in the kernel's nf_conntrack_core.c,
//! tcp_can_early_drop in nf_conntrack_proto_tcp.c and nf_nat_l4proto_unique_tuple in nf_nat_core.c.

use std::net::{IpAddr, SocketAddr};

use super::frequent::Frequent;
use super::sample::{as_f64, margin};
use super::{Flow, Layer4, Protocol, Sample, StatusBit, TcpState};

/// TCP ports of Firebase Cloud Messaging, which a phone keeps one silent connection to.
const PUSH: std::ops::RangeInclusive<u16> = 5228..=5230;

/// Ports that the kernel chooses from for a flow whose own is 1024 or above: 1024 to 65535.
pub(crate) const NAT_PORTS: u64 = 64_512;

/// Flows under count.
#[derive(Debug)]
pub(crate) struct PressureCount {
    looked_at: u64,
    fixed: u64,
    push: u64,
    translated: Frequent<NatKey>,
    sources: Frequent<IpAddr>,
}

/// Within which the ports of translated flows must differ: the answers come from one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct NatKey {
    protocol: Protocol,
    address: IpAddr,
    server: SocketAddr,
    zone: u16,
}

/// A number of flows of the whole table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    /// Estimated from the sample if there is one.
    pub(crate) flows: u64,
    /// Of all flows, 0 to 1.
    pub(crate) share: f64,
    /// How far the share can be off at 95 %; 0 without a sample.
    pub(crate) margin: f64,
}

/// The ports of one address, towards one server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NatPorts {
    /// TCP, UDP, …
    pub(crate) protocol: Protocol,
    /// The address that flows are translated to.
    pub(crate) address: IpAddr,
    /// Where they go.
    pub(crate) server: SocketAddr,
    /// How many there are; each needs a port of its own.
    pub(crate) used: Estimate,
}

/// What presses on a table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pressure {
    /// Flows that were looked at.
    pub(crate) looked_at: u64,
    /// Entries in the table.
    pub(crate) table: u64,
    /// Flows that the kernel does not evict when the table is full.
    pub(crate) fixed: Estimate,
    /// Connections to push services.
    pub(crate) push: Estimate,
    /// Where most ports are in use; none where no address is translated.
    pub(crate) nat: Option<NatPorts>,
    /// The source that most flows come from.
    pub(crate) source: Option<(IpAddr, Estimate)>,
}

impl Default for PressureCount {
    fn default() -> Self {
        PressureCount {
            looked_at: 0,
            fixed: 0,
            push: 0,
            translated: Frequent::new(),
            sources: Frequent::new(),
        }
    }
}

impl PressureCount {
    /// Counts a flow.
    pub(crate) fn add(&mut self, flow: &Flow<'_>) {
        self.looked_at += 1;
        self.fixed += u64::from(is_fixed(flow));
        self.push += u64::from(is_push(flow));
        self.sources.add(&flow.original.src);
        if let Some(key) = NatKey::of(flow) {
            self.translated.add(&key);
        }
    }

    /// Ends the count. `sample` tells of a sample what it was taken from.
    pub(crate) fn finish(self, sample: Option<Sample>) -> Pressure {
        let looked_at = self.looked_at;
        let table = sample.map_or(looked_at, |sample| sample.table.max(looked_at));
        let estimate = |seen: u64| estimate(seen, looked_at, table);
        let nat = most(self.translated).map(|(key, seen)| NatPorts {
            protocol: key.protocol,
            address: key.address,
            server: key.server,
            used: estimate(seen),
        });
        Pressure {
            looked_at,
            table,
            fixed: estimate(self.fixed),
            push: estimate(self.push),
            nat,
            source: most(self.sources).map(|(address, seen)| (address, estimate(seen))),
        }
    }
}

fn most<K: std::hash::Hash + Eq>(counted: Frequent<K>) -> Option<(K, u64)> {
    let counted = counted.into_counted().into_iter();
    counted.max_by_key(|(_, seen)| *seen)
}

fn estimate(seen: u64, looked_at: u64, table: u64) -> Estimate {
    if looked_at == 0 {
        return Estimate {
            flows: 0,
            share: 0.0,
            margin: 0.0,
        };
    }
    let share = as_f64(seen) / as_f64(looked_at);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // of a table, below 2^31
    let flows = (share * as_f64(table)).round() as u64;
    Estimate {
        flows,
        share,
        margin: margin(share, looked_at, table),
    }
}

/// Whether a full table keeps it: the kernel evicts what is not assured, and TCP that is closing.
fn is_fixed(flow: &Flow<'_>) -> bool {
    let is_closing = matches!(
        flow.tcp_state(),
        Some(
            TcpState::FinWait
                | TcpState::CloseWait
                | TcpState::LastAck
                | TcpState::TimeWait
                | TcpState::Close
        )
    );
    flow.status.has(StatusBit::Assured) && !is_closing
}

fn is_push(flow: &Flow<'_>) -> bool {
    let ports = flow.original.ports();
    flow.original.protocol == Protocol::TCP && ports.is_some_and(|(_, to)| PUSH.contains(&to))
}

impl NatKey {
    /// Of a flow whose source is translated and that has ports.
    fn of(flow: &Flow<'_>) -> Option<NatKey> {
        let Layer4::Ports { src: port, .. } = flow.reply.layer4 else {
            return None;
        };
        (flow.reply.dst != flow.original.src && flow.original.ports().is_some()).then(|| NatKey {
            protocol: flow.original.protocol,
            address: flow.reply.dst,
            server: SocketAddr::new(flow.reply.src, port),
            zone: flow.zone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::captured::TCP;
    use crate::flow::{Status, Tuple};

    const SERVER: &str = "192.0.2.1";
    const OUTSIDE: &str = "203.0.113.9";

    /// TCP from a client to a server, the answer to `back`.
    fn flow(client: [u8; 4], back: &str, port: u16, state: TcpState, status: u32) -> Flow<'static> {
        let tuple = |src: IpAddr, dst: IpAddr, from, to| Tuple {
            src,
            dst,
            protocol: Protocol::TCP,
            layer4: Layer4::Ports { src: from, dst: to },
            zone: None,
        };
        let (client, server) = (IpAddr::from(client), SERVER.parse().unwrap());
        let mut flow = Flow::parse(TCP).unwrap();
        flow.original = tuple(client, server, 1025, port);
        flow.reply = tuple(server, back.parse().unwrap(), port, 1025);
        flow.status = Status(status);
        flow.tcp.as_mut().unwrap().state = Some(state);
        flow
    }

    fn counted(flows: &[Flow<'_>], sample: Option<Sample>) -> Pressure {
        let mut count = PressureCount::default();
        for flow in flows {
            count.add(flow);
        }
        count.finish(sample)
    }

    #[test]
    fn what_is_assured_and_not_closing_stays() {
        let assured = StatusBit::Assured.mask();
        for (state, status, fixed) in [
            (TcpState::Established, assured, 1),
            (TcpState::Established, 0, 0),
            (TcpState::TimeWait, assured, 0),
            (TcpState::CloseWait, assured, 0),
        ] {
            let found = counted(&[flow([10, 0, 0, 1], "10.0.0.1", 80, state, status)], None);
            assert_eq!(found.fixed.flows, fixed, "{state} {status}");
        }
    }

    #[test]
    fn ports_are_counted_by_address_and_server() {
        let from = |host, port| flow([10, 0, 0, host], OUTSIDE, port, TcpState::Established, 0);
        let plain = flow([10, 0, 0, 9], "10.0.0.9", 443, TcpState::Established, 0);
        let flows = [from(1, 443), from(2, 443), from(3, 5228), plain];
        let found = counted(&flows, None);
        let nat = found.nat.unwrap();
        assert_eq!(nat.address, OUTSIDE.parse::<IpAddr>().unwrap());
        assert_eq!(nat.server, "192.0.2.1:443".parse().unwrap());
        assert_eq!((nat.used.flows, found.push.flows), (2, 1));
        assert_eq!(counted(&flows[3..], None).nat, None);
    }

    #[test]
    fn a_sample_speaks_for_the_table_and_says_how_well() {
        let flows = vec![flow([10, 0, 0, 1], OUTSIDE, 5229, TcpState::Established, 0); 100];
        let sample = Sample {
            looked_at: 100,
            table: 300_000,
        };
        let found = counted(&flows, Some(sample));
        assert_eq!((found.push.flows, found.table), (300_000, 300_000));
        assert!(found.push.margin > 0.01, "{}", found.push.margin);
        let source = found.source.unwrap();
        assert_eq!(source.0, IpAddr::from([10, 0, 0, 1]));
        let nothing = counted(&[], None);
        assert_eq!((nothing.fixed.flows, nothing.source), (0, None));
    }
}
