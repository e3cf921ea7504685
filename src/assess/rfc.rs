//! What the RFCs ask of whoever translates addresses: how long a flow must be remembered.
//!
//! In: the values that hold, or in an image those that will; the profile. Out: one finding for each
//! requirement that they do not meet.
//! Rule: the profile's role says whom a requirement binds and how much. Without a profile none
//! does. A host is asked only about the values that its profile sets itself, a firewall that
//! translates nothing only about flows that are open, a NAT about everything, and a carrier's NAT
//! most strictly, since its subscribers cannot choose another (RFC 6888 REQ-1).

use super::{Evidence, Finding, Severity, set_command};
use crate::profile::{Desired, Role};
use crate::tunable::{Key, format_seconds};

/// What an RFC says of a value: MUST, SHOULD, or less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Must,
    Should,
    Note,
}

/// Whom a requirement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whom {
    /// Everybody who forgets flows, translated or not.
    Trackers,
    /// Who translates addresses.
    Nats,
    /// Who translates those of subscribers.
    Carriers,
}

/// One requirement.
#[derive(Debug)]
struct Requirement {
    id: &'static str,
    keys: &'static [Key],
    least: i64,
    level: Level,
    whom: Whom,
    /// What the RFC asks for, after its number and before the time.
    asks: &'static str,
    source: &'static str,
}

/// Of two with one id the first that is not met counts.
const REQUIREMENTS: [Requirement; 8] = [
    Requirement {
        id: "rfc5382-req5",
        keys: &[Key::TcpTimeoutEstablished],
        least: 7440,
        level: Level::Must,
        whom: Whom::Trackers,
        asks: "open TCP connections not to be forgotten before",
        source: "RFC 5382 REQ-5; the same for NAT64 in RFC 6146",
    },
    Requirement {
        id: "rfc5382-req5-transitory",
        keys: &[
            Key::TcpTimeoutFinWait,
            Key::TcpTimeoutCloseWait,
            Key::TcpTimeoutLastAck,
            Key::TcpTimeoutTimeWait,
        ],
        least: 240,
        level: Level::Must,
        whom: Whom::Nats,
        asks: "TCP connections that are closing not to be forgotten before",
        source: "RFC 5382 REQ-5; the same for NAT64 in RFC 6146",
    },
    Requirement {
        id: "rfc7857-rst",
        keys: &[Key::TcpTimeoutClose],
        least: 240,
        level: Level::Should,
        whom: Whom::Nats,
        asks: "TCP connections that were reset to be kept for",
        source: "RFC 7857, TCP RST",
    },
    Requirement {
        id: "rfc7857-opening",
        keys: &[Key::TcpTimeoutSynSent, Key::TcpTimeoutSynRecv],
        least: 240,
        level: Level::Note,
        whom: Whom::Nats,
        asks: "TCP connections that are opening, unless SYN floods are feared, to be kept for",
        source: "RFC 5382 REQ-5, relaxed by RFC 7857, TCP Transitory Connection Idle-Timeout",
    },
    Requirement {
        id: "rfc4787-req5",
        keys: UDP,
        least: 120,
        level: Level::Must,
        whom: Whom::Trackers,
        asks: "UDP flows, but for those to well-known ports, not to be forgotten before",
        source: "RFC 4787 REQ-5",
    },
    Requirement {
        id: "rfc4787-req5",
        keys: UDP,
        least: 300,
        level: Level::Note,
        whom: Whom::Nats,
        asks: "UDP flows by recommendation to be kept for",
        source: "RFC 4787 REQ-5",
    },
    Requirement {
        id: "rfc5508-req2",
        keys: &[Key::IcmpTimeout],
        least: 60,
        level: Level::Must,
        whom: Whom::Nats,
        asks: "ICMP queries not to be forgotten before",
        source: "RFC 5508 REQ-2; the same for NAT64 in RFC 6146",
    },
    Requirement {
        id: "rfc6888-req8",
        keys: &[Key::TcpTimeoutTimeWait],
        least: 120,
        level: Level::Note,
        whom: Whom::Carriers,
        asks: "a port not to be given to another flow before",
        source: "RFC 6888 REQ-8",
    },
];

const UDP: &[Key] = &[Key::UdpTimeout, Key::UdpTimeoutStream];

pub(super) fn findings(evidence: &Evidence<'_>) -> Vec<Finding> {
    let judged = |desired| judge(desired, |key| evidence.value(key));
    evidence.desired.map(judged).unwrap_or_default()
}

fn judge(desired: &Desired, value: impl Fn(Key) -> Option<i64>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for requirement in &REQUIREMENTS {
        if !findings.iter().any(|known| known.id == requirement.id) {
            findings.extend(requirement.judge(desired, &value));
        }
    }
    findings
}

impl Requirement {
    fn judge(&self, desired: &Desired, value: impl Fn(Key) -> Option<i64>) -> Option<Finding> {
        let role = desired.role.unwrap_or(Role::Host);
        let severity = self.severity(role)?;
        let asked = |key: &&Key| role != Role::Host || desired.settings.contains_key(key);
        let short: Vec<(Key, i64)> = self
            .keys
            .iter()
            .filter(asked)
            .filter_map(|key| Some((*key, value(*key)?)))
            .filter(|(_, value)| *value < self.least)
            .collect();
        if short.is_empty() {
            return None;
        }
        let said = short
            .iter()
            .map(|(key, value)| format!("{} is {}", key.file_name(), format_seconds(*value)));
        let set: Vec<(Key, i64)> = short.iter().map(|(key, _)| (*key, self.least)).collect();
        let rfc = self.source.split([';', ',']).next().unwrap_or_default();
        Some(Finding {
            id: self.id,
            severity,
            message: format!(
                "{}: {rfc} asks for {} {}",
                said.collect::<Vec<_>>().join(", "),
                self.asks,
                format_seconds(self.least)
            ),
            hint: format!(
                "see what it would change: {}",
                set_command(Some(desired), &set)
            ),
            source: self.source,
            accepted: None,
        })
    }

    /// How much it binds a machine of this role; `None` where it does not.
    fn severity(&self, role: Role) -> Option<Severity> {
        let strict = self.level != Level::Note;
        match role {
            Role::Cgn => Some(match self.level {
                Level::Must => Severity::Critical,
                Level::Should => Severity::Warning,
                Level::Note => Severity::Info,
            }),
            _ if self.whom == Whom::Carriers => None,
            Role::Nat if strict => Some(Severity::Warning),
            Role::Nat => Some(Severity::Info),
            Role::Firewall => (strict && self.whom == Whom::Trackers).then_some(Severity::Info),
            Role::Host => strict.then_some(Severity::Info),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{builtin, inherit, parse};

    /// What Linux 6.18 starts with.
    const DEFAULTS: [(Key, i64); 11] = [
        (Key::TcpTimeoutEstablished, 432_000),
        (Key::TcpTimeoutSynSent, 120),
        (Key::TcpTimeoutSynRecv, 60),
        (Key::TcpTimeoutFinWait, 120),
        (Key::TcpTimeoutCloseWait, 60),
        (Key::TcpTimeoutLastAck, 30),
        (Key::TcpTimeoutTimeWait, 120),
        (Key::TcpTimeoutClose, 10),
        (Key::UdpTimeout, 30),
        (Key::UdpTimeoutStream, 120),
        (Key::IcmpTimeout, 30),
    ];

    fn judged(desired: &Desired, values: &[(Key, i64)]) -> Vec<Finding> {
        judge(desired, |key| {
            let mut all = values.iter().chain(&DEFAULTS);
            all.find(|(known, _)| *known == key)
                .map(|(_, value)| *value)
        })
    }

    fn role(role: Role) -> Desired {
        Desired {
            role: Some(role),
            ..Desired::default()
        }
    }

    #[test]
    fn the_kernel_s_own_values_fail_a_nat_and_not_a_host() {
        let ids = |role_: Role| -> Vec<(&'static str, Severity)> {
            let findings = judged(&role(role_), &[]);
            findings.iter().map(|one| (one.id, one.severity)).collect()
        };
        assert_eq!(ids(Role::Host), []);
        assert_eq!(ids(Role::Firewall), [("rfc4787-req5", Severity::Info)]);
        assert_eq!(
            ids(Role::Nat),
            [
                ("rfc5382-req5-transitory", Severity::Warning),
                ("rfc7857-rst", Severity::Warning),
                ("rfc7857-opening", Severity::Info),
                ("rfc4787-req5", Severity::Warning),
                ("rfc5508-req2", Severity::Warning),
            ]
        );
        assert_eq!(
            ids(Role::Cgn),
            [
                ("rfc5382-req5-transitory", Severity::Critical),
                ("rfc7857-rst", Severity::Warning),
                ("rfc7857-opening", Severity::Info),
                ("rfc4787-req5", Severity::Critical),
                ("rfc5508-req2", Severity::Critical),
            ]
        );
    }

    #[test]
    fn each_requirement_begins_below_its_own_number() {
        for requirement in &REQUIREMENTS {
            for key in requirement.keys {
                let judge = |value| {
                    let others = requirement.least;
                    let held = move |asked: Key| Some(if asked == *key { value } else { others });
                    requirement.judge(&role(Role::Cgn), held)
                };
                assert_eq!(judge(requirement.least), None, "{key}");
                let finding = judge(requirement.least - 1).unwrap();
                assert!(finding.message.contains(key.file_name()), "{key}");
                let set = format!("--set {}={}", key.short_name(), requirement.least);
                assert!(finding.hint.contains(&set), "{}", finding.hint);
            }
        }
    }

    #[test]
    fn a_finding_says_its_numbers() {
        let findings = judged(&role(Role::Nat), &[]);
        let udp = findings
            .iter()
            .find(|one| one.id == "rfc4787-req5")
            .unwrap();
        assert_eq!(
            udp.message,
            "nf_conntrack_udp_timeout is 30s: RFC 4787 REQ-5 asks for UDP flows, but for those to \
             well-known ports, not to be forgotten before 2m"
        );
    }

    /// Two minutes will do, five are recommended.
    #[test]
    fn udp_between_the_least_and_the_recommended_is_worth_a_word() {
        for (udp, severity) in [
            (119, Some(Severity::Warning)),
            (120, Some(Severity::Info)),
            (300, None),
        ] {
            let values = [(Key::UdpTimeout, udp), (Key::UdpTimeoutStream, udp)];
            let findings = judged(&role(Role::Nat), &values);
            let found = findings.iter().find(|one| one.id == "rfc4787-req5");
            assert_eq!(found.map(|one| one.severity), severity, "{udp}");
        }
    }

    #[test]
    fn a_host_answers_for_what_its_profile_sets() {
        let own = "role = \"host\"\n[sysctl]\nudp_timeout = 30\n";
        let profile = parse(&crate::profile::Source::new("own", own)).unwrap();
        let findings = judged(&inherit(&[profile]), &[]);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].severity, Severity::Info);
        assert!(!findings[0].message.contains("stream"));
    }

    /// What each sets, over what the kernel starts with.
    #[test]
    fn no_shipped_profile_fails_the_rfcs_of_its_role_without_a_reason() {
        for shipped in builtin::all() {
            let mut chain = vec![parse(&shipped.source()).unwrap()];
            while let Some(extends) = &chain[chain.len() - 1].extends {
                let parent = builtin::find(&extends.name).unwrap();
                chain.push(parse(&parent.source()).unwrap());
            }
            let desired = inherit(&chain);
            let values: Vec<(Key, i64)> = desired
                .settings
                .iter()
                .filter_map(|(key, wish)| match wish.goal {
                    crate::profile::Goal::Exact(value) => Some((*key, value)),
                    crate::profile::Goal::Bounds(_) => None,
                })
                .collect();
            for finding in judged(&desired, &values) {
                let is_accepted = desired.accept.contains_key(finding.id);
                let harmless =
                    finding.severity == Severity::Info && desired.role != Some(Role::Host);
                assert!(is_accepted || harmless, "{}: {finding:?}", desired.name);
            }
        }
    }
}
