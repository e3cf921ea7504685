//! What the kernel can check while it dumps, worked out from a selection.

use ipnet::IpNet;

use super::{Family, Filter, Protocol, Quantity, Selection, Term, Terms, Test};
use crate::conntrack::StatusFilter;

impl Filter {
    /// What all flows of a selection have in common.
    pub(crate) fn of(selection: &Selection) -> Filter {
        let filters = selection.matching.iter().map(Filter::of_terms);
        filters.reduce(Filter::common).unwrap_or_default()
    }

    fn of_terms(terms: &Terms) -> Filter {
        let mut filter = Filter::default();
        for Term { test, negated } in &terms.0 {
            match (test, negated) {
                (
                    Test::Src(net) | Test::Dst(net) | Test::ReplySrc(net) | Test::ReplyDst(net),
                    false,
                ) => filter.family = Some(family(net)),
                (Test::Family(family), false) => filter.family = Some(*family),
                (Test::Proto(protocol), false) => filter.protocol = Some(*protocol),
                (Test::State(_), false) => filter.protocol = Some(Protocol::TCP),
                (Test::Mark(mark), false) => filter.mark = Some(*mark),
                (Test::Number(quantity, numbers), false) => {
                    let place = match quantity {
                        Quantity::SourcePort => &mut filter.source_port,
                        Quantity::DestinationPort => &mut filter.destination_port,
                        Quantity::Zone => &mut filter.zone,
                        _ => continue,
                    };
                    *place = numbers.only().or(*place);
                }
                (Test::SctpState(_), false) => filter.protocol = Some(Protocol::SCTP),
                (Test::Status(bit), negated) => {
                    filter.status.mask |= bit.mask();
                    filter.status.value &= !bit.mask();
                    filter.status.value |= if *negated { 0 } else { bit.mask() };
                }
                _ => {}
            }
        }
        filter
    }

    /// What holds under both.
    fn common(self, other: Filter) -> Filter {
        let mask = self.status.mask & other.status.mask & !(self.status.value ^ other.status.value);
        Filter {
            family: same(self.family, other.family),
            protocol: same(self.protocol, other.protocol),
            source_port: same(self.source_port, other.source_port),
            destination_port: same(self.destination_port, other.destination_port),
            mark: same(self.mark, other.mark),
            zone: same(self.zone, other.zone),
            status: StatusFilter {
                value: self.status.value & mask,
                mask,
            },
        }
    }
}

fn same<T: PartialEq + Copy>(one: Option<T>, other: Option<T>) -> Option<T> {
    one.filter(|_| one == other)
}

fn family(net: &IpNet) -> Family {
    match net {
        IpNet::V4(_) => Family::Ipv4,
        IpNet::V6(_) => Family::Ipv6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Mark, StatusBit};

    fn of(matching: &[&str]) -> Filter {
        Filter::of(&Selection {
            matching: matching
                .iter()
                .map(|text| Terms::parse(text).unwrap())
                .collect(),
            keep: vec![Terms::parse("proto=tcp").unwrap()],
        })
    }

    const ANY: Filter = Filter {
        family: None,
        protocol: None,
        source_port: None,
        destination_port: None,
        mark: None,
        zone: None,
        status: StatusFilter { value: 0, mask: 0 },
    };

    #[test]
    fn each_term_that_the_kernel_can_check_becomes_a_condition() {
        let assured = StatusBit::Assured.mask();
        let status = |value, mask| StatusFilter { value, mask };
        for (text, filter) in [
            (
                "src=10.0.0.0/8",
                Filter {
                    family: Some(Family::Ipv4),
                    ..ANY
                },
            ),
            (
                "reply-dst=::1",
                Filter {
                    family: Some(Family::Ipv6),
                    ..ANY
                },
            ),
            (
                "family=ipv6",
                Filter {
                    family: Some(Family::Ipv6),
                    ..ANY
                },
            ),
            (
                "proto=udp",
                Filter {
                    protocol: Some(Protocol::UDP),
                    ..ANY
                },
            ),
            (
                "state=established",
                Filter {
                    protocol: Some(Protocol::TCP),
                    ..ANY
                },
            ),
            (
                "sport=53",
                Filter {
                    source_port: Some(53),
                    ..ANY
                },
            ),
            (
                "dport=53",
                Filter {
                    destination_port: Some(53),
                    ..ANY
                },
            ),
            (
                "mark=0x10/0xf0",
                Filter {
                    mark: Some(Mark {
                        value: 0x10,
                        mask: 0xf0,
                    }),
                    ..ANY
                },
            ),
            (
                "zone=0",
                Filter {
                    zone: Some(0),
                    ..ANY
                },
            ),
            (
                "status=assured",
                Filter {
                    status: status(assured, assured),
                    ..ANY
                },
            ),
            (
                "status!=assured",
                Filter {
                    status: status(0, assured),
                    ..ANY
                },
            ),
        ] {
            assert_eq!(of(&[text]), filter, "{text}");
        }
    }

    #[test]
    fn what_the_kernel_cannot_check_filters_nothing() {
        for text in [
            "src!=10.0.0.0/8",
            "family!=ipv6",
            "proto!=udp",
            "state!=established",
            "dport=53-54",
            "dport!=53",
            "mark!=1",
            "zone!=1",
        ] {
            assert_eq!(of(&[text]), ANY, "{text}");
        }
        assert_eq!(of(&[]), ANY);
    }

    #[test]
    fn of_several_alternatives_only_what_they_share_is_a_condition() {
        let shared = of(&[
            "proto=tcp,dport=80,status=assured,status!=dying",
            "proto=tcp,dport=443,status=assured,status=dying",
        ]);
        let assured = StatusBit::Assured.mask();
        assert_eq!(
            shared,
            Filter {
                protocol: Some(Protocol::TCP),
                status: StatusFilter {
                    value: assured,
                    mask: assured
                },
                ..ANY
            }
        );
        assert_eq!(of(&["proto=tcp", "zone=1"]), ANY);
    }
}
