//! Findings about other writers: programs that set conntrack sysctls, or make them come to nothing.
//!
//! In: what [`crate::boot::writers`] found. Out: one finding for each that is there, a warning where
//! it is known to set another value than the profile, or sysctl.d, does.
//! Rule: only what was seen is named, with the file and line or the process it was seen by.
//! Follows the manuals of kube-proxy(8), tuned.conf(5), ufw-framework(8), firewalld.conf(5),
//! conntrackd(8).

use std::collections::BTreeSet;
use std::path::Path;

use super::{Evidence, Finding, Id, Severity};
use crate::boot::managed::manager;
use crate::boot::writers::{Certainty, KubeProxy, LaterWrite, Tuned};
use crate::boot::{NextBoot, Reader};
use crate::diagnostic::plain::Shown;
use crate::plan::Blocked;
use crate::tunable::Key;

pub(super) fn findings(evidence: &Evidence<'_>) -> Vec<Finding> {
    let mut findings = managed_files(evidence);
    let Some(files) = evidence.machine.files else {
        return findings;
    };
    let next_boot = files.next_boot();
    let writers = next_boot.writers();
    findings.extend(
        writers
            .kube_proxy
            .as_ref()
            .and_then(|found| kube_proxy(found, evidence)),
    );
    findings.extend(tuned(next_boot, evidence));
    let ufw = writers.writes.iter().filter(|write| write.who == "ufw");
    findings.extend(ufw.map(|write| ufw_finding(write, evidence)));
    let is_other = |write: &&LaterWrite| {
        let is_kube_proxy = writers
            .kube_proxy
            .as_ref()
            .is_some_and(|found| found.writes.contains(write));
        write.who != "ufw" && write.who != "tuned" && !is_kube_proxy
    };
    let all = writers.writes.iter().chain(&writers.on_load.writes);
    let others = all.filter(is_other);
    findings.extend(others.map(|write| later_writer(write, evidence)));
    if writers.runs("firewalld") {
        findings.extend(firewalld(next_boot));
    }
    if writers.runs("dockerd") {
        findings.push(docker());
    }
    if writers.runs("conntrackd") {
        findings.push(conntrackd(writers.conntrackd_copies));
    }
    findings
}

/// Files with a line that overrides the drop-in, and a tool that writes the line again.
fn managed_files(evidence: &Evidence<'_>) -> Vec<Finding> {
    let overriding = evidence.blocked.iter().filter_map(|blocked| match blocked {
        Blocked::Overridden { file, .. } => Some(file.as_path()),
        _ => None,
    });
    let overriding: BTreeSet<&Path> = overriding.collect();
    let managed = overriding.into_iter().filter_map(|file| {
        let tool = manager(file, evidence.machine.files?.next_boot().tree().file(file)?)?;
        Some(Finding::new(Id::ManagedFile, Severity::Warning, format!(
                "{} is managed by {tool}: its next run may bring back what --adopt comments out there",
                file.shown()
            ), format!("change the value, or remove the line, in {tool}")))
    });
    managed.collect()
}

/// kube-proxy writes its values whenever it starts.
fn kube_proxy(found: &KubeProxy, evidence: &Evidence<'_>) -> Option<Finding> {
    let writes = found.writes.iter();
    let differing = writes.clone().filter_map(|write| {
        let (key, value) = (write.key?, write.value?);
        let desired = desired(evidence, key, value)?;
        let is_least = key == Key::Max && found.is_scaled_past_the_cap;
        let at_least = if is_least { "at least " } else { "" };
        let name = key.file_name();
        Some(format!("{name} = {at_least}{value}, not {desired}"))
    });
    let differing: Vec<String> = differing.collect();
    let set = writes.clone().filter_map(|write| write.key);
    let set: Vec<&str> = set.map(Key::file_name).collect();
    let (severity, values) = if differing.is_empty() {
        (Severity::Info, set.join(", "))
    } else {
        (Severity::Warning, differing.join("; "))
    };
    let depends = |write: &LaterWrite| write.certainty == Certainty::DependsOnVersion;
    let versions = if writes.clone().any(depends) {
        "; versions before 1.22 and from 1.29 on may lower a larger max, and those before 1.36 have \
         no upper bound"
    } else {
        ""
    };
    let unless = if found.is_unread {
        let by = &found.told_by;
        format!("unless {by} says otherwise, which cannot be read, ")
    } else {
        String::new()
    };
    let program = match found.program {
        "kube-proxy" => "kube-proxy".to_owned(),
        other => format!("{other} with a kube-proxy inside"),
    };
    (!found.writes.is_empty()).then(|| {
        Finding::new(
            Id::WriterKubeProxy,
            severity,
            format!("{program} runs here and, {unless}when it starts, sets: {values}{versions}"),
            "give kube-proxy the same numbers, or 0 to leave a key alone: conntrack.maxPerCore, \
             min, tcpEstablishedTimeout, tcpCloseWaitTimeout",
        )
    })
}

fn ufw_finding(write: &LaterWrite, evidence: &Evidence<'_>) -> Finding {
    let (severity, message) = told(write, evidence);
    Finding::new(
        Id::WriterUfw,
        severity,
        message,
        advice(write, evidence, "line"),
    )
}

fn later_writer(write: &LaterWrite, evidence: &Evidence<'_>) -> Finding {
    let (severity, message) = told(write, evidence);
    Finding::new(
        Id::LaterWriter,
        severity,
        message,
        advice(write, evidence, "command"),
    )
}

/// What it takes that sysctl.d alone decides, and that the next boot does not get less by it.
fn advice(write: &LaterWrite, evidence: &Evidence<'_>, what: &str) -> String {
    let by_files = evidence.machine.files.and_then(|files| {
        let next_boot = files.next_boot();
        let reader = next_boot.readers().last()?;
        Some(next_boot.winner(*reader, write.key?)?.value)
    });
    match (by_files, write.value) {
        (Some(own), Some(value)) if own >= value => {
            format!("remove that {what}: sysctl.d has the value")
        }
        (Some(own), Some(_)) => format!(
            "to keep its value, write it to sysctl.d in place of {own} and remove that {what}"
        ),
        _ => {
            format!("to have one place for it, write the value to sysctl.d and remove that {what}")
        }
    }
}

/// `FILE:LINE (WHO) sets KEY = VALUE WHEN, not DESIRED`, and a warning where that matters.
fn told(write: &LaterWrite, evidence: &Evidence<'_>) -> (Severity, String) {
    let may = if write.certainty == Certainty::Sure {
        "sets"
    } else {
        "may set"
    };
    let place = format!("{} ({})", write.place(), write.who);
    let Some(key) = write.key else {
        let message = format!(
            "{place} {may} a conntrack sysctl {}; cttune cannot tell which",
            write.when
        );
        return (Severity::Warning, message);
    };
    match write.value {
        None => {
            let is_set = desired(evidence, key, i64::MIN).is_some();
            let severity = if is_set {
                Severity::Warning
            } else {
                Severity::Info
            };
            (
                severity,
                format!(
                    "{place} {may} {key} {}, to a value that cttune cannot tell",
                    write.when
                ),
            )
        }
        Some(value) => {
            let message = format!("{place} {may} {key} = {value} {}", write.when);
            match desired(evidence, key, value) {
                Some(desired) => (Severity::Warning, format!("{message}, not {desired}")),
                None => (Severity::Info, message),
            }
        }
    }
}

/// What tuned sets by itself, and what it makes of sysctl.d where it applies that again.
fn tuned(next_boot: &NextBoot, evidence: &Evidence<'_>) -> Vec<Finding> {
    let Some(tuned) = &next_boot.writers().tuned else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for key in Key::ALL.iter().copied() {
        let own = tuned.writes.iter().find(|write| write.key == Some(key));
        let later = next_boot.later(key);
        let counts = later.iter().find(|write| write.who == "tuned");
        findings.extend(match (own, counts) {
            (Some(write), None) => Some(Finding::new(
                Id::WriterTuned,
                Severity::Info,
                format!(
                    "{}; sysctl.d is applied again after it",
                    set_by(tuned, write, key)
                ),
                "nothing to do while reapply_sysctl is on and sysctl.d sets the key",
            )),
            (Some(own), Some(write)) if own == write => {
                Some(own_value(tuned, write, key, evidence))
            }
            (_, Some(write)) => reapplied(write, key, evidence),
            (None, None) => None,
        });
    }
    findings
}

fn set_by(tuned: &Tuned, write: &LaterWrite, key: Key) -> String {
    format!(
        "tuned's active profile {} sets {key} = {} ({})",
        tuned.profile,
        value(write),
        write.place()
    )
}

/// A value that tuned's profile sets and that stays.
fn own_value(tuned: &Tuned, write: &LaterWrite, key: Key, evidence: &Evidence<'_>) -> Finding {
    let (severity, but) = judged(write, evidence);
    let hint = if tuned.reapplies {
        "remove the line from the profile, or set the key in sysctl.d, which tuned applies again \
         after its own values"
    } else {
        "remove the line from the profile, or set reapply_sysctl = 1 in \
         /etc/tuned/tuned-main.conf and the key in sysctl.d"
    };
    let message = format!("{}{but}", set_by(tuned, write, key));
    Finding::new(Id::WriterTuned, severity, message, hint)
}

/// A line of sysctl.d that wins for tuned alone; of interest where another value is desired.
fn reapplied(write: &LaterWrite, key: Key, evidence: &Evidence<'_>) -> Option<Finding> {
    let (severity, but) = judged(write, evidence);
    (severity == Severity::Warning).then(|| {
        Finding::new(
            Id::WriterTuned,
            severity,
            format!(
                "tuned applies sysctl.d again and ends with {key} = {} ({}){but}",
                value(write),
                write.place()
            ),
            "change that line: tuned reads /run/sysctl.d, /etc/sysctl.d, then /etc/sysctl.conf, \
             and no file hides another",
        )
    })
}

fn value(write: &LaterWrite) -> String {
    write
        .value
        .map_or_else(|| "?".to_owned(), |value| value.to_string())
}

/// A warning where another value is desired, and the words for it.
fn judged(write: &LaterWrite, evidence: &Evidence<'_>) -> (Severity, String) {
    let desired = write
        .key
        .zip(write.value)
        .and_then(|(key, value)| desired(evidence, key, value));
    match desired {
        Some(desired) => (Severity::Warning, format!(", not {desired}")),
        None => (Severity::Info, String::new()),
    }
}

/// firewalld writes no conntrack sysctl, but may unload the module with all of them.
fn firewalld(next_boot: &NextBoot) -> Option<Finding> {
    next_boot.module()?;
    let on_load = &next_boot.writers().on_load;
    let is_brought_back = on_load.appliers.iter().any(|applier| applier.is_sure);
    let (severity, message, hint) = if next_boot.writers().firewalld_unloads && !is_brought_back {
        (
            Severity::Warning,
            "firewalld runs here and unloads nf_conntrack when it stops: every value goes with it",
            "`cttune apply` writes a udev rule that sets them again; or CleanupModulesOnExit=no",
        )
    } else {
        (
            Severity::Info,
            "firewalld runs here: it loads nf_conntrack itself, and sets none of its sysctls",
            "nothing to do; CleanupModulesOnExit=yes would unload the module when it stops",
        )
    };
    Some(Finding::new(Id::WriterFirewalld, severity, message, hint))
}

fn docker() -> Finding {
    Finding::new(
        Id::WriterDocker,
        Severity::Info,
        "dockerd runs here: each container has a network namespace of its own, which \
                  starts with the kernel's timeouts and not with sysctl.d's",
        "the limits are for all; `cttune --netns pid:PID check` shows a container's timeouts",
    )
}

fn conntrackd(copies: Option<bool>) -> Finding {
    let (message, hint) = match copies {
        Some(true) => (
            "conntrackd runs here and copies flows to another node, which needs the same table and timeouts",
            "apply on both nodes",
        ),
        Some(false) => (
            "conntrackd runs here and counts flows: its configuration has no section Sync, so nothing is copied",
            "nothing to do",
        ),
        None => (
            "conntrackd runs here; its configuration was not read, so whether it copies flows is unknown",
            "where it copies them to another node, apply on both",
        ),
    };
    Finding::new(Id::WriterConntrackd, Severity::Info, message, hint)
}

/// What is desired of `key` instead of `value`: by the profile, else by sysctl.d. None where
/// `value` will do, or nothing is desired.
fn desired(evidence: &Evidence<'_>, key: Key, value: i64) -> Option<i64> {
    let settings = &evidence.comparison.settings;
    let setting = settings.iter().find(|setting| setting.key == key)?;
    if let Some(targets) = &setting.targets {
        return (!targets.boot.allows(value)).then_some(targets.boot.value);
    }
    let next_boot = evidence.machine.files?.next_boot();
    let winner = next_boot
        .readers()
        .iter()
        .rev()
        .find_map(|reader: &Reader| next_boot.winner(*reader, key));
    winner
        .map(|winner| winner.value)
        .filter(|kept| *kept != value)
}

#[cfg(test)]
mod tests;
