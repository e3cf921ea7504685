//! Other programs that write conntrack sysctls, or make them come to nothing.
//!
//! In: [`Traces`], what a machine shows of them. Out: one finding for each that is there, a warning
//! where it is known to bring another value than is wanted.
//! Rule: pure; named is only what was seen, with the file and line or the process it was seen by.
//! Follows the manuals of kube-proxy(8), tuned.conf(5), ufw-framework(8), firewalld.conf(5),
//! conntrackd(8).

mod tuned;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{Evidence, Finding, Id, Severity};
use crate::boot::managed::manager;
use crate::boot::{self, Reader, Tree};
use crate::plan::Blocked;
use crate::tunable::Key;

const UFW_CONF: &str = "/etc/ufw/ufw.conf";
const UFW_DEFAULT: &str = "/etc/default/ufw";
const FIREWALLD_CONF: &str = "/etc/firewalld/firewalld.conf";

/// What can be seen of other agents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Traces {
    /// The programs of [`Traces::PROGRAMS`] that run.
    pub(crate) running: BTreeSet<&'static str>,
    /// The files that were looked for; `None` where there is none.
    pub(crate) files: BTreeMap<PathBuf, Option<Vec<u8>>>,
}

impl Traces {
    /// The programs to look for.
    pub(crate) const PROGRAMS: [&'static str; 6] = [
        "conntrackd",
        "dockerd",
        "firewalld",
        "k3s-agent",
        "k3s-server",
        "kube-proxy",
    ];

    /// Files to look for that were not looked for yet. What they say may lead to others, so it is
    /// to be asked until it is empty.
    pub(crate) fn wanted_files(&self) -> Vec<PathBuf> {
        let mut paths = [UFW_CONF, UFW_DEFAULT, FIREWALLD_CONF]
            .map(PathBuf::from)
            .to_vec();
        paths.extend(self.ufw_sysctl());
        paths.extend(tuned::wanted_files(self));
        paths.retain(|path| !self.files.contains_key(path));
        paths
    }

    /// The text of a file that is there.
    fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let bytes = self.files.get(path.as_ref())?.as_ref()?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    fn runs(&self, program: &str) -> bool {
        self.running.contains(program)
    }

    /// The file that ufw applies when it starts; none where ufw is off.
    fn ufw_sysctl(&self) -> Option<PathBuf> {
        let is_on = assigned(&self.text(UFW_CONF)?, "ENABLED")?.eq_ignore_ascii_case("yes");
        let path = assigned(&self.text(UFW_DEFAULT)?, "IPT_SYSCTL")?;
        (is_on && path.starts_with('/')).then(|| path.into())
    }
}

/// A value that another agent sets.
struct Rival {
    key: Key,
    value: i64,
    /// `FILE:LINE`.
    place: String,
}

pub(super) fn findings(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut findings = managed_files(evidence);
    if let Some(traces) = evidence.traces {
        findings.extend(kube_proxy(traces, evidence));
        findings.extend(tuned::findings(traces, evidence));
        findings.extend(ufw(traces, evidence));
        findings.extend(firewalld(traces, evidence));
        findings.extend(docker(traces));
        findings.extend(conntrackd(traces));
    }
    findings
}

/// Files with a line that beats ours, and a tool that puts the line back.
fn managed_files(evidence: &Evidence<'_>) -> Vec<Finding> {
    let beating = evidence.blocked.iter().filter_map(|blocked| match blocked {
        Blocked::Overridden { file, .. } => Some(file.as_path()),
        _ => None,
    });
    let beating: BTreeSet<&Path> = beating.collect();
    let managed = beating.into_iter().filter_map(|file| {
        let tool = manager(evidence.machine.files?.tree().file(file)?)?;
        Some(Finding::new(
            Id::ManagedFile,
            Severity::Warning,
            format!(
                "{} says that {tool} manages it: what --adopt comments out there, its next run \
                 may bring back",
                file.display()
            ),
            format!("change the value, or remove the line, in {tool}"),
        ))
    });
    managed.collect()
}

/// kube-proxy writes its values whenever it starts; those of a default configuration are known.
fn kube_proxy(traces: &Traces, evidence: &Evidence<'_>) -> Option<Finding> {
    let program = ["kube-proxy", "k3s-server", "k3s-agent"]
        .into_iter()
        .find(|program| traces.runs(program))?;
    let max = i64::from(evidence.machine.host.cpus)
        .saturating_mul(32768)
        .max(131_072);
    let defaults = [
        (Key::Max, max),
        (Key::TcpTimeoutEstablished, 86400),
        (Key::TcpTimeoutCloseWait, 3600),
    ];
    let mut off = defaults.into_iter().filter_map(|(key, value)| {
        let desired = desired(evidence, key, value)?;
        Some(format!("{} = {value}, not {desired}", key.file_name()))
    });
    let (severity, values) = match off.next() {
        None => (
            Severity::Info,
            "nf_conntrack_max and two TCP timeouts".to_owned(),
        ),
        Some(first) => {
            let all: Vec<String> = std::iter::once(first).chain(off).collect();
            (Severity::Warning, all.join("; "))
        }
    };
    Some(Finding::new(
        Id::WriterKubeProxy,
        severity,
        format!(
            "{program} runs here, and unless configured otherwise sets, when it starts: {values}"
        ),
        "give kube-proxy the same numbers, or 0 to leave a key alone: conntrack.maxPerCore, \
         min, tcpEstablishedTimeout, tcpCloseWaitTimeout",
    ))
}

fn ufw(traces: &Traces, evidence: &Evidence<'_>) -> Vec<Finding> {
    let Some(path) = traces.ufw_sysctl() else {
        return Vec::new();
    };
    let Some(text) = traces.text(&path) else {
        return Vec::new();
    };
    // ufw gives the file to procps's `sysctl -p`, which reads it as it reads /etc/sysctl.conf.
    let conf = Path::new(Tree::SYSCTL_CONF);
    let tree = Tree::default().with_file(conf, Some(text.into_bytes()));
    let effective = boot::effective(&tree, Reader::Procps);
    let rivals = effective.winners().map(|(key, winner)| Rival {
        key,
        value: winner.value,
        place: format!("{}:{}", path.display(), winner.line),
    });
    rivals.map(|rival| ufw_finding(&rival, evidence)).collect()
}

fn ufw_finding(rival: &Rival, evidence: &Evidence<'_>) -> Finding {
    let (severity, but) = rival.judged(evidence);
    let Rival { key, value, place } = rival;
    Finding::new(
        Id::WriterUfw,
        severity,
        format!("{place} sets {key} = {value} whenever ufw starts{but}"),
        "remove that line: sysctl.d has the value",
    )
}

/// firewalld writes no conntrack sysctl, but may unload the module with all of them.
fn firewalld(traces: &Traces, evidence: &Evidence<'_>) -> Option<Finding> {
    if !traces.runs("firewalld") {
        return None;
    }
    let module = evidence.machine.files?.module()?;
    let conf = traces.text(FIREWALLD_CONF).unwrap_or_default();
    let unloads = assigned(&conf, "CleanupModulesOnExit")
        .is_some_and(|value| ["yes", "true"].contains(&value.to_lowercase().as_str()));
    let (severity, message, hint) = if unloads && module.reapplied().is_none() {
        (
            Severity::Warning,
            "firewalld runs here and unloads nf_conntrack when it stops: every value goes with it",
            "cttune apply writes a udev rule that brings them back; or CleanupModulesOnExit=no",
        )
    } else {
        (
            Severity::Info,
            "firewalld runs here: it loads nf_conntrack itself, and writes none of its sysctls",
            "nothing to do; CleanupModulesOnExit=yes would unload the module when it stops",
        )
    };
    Some(Finding::new(Id::WriterFirewalld, severity, message, hint))
}

fn docker(traces: &Traces) -> Option<Finding> {
    traces.runs("dockerd").then(|| {
        Finding::new(
            Id::WriterDocker,
            Severity::Info,
            "dockerd runs here: each container has a network namespace of its own, which \
                  starts with the kernel's timeouts and not with sysctl.d's"
                .to_owned(),
            "the limits hold for all; to see a container's timeouts: \
               cttune check --netns pid:PID"
                .to_owned(),
        )
    })
}

fn conntrackd(traces: &Traces) -> Option<Finding> {
    traces.runs("conntrackd").then(|| {
        Finding::new(
            Id::WriterConntrackd,
            Severity::Info,
            "conntrackd runs here: its flows are copied to another node, which needs the \
                  same table and timeouts"
                .to_owned(),
            "apply on both nodes".to_owned(),
        )
    })
}

impl Rival {
    /// A warning where another value is wanted, and the words for it.
    fn judged(&self, evidence: &Evidence<'_>) -> (Severity, String) {
        match desired(evidence, self.key, self.value) {
            Some(desired) => (Severity::Warning, format!(", not {desired}")),
            None => (Severity::Info, String::new()),
        }
    }
}

/// What is wanted of `key` instead of `value`: by the profile, else by sysctl.d. None where
/// `value` will do, or nothing is wanted.
fn desired(evidence: &Evidence<'_>, key: Key, value: i64) -> Option<i64> {
    let settings = &evidence.comparison.settings;
    let setting = settings.iter().find(|setting| setting.key == key)?;
    match &setting.targets {
        Some(targets) => (!targets.boot.allows(value)).then_some(targets.boot.value),
        None => setting.persisted_value().filter(|kept| *kept != value),
    }
}

/// The value of `NAME=value` in a file for a shell; the last one counts.
fn assigned(text: &str, name: &str) -> Option<String> {
    let mut values = text.lines().filter_map(|line| {
        let (key, value) = line.trim().split_once('=')?;
        (key.trim_end() == name).then(|| value.trim().trim_matches(['"', '\'']).to_owned())
    });
    values.next_back().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests;
