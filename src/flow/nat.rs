//! What is wrong with translated flows: ports that run out, addresses and targets that are gone,
//! private sources that leave untranslated.
//!
//! In: every flow that was read, once, and the port ranges of the rules. Out: [`Nat`], numbers for
//! the whole table. Rule: ports run out for one address, protocol and server, among those that the
//! kernel chooses from: the range of the rule, else the class of the port (below 512, below 1024,
//! the others).
//! Follows nf_nat_l4proto_unique_tuple in nf_nat_core.c; tried on 6.18.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::frequent::Frequent;
use super::pressure::{Estimate, estimate};
use super::{Flow, Gather, Layer4, PortRange, Protocol, Sample, StatusBit};

/// Ports below 512 are translated to one of 1 to 511.
const LOW: RangeInclusive<u16> = 1..=511;
/// Ports from 512 to 1023 are translated to one of 600 to 1023; their own is kept if it is free.
const RESERVED: RangeInclusive<u16> = 600..=1023;
/// All others are translated to one of these.
const USUAL: RangeInclusive<u16> = 1024..=65535;
/// Addresses and targets that are listed, the most frequent ones.
const TOLD: usize = 16;

/// Flows under count.
#[derive(Debug)]
pub(crate) struct NatCount {
    ranges: Vec<PortRange>,
    looked_at: u64,
    ports: Frequent<Key>,
    addresses: Frequent<IpAddr>,
    translated: u64,
    untranslated: u64,
    untranslated_sources: Frequent<IpAddr>,
    unanswered: Frequent<IpAddr>,
}

/// Within which the ports of translated flows must differ: the answers come from one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    protocol: Protocol,
    address: IpAddr,
    server: SocketAddr,
    zone: u16,
    pool: Pool,
}

/// The ports that the kernel chooses from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Pool {
    /// Those of a rule, by its place.
    Rule(usize),
    Low,
    Reserved,
    Usual,
}

/// What was counted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Nat {
    /// Where the largest share of the ports is in use; none where no address is translated.
    pub(crate) ports: Option<NatPorts>,
    /// Addresses that flows are translated to.
    pub(crate) addresses: Vec<(IpAddr, Estimate)>,
    /// Flows whose source is translated.
    pub(crate) translated: Estimate,
    /// Flows from private addresses to public ones that are not translated.
    pub(crate) untranslated: Estimate,
    /// The sources that have most of them.
    pub(crate) untranslated_sources: Vec<(IpAddr, Estimate)>,
    /// Targets that destinations are translated to and that never answered.
    pub(crate) unanswered: Vec<(IpAddr, Estimate)>,
}

/// The ports of one address, towards one server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NatPorts {
    pub(crate) protocol: Protocol,
    /// The address that flows are translated to.
    pub(crate) address: IpAddr,
    /// Where they go.
    pub(crate) server: SocketAddr,
    /// How many there are; each needs a port of its own.
    pub(crate) used: Estimate,
    /// The ports that there are.
    pub(crate) ports: RangeInclusive<u16>,
    /// Whether a rule names them.
    pub(crate) by_rule: bool,
}

impl NatPorts {
    /// How many ports there are.
    pub(crate) fn size(&self) -> u64 {
        u64::from(*self.ports.end()) - u64::from(*self.ports.start()) + 1
    }
}

impl Gather for NatCount {
    fn add(&mut self, flow: &Flow<'_>, _: Duration) {
        NatCount::add(self, flow);
    }

    fn part(&self) -> Self {
        NatCount {
            ranges: self.ranges.clone(),
            looked_at: 0,
            ports: self.ports.part(),
            addresses: self.addresses.part(),
            translated: 0,
            untranslated: 0,
            untranslated_sources: self.untranslated_sources.part(),
            unanswered: self.unanswered.part(),
        }
    }

    fn merge(&mut self, part: Self) {
        self.looked_at += part.looked_at;
        self.ports.merge(part.ports);
        self.addresses.merge(part.addresses);
        self.translated += part.translated;
        self.untranslated += part.untranslated;
        self.untranslated_sources.merge(part.untranslated_sources);
        self.unanswered.merge(part.unanswered);
    }
}

impl NatCount {
    /// A count of nothing yet. `ranges` are the port ranges of the rules.
    pub(crate) fn new(ranges: Vec<PortRange>) -> Self {
        NatCount {
            ranges,
            looked_at: 0,
            ports: Frequent::default(),
            addresses: Frequent::default(),
            translated: 0,
            untranslated: 0,
            untranslated_sources: Frequent::default(),
            unanswered: Frequent::default(),
        }
    }

    fn add(&mut self, flow: &Flow<'_>) {
        self.looked_at += 1;
        let (there, back) = (&flow.original, &flow.reply);
        if back.dst != there.src {
            self.translated += 1;
            self.addresses.add(&back.dst);
            if let Some(key) = self.key(flow) {
                self.ports.add(&key);
            }
        } else if is_private(there.src) && is_public(there.dst) && back.src == there.dst {
            self.untranslated += 1;
            self.untranslated_sources.add(&there.src);
        }
        if back.src != there.dst && !flow.status.has(StatusBit::SeenReply) {
            self.unanswered.add(&back.src);
        }
    }

    /// Of a flow whose source is translated and that has ports.
    fn key(&self, flow: &Flow<'_>) -> Option<Key> {
        let Layer4::Ports { src, dst } = flow.reply.layer4 else {
            return None;
        };
        flow.original.ports()?;
        let (protocol, address) = (flow.original.protocol, flow.reply.dst);
        let mut rules = self.ranges.iter();
        let rule = rules.position(|range| range.holds(protocol, address, dst));
        let class = match dst {
            0..512 => Pool::Low,
            512..1024 => Pool::Reserved,
            _ => Pool::Usual,
        };
        Some(Key {
            protocol,
            address,
            server: SocketAddr::new(flow.reply.src, src),
            zone: flow.zone(),
            pool: rule.map_or(class, Pool::Rule),
        })
    }

    /// Ends the count. `sample` is none where the whole table was read.
    pub(crate) fn finish(self, sample: Option<Sample>) -> Nat {
        let looked_at = self.looked_at;
        let table = sample.map_or(looked_at, |sample| sample.table.max(looked_at));
        let estimate = |seen| estimate(seen, looked_at, table);
        let most = |counted: Frequent<IpAddr>| {
            let mut counted: Vec<_> = counted.sums().collect();
            counted.sort_unstable_by(|(one, more, ()), (other, less, ())| {
                less.cmp(more).then(one.cmp(other))
            });
            counted.truncate(TOLD);
            let counted = counted.into_iter();
            counted
                .map(|(address, seen, ())| (*address, estimate(seen)))
                .collect()
        };
        let ranges = &self.ranges;
        let ports = self.ports.sums().map(|(key, seen, ())| {
            let (ports, by_rule) = match key.pool {
                Pool::Rule(place) => (ranges.get(place).map(|range| range.ports.clone()), true),
                Pool::Low => (Some(LOW), false),
                Pool::Reserved => (Some(RESERVED), false),
                Pool::Usual => (Some(USUAL), false),
            };
            NatPorts {
                protocol: key.protocol,
                address: key.address,
                server: key.server,
                used: estimate(seen),
                ports: ports.unwrap_or(USUAL),
                by_rule,
            }
        });
        // Compared crosswise: used/size without a division.
        let fuller = |one: &NatPorts, other: &NatPorts| {
            let cross = (one.used.flows * other.size()).cmp(&(other.used.flows * one.size()));
            cross.then(other.server.cmp(&one.server))
        };
        Nat {
            ports: ports.max_by(fuller),
            addresses: most(self.addresses),
            translated: estimate(self.translated),
            untranslated: estimate(self.untranslated),
            untranslated_sources: most(self.untranslated_sources),
            unanswered: most(self.unanswered),
        }
    }
}

/// The block of private addresses that has this one: RFC 1918, and RFC 6598 for those that carriers
/// share among subscribers. IPv6 is not translated as a rule.
pub(crate) fn private_block(address: IpAddr) -> Option<&'static str> {
    let IpAddr::V4(v4) = address else {
        return None;
    };
    match v4.octets() {
        [10, ..] => Some("10.0.0.0/8"),
        [172, 16..32, ..] => Some("172.16.0.0/12"),
        [192, 168, ..] => Some("192.168.0.0/16"),
        [100, 64..128, ..] => Some("100.64.0.0/10"),
        _ => None,
    }
}

fn is_private(address: IpAddr) -> bool {
    private_block(address).is_some()
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !is_private(address)
                && !v4.is_loopback()
                && !v4.is_link_local()
                && !v4.is_multicast()
                && !v4.is_broadcast()
                && !v4.is_unspecified()
        }
        IpAddr::V6(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::captured::UDP;

    /// UDP from a client's port, translated to an address and a port, to a server's port 443.
    fn flow(
        client: &str,
        port: u16,
        outside: &str,
        translated: u16,
        server: &str,
    ) -> Flow<'static> {
        let mut flow = Flow::parse(UDP).unwrap();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        flow.original.src = address(client);
        flow.original.dst = address(server);
        flow.original.layer4 = Layer4::Ports {
            src: port,
            dst: 443,
        };
        flow.reply.src = address(server);
        flow.reply.dst = address(outside);
        flow.reply.layer4 = Layer4::Ports {
            src: 443,
            dst: translated,
        };
        flow
    }

    const OUTSIDE: &str = "203.0.113.9";
    const SERVER: &str = "198.51.100.1";

    fn counted(ranges: &[PortRange], flows: impl IntoIterator<Item = Flow<'static>>) -> Nat {
        let mut count = NatCount::new(ranges.to_vec());
        for flow in flows {
            count.add(&flow);
        }
        count.finish(None)
    }

    #[test]
    fn ports_run_out_among_those_that_the_kernel_chooses_from() {
        let range = PortRange {
            addresses: None,
            protocol: Some(Protocol::UDP),
            ports: 5000..=5499,
        };
        for (first, number, size, by_rule) in [
            (5000, 450, 500, true),
            (5000, 500, 500, true),
            (1, 400, 511, false),
            (600, 400, 424, false),
            (6000, 500, 64_512, false),
        ] {
            let flows = (0..number).map(|n| flow("10.0.0.1", 9, OUTSIDE, first + n, SERVER));
            let ports = counted(std::slice::from_ref(&range), flows).ports.unwrap();
            let used = ports.used.flows;
            assert_eq!(
                (used, ports.size(), ports.by_rule),
                (u64::from(number), size, by_rule)
            );
        }
    }

    #[test]
    fn the_fullest_is_told_though_another_has_more_flows() {
        let low = (1..300).map(|n| flow("10.0.0.1", 123, OUTSIDE, n, SERVER));
        let many = (2000..5000).map(|n| flow("10.0.0.2", 9, OUTSIDE, n, "198.51.100.2"));
        let ports = counted(&[], low.chain(many)).ports.unwrap();
        assert_eq!(
            (ports.server.ip().to_string().as_str(), ports.size()),
            (SERVER, 511)
        );
        assert_eq!(ports.used.flows, 299);
        let plain = [flow("198.51.100.9", 9, "198.51.100.9", 9, SERVER)];
        assert_eq!(counted(&[], plain).ports, None);
    }

    #[test]
    fn private_sources_that_leave_as_they_are_and_silent_targets_are_counted() {
        let found = counted(
            &[],
            [
                flow("10.0.0.1", 9, "10.0.0.1", 9, SERVER),
                flow("100.64.3.1", 9, "100.64.3.1", 9, SERVER),
                flow("100.64.3.1", 8, "100.64.3.1", 8, SERVER),
                flow("10.0.0.1", 9, "10.0.0.1", 9, "192.168.1.1"),
                flow("10.0.0.1", 9, OUTSIDE, 9, SERVER),
                flow("100.128.0.1", 9, "100.128.0.1", 9, SERVER),
            ],
        );
        assert_eq!(found.untranslated.flows, 3);
        let told: Vec<(String, u64)> = found
            .untranslated_sources
            .iter()
            .map(|(address, number)| (address.to_string(), number.flows))
            .collect();
        assert_eq!(
            told,
            [("100.64.3.1".to_owned(), 2), ("10.0.0.1".to_owned(), 1)]
        );
        assert_eq!(found.translated.flows, 1);
        assert_eq!(found.addresses[0].0.to_string(), OUTSIDE);
        // Destinations that are translated to a target behind.
        let mut silent = flow("198.51.100.7", 9, "198.51.100.7", 9, OUTSIDE);
        silent.reply.src = "10.0.0.5".parse().unwrap();
        let mut answered = silent;
        answered.status.0 |= StatusBit::SeenReply.mask();
        let found = counted(&[], [silent, answered]);
        assert_eq!(found.unanswered[0].0.to_string(), "10.0.0.5");
        assert_eq!(found.unanswered[0].1.flows, 1);
    }
}
