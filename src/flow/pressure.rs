//! What may fill a table: flows that the kernel cannot evict, flows that were never answered, long
//! idle connections to push services, hosts with many flows.
//!
//! In: every flow that was read, once. Out: [`Pressure`], numbers for the whole table, each with how
//! far it can be off where only a sample was read.
//! Follows early_drop_list and gc_worker_can_early_drop in the kernel's nf_conntrack_core.c,
//! tcp_can_early_drop in nf_conntrack_proto_tcp.c.

use std::net::IpAddr;
use std::time::Duration;

use super::frequent::Frequent;
use super::sample::{as_f64, margin};
use super::{Flow, Gather, Prefixes, Protocol, Sample, StatusBit, TcpState, Value};

/// TCP ports of Firebase Cloud Messaging, to which a phone keeps one idle connection.
const PUSH: std::ops::RangeInclusive<u16> = 5228..=5230;

/// Flows under count.
#[derive(Debug)]
pub(crate) struct PressureCount {
    host: Prefixes,
    looked_at: u64,
    fixed: u64,
    push: u64,
    unanswered: UnansweredCount,
    hosts: Frequent<Value>,
}

/// Flows that were never answered, or whose handshake was never completed, under count.
#[derive(Debug, Default)]
struct UnansweredCount {
    all: u64,
    opening: u64,
    half_open: u64,
    udp: u64,
    sources: Frequent<Value>,
    destinations: Frequent<IpAddr>,
}

/// A number of flows of the whole table.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Estimate {
    /// Estimated from the sample if there is one.
    pub(crate) flows: u64,
    /// Of all flows, 0 to 1.
    pub(crate) share: f64,
    /// How far the share can be off at 95 %; 0 without a sample.
    pub(crate) margin: f64,
}

/// Flows of which only packets one way were seen, and TCP that was answered and never completed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Unanswered {
    pub(crate) all: Estimate,
    /// Those of them that are opening TCP connections.
    pub(crate) opening: Estimate,
    /// Those of them that were answered, and whose client never completed the handshake.
    pub(crate) half_open: Estimate,
    /// Those of them that are UDP.
    pub(crate) udp: Estimate,
    /// The share of all of them that comes from the host with most, an IPv6 host being a /64.
    pub(crate) source: Option<(Value, f64)>,
    /// The share that goes to the address with most.
    pub(crate) destination: Option<(IpAddr, f64)>,
}

/// What may fill a table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pressure {
    /// Flows that were read.
    pub(crate) looked_at: u64,
    /// Entries in the table.
    pub(crate) table: u64,
    /// Flows that the kernel does not evict when the table is full.
    pub(crate) fixed: Estimate,
    /// Connections to push services.
    pub(crate) push: Estimate,
    pub(crate) unanswered: Unanswered,
    /// The host that most flows come from, an IPv6 host being a /64.
    pub(crate) source: Option<(Value, Estimate)>,
}

impl Gather for PressureCount {
    fn add(&mut self, flow: &Flow<'_>, _: Duration) {
        PressureCount::add(self, flow);
    }

    fn part(&self) -> Self {
        let unanswered = &self.unanswered;
        PressureCount {
            unanswered: UnansweredCount {
                sources: unanswered.sources.part(),
                destinations: unanswered.destinations.part(),
                ..UnansweredCount::default()
            },
            hosts: self.hosts.part(),
            ..PressureCount::new(self.host)
        }
    }

    fn merge(&mut self, part: Self) {
        self.looked_at += part.looked_at;
        self.fixed += part.fixed;
        self.push += part.push;
        self.hosts.merge(part.hosts);
        self.unanswered.merge(part.unanswered);
    }
}

impl PressureCount {
    /// Nothing counted yet; `host` is how much of a source is one host's.
    pub(crate) fn new(host: Prefixes) -> Self {
        PressureCount {
            host,
            looked_at: 0,
            fixed: 0,
            push: 0,
            unanswered: UnansweredCount::default(),
            hosts: Frequent::default(),
        }
    }

    fn add(&mut self, flow: &Flow<'_>) {
        self.looked_at += 1;
        self.fixed += u64::from(is_fixed(flow));
        self.push += u64::from(is_push(flow));
        let host = self.host.of(flow.original.src);
        self.hosts.add(&host);
        if !flow.status.has(StatusBit::SeenReply) || flow.tcp_state() == Some(TcpState::SynRecv) {
            self.unanswered.add(flow, host);
        }
    }

    /// Ends the count. `sample` is none where the whole table was read.
    pub(crate) fn finish(self, sample: Option<Sample>) -> Pressure {
        let looked_at = self.looked_at;
        let table = sample.map_or(looked_at, |sample| sample.table.max(looked_at));
        let estimate = |seen: u64| estimate(seen, looked_at, table);
        let unanswered = self.unanswered;
        let share = |seen: u64| as_f64(seen) / as_f64(unanswered.all.max(1));
        Pressure {
            looked_at,
            table,
            fixed: estimate(self.fixed),
            push: estimate(self.push),
            unanswered: Unanswered {
                all: estimate(unanswered.all),
                opening: estimate(unanswered.opening),
                half_open: estimate(unanswered.half_open),
                udp: estimate(unanswered.udp),
                source: most(&unanswered.sources).map(|(host, seen)| (host, share(seen))),
                destination: most(&unanswered.destinations).map(|(to, seen)| (to, share(seen))),
            },
            source: most(&self.hosts).map(|(host, seen)| (host, estimate(seen))),
        }
    }
}

impl UnansweredCount {
    fn merge(&mut self, part: Self) {
        self.all += part.all;
        self.opening += part.opening;
        self.half_open += part.half_open;
        self.udp += part.udp;
        self.sources.merge(part.sources);
        self.destinations.merge(part.destinations);
    }

    fn add(&mut self, flow: &Flow<'_>, host: Value) {
        self.all += 1;
        let protocol = flow.original.protocol;
        self.udp += u64::from(protocol == Protocol::UDP);
        let is_opening = matches!(
            flow.tcp_state(),
            Some(TcpState::SynSent | TcpState::SynRecv | TcpState::SynSent2)
        );
        self.opening += u64::from(is_opening);
        self.half_open += u64::from(flow.tcp_state() == Some(TcpState::SynRecv));
        self.sources.add(&host);
        self.destinations.add(&flow.original.dst);
    }
}

fn most<K: Copy>(counted: &Frequent<K>) -> Option<(K, u64)> {
    let most = counted.sums().max_by_key(|(_, seen, ())| *seen);
    most.map(|(key, seen, ())| (*key, seen))
}

/// A number of the table, from the number among the flows that were read.
pub(super) fn estimate(seen: u64, looked_at: u64, table: u64) -> Estimate {
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

pub(super) fn is_push(flow: &Flow<'_>) -> bool {
    let ports = flow.original.ports();
    flow.original.protocol == Protocol::TCP && ports.is_some_and(|(_, to)| PUSH.contains(&to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::captured::TCP;
    use crate::flow::{Layer4, Status, Tuple};

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
        let mut count = PressureCount::new(Prefixes::HOST);
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
    fn what_was_never_answered_is_told_by_kind_and_by_place() {
        let answered = StatusBit::SeenReply.mask();
        let opening = |host| flow([10, 0, 0, host], "10.0.0.1", 80, TcpState::SynSent, 0);
        let open = flow(
            [10, 0, 0, 9],
            "10.0.0.9",
            80,
            TcpState::Established,
            answered,
        );
        let mut udp = flow([10, 0, 0, 1], "10.0.0.1", 80, TcpState::SynSent, 0);
        (udp.original.protocol, udp.tcp) = (Protocol::UDP, None);
        let half_open = flow([10, 0, 0, 2], "10.0.0.2", 80, TcpState::SynRecv, answered);
        let flows = [opening(1), opening(1), half_open, udp, open];
        let found = counted(&flows, None).unanswered;
        assert_eq!(
            [found.all, found.opening, found.half_open, found.udp].map(|number| number.flows),
            [4, 3, 1, 1]
        );
        assert_eq!(
            found.source,
            Some((Value::Address([10, 0, 0, 1].into()), 0.75))
        );
        assert_eq!(found.destination, Some((SERVER.parse().unwrap(), 1.0)));
    }

    #[test]
    fn an_ipv6_host_is_a_network_of_64_bits() {
        let mut flows = vec![flow([10, 0, 0, 1], "10.0.0.1", 80, TcpState::Established, 0); 3];
        for (last, flow) in flows.iter_mut().enumerate() {
            let last = u16::try_from(last).unwrap();
            flow.original.src = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, last).into();
        }
        let (host, number) = counted(&flows, None).source.unwrap();
        assert_eq!(
            (host.to_string().as_str(), number.flows),
            ("2001:db8:0:1::/64", 3)
        );
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
        assert_eq!(source.0, Value::Address([10, 0, 0, 1].into()));
        let nothing = counted(&[], None);
        assert_eq!((nothing.fixed.flows, nothing.source), (0, None));
    }
}
