//! How many flows there are of each kind, for monitors.
//!
//! In: every flow that was looked at, once. Out: a [`Population`], scaled to the whole table where
//! a sample was looked at. Rule: the kinds that every table has are there from the start, so that a
//! series does not end when its last flow does; the others cannot be more than there are protocols.
//! What is assured or NATed is counted as munin's fw_conntrack counts it, so that graphs go on.

use std::collections::BTreeMap;
use std::time::Duration;

use super::sample::{Sample, margin, scaled};
use super::{Family, Flow, Gather, Protocol, StatusBit, TcpState};

/// What is counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    /// IPv4 or IPv6.
    pub(crate) family: Family,
    /// The protocol.
    pub(crate) protocol: Protocol,
    /// For TCP; none for an offloaded flow.
    pub(crate) state: Option<TcpState>,
}

/// Flows under count.
#[derive(Debug)]
pub(crate) struct Kinds {
    counts: BTreeMap<Kind, u64>,
    assured: u64,
    nated: u64,
    flows: u64,
}

/// The flows of a table, by kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Population {
    /// All of them.
    pub(crate) total: u64,
    /// How many were looked at, if not all were.
    pub(crate) sampled: Option<u64>,
    /// How far the share that any kind has of the table can be off at 95 %; 0 without a sample.
    pub(crate) margin: f64,
    /// By kind; estimated from the sample if there is one.
    pub(crate) kinds: BTreeMap<Kind, u64>,
    /// Flows that are not evicted early, offloaded ones not counted, as conntrack(8) prints it.
    pub(crate) assured: u64,
    /// Flows with ports and a translated address.
    pub(crate) nated: u64,
}

impl Default for Kinds {
    fn default() -> Self {
        let mut counts = BTreeMap::new();
        for family in Family::ALL.iter().copied() {
            let mut common = |protocol, state| {
                let kind = Kind {
                    family,
                    protocol,
                    state,
                };
                counts.insert(kind, 0);
            };
            for state in TcpState::ALL {
                common(Protocol::TCP, Some(*state));
            }
            common(Protocol::UDP, None);
            common(
                match family {
                    Family::Ipv4 => Protocol::ICMP,
                    Family::Ipv6 => Protocol::ICMPV6,
                },
                None,
            );
        }
        Kinds {
            counts,
            assured: 0,
            nated: 0,
            flows: 0,
        }
    }
}

impl Gather for Kinds {
    fn add(&mut self, flow: &Flow<'_>, _: Duration) {
        Kinds::add(self, flow);
    }

    fn part(&self) -> Self {
        Kinds::default()
    }

    fn merge(&mut self, part: Self) {
        for (kind, flows) in part.counts {
            *self.counts.entry(kind).or_default() += flows;
        }
        self.assured += part.assured;
        self.nated += part.nated;
        self.flows += part.flows;
    }
}

impl Kinds {
    fn add(&mut self, flow: &Flow<'_>) {
        let kind = Kind {
            family: flow.family,
            protocol: flow.original.protocol,
            state: flow.tcp_state(),
        };
        *self.counts.entry(kind).or_default() += 1;
        self.flows += 1;
        self.assured += u64::from(is_assured(flow));
        self.nated += u64::from(is_nated(flow));
    }

    /// Ends the count. `sample` is none where the whole table was read.
    pub(crate) fn finish(self, sample: Option<Sample>) -> Population {
        let sample = sample.filter(|sample| sample.is_part());
        let scale = sample.map_or(1.0, Sample::scale);
        let total = sample.map_or(self.flows, |sample| sample.table);
        let counts = self.counts.into_iter();
        Population {
            total,
            sampled: sample.map(|sample| sample.looked_at),
            // A share of one half has the widest margin.
            margin: sample.map_or(0.0, |sample| margin(0.5, sample.looked_at, total)),
            kinds: counts
                .map(|(kind, flows)| (kind, scaled(flows, scale)))
                .collect(),
            assured: scaled(self.assured, scale),
            nated: scaled(self.nated, scale),
        }
    }
}

impl Population {
    /// TCP flows in a state.
    pub(crate) fn in_state(&self, state: TcpState) -> u64 {
        self.sum(|kind| kind.state == Some(state))
    }

    /// Flows of a protocol.
    pub(crate) fn of_protocol(&self, protocol: Protocol) -> u64 {
        self.sum(|kind| kind.protocol == protocol)
    }

    fn sum(&self, desired: impl Fn(&Kind) -> bool) -> u64 {
        let kinds = self.kinds.iter();
        kinds
            .filter(|(kind, _)| desired(kind))
            .map(|(_, flows)| flows)
            .sum()
    }
}

/// `[ASSURED]` in the listing of conntrack(8), which says `[OFFLOAD]` in its place.
fn is_assured(flow: &Flow<'_>) -> bool {
    flow.status.has(StatusBit::Assured)
        && !flow.status.has(StatusBit::Offload)
        && !flow.status.has(StatusBit::HwOffload)
}

/// fw_conntrack looks at the addresses of flows that have ports.
fn is_nated(flow: &Flow<'_>) -> bool {
    let (there, back) = (&flow.original, &flow.reply);
    there.ports().is_some() && (there.src, there.dst) != (back.dst, back.src)
}

#[cfg(test)]
mod tests {
    use super::super::captured::{TCP, UDP};
    use super::*;

    #[test]
    fn flows_are_counted_by_kind_and_every_usual_kind_is_there() {
        let mut kinds = Kinds::default();
        for message in [TCP, TCP, UDP] {
            kinds.add(&Flow::parse(message).unwrap());
        }
        let population = kinds.finish(None);
        assert_eq!((population.total, population.sampled), (3, None));
        assert!(population.margin.abs() < f64::EPSILON);
        assert_eq!(population.in_state(TcpState::Established), 2);
        assert_eq!(population.in_state(TcpState::SynSent), 0);
        assert_eq!(population.of_protocol(Protocol::UDP), 1);
        assert_eq!((population.assured, population.nated), (2, 0));
        // 10 TCP states, UDP and ICMP, twice.
        assert_eq!(population.kinds.len(), 24);
    }

    #[test]
    fn an_offloaded_flow_is_in_no_state_and_not_assured() {
        let mut flow = Flow::parse(TCP).unwrap();
        flow.status.0 |= StatusBit::Offload.mask();
        flow.tcp = None;
        let mut kinds = Kinds::default();
        kinds.add(&flow);
        let population = kinds.finish(None);
        assert_eq!(
            (population.assured, population.of_protocol(Protocol::TCP)),
            (0, 1)
        );
        assert_eq!(population.in_state(TcpState::Established), 0);
    }

    #[test]
    fn a_translated_address_counts_and_a_translated_port_alone_does_not() {
        let plain = Flow::parse(TCP).unwrap();
        let mut address = plain;
        address.reply.dst = [203, 0, 113, 9].into();
        let mut port = plain;
        port.reply.layer4 = crate::flow::Layer4::Ports { src: 80, dst: 9 };
        let mut portless = address;
        portless.original.layer4 = crate::flow::Layer4::Bare;
        for (flow, nated) in [(plain, 0), (address, 1), (port, 0), (portless, 0)] {
            let mut kinds = Kinds::default();
            kinds.add(&flow);
            assert_eq!(kinds.finish(None).nated, nated);
        }
    }

    #[test]
    fn a_sample_is_scaled_to_the_table_and_says_how_far_it_can_be_off() {
        let mut kinds = Kinds::default();
        for _ in 0..100 {
            kinds.add(&Flow::parse(TCP).unwrap());
        }
        let population = kinds.finish(Some(Sample {
            looked_at: 100,
            table: 1000,
        }));
        assert_eq!((population.total, population.sampled), (1000, Some(100)));
        assert_eq!(
            (
                population.in_state(TcpState::Established),
                population.assured
            ),
            (1000, 1000)
        );
        assert!(
            (0.08..0.11).contains(&population.margin),
            "{}",
            population.margin
        );
    }
}
