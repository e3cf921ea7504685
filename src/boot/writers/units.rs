//! systemd units that start at boot, and the commands that they run.
//!
//! A unit starts if a `.wants` or `.requires` folder links to it, which is what `systemctl enable`
//! makes, or if a unit of the admin's that starts asks for it. Follows systemd.unit(5),
//! systemd.service(5), systemd.timer(5).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::facts::{Facts, Found};
use super::scripts::{Runner, Scripts};
use crate::boot::SourceLine;
use crate::boot::shell::{self, Word};

/// Where units are; of one name the first counts.
const FOLDERS: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
];
const STARTS: [&str; 4] = [
    "ExecStart",
    "ExecStartPre",
    "ExecStartPost",
    "ExecCondition",
];
const ASKS_FOR: [&str; 5] = ["Wants", "Requires", "Requisite", "BindsTo", "Upholds"];

/// Targets that a usual boot does not reach.
const NOT_AT_BOOT: [&str; 15] = [
    "emergency",
    "exit",
    "final",
    "halt",
    "hibernate",
    "hybrid-sleep",
    "kexec",
    "poweroff",
    "reboot",
    "rescue",
    "shutdown",
    "sleep",
    "suspend",
    "suspend-then-hibernate",
    "umount",
];

/// One assignment of a unit, with its place.
struct Entry {
    section: String,
    name: String,
    value: String,
    place: SourceLine,
}

pub(super) fn read(facts: &Facts<'_>, scripts: &mut Scripts<'_>) {
    let mut known = BTreeSet::new();
    let mut open: Vec<(String, String)> = started(facts)
        .into_iter()
        .map(|name| (name, String::new()))
        .collect();
    while let Some((name, why)) = open.pop() {
        if name == "systemd-sysctl.service" || !known.insert(name.clone()) {
            continue;
        }
        let Some(entries) = load(facts, &name) else {
            continue;
        };
        let is_admins = is_of_admin(facts, &name);
        if let Some(service) = name.strip_suffix(".timer") {
            let unit =
                value(&entries, "Timer", "Unit").unwrap_or_else(|| format!("{service}.service"));
            open.push((unit, format!("when {name} fires")));
        }
        if is_admins {
            open.extend(
                asked_for(&entries)
                    .into_iter()
                    .map(|unit| (unit, why.clone())),
            );
        }
        if name.ends_with(".service") {
            run(&name, &why, &entries, scripts);
        }
    }
}

/// The units that some `.wants` or `.requires` folder names.
fn started(facts: &Facts<'_>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for folder in FOLDERS {
        let wants = facts.names_ending(folder, "wants");
        let links = wants.chain(facts.names_ending(folder, "requires"));
        let starts = |link: &&String| {
            let target = link.split('.').next().unwrap_or_default();
            !NOT_AT_BOOT.contains(&target)
        };
        for link in links.filter(starts) {
            names.extend(facts.names(Path::new(folder).join(link)).iter().cloned());
        }
    }
    // Only these run commands. systemd's own set no conntrack sysctl, but for systemd-sysctl, which
    // the model has by itself.
    names.retain(|name| {
        let kind = name.rsplit_once('.').map(|(_, kind)| kind);
        let is_systemds = name.starts_with("systemd-") && !is_of_admin(facts, name);
        matches!(kind, Some("service" | "timer")) && !is_systemds
    });
    names
}

/// Whether the unit is the admin's, or was changed by one.
fn is_of_admin(facts: &Facts<'_>, name: &str) -> bool {
    let drop_ins = format!("{name}.d");
    FOLDERS[..3].iter().any(|folder| {
        let names = facts.names(folder);
        names.iter().any(|one| one == name || *one == drop_ins)
    })
}

fn asked_for(entries: &[Entry]) -> Vec<String> {
    let asks = entries
        .iter()
        .filter(|entry| entry.section == "Unit" && ASKS_FOR.contains(&entry.name.as_str()));
    asks.flat_map(|entry| entry.value.split_ascii_whitespace().map(str::to_owned))
        .collect()
}

/// The assignments of a unit and of its drop-ins; none where it is not there or masked.
fn load(facts: &Facts<'_>, name: &str) -> Option<Vec<Entry>> {
    let template = name.split_once('@').and_then(|(before, after)| {
        let kind = after.rsplit_once('.')?.1;
        Some(format!("{before}@.{kind}"))
    });
    let names: Vec<&str> = std::iter::once(name).chain(template.as_deref()).collect();
    let mut entries = Vec::new();
    'found: for name in &names {
        for folder in FOLDERS {
            if !facts.names(folder).iter().any(|one| one == name) {
                continue;
            }
            let path = Path::new(folder).join(name);
            match facts.find(&path) {
                Found::Masked => return None,
                Found::File(file) => entries.extend(parse(&path, &file.text)),
                _ => {}
            }
            break 'found;
        }
    }
    for (_, path) in drop_ins(facts, &names) {
        if let Some(file) = facts.file(&path) {
            entries.extend(parse(&path, &file.text));
        }
    }
    (!entries.is_empty()).then_some(entries)
}

/// The drop-ins of a unit, by name over all folders; of one name the first folder's counts.
fn drop_ins(facts: &Facts<'_>, names: &[&str]) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for folder in FOLDERS {
        for name in names {
            let directory = format!("{name}.d");
            if !facts.names(folder).contains(&directory) {
                continue;
            }
            let directory = Path::new(folder).join(directory);
            for file in facts.names_ending(&directory, "conf") {
                found
                    .entry(file.clone())
                    .or_insert_with(|| directory.join(file));
            }
        }
    }
    found
}

fn parse(path: &Path, text: &str) -> Vec<Entry> {
    let mut section = String::new();
    let mut entries = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (line, number) in text.lines().zip(1..) {
        let trimmed = line.trim();
        if trimmed.starts_with(['#', ';']) {
            continue;
        }
        let (first, before) = open.take().unwrap_or((number, String::new()));
        if let Some(start) = trimmed.strip_suffix('\\') {
            open = Some((first, format!("{before}{start} ")));
            continue;
        }
        let whole = before + trimmed;
        if let Some(name) = whole.strip_prefix('[') {
            name.trim_end_matches(']').clone_into(&mut section);
        } else if let Some((name, value)) = whole.split_once('=') {
            entries.push(Entry {
                section: section.clone(),
                name: name.trim().to_owned(),
                value: value.trim().to_owned(),
                place: SourceLine {
                    file: path.to_owned(),
                    line: first,
                },
            });
        }
    }
    entries
}

/// The last value of an assignment.
fn value(entries: &[Entry], section: &str, name: &str) -> Option<String> {
    let mut found = entries
        .iter()
        .filter(|entry| entry.section == section && entry.name == name);
    found
        .next_back()
        .map(|entry| entry.value.clone())
        .filter(|value| !value.is_empty())
}

fn run(name: &str, why: &str, entries: &[Entry], scripts: &mut Scripts<'_>) {
    let is_set = |key| {
        value(entries, "Service", key)
            .is_some_and(|value| !matches!(value.as_str(), "no" | "false" | "off" | "0"))
    };
    // Another namespace has values of its own.
    if is_set("PrivateNetwork") || is_set("NetworkNamespacePath") {
        return;
    }
    let decides = |entry: &Entry| {
        entry.section == "Unit"
            && (entry.name.starts_with("Condition") || entry.name.starts_with("Assert"))
            && !entry.value.is_empty()
    };
    let runner = Runner {
        who: name.to_owned(),
        when: if why.is_empty() {
            "at boot".to_owned()
        } else {
            why.to_owned()
        },
        is_conditional: entries.iter().any(decides),
    };
    let variables = environment(entries);
    for key in STARTS {
        // An empty value drops those before it.
        let all: Vec<&Entry> = entries
            .iter()
            .filter(|entry| entry.section == "Service" && entry.name == key)
            .collect();
        let from = all
            .iter()
            .rposition(|entry| entry.value.is_empty())
            .map_or(0, |at| at + 1);
        for entry in &all[from..] {
            for words in command_lines(&entry.value, &variables) {
                scripts.command(words, &entry.place, &runner);
            }
        }
    }
}

fn environment(entries: &[Entry]) -> BTreeMap<String, String> {
    let all = entries.iter().filter(|entry| entry.name == "Environment");
    let words = all.flat_map(|entry| shell::words(&entry.value, &BTreeMap::new()));
    let pair = |word: Word| {
        let value = word.value?;
        let (name, value) = value.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    words.filter_map(pair).collect()
}

/// The commands of an `ExecStart=`: several are divided by a lone `;`.
fn command_lines(value: &str, variables: &BTreeMap<String, String>) -> Vec<Vec<Word>> {
    let value = value.trim_start_matches(['-', '@', ':', '+', '!', '|']);
    let mut words = shell::words(value, variables);
    for word in words.iter_mut().filter(|word| word.raw.contains('%')) {
        // `%i` and its like are known to systemd alone; `%%` is a percent sign.
        let value = word.value.take().map(|value| value.replace("%%", "\0"));
        let known = value.filter(|value| !value.contains('%'));
        word.value = known.map(|value| value.replace('\0', "%"));
    }
    let lines = words.split(|word| word.raw == ";");
    lines
        .filter(|line| !line.is_empty())
        .map(<[Word]>::to_vec)
        .collect()
}
