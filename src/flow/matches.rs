//! Whether a flow is selected.

use ipnet::IpNet;

use super::{Flow, Quantity, Selection, StatusBit, TcpState, Term, Terms, Test};

impl Selection {
    /// Whether the flow is one to act on: any of `matching` holds, or there is none, and none of
    /// `keep` does.
    pub(crate) fn matches(&self, flow: &Flow<'_>) -> bool {
        self.covers(flow) && !self.keeps(flow)
    }

    /// [`Selection::covers`] for a flow that was watched and silent for so many seconds.
    pub(crate) fn covers_idle(&self, flow: &Flow<'_>, idle: Option<u64>) -> bool {
        let mut matching = self.matching.iter();
        self.matching.is_empty() || matching.any(|terms| terms.match_idle(flow, idle))
    }

    /// [`Selection::keeps`] for a flow that was watched and silent for so many seconds.
    pub(crate) fn keeps_idle(&self, flow: &Flow<'_>, idle: Option<u64>) -> bool {
        self.keep.iter().any(|terms| terms.match_idle(flow, idle))
    }

    /// Whether every flow there can be is selected, whatever the terms look like: `mark=0/0`, or
    /// `family=ipv4` beside `family=ipv6`.
    pub(crate) fn covers_everything(&self) -> bool {
        // Without the terms that always hold.
        let telling = |terms: &Terms| -> Vec<Term> {
            let terms = terms.0.iter().filter(|term| !term.always_holds());
            terms.copied().collect()
        };
        let alternatives: Vec<Vec<Term>> = self.matching.iter().map(telling).collect();
        let single: Vec<&Term> = alternatives
            .iter()
            .filter_map(|terms| match terms.as_slice() {
                [term] => Some(term),
                _ => None,
            })
            .collect();
        let complement = |one: &&Term| single.iter().any(|other| one.completes(other));
        alternatives.is_empty()
            || alternatives.iter().any(Vec::is_empty)
            || single.iter().any(complement)
    }

    /// Whether some alternative names no flows: it says only what they are not, or fits
    /// whatever has an address, a port, a time.
    pub(crate) fn is_wide(&self) -> bool {
        let wide = |terms: &Terms| terms.0.iter().all(Term::is_wide);
        self.matching.is_empty() || self.matching.iter().any(wide)
    }

    /// The longest time for which flows have to be watched, so that every term about idle time can
    /// be answered; none without such a term.
    pub(crate) fn longest_idle(&self) -> Option<u64> {
        let terms = self.matching.iter().chain(&self.keep);
        let idle = terms
            .flat_map(|terms| &terms.0)
            .filter_map(|term| match term.test {
                Test::Number(Quantity::Idle, numbers) if numbers.last == u64::MAX => {
                    Some(numbers.first.max(1))
                }
                Test::Number(Quantity::Idle, numbers) => Some(numbers.last.saturating_add(1)),
                _ => None,
            });
        idle.max()
    }

    /// Whether it selects no other flows than established TCP connections.
    pub(crate) fn is_of_established(&self) -> bool {
        let established = Term {
            test: Test::State(TcpState::Established),
            negated: false,
        };
        let mut matching = self.matching.iter();
        !self.matching.is_empty() && matching.all(|terms| terms.0.contains(&established))
    }

    /// The same selection with every term about idle time left open.
    pub(crate) fn without_idle(&self) -> Selection {
        let open = |terms: &Terms| {
            let rest = terms.0.iter().filter(|term| !term.is_about_idle());
            Terms(rest.copied().collect())
        };
        Selection {
            matching: self.matching.iter().map(open).collect(),
            keep: self
                .keep
                .iter()
                .filter(|terms| !terms.is_about_idle())
                .cloned()
                .collect(),
        }
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
    /// Whether a term asks for idle time, which is known only of watched flows.
    pub(crate) fn is_about_idle(&self) -> bool {
        self.0.iter().any(Term::is_about_idle)
    }

    /// Whether every term holds.
    pub(crate) fn match_flow(&self, flow: &Flow<'_>) -> bool {
        self.match_idle(flow, None)
    }

    fn match_idle(&self, flow: &Flow<'_>, idle: Option<u64>) -> bool {
        self.0.iter().all(|term| term.matches(flow, idle))
    }
}

impl Term {
    fn is_about_idle(&self) -> bool {
        matches!(self.test, Test::Number(Quantity::Idle, _))
    }

    /// Whether it matches every flow.
    fn always_holds(&self) -> bool {
        use Quantity::{OriginalZone, ReplyZone, Zone};
        let holds = match self.test {
            Test::Mark(mark) => mark.mask == 0,
            Test::Number(Zone | OriginalZone | ReplyZone, zones) => {
                zones.first == 0 && zones.last >= u16::MAX.into()
            }
            _ => false,
        };
        holds && !self.negated
    }

    /// Whether it says what flows are not, or fits whatever has an address, a port, a time: of
    /// a table it may match every flow.
    fn is_wide(&self) -> bool {
        self.negated
            || match self.test {
                Test::Src(net) | Test::Dst(net) | Test::ReplySrc(net) | Test::ReplyDst(net) => {
                    net.prefix_len() == 0
                }
                // The kernel tells of no flow that is not confirmed.
                Test::Family(_) | Test::Status(StatusBit::Confirmed) => true,
                Test::Mark(mark) => mark.mask == 0,
                Test::Number(_, numbers) => numbers.first <= 1 && numbers.last >= 65535,
                _ => false,
            }
    }

    /// Whether one of the two matches every flow.
    fn completes(&self, other: &Term) -> bool {
        let is_opposite = self.test == other.test && self.negated != other.negated;
        let every = |one: &IpNet, two: &IpNet| {
            let is_v4 = |net: &IpNet| matches!(net, IpNet::V4(_));
            one.prefix_len() == 0 && two.prefix_len() == 0 && is_v4(one) != is_v4(two)
        };
        let is_partition = !self.negated
            && !other.negated
            && match (&self.test, &other.test) {
                (Test::Family(one), Test::Family(two)) => one != two,
                (Test::Number(Quantity::Left, one), Test::Number(Quantity::Left, two)) => {
                    one.first.min(two.first) == 0
                        && one.last.max(two.last) == u64::MAX
                        && one.first <= two.last.saturating_add(1)
                        && two.first <= one.last.saturating_add(1)
                }
                (Test::Src(one), Test::Src(two))
                | (Test::Dst(one), Test::Dst(two))
                | (Test::ReplySrc(one), Test::ReplySrc(two))
                | (Test::ReplyDst(one), Test::ReplyDst(two)) => every(one, two),
                _ => false,
            };
        is_opposite || is_partition
    }

    /// Whether the test succeeds, or with `!=` fails. A flow without ports, or one that is not TCP,
    /// fails every test of a port, or of a state. Without proof that it was idle a flow matches
    /// neither `idle` nor its opposite.
    fn matches(&self, flow: &Flow<'_>, idle: Option<u64>) -> bool {
        if let Test::Number(Quantity::Idle, numbers) = self.test {
            return idle.is_some_and(|idle| numbers.hold(idle) != self.negated);
        }
        self.test.succeeds(flow) != self.negated
    }
}

impl Test {
    fn succeeds(&self, flow: &Flow<'_>) -> bool {
        match self {
            Test::Src(net) => net.contains(&flow.original.src),
            Test::Dst(net) => net.contains(&flow.original.dst),
            Test::ReplySrc(net) => net.contains(&flow.reply.src),
            Test::ReplyDst(net) => net.contains(&flow.reply.dst),
            Test::Proto(protocol) => flow.original.protocol == *protocol,
            Test::State(state) => flow.tcp_state() == Some(*state),
            Test::SctpState(state) => flow.sctp == Some(*state),
            Test::Family(family) => flow.family == *family,
            Test::Mark(mark) => flow.mark & mark.mask == mark.value,
            Test::Status(bit) => flow.status.has(*bit),
            Test::Helper(name) => flow.helper == Some(name.bytes()),
            Test::Number(quantity, numbers) => quantity.is_among(*numbers, flow),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::captured::{TCP, UDP};
    use super::*;
    use crate::flow::{Layer4, Protocol};

    #[test]
    fn each_term_matches_its_flows_and_its_negation_the_others() {
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
            ("reply-sport=80", true, false),
            ("reply-dport=1000", true, true),
            ("orig-zone=3", true, false),
            ("orig-zone=5", false, true),
            ("reply-zone=3", true, false),
            ("reply-zone=0", false, true),
            ("left=999", true, true),
            ("left<999", false, false),
            ("bytes>0", false, false),
            ("label=3", false, false),
            ("helper=ftp", false, false),
            ("icmp-type=8", false, false),
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
                let negated = text.replacen(['=', '<', '>'], "!$", 1);
                let sign = text
                    .chars()
                    .find(|c| "=<>".contains(*c))
                    .unwrap()
                    .to_string();
                let terms = Terms::parse(&negated.replace('$', &sign)).unwrap();
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
    fn what_only_some_flows_have_is_tested_where_it_is() {
        let mut flow = Flow::parse(UDP).unwrap();
        flow.helper = Some(b"sip");
        // Bits 1 and 64.
        flow.labels = Some(&[2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        flow.counters = Some(crate::flow::Counters {
            original_bytes: 1000,
            reply_bytes: 24,
            ..crate::flow::Counters::default()
        });
        let holds = |flow: &Flow<'_>, text: &str| Terms::parse(text).unwrap().match_flow(flow);
        for text in [
            "helper=sip",
            "label=1",
            "label=64",
            "bytes=1KiB",
            "bytes>1023",
        ] {
            assert!(holds(&flow, text), "{text}");
        }
        for text in ["helper=si", "label=0", "label=127", "bytes>1024"] {
            assert!(!holds(&flow, text), "{text}");
        }
        flow.original.protocol = Protocol::ICMP;
        flow.original.layer4 = Layer4::Icmp {
            id: 7,
            kind: 8,
            code: 0,
        };
        assert!(holds(&flow, "icmp-type=8,icmp-id<8") && !holds(&flow, "icmp-type=0"));
        flow.original.protocol = Protocol::GRE;
        flow.original.layer4 = Layer4::Ports { src: 9, dst: 10 };
        assert!(holds(&flow, "gre-key=10") && !holds(&flow, "gre-key=11"));
        assert!(!holds(&flow, "sport=9"));
        flow.sctp = Some(4);
        flow.original.protocol = Protocol::SCTP;
        assert!(holds(&flow, "state=established,proto=sctp"));
        assert!(!holds(&flow, "state=established"));
    }

    #[test]
    fn idle_time_counts_only_where_it_was_watched() {
        let flow = Flow::parse(TCP).unwrap();
        let selection = |text: &str| Selection {
            matching: vec![Terms::parse(text).unwrap()],
            keep: Vec::new(),
        };
        for (text, idle, matches) in [
            ("idle>10m,proto=tcp", Some(601), true),
            ("idle>10m", Some(600), false),
            ("idle!>10m", Some(600), true),
            ("idle>10m", None, false),
            ("idle!>10m", None, false),
        ] {
            assert_eq!(selection(text).covers_idle(&flow, idle), matches, "{text}");
        }
        assert_eq!(selection("idle>10m,dport=80").longest_idle(), Some(601));
        assert_eq!(selection("idle<10m").longest_idle(), Some(600));
        for (text, seconds) in [("idle>=0", 1), ("idle>0", 1), ("idle=0", 1), ("idle!=5", 6)] {
            assert_eq!(selection(text).longest_idle(), Some(seconds), "{text}");
        }
        assert_eq!(selection("dport=80").longest_idle(), None);
        assert!(selection("idle>10m,dport=80").without_idle().matches(&flow));
    }

    #[test]
    fn a_selection_of_everything_is_known_however_it_is_written() {
        for (matching, is_everything) in [
            (&[][..], true),
            (&["mark=0/0"], true),
            (&["mark=0/0,zone=0-65535"], true),
            (&["mark=0/0,proto=udp"], false),
            (&["mark!=0/0"], false),
            (&["proto=tcp", "proto!=tcp"], true),
            (&["family=ipv4", "family=ipv6"], true),
            (&["src=0.0.0.0/0", "src=::/0"], true),
            (&["src=0.0.0.0/0", "dst=::/0"], false),
            (&["src=::/0"], false),
            (&["left<1h", "left>=1h"], true),
            (&["left>=1h", "left<2h"], true),
            (&["left<1h", "left>1h"], false),
            (&["dport=0-65535"], false),
            (&["dport=1", "proto=udp"], false),
        ] {
            let selection = Selection {
                matching: matching.iter().map(|t| Terms::parse(t).unwrap()).collect(),
                keep: Vec::new(),
            };
            assert_eq!(selection.covers_everything(), is_everything, "{matching:?}");
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
