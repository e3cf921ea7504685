//! tuned: what its active profile, and the profiles that this one includes, set.

use std::path::{Path, PathBuf};

use super::super::{Evidence, Finding, Id, Severity};
use super::{Rival, Traces, assigned};
use crate::tunable::{Key, kernel_number};

const ACTIVE: &str = "/etc/tuned/active_profile";
const MAIN: &str = "/etc/tuned/tuned-main.conf";
/// Where profiles lie, strongest first: since tuned 2.23 in a folder of their own.
const FOLDERS: [&str; 4] = [
    "/etc/tuned/profiles",
    "/etc/tuned",
    "/usr/lib/tuned/profiles",
    "/usr/lib/tuned",
];
/// Profiles that may include one another in a row.
const MOST_INCLUDES: usize = 16;

/// The files that tuned would read.
pub(super) fn wanted_files(traces: &Traces) -> Vec<PathBuf> {
    let names = profiles(traces);
    let candidates = names.iter().flat_map(|name| candidates(name));
    [ACTIVE, MAIN]
        .into_iter()
        .map(PathBuf::from)
        .chain(candidates)
        .collect()
}

pub(super) fn findings(traces: &Traces, evidence: &Evidence<'_>) -> Vec<Finding> {
    let reapplies = traces
        .text(MAIN)
        .and_then(|text| assigned(&text, "reapply_sysctl"))
        .is_none_or(|value| !["0", "false", "no"].contains(&value.to_lowercase().as_str()));
    let rivals = rivals(traces);
    let active = traces.text(ACTIVE).unwrap_or_default();
    let finding = |rival: Rival| {
        let (severity, but) = if reapplies && is_reapplied(evidence, rival.key) {
            let but = "; sysctl.d is applied again behind it".to_owned();
            (Severity::Info, but)
        } else {
            rival.judged(evidence)
        };
        let Rival { key, value, place } = rival;
        Finding::new(
            Id::WriterTuned,
            severity,
            format!(
                "tuned's active profile {} sets {key} = {value} ({place}){but}",
                active.trim()
            ),
            "take the line out of the profile, or let reapply_sysctl in \
                   /etc/tuned/tuned-main.conf be 1 and keep the value in sysctl.d"
                .to_owned(),
        )
    };
    rivals.into_iter().map(finding).collect()
}

/// Whether the key is in a file that tuned applies again behind its own values: it looks into
/// /etc and /run alone.
fn is_reapplied(evidence: &Evidence<'_>, key: Key) -> bool {
    let winner = evidence
        .machine
        .files
        .and_then(|files| files.persisted(key).procps);
    winner.is_some_and(|winner| winner.file.starts_with("/etc") || winner.file.starts_with("/run"))
}

/// The active profiles and those that they include, what comes later wins.
fn profiles(traces: &Traces) -> Vec<String> {
    let active = traces.text(ACTIVE).unwrap_or_default();
    let mut names = Vec::new();
    for name in active.split_ascii_whitespace() {
        include(traces, name, &mut names, &mut Vec::new());
    }
    names
}

/// Puts what a profile includes before the profile itself; `above` are those that include it.
fn include(traces: &Traces, name: &str, names: &mut Vec<String>, above: &mut Vec<String>) {
    let is_circle = above.iter().any(|one| one == name);
    if is_circle || above.len() > MOST_INCLUDES || name.contains('/') {
        return;
    }
    above.push(name.to_owned());
    if let Some((_, text)) = profile(traces, name) {
        for line in lines(&text).filter(|line| line.section == "main" && line.name == "include") {
            let parents = line.value.split([',', ';', ' ']);
            for parent in parents.filter(|parent| !parent.is_empty()) {
                include(traces, parent, names, above);
            }
        }
    }
    above.pop();
    names.push(name.to_owned());
}

fn candidates(name: &str) -> Vec<PathBuf> {
    let path = |folder| Path::new(folder).join(name).join("tuned.conf");
    FOLDERS.into_iter().map(path).collect()
}

/// The file of a profile, and its text.
fn profile(traces: &Traces, name: &str) -> Option<(PathBuf, String)> {
    let mut paths = candidates(name).into_iter();
    paths.find_map(|path| traces.text(&path).map(|text| (path, text)))
}

/// What the profiles set, each key by the line that wins.
fn rivals(traces: &Traces) -> Vec<Rival> {
    let mut rivals: Vec<Rival> = Vec::new();
    for name in profiles(traces) {
        let Some((path, text)) = profile(traces, &name) else {
            continue;
        };
        for line in lines(&text).filter(|line| line.section.starts_with("sysctl")) {
            let Ok(key) = Key::find(line.name) else {
                continue;
            };
            // A value may begin with `>`: at least this.
            let Some(value) = kernel_number(key, line.value.trim_start_matches('>')) else {
                continue;
            };
            rivals.retain(|rival| rival.key != key);
            let place = format!("{}:{}", path.display(), line.number);
            rivals.push(Rival { key, value, place });
        }
    }
    rivals
}

/// One assignment of a profile.
struct Line<'a> {
    section: &'a str,
    number: usize,
    name: &'a str,
    value: &'a str,
}

fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut section = "";
    text.lines().zip(1..).filter_map(move |(line, number)| {
        let line = line.trim();
        if line.starts_with(['#', ';']) {
            return None;
        }
        if let Some(name) = line.strip_prefix('[') {
            section = name.split(']').next().unwrap_or_default();
            return None;
        }
        let (name, value) = line.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        Some(Line {
            section,
            number,
            name,
            value,
        })
    })
}
