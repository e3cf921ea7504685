//! `cttune profile export`: a profile in the form that another program reads.
//!
//! In: what is desired, and its numbers on this host. Out: a text, and a sentence for everything
//! that the target cannot say.
//! Rule: a value is either in the text or among what cannot be said, never in neither; the text
//! repeats those sentences in a comment. Follows sysctl.d(5), KubeProxyConfiguration v1alpha1, the
//! Tuned resource of OpenShift, Talos' machine configuration, and ansible.posix.sysctl.

use std::collections::BTreeMap;

use serde::Serialize;

use super::shape::Schema;
use crate::boot::drop_in;
use crate::diagnostic::plain::one_line;
use crate::profile::{Bounds, Desired, ExpireSettings, Goal, GuardSettings, Targets};
use crate::tunable::{Host, Key, format_count, format_size, plural};

/// What kube-proxy sets at most from 1.36 on.
const KUBE_PROXY_MOST: i64 = 1_048_576;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    SysctlD,
    KubeProxy,
    OpenshiftTuned,
    Talos,
    AnsibleVars,
}

/// A profile in another program's form.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Exported {
    schema: Schema,
    profile: String,
    to: &'static str,
    pub(crate) text: String,
    /// A sentence for each thing that the target cannot say.
    pub(crate) cannot_say: Vec<String>,
}

/// The profile, and its numbers here.
#[derive(Clone, Copy)]
struct Asked<'a> {
    desired: &'a Desired,
    values: &'a BTreeMap<Key, i64>,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Target::SysctlD => "sysctl.d",
            Target::KubeProxy => "kube-proxy",
            Target::OpenshiftTuned => "openshift-tuned",
            Target::Talos => "talos",
            Target::AnsibleVars => "ansible-vars",
        }
    }
}

/// Writes the profile for a target.
pub(crate) fn export(
    desired: &Desired,
    targets: &BTreeMap<Key, Targets>,
    host: &Host,
    to: Target,
) -> Exported {
    let values = targets.iter().map(|(key, one)| (*key, one.boot.value));
    let values: BTreeMap<Key, i64> = values.collect();
    let asked = Asked {
        desired,
        values: &values,
    };
    let cannot_say = asked.unsaid(host, to);
    let body = match to {
        Target::SysctlD => asked.sysctl_d(),
        Target::KubeProxy => asked.kube_proxy(),
        Target::OpenshiftTuned => asked.tuned(),
        Target::Talos => asked.talos(),
        Target::AnsibleVars => asked.ansible(),
    };
    let unsaid = cannot_say
        .iter()
        .map(|one| format!("# Not said here: {one}\n"));
    let head = format!(
        "# cttune profile export {} --to {}\n",
        desired.name,
        to.name()
    );
    Exported {
        schema: Schema,
        profile: desired.name.clone(),
        to: to.name(),
        text: format!(
            "{}{}{body}",
            one_line(head.trim_end()) + "\n",
            unsaid.collect::<String>()
        ),
        cannot_say,
    }
}

impl Asked<'_> {
    fn bounds(&self, key: Key) -> Option<&Bounds> {
        match &self.desired.settings.get(&key)?.goal {
            Goal::Bounds(bounds) => Some(bounds),
            Goal::Exact(_) => None,
        }
    }

    fn sysctl_d(&self) -> String {
        let entries = self.values.iter().map(|(key, value)| drop_in::Entry {
            key: *key,
            value: *value,
            why: self.why(*key),
        });
        let entries: Vec<drop_in::Entry<'_>> = entries.collect();
        let text = drop_in::render("", &entries);
        // Without the lines by which cttune knows its own file.
        let lines = text.lines().skip_while(|line| line.starts_with('#'));
        lines.map(|line| format!("{line}\n")).collect()
    }

    fn why(&self, key: Key) -> Option<&str> {
        self.desired.settings.get(&key)?.why.as_deref()
    }

    fn kube_proxy(&self) -> String {
        let mut text = String::new();
        if let Some(max) = self.values.get(&Key::Max) {
            let bounds = self.bounds(Key::Max);
            // Without a number for each core, kube-proxy leaves the limit alone: one for each core
            // is less than any limit.
            let per_core = bounds.and_then(|bounds| bounds.per_cpu).unwrap_or(1);
            let least = match bounds {
                Some(Bounds {
                    per_cpu: Some(_),
                    at_least,
                    ..
                }) => at_least.unwrap_or(0),
                _ => *max,
            };
            text.push_str(&format!("  maxPerCore: {per_core}\n  min: {least}\n"));
        }
        for (key, value) in self.values {
            match kube_proxy_name(*key) {
                None => {}
                Some(name) if *key == Key::TcpBeLiberal => {
                    text.push_str(&format!("  {name}: {}\n", *value != 0));
                }
                Some(name) => text.push_str(&format!("  {name}: {value}s\n")),
            }
        }
        format!(
            "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n{}",
            map("conntrack", &text)
        )
    }

    fn lines(&self, indent: &str, line: impl Fn(&str, i64) -> String) -> String {
        let values = self.values.iter();
        let lines = values.map(|(key, value)| format!("{indent}{}\n", line(&key.name(), *value)));
        lines.collect()
    }

    fn tuned(&self) -> String {
        let name = self.label();
        let lines = self.lines("        ", |key, value| format!("{key}={value}"));
        format!(
            "apiVersion: tuned.openshift.io/v1\nkind: Tuned\nmetadata:\n  name: {name}\n  \
             namespace: openshift-cluster-node-tuning-operator\nspec:\n  profile:\n    - name: \
             {name}\n      data: |\n        [main]\n        summary=connection tracking\n        \
             include=openshift-node\n        [sysctl]\n{lines}  recommend:\n    - match:\n        \
             - label: node-role.kubernetes.io/worker\n      priority: 20\n      profile: {name}\n"
        )
    }

    fn talos(&self) -> String {
        let lines = self.lines("    ", |key, value| format!("{key}: \"{value}\""));
        format!(
            "machine:\n  kernel:\n    modules:\n      - name: nf_conntrack\n  {}",
            map("sysctls", &lines)
        )
    }

    fn ansible(&self) -> String {
        let lines = self.lines("  ", |key, value| format!("{key}: \"{value}\""));
        format!(
            "# - ansible.posix.sysctl:\n#     name: \"{{{{ item.key }}}}\"\n#     value: \"{{{{ \
             item.value }}}}\"\n#     sysctl_file: /etc/sysctl.d/90-conntrack.conf\n#   loop: \
             \"{{{{ cttune_sysctl | dict2items }}}}\"\n---\n{}",
            map("cttune_sysctl", &lines)
        )
    }

    /// A name as Kubernetes has them.
    fn label(&self) -> String {
        let name = self.desired.name.rsplit('/').next().unwrap_or_default();
        let name = name.trim_end_matches(".toml").to_lowercase();
        let plain = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
        let plain: String = plain.take(50).collect();
        format!("cttune-{}", plain.trim_matches('-'))
            .trim_end_matches('-')
            .to_owned()
    }

    fn unsaid(&self, host: &Host, to: Target) -> Vec<String> {
        let mut unsaid = Vec::new();
        for (key, value) in self.values {
            if to == Target::KubeProxy {
                unsaid.extend(self.unsaid_by_kube_proxy(*key, *value));
            } else {
                unsaid.extend(self.unsaid_bounds(*key, *value, host));
            }
        }
        let settings = self.desired.settings.iter();
        let required = settings.filter(|(_, setting)| setting.required);
        unsaid.extend(required.map(|(key, _)| format!("{key} is required of the kernel")));
        match to {
            Target::SysctlD | Target::AnsibleVars => unsaid.push(
                "the module: add nf_conntrack to /etc/modules-load.d, or a boot may lose the values"
                    .to_owned(),
            ),
            Target::OpenshiftTuned => {
                unsaid.push("the module: tuned sets what is loaded when it starts".to_owned());
            }
            Target::Talos | Target::KubeProxy => {}
        }
        let desired = self.desired;
        let tables = [
            (desired.expire != ExpireSettings::default(), "expire"),
            (desired.guard != GuardSettings::default(), "guard"),
            (!desired.accept.is_empty(), "accept"),
            (desired.lifeline.is_some(), "lifeline"),
        ];
        let tables = tables.into_iter().filter(|(is_there, _)| *is_there);
        let mut tables: Vec<String> = tables.map(|(_, table)| table.to_owned()).collect();
        let services = desired.services.iter();
        let services = services.filter(|(_, one)| !one.matching.is_empty());
        tables.extend(services.map(|(name, _)| format!("service.{name}")));
        unsaid.extend(
            tables
                .iter()
                .map(|table| format!("the table [{table}]: only cttune has it")),
        );
        unsaid
    }

    /// A target that knows numbers only.
    fn unsaid_bounds(&self, key: Key, value: i64, host: &Host) -> Option<String> {
        let bounds = self.bounds(key)?;
        let mut is = Vec::new();
        if bounds.at_least.is_some() || bounds.per_cpu.is_some() || bounds.follow.is_some() {
            is.push("a larger value may stay".to_owned());
        }
        if bounds.at_most.is_some() {
            is.push("a smaller value may stay".to_owned());
        }
        if bounds.per_cpu.is_some() {
            let cpus = plural(host.cpus, "CPU");
            is.push(format!("the number is for {cpus}, as this host has"));
        }
        if bounds.memory_cap.is_some() {
            let memory = format_size(host.memory);
            is.push(format!(
                "the number is for {memory} of memory, as this host has"
            ));
        }
        if let Some(follow) = bounds.follow {
            is.push(format!("it follows {}", follow.short_name()));
        }
        Some(format!("{key} = {value} is a bound: {}", is.join("; ")))
    }

    fn unsaid_by_kube_proxy(&self, key: Key, value: i64) -> Option<String> {
        if key == Key::Buckets {
            return Some(format!(
                "{key} = {value}: kube-proxy makes it a fourth of the limit"
            ));
        }
        if key == Key::Max {
            let bounds = self.bounds(key)?;
            let has_cap = bounds.at_most.is_some()
                || bounds.memory_cap.is_some()
                || bounds.per_cpu_cap.is_some();
            return match (has_cap, value > KUBE_PROXY_MOST) {
                (true, _) => Some(format!("the upper bounds of {key}: kube-proxy has none")),
                (_, true) => Some(format!(
                    "{key} = {value}: kube-proxy 1.36 and later set at most {}",
                    format_count(KUBE_PROXY_MOST)
                )),
                _ => None,
            };
        }
        kube_proxy_name(key)
            .is_none()
            .then(|| format!("{key} = {value}: kube-proxy does not set it"))
    }
}

/// A map of YAML: without lines it is empty, and not nothing.
fn map(name: &str, lines: &str) -> String {
    match lines {
        "" => format!("{name}: {{}}\n"),
        lines => format!("{name}:\n{lines}"),
    }
}

/// How kube-proxy's configuration names a key.
fn kube_proxy_name(key: Key) -> Option<&'static str> {
    match key {
        Key::TcpTimeoutEstablished => Some("tcpEstablishedTimeout"),
        Key::TcpTimeoutCloseWait => Some("tcpCloseWaitTimeout"),
        Key::UdpTimeout => Some("udpTimeout"),
        Key::UdpTimeoutStream => Some("udpStreamTimeout"),
        Key::TcpBeLiberal => Some("tcpBeLiberal"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Source, Values, derive, parse};
    use crate::tunable::Conntrack;

    const PROFILE: &str = "[sysctl]\n\
        max = { at-least = 131072, per-cpu = 32768, memory-cap = \"10%\" }\n\
        buckets = { follow = \"max\" }\ntcp_timeout_established = 86400\n\
        tcp_timeout_close_wait = 60\nacct = 1\ntcp_be_liberal = 1\n\
        [expire]\nmode = \"delete\"\n[lifeline]\nfrom = [\"192.0.2.0/24\"]\nports = [22]\n\
        [service.push]\nmatch = [\"proto=tcp,dport=5228\"]\nestablished = \"30m\"\n";
    const ALL: [Target; 5] = [
        Target::SysctlD,
        Target::KubeProxy,
        Target::OpenshiftTuned,
        Target::Talos,
        Target::AnsibleVars,
    ];

    fn exported(profile: &str, to: Target) -> Exported {
        let mut desired = parse(&Source::new("x", profile)).unwrap().desired;
        desired.name = "/etc/cttune/profiles/My node.toml".to_owned();
        let host = Host {
            cpus: 8,
            memory: 64 << 30,
            conntrack: Conntrack::Module,
        };
        let targets = derive(&desired, &host, &|_| Values::default()).unwrap();
        export(&desired, &targets, &host, to)
    }

    #[test]
    fn every_value_is_in_the_text_or_among_what_cannot_be_said() {
        for to in ALL {
            let told = exported(PROFILE, to);
            let is_said = |key: &str, value: &str| {
                let lines = told.text.lines().filter(|line| !line.starts_with('#'));
                let mut lines = lines.filter(|line| line.contains(key));
                lines.any(|line| line.contains(value))
                    || told.cannot_say.iter().any(|one| one.contains(key))
            };
            for (key, value) in [
                ("nf_conntrack_buckets", "262144"),
                ("nf_conntrack_acct", "1"),
            ] {
                assert!(is_said(key, value), "{to:?} {key}: {}", told.text);
            }
            let proxy = [("maxPerCore", "32768"), ("min", "131072")];
            let others = [
                ("nf_conntrack_max", "262144"),
                ("nf_conntrack_tcp_timeout_established", "86400"),
            ];
            for (key, value) in if to == Target::KubeProxy {
                proxy
            } else {
                others
            } {
                assert!(is_said(key, value), "{to:?} {key}: {}", told.text);
            }
            for one in &told.cannot_say {
                assert!(
                    told.text.contains(&format!("# Not said here: {one}\n")),
                    "{one}"
                );
            }
            for table in ["[expire]", "[lifeline]", "[service.push]"] {
                assert!(told.cannot_say.iter().any(|one| one.contains(table)));
            }
        }
    }

    #[test]
    fn kube_proxy_gets_what_it_has_a_name_for() {
        let text = exported(PROFILE, Target::KubeProxy).text;
        let (_, body) = text.split_once("conntrack:\n").unwrap();
        assert_eq!(
            body,
            "  maxPerCore: 32768\n  min: 131072\n  tcpEstablishedTimeout: 86400s\n  \
             tcpCloseWaitTimeout: 60s\n  tcpBeLiberal: true\n"
        );
        let text = exported("[sysctl]\nmax = 500000\n", Target::KubeProxy).text;
        assert!(text.ends_with("  maxPerCore: 1\n  min: 500000\n"), "{text}");
        let text = exported("[sysctl]\nacct = 1\n", Target::KubeProxy).text;
        assert!(text.ends_with("\nconntrack: {}\n"), "{text}");
    }

    #[test]
    fn names_and_reasons_of_others_stay_on_their_line() {
        let profile =
            "[sysctl]\nudp_timeout = { value = 60, why = \"a\\nnet.ipv4.ip_forward = 1\" }\n";
        let text = exported(profile, Target::SysctlD).text;
        let values: Vec<&str> = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect();
        assert_eq!(values, ["net.netfilter.nf_conntrack_udp_timeout = 60"]);
        let tuned = exported(PROFILE, Target::OpenshiftTuned).text;
        assert!(tuned.contains("  name: cttune-my-node\n"), "{tuned}");
    }
}
