//! Timeout policies: values that apply to some flows in place of the sysctls, at every packet.
//!
//! Rule: no dump says which flow has which policy. A policy may apply to every flow that its rules
//! could have attached it to; where the rules are not understood, for all flows of its protocol.

use super::{Family, Flow, Protocol, Selection, StatusBit};

/// `IPPROTO_RAW` stands for every protocol without a tracker of its own.
const GENERIC: Protocol = Protocol(255);

/// A policy, and the flows that it may apply to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    /// None for both families.
    pub(crate) family: Option<Family>,
    pub(crate) protocol: Protocol,
    /// Seconds by the number of the state: `CTA_TIMEOUT_TCP_*` and its siblings.
    pub(crate) seconds: [Option<u32>; Policy::STATES],
    /// What a flow has to match for a rule to attach the policy; every flow where it is empty.
    pub(crate) selection: Selection,
    /// Of a service of cttune, whose flows have this connection label: its terms are the whole of
    /// what it is for. Without terms only flows with the label have it.
    pub(crate) label: Option<u8>,
}

/// Every policy of a network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Policies(pub(crate) Vec<Policy>);

/// What policies may give a flow at its next packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ByPolicy {
    /// None applies to it.
    Nothing,
    /// At most so many seconds.
    Seconds(u32),
    /// A policy may apply to it whose value is not known.
    Unknown,
}

/// The services of a network namespace, each by its name and a policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Services(pub(crate) Vec<(&'static str, Policy)>);

impl Services {
    /// The service of a flow: by its label, else by what it is for.
    pub(crate) fn of(&self, flow: &Flow<'_>) -> Option<&'static str> {
        let has_label = |policy: &Policy| policy.label.is_some_and(|label| flow.has_label(label));
        let labelled = self.0.iter().find(|(_, policy)| has_label(policy));
        let matched = || self.0.iter().find(|(_, policy)| policy.may_apply_to(flow));
        labelled.or_else(matched).map(|(name, _)| *name)
    }
}

impl Policy {
    /// One more than the highest number of a state.
    pub(crate) const STATES: usize = 12;

    fn may_apply_to(&self, flow: &Flow<'_>) -> bool {
        let has_tracker = matches!(
            flow.original.protocol,
            Protocol::TCP
                | Protocol::UDP
                | Protocol::UDPLITE
                | Protocol::SCTP
                | Protocol::DCCP
                | Protocol::GRE
                | Protocol::ICMP
                | Protocol::ICMPV6
        );
        (self.protocol == flow.original.protocol || self.protocol == GENERIC && !has_tracker)
            && self.family.is_none_or(|family| family == flow.family)
            && match self.label {
                Some(label) if flow.has_label(label) => true,
                Some(_) if self.selection.matching.is_empty() => false,
                _ => self.selection.covers(flow),
            }
    }

    fn seconds_of(&self, flow: &Flow<'_>) -> Option<u32> {
        let of = |state: usize| self.seconds.get(state).copied().flatten();
        match flow.original.protocol {
            Protocol::TCP => of(flow.tcp_state()?.number().into()),
            Protocol::SCTP => of(flow.sctp?.into()),
            Protocol::UDP | Protocol::UDPLITE => {
                let (unreplied, replied) = (of(1)?, of(2)?);
                Some(if !flow.status.has(StatusBit::SeenReply) {
                    unreplied
                } else if flow.status.has(StatusBit::Assured) {
                    replied
                } else {
                    unreplied.max(replied)
                })
            }
            _ => of(1),
        }
    }
}

impl Policies {
    /// Whether a policy may apply to this flow.
    pub(crate) fn may_apply_to(&self, flow: &Flow<'_>) -> bool {
        self.0.iter().any(|policy| policy.may_apply_to(flow))
    }

    /// The time that the service of this flow asks for, where it has one and no other policy may
    /// apply to it.
    pub(crate) fn of_service(&self, flow: &Flow<'_>) -> Option<u32> {
        let mut seconds = None;
        for policy in self.0.iter().filter(|policy| policy.may_apply_to(flow)) {
            policy.label?;
            seconds = seconds.max(Some(policy.seconds_of(flow)?));
        }
        seconds
    }

    /// The same policies with those of services replaced.
    #[must_use]
    pub(crate) fn with_services(mut self, services: impl IntoIterator<Item = Policy>) -> Self {
        self.0.retain(|policy| policy.label.is_none());
        self.0.extend(services);
        self
    }

    /// The longest time that a policy may give this flow at its next packet.
    pub(crate) fn longest_for(&self, flow: &Flow<'_>) -> ByPolicy {
        let mut longest = ByPolicy::Nothing;
        for policy in self.0.iter().filter(|policy| policy.may_apply_to(flow)) {
            longest = match (policy.seconds_of(flow), longest) {
                (None, _) => return ByPolicy::Unknown,
                (Some(seconds), ByPolicy::Seconds(most)) => ByPolicy::Seconds(most.max(seconds)),
                (Some(seconds), _) => ByPolicy::Seconds(seconds),
            };
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::captured::{TCP, UDP};
    use crate::flow::{TcpState, Terms};

    fn policy(protocol: Protocol, seconds: &[(usize, u32)]) -> Policy {
        let mut policy = Policy {
            family: None,
            protocol,
            seconds: [None; Policy::STATES],
            selection: Selection::default(),
            label: None,
        };
        for (state, value) in seconds {
            policy.seconds[*state] = Some(*value);
        }
        policy
    }

    #[test]
    fn a_policy_gives_a_flow_the_value_of_its_state() {
        let tcp = policy(Protocol::TCP, &[(3, 700), (5, 70)]);
        let mut flow = Flow::parse(TCP).unwrap();
        for (state, expected) in [
            (TcpState::Established, ByPolicy::Seconds(700)),
            (TcpState::CloseWait, ByPolicy::Seconds(70)),
            (TcpState::FinWait, ByPolicy::Unknown),
        ] {
            flow.tcp.as_mut().unwrap().state = Some(state);
            let policies = Policies(vec![tcp.clone()]);
            assert_eq!(policies.longest_for(&flow), expected, "{state}");
        }
        let udp = policy(Protocol::UDP, &[(1, 10), (2, 90)]);
        let mut flow = Flow::parse(UDP).unwrap();
        for (status, seconds) in [(0, 10), (2, 90), (6, 90)] {
            flow.status.0 = status;
            let policies = Policies(vec![udp.clone(), tcp.clone()]);
            assert_eq!(policies.longest_for(&flow), ByPolicy::Seconds(seconds));
        }
    }

    #[test]
    fn a_service_is_known_by_its_label_or_its_terms() {
        let mut policy = policy(Protocol::TCP, &[(1, 5), (3, 700)]);
        policy.label = Some(65);
        let mut labels = [0; 16];
        labels[8] = 2;
        let plain = Flow::parse(TCP).unwrap();
        let mut labelled = plain;
        labelled.labels = Some(&labels);
        for (terms, of_plain, of_labelled) in [
            (Some("dport=80"), Some(700), Some(700)),
            (Some("dport=22"), None, Some(700)),
            (None, None, Some(700)),
        ] {
            let terms = terms.map(|text| Terms::parse(text).unwrap());
            policy.selection.matching = terms.into_iter().collect();
            let policies = Policies(vec![policy.clone()]);
            let found = [&plain, &labelled].map(|flow| policies.of_service(flow));
            assert_eq!(found, [of_plain, of_labelled], "{policy:?}");
        }
        // Where another policy may apply as well, nobody knows which.
        let other = self::policy(Protocol::TCP, &[(3, 9)]);
        assert_eq!(Policies(vec![policy, other]).of_service(&labelled), None);
    }

    #[test]
    fn a_policy_holds_only_for_what_its_rules_can_attach_it_to() {
        let flow = Flow::parse(TCP).unwrap();
        let with = |family, protocol, terms: &[&str]| {
            let mut policy = policy(protocol, &[(1, 5), (3, 700)]);
            policy.family = family;
            policy.selection.matching = terms
                .iter()
                .map(|text| Terms::parse(text).unwrap())
                .collect();
            Policies(vec![policy]).longest_for(&flow)
        };
        let holds = ByPolicy::Seconds(700);
        for (family, protocol, terms, expected) in [
            (None, Protocol::TCP, &[][..], holds),
            (Some(Family::Ipv4), Protocol::TCP, &[], holds),
            (Some(Family::Ipv6), Protocol::TCP, &[], ByPolicy::Nothing),
            (None, Protocol::UDP, &[], ByPolicy::Nothing),
            (None, GENERIC, &[], ByPolicy::Nothing),
            (None, Protocol::TCP, &["dport=80"], holds),
            (None, Protocol::TCP, &["dport=22", "dst=10.0.0.2"], holds),
            (None, Protocol::TCP, &["dport=22"], ByPolicy::Nothing),
        ] {
            assert_eq!(
                with(family, protocol, terms),
                expected,
                "{protocol} {terms:?}"
            );
        }
        let mut esp = flow;
        esp.original.protocol = Protocol(50);
        let generic = Policies(vec![policy(GENERIC, &[(1, 5)])]);
        assert_eq!(generic.longest_for(&esp), ByPolicy::Seconds(5));
    }
}
