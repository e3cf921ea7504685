//! The flows of the story: a campus at night, most of it phones that hold one push connection open.
//!
//! In: how many flows. Out: each of them, always the same. Rule: pure arithmetic; every group keeps
//! its share of any number, and no two flows have the same tuple.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::conntrack::{Layer4, NewFlow, Protocol, Seen, TcpState, Tuple};

pub(crate) const FLOWS: u32 = 76_768;

/// Who the story's 52,000 flows go to, and where.
const PUSH: Addressee = (
    IpAddr::V6(Ipv6Addr::new(0x2a00, 0x1450, 0x400b, 0xc02, 0, 0, 0, 0xbc)),
    5228,
);

/// IPv6 clients on campus, 256 in each of its subnets.
const CLIENTS_V6: u32 = 4_100;
/// One flow in so many of a group is the last client's, the busiest: a little over 0.1 %.
const BUSY: u32 = 990;
/// IPv4 clients behind 10.20.0.0/16.
const CLIENTS_V4: u32 = 400;

/// Client ports begin here; below are the servers' own.
const FIRST_PORT: u32 = 1024;

/// An address, and the port of a service.
type Addressee = (IpAddr, u16);

#[derive(Clone, Copy)]
enum Speech {
    Tcp(TcpState),
    Udp,
    Echo,
}

/// Flows that differ in their client and remaining time alone.
struct Group {
    flows: u32,
    speech: Speech,
    to: Addressee,
    seen: Seen,
    /// Remaining seconds, shortest and longest.
    remaining: (u32, u32),
}

/// The story, longest remaining times first, since they are created in this order. Each server is
/// in one group of a protocol alone. Short times are in the upper half of the kernel's default for
/// the state, so that hardly any flow ends in the first seconds.
fn groups() -> Vec<Group> {
    use Seen::{Assured, Reply, Request};
    use TcpState::{Close, CloseWait, Established, FinWait, LastAck, SynRecv, SynSent, TimeWait};
    let five_days = (1, 432_000);
    let hours = (3_600, 432_000);
    let tcp = Speech::Tcp;
    [
        (52_000, tcp(Established), PUSH, Assured, five_days),
        (2_000, tcp(Established), v6(1, 443), Assured, hours),
        (1_000, tcp(Established), v4(1, 443), Assured, hours),
        (3_900, Speech::Udp, v6(2, 443), Assured, (60, 120)),
        (1_900, Speech::Udp, v4(2, 443), Assured, (60, 120)),
        (1_200, tcp(FinWait), v6(3, 443), Assured, (60, 120)),
        (500, tcp(FinWait), v4(3, 443), Assured, (60, 120)),
        (1_700, tcp(TimeWait), v6(4, 443), Assured, (60, 120)),
        (900, tcp(TimeWait), v4(4, 80), Assured, (60, 120)),
        (500, tcp(SynSent), v6(5, 25), Request, (60, 120)),
        (400, tcp(SynSent), v4(5, 25), Request, (60, 120)),
        (300, tcp(SynRecv), v6(6, 443), Reply, (30, 60)),
        (600, tcp(CloseWait), v6(7, 993), Assured, (30, 60)),
        (400, tcp(CloseWait), v4(7, 993), Assured, (30, 60)),
        (300, tcp(LastAck), v6(8, 443), Assured, (20, 30)),
        (4_300, Speech::Udp, v6(9, 53), Reply, (20, 30)),
        (1_700, Speech::Udp, v4(9, 53), Reply, (20, 30)),
        (900, Speech::Udp, v6(10, 123), Request, (20, 30)),
        (600, Speech::Udp, v4(10, 6881), Request, (20, 30)),
        (700, Speech::Echo, v6(11, 0), Reply, (20, 30)),
        (168, Speech::Echo, v6(12, 0), Request, (20, 30)),
        (300, Speech::Echo, v4(11, 0), Reply, (20, 30)),
        (500, tcp(Close), v6(13, 443), Assured, (7, 10)),
    ]
    .map(|(flows, speech, to, seen, remaining)| Group {
        flows,
        speech,
        to,
        seen,
        remaining,
    })
    .into()
}

/// A server in the IPv6 range for documentation.
fn v6(host: u16, port: u16) -> Addressee {
    let address = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, host);
    (address.into(), port)
}

/// A server in an IPv4 range for documentation.
fn v4(host: u8, port: u16) -> Addressee {
    (Ipv4Addr::new(192, 0, 2, host).into(), port)
}

/// `total` flows in the story's proportions.
pub(super) fn flows(total: u32) -> impl Iterator<Item = NewFlow> {
    let mut before = 0;
    groups().into_iter().flat_map(move |group| {
        let start = share(before, total);
        before += group.flows;
        let count = share(before, total) - start;
        (0..count).map(move |index| group.flow(index, count))
    })
}

/// What part `part` of the story's flows is of `total`: rounded so that the groups, laid end to
/// end, fill the total exactly.
fn share(part: u32, total: u32) -> u32 {
    let share = u64::from(part) * u64::from(total) / u64::from(FLOWS);
    u32::try_from(share).unwrap_or(total)
}

impl Group {
    fn flow(&self, index: u32, count: u32) -> NewFlow {
        let (shortest, longest) = self.remaining;
        let steps = u64::from(count.saturating_sub(1).max(1));
        let step = u64::from(index) * u64::from(longest - shortest) / steps;
        let (dst, to) = self.to;
        let (src, port) = match dst {
            IpAddr::V4(_) => client_v4(index),
            IpAddr::V6(_) => client_v6(index),
        };
        let ports = Layer4::Ports { src: port, dst: to };
        let echo = |kind| Layer4::Icmp {
            id: port,
            kind,
            code: 0,
        };
        let (protocol, layer4, tcp) = match self.speech {
            Speech::Tcp(state) => (Protocol::TCP, ports, Some(state)),
            Speech::Udp => (Protocol::UDP, ports, None),
            Speech::Echo if dst.is_ipv4() => (Protocol::ICMP, echo(8), None),
            Speech::Echo => (Protocol::ICMPV6, echo(128), None),
        };
        NewFlow {
            original: Tuple {
                src,
                dst,
                protocol,
                layer4,
                zone: None,
            },
            seen: self.seen,
            tcp,
            timeout: shortest + u32::try_from(step).unwrap_or(0),
        }
    }
}

/// The client and port of a group's flow: every client in turn, then the next port.
fn client_v6(index: u32) -> (IpAddr, u16) {
    let others = CLIENTS_V6 - 1;
    let (client, port) = match index % BUSY {
        0 => (others, index / BUSY),
        _ => (index % others, index / others),
    };
    let subnet = 0x100 + low_half(client / 256);
    let host = 1 + low_half(client % 256);
    let address = Ipv6Addr::new(0x2001, 0xdb8, 0, subnet, 0, 0, 0, host);
    (address.into(), client_port(port))
}

fn client_v4(index: u32) -> (IpAddr, u16) {
    let client = index % CLIENTS_V4;
    let address = Ipv4Addr::from(0x0a14_0001 + client);
    (address.into(), client_port(index / CLIENTS_V4))
}

/// The n-th client port, round again after the last. That is far: a group would have to hold 25
/// million flows before a tuple comes twice.
fn client_port(n: u32) -> u16 {
    low_half(FIRST_PORT + n % (65_536 - FIRST_PORT))
}

#[expect(clippy::cast_possible_truncation)] // what is left out is 0, or not wanted
fn low_half(number: u32) -> u16 {
    number as u16
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    fn count(total: u32, desired: impl Fn(&NewFlow) -> bool) -> usize {
        flows(total).filter(desired).count()
    }

    fn is_push(flow: &NewFlow) -> bool {
        let (IpAddr::V6(server), port) = PUSH else {
            return false;
        };
        let tuple = &flow.original;
        let is_tcp = tuple.protocol == Protocol::TCP;
        is_tcp && tuple.dst == server && tuple.ports().is_some_and(|(_, to)| to == port)
    }

    #[test]
    fn the_story_has_all_its_flows() {
        assert_eq!(groups().iter().map(|group| group.flows).sum::<u32>(), FLOWS);
        assert_eq!(flows(FLOWS).count(), FLOWS as usize);
        assert_eq!(count(FLOWS, is_push), 52_000);
        let established = |flow: &NewFlow| flow.tcp == Some(TcpState::Established);
        assert_eq!(count(FLOWS, established), 55_000);
        let mut clients: HashMap<_, u32> = HashMap::new();
        for flow in flows(FLOWS).filter(is_push) {
            *clients.entry(flow.original.src).or_default() += 1;
        }
        assert_eq!((clients.len(), clients.values().max()), (4_100, Some(&53)));
        let v4 = count(FLOWS, |flow| flow.original.src.is_ipv4());
        assert!((7_300..=8_100).contains(&v4), "{v4} flows are IPv4");
    }

    #[test]
    fn the_story_s_flows_are_spread_evenly_over_five_days() {
        let times: Vec<_> = flows(FLOWS)
            .filter(is_push)
            .map(|flow| flow.timeout)
            .collect();
        assert_eq!((times[0], times[51_999]), (1, 432_000));
        for pair in times.windows(2) {
            assert!((8..=9).contains(&(pair[1] - pair[0])), "{pair:?}");
        }
    }

    #[test]
    fn hardly_a_flow_ends_in_the_first_five_seconds() {
        assert_eq!(count(FLOWS, |flow| flow.timeout <= 5), 1);
    }

    #[test]
    fn no_two_flows_have_the_same_tuple() {
        for total in [FLOWS, 5 * FLOWS] {
            let tuples: HashSet<_> = flows(total).map(|flow| flow.original).collect();
            assert_eq!(tuples.len(), total as usize);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn any_number_keeps_the_proportions(total in 0..3 * FLOWS) {
            prop_assert_eq!(flows(total).count(), total as usize);
            let push = u64::try_from(count(total, is_push)).unwrap();
            prop_assert_eq!(push, 52_000 * u64::from(total) / u64::from(FLOWS));
        }
    }
}
