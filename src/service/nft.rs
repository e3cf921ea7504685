//! Terms as the conditions of an nft rule.
//!
//! They ask for the original tuple of the flow, which is the same before and behind NAT, for packets
//! that arrive and for the machine's own.

use ipnet::IpNet;

use crate::flow::{Family, Protocol, Quantity, Term, Terms, Test};

/// nft takes no longer comment on a rule.
pub(crate) const LONGEST_COMMENT: usize = 128;

/// The rules that together ask for these terms, each as its conditions: one, or one for each family
/// where an address is asked for.
pub(super) fn rules(terms: &Terms) -> Vec<String> {
    let asks_family =
        |term: &Term| matches!(term.test, Test::Src(_) | Test::Dst(_) | Test::Family(_));
    if !terms.0.iter().any(asks_family) {
        return vec![asks(terms, None).join(" ")];
    }
    let families = Family::ALL.iter();
    let families = families.filter(|family| may_be(terms, **family));
    families
        .map(|family| asks(terms, Some(*family)).join(" "))
        .collect()
}

/// Whether flows of this family can meet the terms.
pub(super) fn may_be(terms: &Terms, family: Family) -> bool {
    terms.0.iter().all(|term| match term.test {
        Test::Src(net) | Test::Dst(net) => term.negated || of(&net) == family,
        Test::Family(asked) => (asked == family) != term.negated,
        _ => true,
    })
}

pub(super) fn of(net: &IpNet) -> Family {
    match net {
        IpNet::V4(_) => Family::Ipv4,
        IpNet::V6(_) => Family::Ipv6,
    }
}

/// What a rule asks of a flow, of this family where one is given. An address of the other family is
/// left out: it can only be one that a flow must not have.
pub(crate) fn asks(terms: &Terms, family: Option<Family>) -> Vec<String> {
    let mut asks: Vec<String> = Vec::new();
    asks.extend(family.map(|family| format!("meta nfproto {family}")));
    let mut terms: Vec<&Term> = terms.0.iter().collect();
    // The protocol first: a port is nothing without it.
    terms.sort_by_key(|term| !matches!(term.test, Test::Proto(_)));
    let is_of_other = |test: &Test| match test {
        Test::Src(net) | Test::Dst(net) => family.is_some_and(|family| of(net) != family),
        _ => false,
    };
    let asks_port = |test: &Test| {
        use Quantity::{DestinationPort, SourcePort};
        matches!(test, Test::Number(SourcePort | DestinationPort, _))
    };
    let mut positive = terms.iter().filter(|term| !term.negated);
    let has_protocol = positive.any(|term| matches!(term.test, Test::Proto(_)));
    if !has_protocol && terms.iter().any(|term| asks_port(&term.test)) {
        asks.push("meta l4proto { tcp, udp, udplite, sctp, dccp }".to_owned());
    }
    let terms = terms.into_iter().filter(|term| !is_of_other(&term.test));
    asks.extend(terms.filter_map(ask));
    asks
}

fn ask(term: &Term) -> Option<String> {
    let not = if term.negated { "!= " } else { "" };
    let header = |net: &IpNet| match net {
        IpNet::V4(_) => "ip",
        IpNet::V6(_) => "ip6",
    };
    Some(match &term.test {
        Test::Src(net) => format!("ct original {} saddr {not}{}", header(net), short(net)),
        Test::Dst(net) => format!("ct original {} daddr {not}{}", header(net), short(net)),
        Test::Proto(protocol) => format!("meta l4proto {not}{}", protocol_name(*protocol)),
        Test::Number(quantity, numbers) => {
            let what = match quantity {
                Quantity::SourcePort => "original proto-src",
                Quantity::DestinationPort => "original proto-dst",
                Quantity::Zone => "zone",
                _ => return None,
            };
            format!("ct {what} {not}{numbers}")
        }
        // The family is asked for by itself.
        _ => return None,
    })
}

/// A network, or the address of a host.
fn short(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() {
        net.addr().to_string()
    } else {
        net.trunc().to_string()
    }
}

/// A name that nft knows without /etc/protocols, or the number.
fn protocol_name(protocol: Protocol) -> String {
    match protocol {
        Protocol::TCP | Protocol::UDP | Protocol::UDPLITE | Protocol::SCTP | Protocol::DCCP => {
            protocol.to_string()
        }
        Protocol(number) => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_must_not_be_leaves_the_other_family_free() {
        for (text, expected) in [
            (
                "proto=tcp,dport=5228-5230",
                &["meta l4proto tcp ct original proto-dst 5228-5230"][..],
            ),
            (
                "proto=udp,dst=192.0.2.7",
                &["meta nfproto ipv4 meta l4proto udp ct original ip daddr 192.0.2.7"],
            ),
            (
                "dst!=10.0.0.0/8,proto=udp",
                &[
                    "meta nfproto ipv4 meta l4proto udp ct original ip daddr != 10.0.0.0/8",
                    "meta nfproto ipv6 meta l4proto udp",
                ],
            ),
            (
                "family!=ipv4,proto=udp",
                &["meta nfproto ipv6 meta l4proto udp"],
            ),
            ("src=10.0.0.0/8,dst=2001:db8::/32", &[]),
        ] {
            assert_eq!(rules(&Terms::parse(text).unwrap()), expected, "{text}");
        }
    }
}
