//! What the RFCs ask of a NAT: how long a flow must be kept.
//!
//! In: the live values, or those of an image; the profile. Out: one finding for each requirement
//! that they do not meet.
//! Rule: the profile's role decides which requirements count and how much. Without a profile none
//! does. For a host only values that its profile sets count, for a firewall without NAT only open
//! flows, for a NAT everything, and for a carrier's NAT most strictly, since its subscribers
//! cannot choose another (RFC 6888 REQ-1).

use super::command::plan;
use super::{Evidence, Finding, Id, Severity};
use crate::profile::{Desired, Role};
use crate::tunable::{Key, format_seconds};

/// What an RFC says of a value: MUST, SHOULD, or less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Must,
    Should,
    Note,
}

/// Which machines a requirement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whom {
    /// Every machine that tracks flows.
    Trackers,
    /// Machines that translate addresses.
    Nats,
    /// Machines that translate those of subscribers.
    Carriers,
}

/// One requirement.
#[derive(Debug)]
struct Requirement {
    id: Id,
    keys: &'static [Key],
    least: i64,
    level: Level,
    whom: Whom,
    /// What the RFC asks for, after its number and before the time.
    asks: &'static str,
}

/// Of two with one id the first unmet one counts.
const REQUIREMENTS: [Requirement; 8] = [
    Requirement {
        id: Id::Rfc5382Req5,
        keys: &[Key::TcpTimeoutEstablished],
        least: 7440,
        level: Level::Must,
        whom: Whom::Trackers,
        asks: "established TCP connections not to expire before",
    },
    Requirement {
        id: Id::Rfc5382Req5Transitory,
        keys: &[
            Key::TcpTimeoutFinWait,
            Key::TcpTimeoutCloseWait,
            Key::TcpTimeoutLastAck,
            Key::TcpTimeoutTimeWait,
        ],
        least: 240,
        level: Level::Must,
        whom: Whom::Nats,
        asks: "closing TCP connections not to expire before",
    },
    Requirement {
        id: Id::Rfc7857Rst,
        keys: &[Key::TcpTimeoutClose],
        least: 240,
        level: Level::Should,
        whom: Whom::Nats,
        asks: "reset TCP connections to be kept for",
    },
    Requirement {
        id: Id::Rfc7857Opening,
        keys: &[Key::TcpTimeoutSynSent, Key::TcpTimeoutSynRecv],
        least: 240,
        level: Level::Note,
        whom: Whom::Nats,
        asks: "opening TCP connections, unless SYN floods are expected, to be kept for",
    },
    Requirement {
        id: Id::Rfc4787Req5,
        keys: UDP,
        least: 120,
        level: Level::Must,
        whom: Whom::Trackers,
        asks: "UDP flows, except to well-known ports, not to expire before",
    },
    Requirement {
        id: Id::Rfc4787Req5,
        keys: UDP,
        least: 300,
        level: Level::Note,
        whom: Whom::Nats,
        asks: "UDP flows, as a recommendation, to be kept for",
    },
    Requirement {
        id: Id::Rfc5508Req2,
        keys: &[Key::IcmpTimeout],
        least: 60,
        level: Level::Must,
        whom: Whom::Nats,
        asks: "ICMP queries not to expire before",
    },
    Requirement {
        id: Id::Rfc6888Req8,
        keys: &[Key::TcpTimeoutTimeWait],
        least: 120,
        level: Level::Note,
        whom: Whom::Carriers,
        asks: "a port not to be used again before",
    },
];

const UDP: &[Key] = &[Key::UdpTimeout, Key::UdpTimeoutStream];

/// What an RFC demands of a timeout: the least seconds, and the RFC; the shortest first.
pub(crate) fn demands(key: Key) -> Vec<(i64, &'static str)> {
    let about = |one: &&Requirement| one.level != Level::Note && one.keys.contains(&key);
    let asked = REQUIREMENTS.iter().filter(about);
    let mut demands: Vec<_> = asked.map(|one| (one.least, one.rfc())).collect();
    demands.sort_unstable();
    demands
}

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
        let rfc = self.rfc();
        Some(Finding::new(
            self.id,
            severity,
            format!(
                "{}: {rfc} asks for {} {}",
                said.collect::<Vec<_>>().join(", "),
                self.asks,
                format_seconds(self.least)
            ),
            plan(Some(desired), &set).to("see what that would change"),
        ))
    }

    fn rfc(&self) -> &'static str {
        let mut parts = self.id.source().split([';', ',']);
        parts.next().unwrap_or_default()
    }

    /// How severe it is for this role; `None` where it does not count.
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
    use crate::diagnostic::Place;
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
            findings
                .iter()
                .map(|one| (one.id.name(), one.severity))
                .collect()
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
                let hint = finding.hint.text(&Place::default());
                assert!(hint.contains(&set), "{hint}");
            }
        }
    }

    #[test]
    fn a_finding_says_its_numbers() {
        let findings = judged(&role(Role::Nat), &[]);
        let udp = findings
            .iter()
            .find(|one| one.id == Id::Rfc4787Req5)
            .unwrap();
        assert_eq!(
            udp.message,
            "nf_conntrack_udp_timeout is 30s: RFC 4787 REQ-5 asks for UDP flows, except to \
             well-known ports, not to expire before 2m"
        );
    }

    /// Two minutes will do, five are recommended.
    #[test]
    fn udp_between_the_minimum_and_the_recommendation_is_a_note() {
        for (udp, severity) in [
            (119, Some(Severity::Warning)),
            (120, Some(Severity::Info)),
            (300, None),
        ] {
            let values = [(Key::UdpTimeout, udp), (Key::UdpTimeoutStream, udp)];
            let findings = judged(&role(Role::Nat), &values);
            let found = findings.iter().find(|one| one.id == Id::Rfc4787Req5);
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
        for shipped in builtin::ALL {
            let mut chain = vec![parse(&shipped.source()).unwrap()];
            while let Some(extends) = &chain[chain.len() - 1].extends {
                let parent = builtin::find(&extends.name).unwrap();
                chain.push(parse(&parent.source()).unwrap());
            }
            let desired = inherit(&chain);
            let values: Vec<(Key, i64)> = desired
                .settings
                .iter()
                .filter_map(|(key, setting)| match setting.goal {
                    crate::profile::Goal::Exact(value) => Some((*key, value)),
                    crate::profile::Goal::Bounds(_) => None,
                })
                .collect();
            for finding in judged(&desired, &values) {
                let is_accepted = desired.accept.contains_key(finding.id.name());
                let harmless =
                    finding.severity == Severity::Info && desired.role != Some(Role::Host);
                assert!(is_accepted || harmless, "{}: {finding:?}", desired.name);
            }
        }
    }
}
