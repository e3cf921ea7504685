//! The profiles that ship inside the binary.

use super::Source;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Builtin {
    /// The name that `--profile` and `extends` use.
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
}

macro_rules! builtins {
    ($($name:literal),* $(,)?) => {
        &[$( Builtin {
            name: $name,
            text: include_str!(concat!("../../profiles/", $name, ".toml")),
        } ),*]
    };
}

/// In the order of a listing: the common parent, then from the network's edge to a single host.
pub(crate) const ALL: &[Builtin] = builtins![
    "kernel-defaults",
    "campus-fw",
    "rfc-nat",
    "cgn",
    "home-router",
    "vpn-edge",
    "k8s-node",
    "container-host",
    "lb-proxy",
    "dns-udp",
];

pub(crate) fn find(name: &str) -> Option<Builtin> {
    ALL.iter().copied().find(|builtin| builtin.name == name)
}

impl Builtin {
    /// Its text, named as people see it.
    pub(crate) fn source(&self) -> Source {
        Source::new(format!("built-in:{}", self.name), self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Bounds, Desired, Goal, Profile, Role, inherit, parse};
    use crate::tunable::Key;

    fn chain(name: &str) -> Vec<Profile> {
        let profile = parse(&find(name).unwrap().source()).unwrap();
        let parent = profile.extends.as_ref().map(|extends| extends.name.clone());
        let mut chain = vec![profile];
        chain.extend(parent.map_or(vec![], |parent| self::chain(&parent)));
        chain
    }

    fn desired(name: &str) -> Desired {
        inherit(&chain(name))
    }

    #[test]
    fn each_opens_with_a_page_and_gives_a_reason_for_every_value() {
        for builtin in ALL {
            let profile = parse(&builtin.source()).unwrap();
            assert!(builtin.text.starts_with("# "), "{}", builtin.name);
            for word in ["Purpose:", "For:", "Sizing:", "Risks:"] {
                assert!(
                    builtin.text.contains(&format!("# {word}")),
                    "{}: {word}",
                    builtin.name
                );
            }
            let desired = profile.desired;
            assert!(
                desired.description.is_some() && desired.role.is_some(),
                "{}",
                builtin.name
            );
            for (key, setting) in desired.settings {
                assert!(setting.why.is_some(), "{}: {key}", builtin.name);
            }
        }
        assert_eq!(ALL.len(), 10);
    }

    /// A profile, its role and its exact values.
    type Row<'a> = (&'a str, Role, &'a [(Key, i64)]);

    #[test]
    fn each_value_is_the_one_of_its_origin() {
        use Key::{
            Checksum, IcmpTimeout, TcpTimeoutClose, TcpTimeoutCloseWait, TcpTimeoutEstablished,
            TcpTimeoutFinWait, TcpTimeoutLastAck, TcpTimeoutSynSent, TcpTimeoutTimeWait,
            UdpTimeout, UdpTimeoutStream,
        };
        let rfc: &[(Key, i64)] = &[
            (TcpTimeoutEstablished, 7440),
            (TcpTimeoutFinWait, 240),
            (TcpTimeoutCloseWait, 240),
            (TcpTimeoutLastAck, 240),
            (TcpTimeoutTimeWait, 240),
            (TcpTimeoutClose, 240),
            (UdpTimeout, 300),
            (UdpTimeoutStream, 300),
            (IcmpTimeout, 60),
        ];
        let table: &[Row<'_>] = &[
            ("kernel-defaults", Role::Host, &[]),
            (
                "campus-fw",
                Role::Firewall,
                &[
                    (TcpTimeoutEstablished, 7440),
                    (UdpTimeout, 120),
                    (UdpTimeoutStream, 180),
                ],
            ),
            ("rfc-nat", Role::Nat, rfc),
            ("cgn", Role::Cgn, rfc),
            (
                "home-router",
                Role::Nat,
                &[
                    (TcpTimeoutEstablished, 7440),
                    (UdpTimeout, 60),
                    (UdpTimeoutStream, 180),
                    (Checksum, 0),
                ],
            ),
            ("k8s-node", Role::Host, &[(TcpTimeoutEstablished, 86400)]),
            ("container-host", Role::Host, &[]),
            (
                "lb-proxy",
                Role::Host,
                &[
                    (TcpTimeoutEstablished, 8000),
                    (TcpTimeoutFinWait, 30),
                    (TcpTimeoutCloseWait, 60),
                    (TcpTimeoutTimeWait, 30),
                ],
            ),
            (
                "vpn-edge",
                Role::Nat,
                &[
                    (TcpTimeoutEstablished, 86400),
                    (TcpTimeoutSynSent, 180),
                    (UdpTimeoutStream, 300),
                ],
            ),
            (
                "dns-udp",
                Role::Host,
                &[(UdpTimeout, 30), (UdpTimeoutStream, 60)],
            ),
        ];
        assert_eq!(table.len(), ALL.len());
        for (name, role, values) in table {
            let desired = desired(name);
            assert_eq!(desired.role, Some(*role), "{name}");
            let exact: Vec<(Key, i64)> = desired
                .settings
                .iter()
                .filter_map(|(key, setting)| match setting.goal {
                    Goal::Exact(value) => Some((*key, value)),
                    Goal::Bounds(_) => None,
                })
                .collect();
            let mut expected = values.to_vec();
            expected.sort_unstable();
            assert_eq!(exact, expected, "{name}");
        }
    }

    #[test]
    fn tables_are_sized_as_their_origin_sizes_them() {
        let large = Bounds {
            at_least: Some(1_048_576),
            memory_cap: Some(10),
            ..Bounds::default()
        };
        let node = Bounds {
            at_least: Some(131_072),
            per_cpu: Some(32768),
            per_cpu_cap: Some(1_048_576),
            memory_cap: Some(10),
            ..Bounds::default()
        };
        let larger = Bounds {
            at_least: Some(4_194_304),
            memory_cap: Some(25),
            ..Bounds::default()
        };
        let follow = Goal::Bounds(Bounds {
            follow: Some(Key::Max),
            ..Bounds::default()
        });
        let tables = [
            ("campus-fw", large.clone(), true),
            ("container-host", large, true),
            ("k8s-node", node, true),
            ("cgn", larger, true),
        ];
        for builtin in ALL {
            let sized = tables.iter().find(|(name, ..)| *name == builtin.name);
            let settings = desired(builtin.name).settings;
            let goal = |key| settings.get(&key).map(|setting| setting.goal.clone());
            assert_eq!(
                goal(Key::Max),
                sized.map(|(_, max, _)| Goal::Bounds(max.clone())),
                "{}",
                builtin.name
            );
            let follows = sized.is_some_and(|(.., follows)| *follows);
            assert_eq!(
                goal(Key::Buckets),
                follows.then(|| follow.clone()),
                "{}",
                builtin.name
            );
        }
    }

    #[test]
    fn what_an_rfc_would_find_is_accepted_with_a_reason() {
        for builtin in ALL {
            let accepts = desired(builtin.name).accept.contains_key("rfc4787-req5");
            assert_eq!(
                accepts,
                matches!(builtin.name, "home-router" | "vpn-edge" | "dns-udp"),
                "{}",
                builtin.name
            );
        }
    }
}
