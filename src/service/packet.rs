//! A packet that meets terms: the proof that two services overlap, or that one can be met at all.
//!
//! The values that meet all tests of one field are what some ranges have in common, without others:
//! if there is one, one lies at the start of a range or right behind the end of another.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::nft::{may_be, of};
use super::{Layer, Service, allows, layers};
use crate::flow::{Family, Layer4, Quantity, Term, Terms, Test, Tuple};

/// Two services that would both decide on a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Overlap {
    pub(crate) first: String,
    pub(crate) second: String,
    /// A packet that both match, for people.
    pub(crate) packet: String,
}

/// Every pair of services that overlap, each with a packet.
pub(crate) fn overlaps(services: &BTreeMap<String, Service>) -> Vec<Overlap> {
    let mut found = Vec::new();
    for (at, (first, one)) in services.iter().enumerate() {
        for (second, other) in services.iter().skip(at + 1) {
            let packet = shared(one, other);
            found.extend(packet.map(|packet| Overlap {
                first: first.clone(),
                second: second.clone(),
                packet,
            }));
        }
    }
    found
}

fn shared(one: &Service, other: &Service) -> Option<String> {
    let mut layers = Layer::ALL.into_iter();
    let tuple = layers.find_map(|layer| {
        if !one.has(layer) || !other.has(layer) {
            return None;
        }
        let mut pairs = one.matching.iter();
        pairs.find_map(|terms| {
            let mut others = other.matching.iter();
            others.find_map(|other| packet(&[terms, other], layer))
        })
    })?;
    Some(said(&tuple))
}

/// A first packet of this protocol that meets all of these terms; none if there is none.
pub(crate) fn packet(all: &[&Terms], layer: Layer) -> Option<Tuple> {
    if !all.iter().all(|terms| allows(terms, layer)) {
        return None;
    }
    let terms: Vec<&Term> = all.iter().flat_map(|terms| &terms.0).collect();
    let number = |quantity, usual| number(&terms, quantity, usual);
    let src = number(Quantity::SourcePort, 40_000)?;
    let dst = number(Quantity::DestinationPort, 9)?;
    let zone = number(Quantity::Zone, 0)?;
    let mut families = Family::ALL.iter().filter(|family| {
        let mut all = all.iter();
        all.all(|terms| may_be(terms, **family))
    });
    families.find_map(|family| {
        let source = |test: &Test| match test {
            Test::Src(net) => Some(*net),
            _ => None,
        };
        let destination = |test: &Test| match test {
            Test::Dst(net) => Some(*net),
            _ => None,
        };
        Some(Tuple {
            src: address(&terms, *family, 1, source)?,
            dst: address(&terms, *family, 2, destination)?,
            protocol: layer.protocol(),
            layer4: Layer4::Ports { src, dst },
            zone: (zone > 0).then_some(zone),
        })
    })
}

fn number(terms: &[&Term], wanted: Quantity, usual: u16) -> Option<u16> {
    let tests = terms.iter().filter_map(|term| match term.test {
        Test::Number(quantity, numbers) if quantity == wanted => Some((numbers, term.negated)),
        _ => None,
    });
    let tests: Vec<_> = tests.collect();
    let edges = tests.iter().map(|(numbers, negated)| match negated {
        false => numbers.first,
        true => numbers.last.saturating_add(1),
    });
    let mut candidates = [u64::from(usual)].into_iter().chain(edges).chain([1, 0]);
    let found = candidates.find(|number| {
        let holds =
            |numbers: &crate::flow::Numbers| (numbers.first..=numbers.last).contains(number);
        tests
            .iter()
            .all(|(numbers, negated)| holds(numbers) != *negated)
    })?;
    u16::try_from(found).ok()
}

fn address(
    terms: &[&Term],
    family: Family,
    usual: u8,
    net_of: impl Fn(&Test) -> Option<IpNet>,
) -> Option<IpAddr> {
    let tests = terms
        .iter()
        .filter_map(|term| Some((net_of(&term.test)?, term.negated)));
    let tests: Vec<_> = tests.filter(|(net, _)| of(net) == family).collect();
    let example = match family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::new(198, 51, 100, usual)),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, usual.into())),
    };
    let edges = tests.iter().flat_map(|(net, negated)| match negated {
        false => [after(net.network()), Some(net.network())],
        true => [after(net.broadcast()), None],
    });
    let first = match family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::new(1, 0, 0, usual)),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::new(1, 0, 0, 0, 0, 0, 0, usual.into())),
    };
    let mut candidates = [Some(example), Some(first)].into_iter().chain(edges);
    candidates.find_map(|address| {
        address.filter(|address| {
            let mut tests = tests.iter();
            tests.all(|(net, negated)| net.contains(address) != *negated)
        })
    })
}

/// The next address, if there is one.
fn after(address: IpAddr) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(address) => IpAddr::V4(u32::from(address).checked_add(1)?.into()),
        IpAddr::V6(address) => IpAddr::V6(u128::from(address).checked_add(1)?.into()),
    })
}

fn said(tuple: &Tuple) -> String {
    let (from, to) = tuple.ports().unwrap_or_default();
    let end = |address: IpAddr, port: u16| std::net::SocketAddr::new(address, port).to_string();
    let zone = tuple.zone.map(|zone| format!(" in zone {zone}"));
    format!(
        "{} {} → {}{}",
        tuple.protocol.to_string().to_uppercase(),
        end(tuple.src, from),
        end(tuple.dst, to),
        zone.unwrap_or_default()
    )
}

/// Whether there is a packet that a service decides on by these terms.
pub(crate) fn can_match(terms: &Terms) -> bool {
    layers(terms).any(|layer| packet(&[terms], layer).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::State;
    use proptest::prelude::*;

    fn service(matching: &[&str], states: &[State]) -> Service {
        Service {
            matching: matching
                .iter()
                .map(|text| Terms::parse(text).unwrap())
                .collect(),
            timeouts: states.iter().map(|state| (*state, 5)).collect(),
            why: None,
            origin: String::new(),
        }
    }

    #[test]
    fn overlapping_services_are_named_with_a_packet() {
        let (tcp, udp) = (State::Established, State::Replied);
        for (one, states, other, others, packet) in [
            (
                "proto=tcp,dport=22",
                tcp,
                "proto=tcp,dport=20-30",
                tcp,
                Some("TCP 198.51.100.1:40000 → 198.51.100.2:22"),
            ),
            ("dport=53", tcp, "dport=53", udp, None),
            ("dport=53", udp, "dport!=53", udp, None),
            (
                "dport=53",
                udp,
                "dport!=54,dst=2001:db8:1::/64",
                udp,
                Some("UDP [2001:db8::1]:40000 → [2001:db8:1::1]:53"),
            ),
            (
                "dst=10.0.0.0/8",
                tcp,
                "dst=10.1.0.0/16,sport=7",
                tcp,
                Some("TCP 198.51.100.1:7 → 10.1.0.1:9"),
            ),
            (
                "dst=10.0.0.0/8",
                tcp,
                "dst!=10.0.0.0/9,dst!=10.128.0.0/9",
                tcp,
                None,
            ),
            ("dst=10.0.0.0/8", tcp, "dst=2001:db8::/32", tcp, None),
            ("family=ipv6", tcp, "src=10.0.0.0/8", tcp, None),
            ("zone=4", tcp, "zone=5", tcp, None),
            (
                "zone=4",
                tcp,
                "dport=9",
                tcp,
                Some("TCP 198.51.100.1:40000 → 198.51.100.2:9 in zone 4"),
            ),
        ] {
            let services = BTreeMap::from([
                ("a".to_owned(), service(&[one], &[states])),
                ("b".to_owned(), service(&[other], &[others])),
            ]);
            let found = overlaps(&services).first().map(|one| one.packet.clone());
            assert_eq!(found.as_deref(), packet, "{one} and {other}");
        }
    }

    #[test]
    fn terms_that_contradict_each_other_match_nothing() {
        for (text, can) in [
            ("dport=53", true),
            ("dport=53,dport=54", false),
            ("src=10.0.0.0/8,dst=2001:db8::/32", false),
            ("proto=tcp,proto=udp", false),
            ("dst=192.0.2.1,dst!=192.0.2.0/24", false),
        ] {
            assert_eq!(can_match(&Terms::parse(text).unwrap()), can, "{text}");
        }
    }

    proptest! {
        /// Ports of a small world, where every packet can be tried.
        #[test]
        fn a_packet_is_found_where_there_is_one(
            tests in prop::collection::vec((0_u64..8, 0_u64..4, any::<bool>()), 0..5)
        ) {
            let terms = |ports: &[(u64, u64, bool)]| {
                let mut text: Vec<String> = ports
                    .iter()
                    .map(|(first, more, negated)| {
                        format!("dport{}={first}-{}", if *negated { "!" } else { "" }, first + more)
                    })
                    .collect();
                text.push("dport=0-11".to_owned());
                Terms::parse(&text.join(",")).unwrap()
            };
            let holds = |port: u64| {
                tests.iter().all(|(first, more, negated)| {
                    (*first..=first + more).contains(&port) != *negated
                })
            };
            let found = packet(&[&terms(&tests)], Layer::Tcp);
            prop_assert_eq!(found.is_some(), (0..=11).any(holds));
            if let Some((_, port)) = found.and_then(|tuple| tuple.ports()) {
                prop_assert!(holds(port.into()));
            }
        }
    }
}
