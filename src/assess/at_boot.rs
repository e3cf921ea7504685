//! The next boot: values that are lost, lines that override the profile, readers that disagree.

use std::path::Path;

use super::command::command;
use super::{Evidence, Finding, Id, Severity};
use crate::boot::modules::Loading;
use crate::boot::{Reader, Tree};
use crate::diagnostic::Hint;
use crate::plan::{Blocked, Compared, DROP_IN, Files};
use crate::tunable::{Key, format_count};

pub(super) fn findings(evidence: &Evidence<'_>) -> Vec<Finding> {
    let comparison = evidence.comparison;
    let mut findings = Vec::new();
    findings.extend(evidence.machine.files.and_then(lost));
    findings.extend(evidence.machine.files.and_then(hash_size));
    findings.extend(evidence.machine.files.and_then(unread_by_systemd));
    let blocked = evidence.blocked.iter();
    findings.extend(blocked.filter_map(|blocked| overridden(blocked, evidence)));
    findings.extend(comparison.settings.iter().filter_map(split));
    findings
}

/// Values in sysctl.d for keys that do not exist yet when it is applied, and that nothing applies
/// again.
fn lost(files: &Files) -> Option<Finding> {
    let module = files.module()?;
    let is_set = |key: &&Key| {
        let persisted = files.persisted(**key);
        persisted.procps.is_some() || persisted.systemd.is_some()
    };
    let values = match Key::ALL.iter().filter(is_set).count() {
        0 => return None,
        1 => "1 value".to_owned(),
        number => format!("{} values", format_count(number)),
    };
    if module.reapplied().is_some() {
        return None;
    }
    let (cause, hint) = match module.loading() {
        Loading::Early(_) | Loading::Unknown(_) => return None,
        Loading::Nothing => (
            "nothing loads nf_conntrack before sysctl.d is applied".to_owned(),
            Hint::on_host("echo nf_conntrack > /etc/modules-load.d/nf_conntrack.conf")
                .to("`cttune apply` writes a file that loads it; by hand"),
        ),
        Loading::Forbidden(line) => (
            format!(
                "{line} keeps modules-load.d from loading nf_conntrack before sysctl.d is applied"
            ),
            Hint::say("remove that line, or keep the udev rule that `cttune apply` writes"),
        ),
    };
    Some(Finding::new(
        Id::LostAtBoot,
        Severity::Warning,
        format!("lost: {cause}; {values} of sysctl.d may be lost at the next boot"),
        hint,
    ))
}

/// A hash size given to the module, which also sets max.
fn hash_size(files: &Files) -> Option<Finding> {
    let size = files.module()?.hash_size()?;
    let (buckets, max) = (size.buckets(), size.max());
    let loads = format!(
        "{} loads nf_conntrack with hashsize={}",
        size.line, size.asked
    );
    let product = format!("{max} = 8 × {buckets}");
    let set = files.persisted(Key::Max).systemd;
    let (severity, message) = match set {
        None => (
            Severity::Warning,
            format!("{loads}: the next boot brings {} = {product}", Key::Max),
        ),
        Some(winner) => (
            Severity::Info,
            format!(
                "{loads}: {} is {product}, until {}:{} sets {}",
                Key::Max,
                winner.file.display(),
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
fn unread_by_systemd(files: &Files) -> Option<Finding> {
    let is_alone = |key: &Key| {
        let persisted = files.persisted(*key);
        let procps = persisted.procps.filter(|_| persisted.systemd.is_none())?;
        (procps.file == Path::new(Tree::SYSCTL_CONF)).then(|| format!("{key} = {}", procps.value))
    };
    let alone: Vec<String> = Key::ALL.iter().filter_map(is_alone).collect();
    (files.has_systemd_sysctl() && !alone.is_empty()).then(|| {
        Finding::new(
            Id::SysctlConfUnread,
            Severity::Warning,
            format!(
                "only {} sets {}: systemd-sysctl does not read that file, so this is lost at the \
             next boot",
                Tree::SYSCTL_CONF,
                alone.join(", ")
            ),
            Hint::on_host("ln -s ../sysctl.conf /etc/sysctl.d/99-sysctl.conf")
                .to("`cttune apply` writes the profile's values to sysctl.d; by hand"),
        )
    })
}

/// A line that sets another value than the profile and overrides the drop-in.
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
            "{}:{line} sets {key} = {value}, not {desired}, and overrides {DROP_IN} when {}",
            file.display(),
            read_by(readers),
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

/// Two readers that bring two values: it depends on the boot which one holds.
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
                "the next boot brings {} = {procps} by `sysctl --system` and {systemd} by \
             systemd-sysctl",
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
    use crate::boot::modules::{ConfFile, ModuleFiles};

    const LOAD: &str = "/etc/modules-load.d/x.conf";
    const OPTIONS: &str = "/etc/modprobe.d/x.conf";
    const RULE: &str = "/etc/udev/rules.d/x.rules";

    /// A machine with conntrack as a module, these lines in sysctl.d, and these files.
    fn machine(sysctl: &str, files: &[(&str, &str)]) -> Files {
        let of = |path: &str| -> Vec<ConfFile> {
            let found = files.iter().filter(|(at, _)| *at == path);
            let file = |(_, text): &(&str, &str)| ConfFile {
                path: path.into(),
                bytes: Some((*text).into()),
            };
            found.map(file).collect()
        };
        let module = ModuleFiles {
            modules_load: of(LOAD),
            modprobe: of(OPTIONS),
            udev: of(RULE),
            dependents: Vec::new(),
        };
        with_module(sysctl, Some(module))
    }

    fn with_module(sysctl: &str, module: Option<ModuleFiles>) -> Files {
        let drop_in = Path::new("/etc/sysctl.d/x.conf");
        let tree = Tree::default().with_file(drop_in, Some(sysctl.into()));
        Files::new(tree, BTreeMap::new(), module, None)
    }

    #[test]
    fn what_sysctl_conf_alone_sets_is_lost_where_systemd_does_not_read_it() {
        let line = b"net.netfilter.nf_conntrack_max = 5\n";
        let conf = Tree::default().with_file(Path::new(Tree::SYSCTL_CONF), Some(line.to_vec()));
        let drop_in = Path::new("/etc/sysctl.d/x.conf");
        let both = conf.clone().with_file(drop_in, Some(line.to_vec()));
        let program = || Some("/lib/systemd/systemd-sysctl".into());
        for (tree, systemd, found) in [
            (conf.clone(), program(), true),
            (conf, None, false),
            (both, program(), false),
            (Tree::default(), program(), false),
        ] {
            let files = Files::new(tree, BTreeMap::new(), None, systemd);
            assert_eq!(unread_by_systemd(&files).is_some(), found, "{files:?}");
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
        let forbidden = [
            (LOAD, "nf_conntrack\n"),
            (OPTIONS, "blacklist nf_conntrack\n"),
        ];
        let finding = lost(&machine(VALUES, &forbidden)).unwrap();
        assert!(
            finding.message.contains("/etc/modprobe.d/x.conf:1 keeps"),
            "{}",
            finding.message
        );
    }

    #[test]
    fn values_that_hold_are_not_called_lost() {
        let rule = "KERNEL==\"nf_conntrack\", RUN+=\"/lib/systemd/systemd-sysctl\"\n";
        for (why, files) in [
            ("loaded early", machine(VALUES, &[(LOAD, "nf_conntrack\n")])),
            ("applied again", machine(VALUES, &[(RULE, rule)])),
            ("nothing to lose", machine("kernel.panic = 1\n", &[])),
            ("built in", with_module(VALUES, None)),
        ] {
            assert_eq!(lost(&files), None, "{why}");
        }
    }

    #[test]
    fn a_hash_size_names_the_max_that_it_brings() {
        let option = [(OPTIONS, "options nf_conntrack hashsize=16385\n")];
        let alone = hash_size(&machine("", &option)).unwrap();
        assert_eq!(alone.id, Id::HashsizeOption);
        assert_eq!(alone.severity, Severity::Warning);
        assert_eq!(
            alone.message,
            "/etc/modprobe.d/x.conf:1 loads nf_conntrack with hashsize=16385: the next boot brings \
             net.netfilter.nf_conntrack_max = 135168 = 8 × 16896"
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
    fn no_hash_size_no_finding() {
        assert_eq!(
            hash_size(&machine(VALUES, &[(OPTIONS, "options loop max_loop=1\n")])),
            None
        );
        assert_eq!(hash_size(&with_module(VALUES, None)), None);
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
