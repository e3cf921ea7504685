//! Findings about translated flows.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::flows_and_share;
use crate::assess::{Finding, Id, Severity};
use crate::diagnostic::Hint;
use crate::flow::{Estimate, Nat, NatPorts, private_block};
use crate::tunable::{format_count, format_share, plural};

/// Shares of the ports in use above which new flows soon find none.
const PORTS_WARN: f64 = 0.8;
const PORTS_CRITICAL: f64 = 0.95;
/// Fewer flows may be what is left of a change of addresses.
const SOME: u64 = 10;

/// The addresses and routes of the namespace, as far as they could be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Network {
    /// Of all interfaces.
    pub(crate) addresses: Option<BTreeSet<IpAddr>>,
    /// Destinations of all routes but the default ones.
    pub(crate) routes: Option<Vec<IpNet>>,
    /// Neighbours that did not answer.
    pub(crate) failed: Option<BTreeSet<IpAddr>>,
}

pub(super) fn findings(nat: &Nat, network: &Network) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(nat.ports.as_ref().and_then(ports));
    findings.extend(address_gone(nat, network));
    findings.extend(untranslated(nat));
    findings.extend(target_dead(nat, network));
    findings
}

fn ports(nat: &NatPorts) -> Option<Finding> {
    #[expect(clippy::cast_precision_loss)] // below 2^31
    let used = nat.used.flows as f64 / nat.size() as f64;
    let (first, last) = (nat.ports.start(), nat.ports.end());
    let whose = if nat.by_rule {
        "that the rule allows"
    } else if *last < 1024 {
        "that the kernel has for flows from such a port"
    } else {
        "that an address has"
    };
    let help = if nat.by_rule {
        "allow more ports in the rule, or translate to more addresses: in nft `snat to \
         ADDRESS-ADDRESS`"
    } else {
        "translate to more addresses, in nft `snat to ADDRESS-ADDRESS`, or to a range of ports, in \
         nft `masquerade to :1024-65535`"
    };
    (used >= PORTS_WARN).then(|| {
        Finding::new(
            Id::NatPorts,
            if used >= PORTS_CRITICAL {
                Severity::Critical
            } else {
                Severity::Warning
            },
            format!(
                "{} are translated to {} and go to {} by {}: {} of the {} ports {whose} \
                 ({first}-{last}) are in use; without a free port the next flow is dropped",
                flows_and_share(nat.used),
                nat.address,
                nat.server,
                nat.protocol,
                format_share(used.min(1.0)),
                format_count(nat.size()),
            ),
            Hint::cttune(format!(
                "top --by src --match reply-dst={},reply-src={}",
                nat.address,
                nat.server.ip()
            ))
            .to("see who has them")
            .and(Hint::say(help)),
        )
    })
}

/// Flows that are translated to an address which this machine has no more.
fn address_gone(nat: &Nat, network: &Network) -> Option<Finding> {
    let (addresses, routes) = network.addresses.as_ref().zip(network.routes.as_ref())?;
    let is_here = |address: &IpAddr| {
        addresses.contains(address) || routes.iter().any(|route| route.contains(address))
    };
    let mut translated = nat.addresses.iter();
    let (address, flows) =
        translated.find(|(address, flows)| flows.flows >= SOME && !is_here(address))?;
    Some(Finding::new(
        Id::NatAddressGone,
        Severity::Warning,
        format!(
            "{} are translated to {address}, and no interface and no route of this machine has \
             that address: answers do not come back",
            flows_and_share(*flows)
        ),
        Hint::cttune(format!("kill --match reply-dst={address}"))
            .to("end them, so that they begin again with the present address")
            .and(Hint::say(
                "if this machine answers for it as a proxy, all is well: `ip neigh show proxy`",
            )),
    ))
}

/// Private sources that leave as they are, beside flows that are translated.
fn untranslated(nat: &Nat) -> Option<Finding> {
    let all = nat.untranslated;
    let (source, its) = nat.untranslated_sources.first()?;
    let is_one = its.flows * 2 > all.flows;
    let (told, terms) = if is_one {
        let told = format!("most of them from {source}");
        (told, format!("src={source},reply-dst={source}"))
    } else {
        let block = private_block(*source)?;
        let told = "from many sources".to_owned();
        (told, format!("src={block},reply-dst={block},dst!={block}"))
    };
    (nat.translated.flows > all.flows && all.flows >= SOME).then(|| {
        Finding::new(
            Id::Untranslated,
            Severity::Warning,
            format!(
                "{} from private addresses to public ones are not translated, {told}, beside {} \
                 that are: they began before the rule, or pass it by",
                plural(all.flows, "flow"),
                format_count(nat.translated.flows)
            ),
            Hint::cttune(format!("kill --match {terms}"))
                .to("end them, so that they begin again by the rules of now"),
        )
    })
}

/// Flows whose destination is translated to a machine that is not there.
fn target_dead(nat: &Nat, network: &Network) -> Option<Finding> {
    let failed = network.failed.as_ref()?;
    let mut targets = nat.unanswered.iter();
    let (target, flows): &(IpAddr, Estimate) =
        targets.find(|(target, flows)| flows.flows >= SOME && failed.contains(target))?;
    Some(Finding::new(
        Id::NatTargetDead,
        Severity::Warning,
        format!(
            "{} are sent on to {target}, which never answered and has no reachable neighbour \
             entry: the machine is down, or the DNAT rule names the wrong one",
            flows_and_share(*flows)
        ),
        Hint::command(format!("ip neigh show {target}"))
            .to("see the neighbour entry")
            .and(Hint::cttune(format!("kill --match reply-src={target}")).to("end these flows")),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Protocol;

    fn estimate(flows: u64) -> Estimate {
        Estimate {
            flows,
            share: 0.5,
            margin: 0.0,
        }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn nothing() -> Nat {
        Nat {
            ports: None,
            addresses: Vec::new(),
            translated: estimate(0),
            untranslated: estimate(0),
            untranslated_sources: Vec::new(),
            unanswered: Vec::new(),
        }
    }

    fn found(nat: &Nat, network: &Network) -> Vec<(&'static str, Severity)> {
        let findings = findings(nat, network);
        findings
            .iter()
            .map(|one| (one.id.name(), one.severity))
            .collect()
    }

    #[test]
    fn ports_are_judged_by_the_range_that_there_is() {
        for (flows, ports, by_rule, severity) in [
            (399, 5000..=5499, true, None),
            (400, 5000..=5499, true, Some(Severity::Warning)),
            (500, 5000..=5499, true, Some(Severity::Critical)),
            (500, 1..=511, false, Some(Severity::Critical)),
            (345, 600..=1023, false, Some(Severity::Warning)),
            (51_000, 1024..=65535, false, None),
            (52_000, 1024..=65535, false, Some(Severity::Warning)),
        ] {
            let nat = Nat {
                ports: Some(NatPorts {
                    protocol: Protocol::UDP,
                    address: address("203.0.113.1"),
                    server: "198.51.100.1:443".parse().unwrap(),
                    used: estimate(flows),
                    ports: ports.clone(),
                    by_rule,
                }),
                ..nothing()
            };
            let expected: Vec<_> = severity
                .map(|severity| ("nat-ports", severity))
                .into_iter()
                .collect();
            assert_eq!(
                found(&nat, &Network::default()),
                expected,
                "{flows} of {ports:?}"
            );
        }
    }

    #[test]
    fn an_address_is_gone_where_neither_interface_nor_route_has_it() {
        let nat = Nat {
            addresses: vec![(address("203.0.113.9"), estimate(50))],
            ..nothing()
        };
        let network = |own: &str, route: &str| Network {
            addresses: Some([address(own)].into()),
            routes: Some(vec![route.parse().unwrap()]),
            failed: None,
        };
        let gone = [("nat-address-gone", Severity::Warning)];
        for (network, expected) in [
            (network("203.0.113.9", "10.0.0.0/8"), &[][..]),
            (network("198.51.100.7", "203.0.113.0/28"), &[]),
            (network("198.51.100.7", "10.0.0.0/8"), &gone),
            (Network::default(), &[]),
        ] {
            assert_eq!(found(&nat, &network), expected, "{network:?}");
        }
    }

    #[test]
    fn untranslated_flows_and_dead_targets_are_told_from_ten_on() {
        for (flows, number) in [(9, 0), (10, 1)] {
            let nat = Nat {
                translated: estimate(100),
                untranslated: estimate(flows),
                untranslated_sources: vec![(address("10.0.0.7"), estimate(flows))],
                ..nothing()
            };
            assert_eq!(found(&nat, &Network::default()).len(), number, "{flows}");
            let nat = Nat {
                unanswered: vec![(address("10.0.0.8"), estimate(flows))],
                ..nothing()
            };
            let failed = |target| Network {
                failed: Some([address(target)].into()),
                ..Network::default()
            };
            assert_eq!(found(&nat, &failed("10.0.0.8")).len(), number, "{flows}");
            assert_eq!(found(&nat, &failed("10.0.0.9")), []);
        }
    }
}
