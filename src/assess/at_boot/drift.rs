//! Live values against those of the next boot, where no profile says what is desired.

use super::super::command::plan;
use super::super::{Evidence, Finding, Id, Severity};
use crate::boot::{Answer, NextBoot, Reader, Sure};
use crate::diagnostic::Hint;
use crate::tunable::{Key, format_count};

const GIB: u64 = 1 << 30;

pub(super) fn findings(evidence: &Evidence<'_>, next_boot: &NextBoot) -> Vec<Finding> {
    let Some(live) = evidence.machine.live else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for key in Key::ALL.iter().copied() {
        let Some(value) = live.value(key) else {
            continue;
        };
        // To confirm the change, or to let it be undone, ends this.
        if evidence.pending.contains(&(key, value)) {
            continue;
        }
        let answer = next_boot.answer(key);
        if answer.is_lost {
            findings.push(lost(key, value, &answer));
            continue;
        }
        match answer.value {
            Some(next) if next != value => {
                findings.push(persisted(key, value, next, &answer, next_boot));
            }
            Some(_) => {}
            None => findings.extend(unset(key, value, evidence, &answer)),
        }
    }
    findings
}

fn number(key: Key, value: i64) -> String {
    match key.spoken(value) {
        Some(spoken) => format!("{value} ({spoken})"),
        None => value.to_string(),
    }
}

/// A value for the next boot that the kernel does not have now, with who probably changed it.
fn persisted(key: Key, value: i64, next: i64, answer: &Answer, next_boot: &NextBoot) -> Finding {
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
        || plan(None, &[(key, next)]),
        |_| Hint::on_host("sysctl --system"),
    );
    Finding::new(
        Id::PersistedNotLive,
        Severity::Warning,
        format!(
            "persisted but not live: {key} is {} now and {} after the next boot{from}{doubt}; {likely}",
            number(key, value),
            number(key, next)
        ),
        plan(None, &[(key, value)])
            .to("to keep the live value")
            .and(apply.to("to apply the persisted one")),
    )
}

/// A value that something sets, in vain.
fn lost(key: Key, value: i64, answer: &Answer) -> Finding {
    let reason = answer
        .reasons
        .first()
        .map_or("nothing sets it when the module is loaded", String::as_str);
    Finding::new(
        Id::LiveNotPersisted,
        Severity::Warning,
        format!(
            "live but lost at boot: {key} is {} now; {reason}",
            number(key, value)
        ),
        keep(key, value),
    )
}

/// A value that is not the kernel's default, and that nothing sets at boot.
fn unset(key: Key, value: i64, evidence: &Evidence<'_>, answer: &Answer) -> Option<Finding> {
    let default = default_of(key, evidence.machine.host.memory)?;
    let sets = match answer.sure {
        Sure::Known => "nothing sets it at boot".to_owned(),
        _ => answer.reasons.first()?.clone(),
    };
    (value != default).then(|| {
        Finding::new(
            Id::LiveNotPersisted,
            Severity::Info,
            format!(
                "live but lost at boot: {key} is {} now; {sets}, and the kernel's default is {}",
                number(key, value),
                if key == Key::Max {
                    format_count(default)
                } else {
                    number(key, default)
                }
            ),
            keep(key, value),
        )
    })
}

fn keep(key: Key, value: i64) -> Hint {
    plan(None, &[(key, value)]).to("to keep it")
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
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::boot::modules::ModuleFiles;
    use crate::boot::{BootFiles, Tree};
    use crate::plan::{Comparison, Files, Machine};
    use crate::tunable::{Access, Conntrack, Host, Reading, Snapshot};

    /// `id: message` of each finding about these live values and lines of sysctl.d.
    fn found(live: &[(Key, i64)], sysctl: &str, is_module: bool) -> Vec<String> {
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
        let evidence = Evidence::of(machine, &comparison);
        let told = |finding: Finding| format!("{}: {}", finding.id.name(), finding.message);
        findings(&evidence, files.next_boot())
            .into_iter()
            .map(told)
            .collect()
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
}
