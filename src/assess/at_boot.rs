//! The next boot: values that are lost, lines that do nothing or override the drop-in, readers that
//! disagree, an /etc that does not last.

mod drift;

use std::collections::BTreeMap;
use std::path::Path;

use super::command::command;
use super::{Evidence, Finding, Id, Severity};
use crate::boot::modules::Loading;
use crate::boot::{DeadLine, NextBoot, Reader, Tree};
use crate::diagnostic::Hint;
use crate::diagnostic::plain::Shown;
use crate::plan::{Blocked, Compared, DROP_IN};
use crate::tunable::{Key, Reading, Snapshot, format_count, plural};

pub(super) fn findings(evidence: &Evidence<'_>) -> Vec<Finding> {
    let comparison = evidence.comparison;
    let mut findings = Vec::new();
    if let Some(files) = evidence.machine.files {
        let next_boot = files.next_boot();
        findings.extend(lost(next_boot));
        findings.extend(hash_size(next_boot));
        findings.extend(unread_by_systemd(next_boot));
        findings.extend(next_boot.dead_lines().iter().map(dead_line));
        if let Some(live) = evidence.machine.live {
            findings.extend(missing_keys(next_boot, live));
        }
        findings.extend(unknown(next_boot));
        findings.extend(volatile(next_boot));
        findings.extend(drift::findings(evidence, next_boot));
    }
    let blocked = evidence.blocked.iter();
    findings.extend(blocked.filter_map(|blocked| overridden(blocked, evidence)));
    findings.extend(comparison.settings.iter().filter_map(split));
    findings
}

/// Values in sysctl.d for keys that do not exist yet when it is applied, and that nothing sets
/// again when they do.
fn lost(next_boot: &NextBoot) -> Option<Finding> {
    let keys: Vec<Key> = Key::ALL
        .iter()
        .copied()
        .filter(|key| next_boot.answer(*key).is_lost)
        .collect();
    let values = match keys.len() {
        0 => return None,
        1 => "1 value".to_owned(),
        number => format!("{} values", format_count(number)),
    };
    let (cause, hint) = match next_boot.not_applied() {
        Some(not_applied) => (not_applied.why, not_applied.fix),
        None => why_lost(next_boot.loading()?)?,
    };
    let on_load = &next_boot.writers().on_load;
    let rule = on_load.appliers.iter().map(|applier| &applier.place).next();
    let but = rule.map(|rule| {
        let names: Vec<&str> = keys.iter().map(|key| key.file_name()).collect();
        format!(
            ", and the rule {rule} does not surely set {} when it is loaded later",
            names.join(", ")
        )
    });
    Some(Finding::new(
        Id::LostAtBoot,
        Severity::Warning,
        format!(
            "lost: {cause}{}; {values} of sysctl.d may be lost at the next boot",
            but.unwrap_or_default()
        ),
        hint,
    ))
}

/// Why nothing loads the module in time, and what helps; none where that is not sure.
fn why_lost(loading: &Loading) -> Option<(String, Hint)> {
    Some(match loading {
        Loading::Nothing => (
            "nothing loads nf_conntrack before sysctl.d is applied".to_owned(),
            Hint::on_host("echo nf_conntrack > /etc/modules-load.d/nf_conntrack.conf")
                .to("`cttune apply` writes a file that loads it; by hand"),
        ),
        Loading::Idle(idle) => (idle.why.clone(), idle.fix.clone()),
        Loading::Denied(line) => (
            format!(
                "{line} keeps modules-load.d from loading nf_conntrack before sysctl.d is applied"
            ),
            Hint::say("remove that line, or keep the udev rule that `cttune apply` writes"),
        ),
        Loading::Never(line) => (
            format!("{line} keeps nf_conntrack from being loaded at all"),
            Hint::say("remove that line, or the values from sysctl.d"),
        ),
        _ => return None,
    })
}

/// A hash size given to the module, which also sets max.
fn hash_size(next_boot: &NextBoot) -> Option<Finding> {
    let size = next_boot.hash_size()?;
    let (buckets, max) = (size.buckets(), size.max());
    let loads = format!(
        "{} loads nf_conntrack with hashsize={}",
        size.line, size.asked
    );
    let product = format!("{max} = 8 × {buckets}");
    let readers = next_boot.readers().iter().rev();
    let set = readers
        .copied()
        .find_map(|reader| next_boot.winner(reader, Key::Max));
    let (severity, message) = match set {
        None => (
            Severity::Warning,
            format!("{loads}: after the next boot {} is {product}", Key::Max),
        ),
        Some(winner) => (
            Severity::Info,
            format!(
                "{loads}: {} is {product}, until {}:{} sets {}",
                Key::Max,
                winner.file.shown(),
                winner.line,
                winner.value
            ),
        ),
    };
    Some(Finding::new(
        Id::HashsizeOption,
        severity,
        message,
        format!(
            "remove the option and set {} and {} in sysctl.d, as `cttune apply` does",
            Key::Max,
            Key::Buckets
        ),
    ))
}

/// Values in /etc/sysctl.conf alone, where that is not linked into sysctl.d.
fn unread_by_systemd(next_boot: &NextBoot) -> Option<Finding> {
    let is_alone = |key: &Key| {
        let procps = next_boot.winner(Reader::Procps, *key)?;
        let by_systemd = next_boot.winner(Reader::Systemd, *key);
        let is_conf = procps.file == Path::new(Tree::SYSCTL_CONF);
        (is_conf && by_systemd.is_none()).then(|| format!("{key} = {}", procps.value))
    };
    let alone: Vec<String> = Key::ALL.iter().filter_map(is_alone).collect();
    (next_boot.has_systemd() && !alone.is_empty()).then(|| Finding::new(Id::SysctlConfUnread, Severity::Warning, format!(
            "{} alone sets {}: systemd-sysctl does not read that file, so these values are lost \
             at the next boot",
            Tree::SYSCTL_CONF,
            alone.join(", ")
        ), Hint::on_host("ln -s ../sysctl.conf /etc/sysctl.d/99-sysctl.conf")
                .to("`cttune apply` writes the profile's values to sysctl.d; by hand")))
}

fn dead_line(line: &DeadLine) -> Finding {
    let hint = match &line.instead {
        Some(instead) => format!("write instead: {instead}"),
        None => "remove it, or write a key and a number that the kernel takes".to_owned(),
    };
    Finding::new(
        Id::DeadLine,
        Severity::Warning,
        format!("{} does nothing: {}: `{}`", line.place, line.why, line.text),
        hint,
    )
}

/// Lines about keys that the running kernel does not have: `nf_conntrack_helper` since 6.1.
fn missing_keys(next_boot: &NextBoot, live: &Snapshot) -> Vec<Finding> {
    // These two come with a module of their own.
    let comes_later = |key: Key| matches!(key, Key::FlowtableTcpTimeout | Key::FlowtableUdpTimeout);
    let is_missing = |key: &Key| live.reading(*key) == Reading::Missing && !comes_later(*key);
    let line_of = |key: Key| {
        let mut readers = next_boot.readers().iter().rev();
        let winner = readers.find_map(|reader| next_boot.winner(*reader, key))?;
        Some((winner.file.as_path(), winner.line))
    };
    // A glob is about keys of every kernel.
    let mut lines: BTreeMap<(&Path, usize), Vec<Key>> = BTreeMap::new();
    for (key, line) in Key::ALL
        .iter()
        .filter_map(|key| Some((*key, line_of(*key)?)))
    {
        lines.entry(line).or_default().push(key);
    }
    let dead = lines
        .into_iter()
        .filter(|(_, keys)| keys.iter().all(is_missing));
    let finding = |((file, line), keys): ((&Path, usize), Vec<Key>)| {
        let (key, others) = keys.split_first()?;
        let others = match others.len() {
            0 => String::new(),
            others => format!(" and {}", plural(others, "other key")),
        };
        let message = format!(
            "{}:{line} does nothing on this kernel, which does not have {key}{others}",
            file.shown()
        );
        let hint = "remove it, unless another kernel is started too";
        Some(Finding::new(Id::DeadLine, Severity::Info, message, hint))
    };
    dead.filter_map(finding).collect()
}

/// What decides about the next boot and cannot be told.
fn unknown(next_boot: &NextBoot) -> Option<Finding> {
    let reason = match (next_boot.other_reader(), next_boot.loading()) {
        (Some(other), _) => {
            format!("{other} applies sysctl.d here, in a way that cttune does not know")
        }
        (None, Some(loading @ (Loading::Installed(_) | Loading::Soft(_)))) => loading.unclear()?,
        _ => return None,
    };
    let is_set = Key::ALL.iter().any(|key| next_boot.is_set(*key));
    is_set.then(|| {
        Finding::new(
            Id::NextBootUnknown,
            Severity::Warning,
            format!("what conntrack's sysctls are after the next boot is unknown: {reason}"),
            Hint::cttune("check").to("look at the values after a reboot"),
        )
    })
}

/// An /etc that loses what is written to it.
fn volatile(next_boot: &NextBoot) -> Option<Finding> {
    let volatile = next_boot.volatile()?;
    Some(Finding::new(
        Id::EtcVolatile,
        Severity::Warning,
        format!("what cttune writes to /etc {}", volatile.told()),
        volatile.instead,
    ))
}

/// A line with another value than the profile asks for, which overrides the drop-in.
fn overridden(blocked: &Blocked, evidence: &Evidence<'_>) -> Option<Finding> {
    let Blocked::Overridden {
        key,
        file,
        line,
        value,
        readers,
    } = blocked
    else {
        return None;
    };
    let setting = evidence
        .comparison
        .settings
        .iter()
        .find(|setting| setting.key == *key)?;
    let desired = setting.targets.as_ref()?.boot.value;
    Some(Finding::new(
        Id::OverriddenAtBoot,
        Severity::Warning,
        format!(
            "{}:{line} overrides {DROP_IN} when {}: after the next boot {key} is {}, not \
             {desired}",
            file.shown(),
            read_by(readers),
            value.map_or_else(
                || "the kernel's default, which refuses that line's value".to_owned(),
                |value| value.to_string()
            ),
        ),
        command("apply --adopt", evidence.desired, &[])
            .to("comment that line out")
            .and(explain(*key)),
    ))
}

fn explain(key: Key) -> Hint {
    Hint::cttune(format!("check --explain {}", key.short_name())).to("see every line")
}

/// `systemd-sysctl reads it`, `sysctl --system and systemd-sysctl read it`.
fn read_by(readers: &[Reader]) -> String {
    let names: Vec<String> = readers.iter().map(ToString::to_string).collect();
    let verb = if names.len() == 1 { "reads" } else { "read" };
    format!("{} {verb} it", names.join(" and "))
}

/// Two readers that end with two values.
fn split(setting: &Compared) -> Option<Finding> {
    let persisted = setting.persisted.as_ref()?;
    let values = [Reader::Procps, Reader::Systemd]
        .map(|reader| persisted.winner(reader).map(|winner| winner.value));
    let [Some(procps), Some(systemd)] = values else {
        return None;
    };
    (procps != systemd).then(|| {
        Finding::new(
            Id::ReadersDisagree,
            Severity::Warning,
            format!(
                "after the next boot {} is {systemd} by systemd-sysctl, and {procps} after \
             `sysctl --system`",
                setting.key
            ),
            explain(setting.key),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::boot::BootFiles;
    use crate::boot::modules::{ConfFile, ModuleFiles};
    use crate::boot::writers::{Facts, File, Found, Writers};

    const LOAD: &str = "/etc/modules-load.d/x.conf";
    const OPTIONS: &str = "/etc/modprobe.d/x.conf";
    const RULE: &str = "/etc/udev/rules.d/x.rules";

    /// A machine with conntrack as a module, these lines in sysctl.d, and these files.
    fn machine(sysctl: &str, files: &[(&str, &str)]) -> NextBoot {
        let of = |path: &str| -> Vec<ConfFile> {
            let found = files.iter().filter(|(at, _)| *at == path);
            let file = |(_, text): &(&str, &str)| ConfFile {
                path: path.into(),
                bytes: Some((*text).into()),
            };
            found.map(file).collect()
        };
        let mut all = BTreeMap::new();
        let rules = files.iter().filter(|(path, _)| *path == RULE);
        for (path, text) in rules {
            let file = File {
                text: (*text).to_owned(),
                is_executable: false,
            };
            all.insert(path.into(), Found::File(file));
            let names = vec!["x.rules".to_owned()];
            all.insert("/etc/udev/rules.d".into(), Found::Folder(names));
        }
        let facts = Facts::of_files(Vec::new(), 1, all);
        let module = ModuleFiles {
            modules_load: of(LOAD),
            modprobe: of(OPTIONS),
            ..ModuleFiles::default()
        };
        let drop_in = Path::new("/etc/sysctl.d/x.conf");
        NextBoot::new(BootFiles {
            tree: Tree::default().with_file(drop_in, Some(sysctl.into())),
            module: Some(module),
            writers: Writers::of(&facts),
            ..BootFiles::default()
        })
    }

    fn built_in(sysctl: &str) -> NextBoot {
        let drop_in = Path::new("/etc/sysctl.d/x.conf");
        NextBoot::new(BootFiles {
            tree: Tree::default().with_file(drop_in, Some(sysctl.into())),
            ..BootFiles::default()
        })
    }

    #[test]
    fn what_sysctl_conf_alone_sets_is_lost_where_systemd_does_not_read_it() {
        let line = b"net.netfilter.nf_conntrack_max = 5\n";
        let conf = Tree::default().with_file(Path::new(Tree::SYSCTL_CONF), Some(line.to_vec()));
        let drop_in = Path::new("/etc/sysctl.d/x.conf");
        let both = conf.clone().with_file(drop_in, Some(line.to_vec()));
        let systemd = vec![Reader::Procps, Reader::Systemd];
        for (tree, readers, found) in [
            (conf.clone(), systemd.clone(), true),
            (conf, vec![Reader::Procps], false),
            (both, systemd.clone(), false),
            (Tree::default(), systemd, false),
        ] {
            let next_boot = NextBoot::new(BootFiles {
                tree,
                readers,
                ..BootFiles::default()
            });
            assert_eq!(
                unread_by_systemd(&next_boot).is_some(),
                found,
                "{next_boot:?}"
            );
        }
    }

    const VALUES: &str =
        "net.netfilter.nf_conntrack_max = 5\nnet.netfilter.nf_conntrack_acct = 1\n";

    #[test]
    fn values_are_lost_where_nothing_loads_the_module_in_time() {
        let finding = lost(&machine(VALUES, &[])).unwrap();
        assert_eq!(finding.id, Id::LostAtBoot);
        assert_eq!(
            finding.message,
            "lost: nothing loads nf_conntrack before sysctl.d is applied; 2 values of sysctl.d \
             may be lost at the next boot"
        );
        for (options, said) in [
            (
                "blacklist nf_conntrack\n",
                "/etc/modprobe.d/x.conf:1 keeps modules-load.d",
            ),
            (
                "# x\ninstall nf_conntrack /bin/false\n",
                "/etc/modprobe.d/x.conf:2 keeps nf_conntrack from being loaded at all",
            ),
        ] {
            let finding = lost(&machine(
                VALUES,
                &[(LOAD, "nf_conntrack\n"), (OPTIONS, options)],
            ))
            .unwrap();
            assert!(finding.message.contains(said), "{}", finding.message);
        }
    }

    #[test]
    fn a_rule_counts_only_for_the_keys_that_it_sets() {
        let rule = |command: &str| {
            format!(
                "ACTION==\"add\", SUBSYSTEM==\"module\", KERNEL==\"nf_conntrack\", RUN+=\"{command}\"\n"
            )
        };
        for (sysctl, command, lost_keys) in [
            (VALUES, "/lib/systemd/systemd-sysctl", None),
            (
                VALUES,
                "/lib/systemd/systemd-sysctl --prefix=/net/netfilter",
                None,
            ),
            (
                VALUES,
                "/lib/systemd/systemd-sysctl --prefix=net.netfilter --prefix=net.ipv4",
                None,
            ),
            (
                VALUES,
                "/lib/systemd/systemd-sysctl --prefix=/net/netfilter/nf_conntrack_max",
                Some("nf_conntrack_acct"),
            ),
            (
                "net.nf_conntrack_max = 5\n",
                "/lib/systemd/systemd-sysctl --prefix=/net/netfilter",
                Some("nf_conntrack_max"),
            ),
            (
                "net.nf_conntrack_max = 5\n",
                "/lib/systemd/systemd-sysctl --prefix=/net/netfilter --prefix=/net/nf_conntrack_max",
                None,
            ),
            (VALUES, "/sbin/sysctl --system", None),
            (
                VALUES,
                "/bin/sh -c 'sysctl -w net.netfilter.nf_conntrack_max=5'",
                Some("nf_conntrack_acct"),
            ),
            (
                VALUES,
                "/lib/systemd/systemd-sysctl --prefix=/net/bridge",
                Some("nf_conntrack_max"),
            ),
        ] {
            let found = lost(&machine(sysctl, &[(RULE, &rule(command))]));
            assert_eq!(found.is_some(), lost_keys.is_some(), "{command}: {found:?}");
            if let (Some(found), Some(keys)) = (found, lost_keys)
                && command.contains("systemd-sysctl")
            {
                assert!(found.message.contains(keys), "{}", found.message);
            }
        }
        let other =
            rule("/lib/systemd/systemd-sysctl").replace("nf_conntrack\"", "nf_conntrack_ftp\"");
        assert!(lost(&machine(VALUES, &[(RULE, &other)])).is_some());
        let comment = format!("# {}", rule("/lib/systemd/systemd-sysctl"));
        assert!(lost(&machine(VALUES, &[(RULE, &comment)])).is_some());
    }

    #[test]
    fn values_that_last_are_not_called_lost() {
        for (why, next_boot) in [
            ("loaded early", machine(VALUES, &[(LOAD, "nf_conntrack\n")])),
            ("nothing to lose", machine("kernel.panic = 1\n", &[])),
            ("built in", built_in(VALUES)),
        ] {
            assert_eq!(lost(&next_boot), None, "{why}");
        }
    }

    #[test]
    fn a_hash_size_names_the_max_that_it_makes() {
        let option = [(OPTIONS, "options nf_conntrack hashsize=16385\n")];
        let alone = hash_size(&machine("", &option)).unwrap();
        assert_eq!(alone.id, Id::HashsizeOption);
        assert_eq!(alone.severity, Severity::Warning);
        assert_eq!(
            alone.message,
            "/etc/modprobe.d/x.conf:1 loads nf_conntrack with hashsize=16385: after the next boot \
             net.netfilter.nf_conntrack_max is 135168 = 8 × 16896"
        );
        let beside_max = hash_size(&machine(VALUES, &option)).unwrap();
        assert_eq!(beside_max.severity, Severity::Info);
        assert!(
            beside_max
                .message
                .ends_with("until /etc/sysctl.d/x.conf:1 sets 5")
        );
    }

    #[test]
    fn lines_that_do_nothing_are_named() {
        let dead = machine("net.netfilter.nf_conntrack_max = \"5\"\n", &[]).dead_lines();
        let finding = dead_line(&dead[0]);
        assert_eq!(finding.id, Id::DeadLine);
        assert_eq!(
            finding.message,
            "/etc/sysctl.d/x.conf:1 does nothing: the kernel refuses the value \"5\": \
             `net.netfilter.nf_conntrack_max = \"5\"`"
        );
        assert_eq!(
            finding.hint,
            Hint::say("write instead: net.netfilter.nf_conntrack_max = 5")
        );
    }

    #[test]
    fn a_key_that_this_kernel_lacks_is_named_unless_a_module_brings_it() {
        let access = crate::tunable::Access::Writable;
        let max = (Key::Max, Reading::Value { value: 5, access });
        let live = Snapshot::new([max], Some(0));
        for (line, found) in [
            ("net.netfilter.nf_conntrack_helper = 1\n", 1),
            ("net.netfilter.nf_conntrack_max = 5\n", 0),
            ("net.netfilter.nf_flowtable_tcp_timeout = 30\n", 0),
        ] {
            let told = missing_keys(&built_in(line), &live);
            assert_eq!(told.len(), found, "{line}: {told:?}");
        }
        let none = missing_keys(&built_in(VALUES), &Snapshot::not_loaded());
        assert_eq!(none, []);
    }

    #[test]
    fn an_etc_in_memory_is_named() {
        let next_boot = |mounts: &str| {
            NextBoot::new(BootFiles {
                storage: crate::boot::storage::StorageFacts {
                    mounts: Some(mounts.to_owned()),
                    ..Default::default()
                },
                ..BootFiles::default()
            })
        };
        let found = volatile(&next_boot("1 1 0:2 / / rw - tmpfs tmpfs rw\n")).unwrap();
        assert_eq!(found.id, Id::EtcVolatile);
        assert_eq!(
            volatile(&next_boot("1 1 254:1 / / rw - ext4 /dev/vda1 rw\n")),
            None
        );
    }

    #[test]
    fn no_hash_size_no_finding() {
        assert_eq!(
            hash_size(&machine(VALUES, &[(OPTIONS, "options loop max_loop=1\n")])),
            None
        );
        assert_eq!(hash_size(&built_in(VALUES)), None);
    }

    #[test]
    fn the_readers_of_a_line_agree_with_their_verb() {
        assert_eq!(read_by(&[Reader::Systemd]), "systemd-sysctl reads it");
        assert_eq!(
            read_by(&Reader::ALL),
            "sysctl --system and systemd-sysctl read it"
        );
    }
}
