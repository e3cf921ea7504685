//! Live values against those of the next boot, of the keys of which no profile says what is desired.

use super::super::command::plan;
use super::super::{Evidence, Finding, Id, Severity};
use crate::boot::{Answer, NextBoot, Reader, Sure};
use crate::diagnostic::Hint;
use crate::diagnostic::plain::Shown;
use crate::profile::Desired;
use crate::tunable::{Key, format_count, plural};

const GIB: u64 = 1 << 30;

/// Findings of one kind and one cause that stand apart; more of them are one.
const APART: usize = 3;

/// A key that drifted, and why.
struct Drifted {
    finding: Finding,
    /// What all with this cause have before their values, and behind them.
    cause: (String, String),
    /// `KEY is 600 (10m) now`
    value: String,
    live: (Key, i64),
    /// What applies the persisted value.
    apply: Option<Hint>,
}

pub(super) fn findings(evidence: &Evidence<'_>, next_boot: &NextBoot) -> Vec<Finding> {
    let Some(live) = evidence.machine.live else {
        return Vec::new();
    };
    let mut groups: Vec<Vec<Drifted>> = Vec::new();
    let settings = evidence.desired.map(|desired| &desired.settings);
    let is_set = |key| settings.is_some_and(|settings| settings.contains_key(&key));
    for key in Key::ALL.iter().copied().filter(|key| !is_set(*key)) {
        let Some(value) = live.value(key) else {
            continue;
        };
        // To confirm the change, or to let it be undone, ends this.
        if evidence.pending.contains(&(key, value)) {
            continue;
        }
        let answer = next_boot.answer(key);
        let drifted = match answer.value {
            _ if answer.is_lost => Some(lost(key, value, &answer, evidence.desired)),
            Some(next) if next != value => Some(persisted(
                (key, value, next),
                &answer,
                next_boot,
                evidence.desired,
            )),
            Some(_) => None,
            None => unset(key, value, evidence, &answer),
        };
        let Some(mut one) = drifted else {
            continue;
        };
        // Who has a profile has said which values matter.
        if evidence.desired.is_some() {
            one.finding.severity = Severity::Info;
        }
        let is_same = |group: &&mut Vec<Drifted>| {
            let first = group.first();
            first.is_some_and(|first| {
                first.cause == one.cause && first.finding.severity == one.finding.severity
            })
        };
        match groups.iter_mut().find(is_same) {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    let together = |group| together(group, evidence.desired);
    groups.into_iter().flat_map(together).collect()
}

/// The findings of one cause: each alone, or all in one with the first few.
fn together(group: Vec<Drifted>, desired: Option<&Desired>) -> Vec<Finding> {
    let (Some(first), true) = (group.first(), group.len() > APART) else {
        return apart(group, desired);
    };
    let (before, behind) = &first.cause;
    let shown: Vec<&str> = group.iter().take(APART).map(|one| &*one.value).collect();
    let message = format!(
        "{before}{}: {}, and {} more{behind}",
        plural(group.len(), "value"),
        shown.join(", "),
        format_count(group.len() - APART)
    );
    let hint = Hint::cttune("check --keys")
        .to("to see them all")
        .and(Hint::cttune("profile capture live.toml").to("to keep the live values"));
    let hint = or_apply(hint, &group);
    let Finding { id, severity, .. } = first.finding;
    vec![Finding::new(id, severity, message, hint)]
}

/// Each alone. Several have one command that keeps them all: a plan drops what another one set.
fn apart(group: Vec<Drifted>, desired: Option<&Desired>) -> Vec<Finding> {
    let values: Vec<(Key, i64)> = group.iter().map(|one| one.live).collect();
    let keep = plan(desired, &values).to("to keep the live values");
    let keep = or_apply(keep, &group);
    let findings = group.into_iter().map(|one| one.finding);
    findings
        .map(|finding| match values.len() {
            1 => finding,
            _ => Finding {
                hint: keep.clone(),
                ..finding
            },
        })
        .collect()
}

/// The hint, or what applies the persisted values, where that is one command.
fn or_apply(hint: Hint, group: &[Drifted]) -> Hint {
    let apply = group.first().and_then(|first| first.apply.clone());
    let same = group.iter().all(|one| one.apply == apply);
    match apply.filter(|_| same) {
        Some(apply) => hint.and(apply.to("to apply the persisted ones")),
        None => hint,
    }
}

fn number(key: Key, value: i64) -> String {
    match key.spoken(value) {
        Some(spoken) => format!("{value} ({spoken})"),
        None => value.to_string(),
    }
}

/// A value for the next boot that the kernel does not have now, with who probably changed it.
fn persisted(
    (key, value, next): (Key, i64, i64),
    answer: &Answer,
    next_boot: &NextBoot,
    desired: Option<&Desired>,
) -> Drifted {
    let from = answer
        .from
        .as_ref()
        .map_or_else(String::new, |line| format!(" by {line}"));
    let likely = next_boot
        .later(key)
        .into_iter()
        .find(|write| write.value == Some(value));
    let likely = likely.map_or_else(
        || "somebody set it by hand, or nobody has applied that line yet".to_owned(),
        |write| {
            format!(
                "{} ({}) sets that value {}",
                write.place(),
                write.who,
                write.when
            )
        },
    );
    let doubt = match answer.sure {
        Sure::Known => String::new(),
        _ => answer
            .reasons
            .first()
            .map_or_else(String::new, |reason| format!("; unless {reason}")),
    };
    // Another program's value, or one of the module's options, takes a command of its own.
    let by_procps = next_boot.winner(Reader::Procps, key);
    let by_procps = by_procps.filter(|winner| !answer.is_of_writer && winner.value == next);
    let apply = by_procps.map_or_else(
        || plan(desired, &[(key, next)]),
        |_| Hint::on_host("sysctl --system"),
    );
    let (now, then) = (number(key, value), number(key, next));
    let finding = Finding::new(
        Id::PersistedNotLive,
        Severity::Warning,
        format!(
            "persisted but not live: {key} is {now} now and {then} after the next boot{from}{doubt}; {likely}"
        ),
        plan(desired, &[(key, value)])
            .to("to keep the live value")
            .and(apply.clone().to("to apply the persisted one")),
    );
    let file = answer.from.as_ref().map(|line| line.file.shown());
    let file = file.unwrap_or_else(|| "something".to_owned());
    Drifted {
        finding,
        cause: (
            format!("persisted but not live: at the next boot {file} changes "),
            format!("{doubt}; {likely}"),
        ),
        value: format!("{key} is {now} now and {then} then"),
        live: (key, value),
        apply: by_procps.map(|_| apply),
    }
}

/// A value that something sets, in vain.
fn lost(key: Key, value: i64, answer: &Answer, desired: Option<&Desired>) -> Drifted {
    let reason = answer
        .reasons
        .first()
        .map_or("nothing sets it when the module is loaded", String::as_str);
    let value_now = format!("{key} is {} now", number(key, value));
    let message = format!("live but lost at boot: {value_now}; {reason}");
    Drifted {
        finding: Finding::new(
            Id::LiveNotPersisted,
            Severity::Warning,
            message,
            keep(key, value, desired),
        ),
        cause: ("live but lost at boot: ".to_owned(), format!("; {reason}")),
        value: value_now,
        live: (key, value),
        apply: None,
    }
}

/// A value that is not the kernel's default, and that nothing sets at boot.
fn unset(key: Key, value: i64, evidence: &Evidence<'_>, answer: &Answer) -> Option<Drifted> {
    let default = default_of(key, evidence.machine.host.memory)?;
    let sets = match answer.sure {
        Sure::Known => "nothing sets it at boot".to_owned(),
        _ => answer.reasons.first()?.clone(),
    };
    let usual = match key {
        Key::Max => format_count(default),
        _ => number(key, default),
    };
    let now = number(key, value);
    (value != default).then(|| Drifted {
        finding: Finding::new(
            Id::LiveNotPersisted,
            Severity::Info,
            format!(
                "live but lost at boot: {key} is {now} now; {sets}, and the kernel's default is {usual}"
            ),
            keep(key, value, evidence.desired),
        ),
        cause: ("live but lost at boot: ".to_owned(), format!("; {sets}")),
        value: format!("{key} is {now} now and {usual} by default"),
        live: (key, value),
        apply: None,
    })
}

fn keep(key: Key, value: i64, desired: Option<&Desired>) -> Hint {
    plan(desired, &[(key, value)]).to("to keep it")
}

/// The kernel's default, where it is the same from 5.10 to 6.18 and on every machine of this size.
fn default_of(key: Key, memory: u64) -> Option<i64> {
    Some(match key {
        // 262,144 buckets since 5.15, four times 65,536 before.
        Key::Max if memory > 4 * GIB + GIB / 4 => 262_144,
        Key::GenericTimeout => 600,
        Key::TcpTimeoutSynSent
        | Key::TcpTimeoutFinWait
        | Key::TcpTimeoutTimeWait
        | Key::UdpTimeoutStream => 120,
        Key::TcpTimeoutSynRecv | Key::TcpTimeoutCloseWait => 60,
        Key::TcpTimeoutEstablished => 432_000,
        Key::TcpTimeoutLastAck | Key::UdpTimeout | Key::IcmpTimeout | Key::Icmpv6Timeout => 30,
        Key::TcpTimeoutClose => 10,
        Key::TcpTimeoutMaxRetrans | Key::TcpTimeoutUnacknowledged => 300,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;

    use super::*;
    use crate::boot::modules::ModuleFiles;
    use crate::boot::{BootFiles, Tree};
    use crate::diagnostic::Place;
    use crate::plan::{Comparison, Files, Machine};
    use crate::profile::{Source, inherit, parse};
    use crate::tunable::{Access, Conntrack, Host, Reading, Snapshot};

    /// `id: message` of each finding about these live values and lines of sysctl.d.
    fn found(live: &[(Key, i64)], sysctl: &str, is_module: bool) -> Vec<String> {
        found_beside(live, sysctl, is_module, &[])
    }

    /// The same while a change is pending that has set these.
    fn found_beside(
        live: &[(Key, i64)],
        sysctl: &str,
        is_module: bool,
        pending: &[(Key, i64)],
    ) -> Vec<String> {
        let told = |finding: Finding| format!("{}: {}", finding.id.name(), finding.message);
        let findings = findings_under(None, live, sysctl, is_module, pending);
        findings.into_iter().map(told).collect()
    }

    /// The findings themselves, beside a profile.
    fn findings_under(
        desired: Option<&Desired>,
        live: &[(Key, i64)],
        sysctl: &str,
        is_module: bool,
        pending: &[(Key, i64)],
    ) -> Vec<Finding> {
        let host = Host {
            cpus: 2,
            memory: 8 << 30,
            conntrack: Conntrack::Module,
        };
        let reading = |(key, value): &(Key, i64)| {
            let access = Access::Writable;
            (
                *key,
                Reading::Value {
                    value: *value,
                    access,
                },
            )
        };
        let live = Snapshot::new(live.iter().map(reading), Some(0));
        let conf = Path::new("/etc/sysctl.d/a.conf");
        let next_boot = NextBoot::new(BootFiles {
            tree: Tree::default().with_file(conf, Some(sysctl.into())),
            module: is_module.then(ModuleFiles::default),
            ..BootFiles::default()
        });
        let files = Files::new(next_boot, BTreeMap::new(), None);
        let machine = Machine {
            host: &host,
            live: Some(&live),
            files: Some(&files),
            table: None,
        };
        let comparison = Comparison::without_profile(&machine);
        let evidence = Evidence {
            pending,
            desired,
            ..Evidence::of(machine, &comparison)
        };
        findings(&evidence, files.next_boot())
    }

    #[test]
    fn live_values_are_compared_with_the_next_boot() {
        let max = "net.netfilter.nf_conntrack_max = 5\n";
        for (live, sysctl, is_module, start) in [
            (vec![(Key::Max, 5)], max, false, ""),
            (vec![(Key::Max, 262_144)], "", false, ""),
            (vec![(Key::UdpTimeout, 30)], "", false, ""),
            (
                vec![(Key::Max, 6)],
                max,
                false,
                "persisted-not-live: persisted but not live: net.netfilter.nf_conntrack_max is 6 \
                 now and 5 after the next boot by /etc/sysctl.d/a.conf:1",
            ),
            (
                vec![(Key::Max, 5)],
                max,
                true,
                "live-not-persisted: live but lost at boot: net.netfilter.nf_conntrack_max is 5 \
                 now; nothing loads nf_conntrack",
            ),
            (
                vec![(Key::UdpTimeout, 60)],
                "",
                false,
                "live-not-persisted: live but lost at boot: \
                 net.netfilter.nf_conntrack_udp_timeout is 60 (1m) now; nothing sets it at boot",
            ),
        ] {
            let found = found(&live, sysctl, is_module).concat();
            assert!(found.starts_with(start), "{found}");
            assert_eq!(found.is_empty(), start.is_empty(), "{found}");
        }
    }

    #[test]
    fn what_a_pending_change_has_set_is_no_drift_and_every_other_value_is() {
        let live = [(Key::Max, 6), (Key::UdpTimeout, 60)];
        let sysctl = "net.netfilter.nf_conntrack_max = 5\n";
        for (pending, drifted) in [
            (vec![], vec!["nf_conntrack_max", "nf_conntrack_udp_timeout"]),
            (vec![(Key::Max, 6)], vec!["nf_conntrack_udp_timeout"]),
            // Somebody changed it again since.
            (
                vec![(Key::Max, 7), (Key::UdpTimeout, 60)],
                vec!["nf_conntrack_max"],
            ),
            (live.to_vec(), vec![]),
        ] {
            let found = found_beside(&live, sysctl, false, &pending);
            assert_eq!(found.len(), drifted.len(), "{pending:?}: {found:?}");
            for (one, key) in found.iter().zip(drifted) {
                assert!(one.contains(&format!("net.netfilter.{key} is ")), "{one}");
            }
        }
    }

    #[test]
    fn one_command_keeps_all_values_of_a_cause() {
        let hints = |live: &[(Key, i64)]| -> BTreeSet<String> {
            let findings = findings_under(None, live, "", false, &[]).into_iter();
            let hints = findings.map(|one| one.hint.text(&Place::default()));
            hints.collect()
        };
        let neutral = "cttune plan --profile kernel-defaults";
        let one = hints(&[(Key::UdpTimeout, 77)]);
        assert_eq!(
            one,
            [format!("to keep it: {neutral} --set udp_timeout=77")].into()
        );
        let both = hints(&[(Key::TcpTimeoutEstablished, 9000), (Key::UdpTimeout, 77)]);
        let all = "--set tcp_timeout_established=9000 --set udp_timeout=77";
        let expected = format!("to keep the live values: {neutral} {all}");
        assert_eq!(both, [expected].into());
    }

    #[test]
    fn beside_a_profile_the_keys_that_it_does_not_set_are_compared() {
        let text = "[sysctl]\nudp_timeout = 77\n";
        let mut desired = inherit(&[parse(&Source::new("own", text)).unwrap()]);
        desired.name = "own".to_owned();
        let live = [(Key::TcpTimeoutEstablished, 9000), (Key::UdpTimeout, 60)];
        let lines = "net.netfilter.nf_conntrack_tcp_timeout_established = 8000\n";
        let found = findings_under(Some(&desired), &live, lines, false, &[]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].severity, Severity::Info);
        assert_eq!(
            found[0].hint.text(&Place::default()),
            "to keep the live value: cttune plan --profile own --set tcp_timeout_established=9000; \
             to apply the persisted one: sysctl --system"
        );
    }

    #[test]
    fn many_values_of_one_cause_are_one_finding() {
        let timeouts = [
            Key::TcpTimeoutSynSent,
            Key::TcpTimeoutFinWait,
            Key::TcpTimeoutTimeWait,
            Key::UdpTimeoutStream,
        ];
        let live = timeouts.map(|key| (key, 7));
        let glob = "net.netfilter.nf_conntrack_*_timeout_* = 60\n";
        assert_eq!(found(&live[..3], glob, false).len(), 3);
        assert_eq!(
            found(&live, glob, false),
            [
                "persisted-not-live: persisted but not live: at the next boot \
              /etc/sysctl.d/a.conf changes 4 values: net.netfilter.nf_conntrack_tcp_timeout_syn_sent is 7 \
              now and 60 (1m) then, net.netfilter.nf_conntrack_tcp_timeout_fin_wait is 7 now and 60 \
              (1m) then, net.netfilter.nf_conntrack_tcp_timeout_time_wait is 7 now and 60 (1m) \
              then, and 1 more; somebody set it by hand, or nobody has applied that line yet"
            ]
        );
        let unset = found(&live, "", false).concat();
        assert!(
            unset.contains("lost at boot: 4 values: ") && unset.contains("and 1 more; nothing")
        );
    }
}
