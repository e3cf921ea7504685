//! Whether a flow is selected.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Flow, Ports, Selection, Term, Terms, Test};

impl Selection {
    /// Whether the flow is one to act on: any of `matching` holds, or there is none, and none of
    /// `keep` does.
    pub(crate) fn matches(&self, flow: &Flow<'_>) -> bool {
        self.covers(flow) && !self.keeps(flow)
    }

    /// Whether any of `matching` holds, or there is none.
    pub(crate) fn covers(&self, flow: &Flow<'_>) -> bool {
        self.matching.is_empty() || self.matching.iter().any(|terms| terms.match_flow(flow))
    }

    /// Whether any of `keep` protects the flow.
    pub(crate) fn keeps(&self, flow: &Flow<'_>) -> bool {
        self.keep.iter().any(|terms| terms.match_flow(flow))
    }
}

impl Terms {
    /// Whether every term holds.
    pub(crate) fn match_flow(&self, flow: &Flow<'_>) -> bool {
        self.0.iter().all(|term| term.holds_for(flow))
    }
}

impl Term {
    /// Whether the test succeeds, or with `!=` fails. A flow without ports, or one that is not TCP,
    /// fails every test of a port, or of a state.
    pub(crate) fn holds_for(&self, flow: &Flow<'_>) -> bool {
        self.test.succeeds(flow) != self.negated
    }
}

impl Test {
    fn succeeds(&self, flow: &Flow<'_>) -> bool {
        match self {
            Test::Src(net) => contains(net, flow.original.src),
            Test::Dst(net) => contains(net, flow.original.dst),
            Test::ReplySrc(net) => contains(net, flow.reply.src),
            Test::ReplyDst(net) => contains(net, flow.reply.dst),
            Test::SourcePort(ports) => flow
                .original
                .ports()
                .is_some_and(|(src, _)| ports.hold(src)),
            Test::DestinationPort(ports) => flow
                .original
                .ports()
                .is_some_and(|(_, dst)| ports.hold(dst)),
            Test::Proto(protocol) => flow.original.protocol == *protocol,
            Test::State(state) => flow.tcp_state() == Some(*state),
            Test::Family(family) => flow.family == *family,
            Test::Mark(mark) => flow.mark & mark.mask == mark.value,
            Test::Zone(zone) => flow.zone() == *zone,
            Test::Status(bit) => flow.status.has(*bit),
        }
    }
}

/// A prefix holds no address of the other family.
fn contains(net: &IpNet, address: IpAddr) -> bool {
    net.contains(&address)
}

impl Ports {
    fn hold(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

#[cfg(test)]
mod tests {
    use super::super::captured::{TCP, UDP};
    use super::*;

    #[test]
    fn each_term_holds_for_its_flows_and_its_negation_for_the_others() {
        // tcp 192.168.1.1:1000 > 10.0.0.2:80 and udp [fd00::1]:1000 > [fd00::2]:53.
        let (tcp, udp) = (Flow::parse(TCP).unwrap(), Flow::parse(UDP).unwrap());
        for (text, for_tcp, for_udp) in [
            ("src=192.168.0.0/16", true, false),
            ("src=fd00::/8", false, true),
            ("src=0.0.0.0/0", true, false),
            ("dst=10.0.0.2", true, false),
            ("dst=10.0.0.3", false, false),
            ("sport=1000", true, true),
            ("sport=1001-2000", false, false),
            ("dport=53-80", true, true),
            ("dport=80", true, false),
            ("reply-src=10.0.0.2", true, false),
            ("reply-dst=fd00::1", false, true),
            ("proto=tcp", true, false),
            ("proto=17", false, true),
            ("state=established", true, false),
            ("state=none", false, false),
            ("family=ipv4", true, false),
            ("family=ipv6", false, true),
            ("mark=7", true, false),
            ("mark=0x2/0x2", true, false),
            ("mark=0", false, true),
            ("zone=3", true, false),
            ("zone=5", false, true),
            ("zone=0", false, false),
            ("status=seen-reply", true, false),
            ("status=confirmed", true, true),
            ("dport=80,proto=tcp", true, false),
            ("dport=80,proto=udp", false, false),
        ] {
            let terms = Terms::parse(text).unwrap();
            let holds = (terms.match_flow(&tcp), terms.match_flow(&udp));
            assert_eq!(holds, (for_tcp, for_udp), "{text}");
            if terms.0.len() == 1 {
                let terms = Terms::parse(&text.replacen('=', "!=", 1)).unwrap();
                let holds = (terms.match_flow(&tcp), terms.match_flow(&udp));
                assert_eq!(holds, (!for_tcp, !for_udp), "not {text}");
            }
        }
    }

    #[test]
    fn a_port_is_not_looked_for_in_a_flow_that_has_none() {
        let mut flow = Flow::parse(TCP).unwrap();
        flow.original.layer4 = crate::flow::Layer4::Bare;
        for (text, holds) in [("dport=0-65535", false), ("dport!=80", true)] {
            assert_eq!(
                Terms::parse(text).unwrap().match_flow(&flow),
                holds,
                "{text}"
            );
        }
    }

    #[test]
    fn any_alternative_selects_and_any_keep_wins() {
        let flow = Flow::parse(TCP).unwrap();
        for (matching, keep, matches) in [
            (&[][..], &[][..], true),
            (&["dport=80"], &[], true),
            (&["dport=443", "dport=80"], &[], true),
            (&["dport=443", "dport=81"], &[], false),
            (&["dport=80"], &["mark=7"], false),
            (&[], &["mark=8", "zone=3"], false),
            (&[], &["mark=8"], true),
        ] {
            let terms = |list: &[&str]| list.iter().map(|t| Terms::parse(t).unwrap()).collect();
            let selection = Selection {
                matching: terms(matching),
                keep: terms(keep),
            };
            assert_eq!(selection.matches(&flow), matches, "{matching:?} {keep:?}");
        }
    }
}
