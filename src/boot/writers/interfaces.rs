//! Commands in the description of interfaces that run when one comes up, and whether ifupdown brings
//! it up at boot: its service starts, and `auto` or `allow-hotplug` names the interface.
//! Follows interfaces(5).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::facts::Facts;
use super::scripts::{Runner, Scripts};
use super::units;
use crate::boot::SourceLine;
use crate::boot::shell::Files;

const FILE: &str = "/etc/network/interfaces";
const FOLDER: &str = "/etc/network/interfaces.d";
/// Where init starts ifupdown, without systemd.
const RUNLEVELS: [&str; 3] = [
    "/etc/rcS.d",
    "/etc/runlevels/boot",
    "/etc/runlevels/default",
];

/// A line: its number, its first word, and the rest.
type Line<'a> = (usize, &'a str, &'a str);

/// The lines of each file that ifupdown reads, those that others name among them.
fn files<'a>(facts: &'a Facts<'_>) -> Vec<(PathBuf, Vec<Line<'a>>)> {
    let in_folder = |folder: &str| -> Vec<PathBuf> {
        let names = facts.names(folder).iter();
        names.map(|name| Path::new(folder).join(name)).collect()
    };
    let line = |(number, line): (usize, &'a str)| {
        let (option, rest) = line.trim().split_once([' ', '\t'])?;
        Some((number, option, rest.trim()))
    };
    let mut open = in_folder(FOLDER);
    open.push(PathBuf::from(FILE));
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        let Some(text) = facts.text(&path).filter(|_| seen.insert(path.clone())) else {
            continue;
        };
        let lines: Vec<Line<'a>> = (1..).zip(text.lines()).filter_map(line).collect();
        for (_, option, rest) in &lines {
            match *option {
                "source" => open.extend(facts.paths(rest).into_iter().map(PathBuf::from)),
                "source-directory" => open.extend(in_folder(rest)),
                _ => {}
            }
        }
        found.push((path, lines));
    }
    found
}

/// The interfaces that ifupdown brings up at boot.
fn brought_up(facts: &Facts<'_>) -> BTreeSet<String> {
    let starts = || {
        let is_it = |name: &String| {
            name == "networking" || name.starts_with('S') && name.ends_with("networking")
        };
        units::starts(facts, "networking.service")
            || RUNLEVELS
                .iter()
                .any(|folder| facts.names(folder).iter().any(is_it))
    };
    let lines = files(facts).into_iter().flat_map(|(_, lines)| lines);
    let automatic =
        lines.filter(|(_, option, _)| matches!(*option, "auto" | "allow-auto" | "allow-hotplug"));
    let names: BTreeSet<String> = automatic
        .flat_map(|(_, _, names)| names.split_ascii_whitespace().map(str::to_owned))
        .collect();
    if names.is_empty() || !starts() {
        BTreeSet::new()
    } else {
        names
    }
}

/// Whether its hooks run at boot, which they do for `lo` too.
pub(super) fn brings_some_up(facts: &Facts<'_>) -> bool {
    !brought_up(facts).is_empty()
}

pub(super) fn read(facts: &Facts<'_>, scripts: &mut Scripts<'_>) {
    let brought_up = brought_up(facts);
    for (file, lines) in files(facts) {
        let mut interface = "";
        for (line, option, rest) in lines {
            match option {
                "iface" => interface = rest.split_ascii_whitespace().next().unwrap_or_default(),
                "up" | "post-up" | "pre-up" => {
                    let runner = Runner {
                        who: "ifup".to_owned(),
                        when: format!("when ifup brings {interface} up"),
                        is_conditional: !brought_up.contains(interface),
                        ..Runner::default()
                    };
                    let file = file.clone();
                    scripts.line(rest, &SourceLine { file, line }, &runner);
                }
                _ => {}
            }
        }
    }
}
