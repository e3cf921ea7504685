//! systemd units that start at boot, and the commands that they run.
//!
//! A unit starts if a `.wants` or `.requires` folder links to it, which is what `systemctl enable`
//! makes, or if a unit of the admin's that starts asks for it. Follows systemd.unit(5),
//! systemd.service(5), systemd.timer(5).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::environment;
use super::facts::{Facts, Found};
use super::scripts::{Runner, Scripts};
use crate::boot::SourceLine;
use crate::boot::shell::{self, MOST_LENGTH, Variables, Word};

/// Where units are; of one name the first counts.
const FOLDERS: [&str; 7] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    LIB,
    "/run/systemd/generator.late",
];
/// Often the same folder as the one before it.
const LIB: &str = "/lib/systemd/system";
/// What may be in front of a command.
const SIGNS: [char; 6] = ['-', '@', ':', '+', '!', '|'];
/// In the order in which they run.
const STARTS: [&str; 4] = [
    "ExecCondition",
    "ExecStartPre",
    "ExecStart",
    "ExecStartPost",
];
/// What comes after systemd-sysctl.
const AFTER_SYSCTL: [&str; 5] = [
    "basic.target",
    "multi-user.target",
    "network-online.target",
    "sysinit.target",
    "systemd-sysctl.service",
];
const ASKS_FOR: [&str; 5] = ["Wants", "Requires", "Requisite", "BindsTo", "Upholds"];

/// What may keep the commands of a service from writing a sysctl.
const CONFINES: [&str; 8] = [
    "DynamicUser",
    "InaccessiblePaths",
    "PrivateUsers",
    "ProcSubset",
    "ProtectKernelTunables",
    "ReadOnlyPaths",
    "RootDirectory",
    "RootImage",
];
/// Targets that every boot reaches; others only if a unit asks for them.
const REACHED: [&str; 11] = [
    "basic",
    "default",
    "getty",
    "local-fs",
    "multi-user",
    "paths",
    "remote-fs",
    "sockets",
    "swap",
    "sysinit",
    "timers",
];
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

/// One assignment of a unit. A text that goes over several lines is its own, others are the file's.
struct Entry<'a> {
    section: Cow<'a, str>,
    name: Cow<'a, str>,
    value: Cow<'a, str>,
    file: Rc<Path>,
    line: usize,
}

impl Entry<'_> {
    fn place(&self) -> SourceLine {
        SourceLine {
            file: self.file.to_path_buf(),
            line: self.line,
        }
    }
}

/// A unit that starts: its name, when, and whether it surely does.
struct Started {
    name: String,
    why: String,
    is_sure: bool,
}

pub(super) fn read(facts: &Facts<'_>, scripts: &mut Scripts<'_>) {
    let mut known = BTreeSet::new();
    let asked = std::mem::take(&mut scripts.asked);
    let first = |(name, is_sure): (&String, &bool)| Started {
        name: name.clone(),
        why: String::new(),
        is_sure: *is_sure,
    };
    let mut open: Vec<Started> = started(facts).iter().map(first).collect();
    open.extend(asked.into_iter().map(by_command));
    // Those that surely start come first: a unit is read once.
    open.sort_by_key(|one| one.is_sure);
    while let Some(unit) = open.pop() {
        let name = unit.name.as_str();
        if name == "systemd-sysctl.service" || !known.insert(name.to_owned()) {
            continue;
        }
        let is_of_admin = is_of_admin(facts, name);
        if !is_of_admin && !may_run(name) {
            continue;
        }
        let Some(entries) = load(facts, name) else {
            continue;
        };
        open.extend(triggered(&unit, &entries));
        if is_of_admin {
            open.extend(asked_for(&entries).into_iter().map(|name| Started {
                name,
                why: unit.why.clone(),
                is_sure: unit.is_sure,
            }));
        }
        if name.ends_with(".service") {
            run(facts, &unit, &entries, scripts);
            open.extend(scripts.asked.drain(..).map(by_command));
        }
    }
}

/// A unit that a script starts.
fn by_command((name, why, is_sure): (String, String, bool)) -> Started {
    Started { name, why, is_sure }
}

/// Whether a unit surely starts at boot.
pub(super) fn starts(facts: &Facts<'_>, name: &str) -> bool {
    started(facts).get(name) == Some(&true) && !is_masked(facts, name)
}

/// The file of the admin's that says how, or whether, a unit of systemd's own starts.
pub(super) fn changed(facts: &Facts<'_>, name: &str) -> Option<String> {
    let entries = is_of_admin(facts, name).then(|| load(facts, name))??;
    let starts = ["Assert", "Condition", "Exec"];
    let decides = |entry: &&Entry<'_>| {
        let is_packaged = ["/usr/lib", "/lib"]
            .iter()
            .any(|one| entry.file.starts_with(one));
        !is_packaged && starts.iter().any(|start| entry.name.starts_with(start))
    };
    entries
        .iter()
        .find(decides)
        .map(|entry| entry.place().to_string())
}

/// Whether some folder has the unit.
pub(super) fn is_there(facts: &Facts<'_>, name: &str) -> bool {
    FOLDERS.iter().any(|folder| facts.has(folder, name))
}

/// Whether a link to `/dev/null` takes the place of a unit.
pub(super) fn is_masked(facts: &Facts<'_>, name: &str) -> bool {
    mask(facts, name).is_some()
}

/// That link.
pub(super) fn mask(facts: &Facts<'_>, name: &str) -> Option<PathBuf> {
    let mut paths = FOLDERS.iter().map(|folder| Path::new(folder).join(name));
    let path = paths.find(|path| *facts.find(path) != Found::Nothing)?;
    (*facts.find(&path) == Found::Masked).then_some(path)
}

/// The service that a timer, a path or a socket starts.
fn triggered(unit: &Started, entries: &[Entry<'_>]) -> Option<Started> {
    let (name, kind) = unit.name.rsplit_once('.')?;
    let (section, option) = match kind {
        "timer" => ("Timer", "Unit"),
        "path" => ("Path", "Unit"),
        "socket" => ("Socket", "Service"),
        _ => return None,
    };
    let mut at_boot = ["OnBootSec", "OnStartupSec", "OnActiveSec"].into_iter();
    let fires = at_boot.any(|name| value(entries, section, name).is_some());
    Some(Started {
        name: value(entries, section, option)
            .map_or_else(|| format!("{name}.service"), str::to_owned),
        why: format!(
            "when {} {}",
            unit.name,
            if kind == "timer" {
                "fires"
            } else {
                "starts it"
            }
        ),
        is_sure: unit.is_sure && fires,
    })
}

/// The units that some `.wants` or `.requires` folder names, and whether its target is surely
/// reached.
fn started<'a>(facts: &'a Facts<'_>) -> &'a BTreeMap<String, bool> {
    facts.wanted.get_or_init(|| find_started(facts))
}

fn find_started(facts: &Facts<'_>) -> BTreeMap<String, bool> {
    let mut found = BTreeMap::new();
    let is_linked = facts.names(LIB) == facts.names("/usr/lib/systemd/system");
    for folder in FOLDERS.into_iter().filter(|one| !is_linked || *one != LIB) {
        let wants = facts.names_ending(folder, "wants");
        for link in wants.chain(facts.names_ending(folder, "requires")) {
            let (target, kind) = link.split_once('.').unwrap_or_default();
            if NOT_AT_BOOT.contains(&target) {
                continue;
            }
            let is_sure = kind.starts_with("target") && REACHED.contains(&target);
            for name in facts.names(Path::new(folder).join(link)) {
                *found.entry(name.clone()).or_default() |= is_sure;
            }
        }
    }
    // Only these run commands. systemd's own set no conntrack sysctl, but for systemd-sysctl, which
    // the model has by itself.
    found.retain(|name, _| {
        let is_systemds = name.starts_with("systemd-") && !is_of_admin(facts, name);
        may_run(name) && !is_systemds
    });
    found
}

/// Whether a unit of this kind runs commands, or starts one that does.
fn may_run(name: &str) -> bool {
    let kind = name.rsplit_once('.').map(|(_, kind)| kind);
    matches!(kind, Some("path" | "service" | "socket" | "timer"))
}

/// Whether the unit is the admin's, or was changed by one.
fn is_of_admin(facts: &Facts<'_>, name: &str) -> bool {
    let drop_ins = format!("{name}.d");
    let mut folders = FOLDERS[..4].iter();
    folders.any(|folder| facts.has(folder, name) || facts.has(folder, &drop_ins))
}

fn asked_for(entries: &[Entry<'_>]) -> Vec<String> {
    let asks = entries
        .iter()
        .filter(|entry| entry.section == "Unit" && ASKS_FOR.contains(&entry.name.as_ref()));
    asks.flat_map(|entry| entry.value.split_ascii_whitespace().map(str::to_owned))
        .collect()
}

/// The assignments of a unit and of its drop-ins; none where it is not there or masked.
fn load<'a>(facts: &'a Facts<'_>, name: &str) -> Option<Vec<Entry<'a>>> {
    let template = name.split_once('@').and_then(|(before, after)| {
        let kind = after.rsplit_once('.')?.1;
        Some(format!("{before}@.{kind}"))
    });
    let names: Vec<&str> = std::iter::once(name).chain(template.as_deref()).collect();
    let mut entries = Vec::new();
    'found: for name in &names {
        for folder in FOLDERS {
            if !facts.has(folder, name) {
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
/// Those for all units that begin alike (`a-.service.d`) and of a kind (`service.d`) come last.
fn drop_ins(facts: &Facts<'_>, names: &[&str]) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    let mut names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    if let Some((stem, kind)) = names.first().and_then(|name| name.rsplit_once('.')) {
        let dashes = stem.rmatch_indices('-').map(|(at, _)| at);
        let mut alike: Vec<String> = dashes
            .map(|at| format!("{}.{kind}", &stem[..=at]))
            .collect();
        alike.push(kind.to_owned());
        names.extend(alike);
    }
    for name in names {
        for folder in FOLDERS {
            let directory = format!("{name}.d");
            if !facts.has(folder, &directory) {
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

fn parse<'a>(path: &Path, text: &'a str) -> Vec<Entry<'a>> {
    let file: Rc<Path> = Rc::from(path);
    let mut section = Cow::Borrowed("");
    let mut entries = Vec::new();
    let mut open: Option<(usize, String)> = None;
    // A line that goes on ends with the file.
    for (line, number) in text.lines().chain([""]).zip(1..) {
        let trimmed = line.trim();
        if trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(start) = trimmed.strip_suffix('\\') {
            let (_, before) = open.get_or_insert((number, String::new()));
            before.push_str(start);
            before.push(' ');
            continue;
        }
        let (line, whole) = match open.take() {
            Some((first, before)) => (first, Cow::Owned(before + trimmed)),
            None => (number, Cow::Borrowed(trimmed)),
        };
        if whole.starts_with('[') {
            section = part(&whole, |whole| whole[1..].trim_end_matches(']'));
        } else if let Some(at) = whole.find('=') {
            entries.push(Entry {
                section: section.clone(),
                name: part(&whole, |whole| whole[..at].trim()),
                value: part(&whole, |whole| whole[at + 1..].trim()),
                file: Rc::clone(&file),
                line,
            });
        }
    }
    entries
}

/// A part of a text, lent where the text is.
fn part<'a>(whole: &Cow<'a, str>, of: impl Fn(&str) -> &str) -> Cow<'a, str> {
    match whole {
        Cow::Borrowed(whole) => Cow::Borrowed(of(whole)),
        Cow::Owned(whole) => Cow::Owned(of(whole).to_owned()),
    }
}

/// The last value of an assignment.
fn value<'a>(entries: &'a [Entry<'_>], section: &str, name: &str) -> Option<&'a str> {
    let mut found = entries
        .iter()
        .filter(|entry| entry.name == name && entry.section == section);
    let last = found.next_back()?;
    Some(last.value.as_ref()).filter(|value| !value.is_empty())
}

fn run(facts: &Facts<'_>, unit: &Started, entries: &[Entry<'_>], scripts: &mut Scripts<'_>) {
    let is_set = |key: &str| value(entries, "Service", key).is_some_and(|value| !is_no(value));
    // Another namespace has values of its own.
    if ["PrivateNetwork", "NetworkNamespacePath"]
        .into_iter()
        .any(is_set)
        || is_refused(entries)
    {
        return;
    }
    let decides = |entry: &Entry<'_>| {
        entry.section == "Unit"
            && (entry.name.starts_with("Condition") || entry.name.starts_with("Assert"))
            && !entry.value.is_empty()
    };
    let (variables, has_files) = environment(facts, entries);
    let mut runner = Runner {
        variables,
        who: unit.name.clone(),
        when: Some(unit.why.clone())
            .filter(|why| !why.is_empty())
            .unwrap_or_else(|| "at boot".to_owned()),
        is_conditional: !unit.is_sure
            || !has_files
            || entries.iter().any(decides)
            || CONFINES.into_iter().any(is_set)
            || value(entries, "Service", "User").is_some_and(|user| user != "root" && user != "0")
            || !comes_after_sysctl(entries),
        is_sourced: false,
    };
    let output = value(entries, "Service", "StandardOutput");
    let output = output.and_then(|output| {
        let (kind, path) = output.split_once(':')?;
        matches!(kind, "append" | "file" | "truncate").then(|| Word {
            raw: path.to_owned(),
            value: Some(path.to_owned()),
        })
    });
    for key in STARTS {
        for entry in list(entries, key) {
            if let Some(file) = &output {
                scripts.written(file, None, &entry.place(), &runner);
            }
            let mut signs = entry.value.chars().take_while(|sign| SIGNS.contains(sign));
            let may_fail = signs.any(|sign| sign == '-');
            for words in command_lines(&entry.value, &runner.variables) {
                let succeeds = scripts.command(words, &entry.place(), &runner);
                // What comes after one that failed does not run.
                runner.is_conditional |= !succeeds && !may_fail;
            }
        }
    }
}

/// The commands of a key; an empty value drops those before it.
fn list<'a, 'b>(entries: &'a [Entry<'b>], key: &str) -> Vec<&'a Entry<'b>> {
    let mut all: Vec<&Entry<'_>> = entries
        .iter()
        .filter(|entry| entry.name == key && entry.section == "Service")
        .collect();
    let last = all.iter().rposition(|entry| entry.value.is_empty());
    all.split_off(last.map_or(0, |at| at + 1))
}

/// Whether systemd refuses to start the service: without a command to start, or with several where
/// `Type=` is not oneshot.
fn is_refused(entries: &[Entry<'_>]) -> bool {
    let has = |key| value(entries, "Service", key);
    let is_oneshot = has("Type").is_some_and(|kind| kind == "oneshot");
    let starts = list(entries, "ExecStart").into_iter();
    let commands = starts.map(|entry| match entry.value.as_ref() {
        value if value.contains(';') => command_lines(value, &Variables::default()).len(),
        value => usize::from(!value.trim_start_matches(SIGNS).trim().is_empty()),
    });
    match commands.sum() {
        0 => {
            let is_own = |key| has(key).is_some_and(|value| value != "none");
            let stays = has("RemainAfterExit").is_some_and(|value| !is_no(value));
            !is_own("SuccessAction") && (!stays || list(entries, "ExecStop").is_empty())
        }
        1 => false,
        _ => !is_oneshot,
    }
}

fn is_no(value: &str) -> bool {
    matches!(value, "no" | "false" | "off" | "0" | "n" | "f")
}

/// Whether something orders the unit behind systemd-sysctl, which may override it otherwise.
fn comes_after_sysctl(entries: &[Entry<'_>]) -> bool {
    let has_defaults =
        value(entries, "Unit", "DefaultDependencies").is_none_or(|value| !is_no(value));
    let after = entries
        .iter()
        .filter(|entry| entry.section == "Unit" && entry.name == "After");
    let mut names = after.flat_map(|entry| entry.value.split_ascii_whitespace());
    has_defaults || names.any(|name| AFTER_SYSCTL.contains(&name))
}

/// The environment of a service: `Environment=`, then the files of `EnvironmentFile=`; and whether
/// they are there: without one that has no `-` in front of it the service does not start.
fn environment(facts: &Facts<'_>, entries: &[Entry<'_>]) -> (Variables, bool) {
    let mut variables = Variables::default();
    for entry in list(entries, "Environment") {
        for word in shell::words(&entry.value, &Variables::default()) {
            let pair = word.value.as_deref().and_then(|word| word.split_once('='));
            match (pair, word.raw.split_once('=')) {
                (Some((name, value)), _) => {
                    let value = (!value.contains('%')).then(|| value.to_owned());
                    variables.set(name, value);
                }
                (None, Some((name, _))) => variables.set(name, None),
                (None, None) => {}
            }
        }
    }
    for entry in list(entries, "PassEnvironment") {
        let names = entry.value.split_ascii_whitespace();
        names.for_each(|name| variables.set(name, None));
    }
    if let Some(folder) = value(entries, "Service", "WorkingDirectory") {
        let folder = folder.trim_start_matches('-').to_owned();
        let is_known = folder.starts_with('/') && !folder.contains('%');
        variables.set("PWD", Some(folder).filter(|_| is_known));
    }
    let mut has_files = true;
    for entry in list(entries, "EnvironmentFile") {
        let (path, may_miss) = match entry.value.strip_prefix('-') {
            Some(path) => (path, true),
            None => (entry.value.as_ref(), false),
        };
        let text = match facts.find(Path::new(path)) {
            Found::File(file) => file.text.as_str(),
            Found::Nothing if !path.contains(['*', '?', '[', '%']) => {
                has_files &= may_miss;
                continue;
            }
            _ => {
                variables.forget();
                continue;
            }
        };
        for (name, value) in environment::of_file(text) {
            variables.set(&name, Some(value));
        }
    }
    (variables, has_files)
}

/// The commands of an `ExecStart=`: several are divided by a lone `;`.
fn command_lines(value: &str, variables: &Variables) -> Vec<Vec<Word>> {
    let value = value.trim_start_matches(SIGNS);
    let mut words = shell::words(value, variables);
    for word in words
        .iter_mut()
        .filter(|word| word.raw.contains(['%', '$']))
    {
        // `%i` and its like are known to systemd alone; `%%` is a percent sign.
        let value = word.value.take().map(|value| value.replace("%%", "\0"));
        let known = value.filter(|value| !value.contains('%') && is_expanded_alike(&word.raw));
        let known = known.map(|value| value.replace('\0', "%"));
        let is_quoted = word.raw.starts_with('\'');
        word.value = if is_quoted {
            known.and_then(|value| put_in(&value, variables))
        } else {
            known
        };
    }
    let lines = words.split(|word| word.raw == ";");
    lines
        .filter(|line| !line.is_empty())
        .map(<[Word]>::to_vec)
        .collect()
}

/// Whether systemd puts variables in as a shell does: it takes `$NAME` only as a word of its own,
/// `${NAME}` in quotes of both kinds, and knows no `${NAME:-default}`.
fn is_expanded_alike(raw: &str) -> bool {
    let mut pieces = raw.split('$').skip(1);
    let is_quoted = raw.starts_with('\'');
    pieces.all(|piece| match piece.strip_prefix('{') {
        Some(inside) => !inside
            .split('}')
            .next()
            .unwrap_or_default()
            .contains([':', '-']),
        None => is_quoted || raw.starts_with('$') && raw[1..] == *piece,
    })
}

/// Puts each `${NAME}` of a quoted word in; one that is not set is empty.
fn put_in(text: &str, variables: &Variables) -> Option<String> {
    let mut pieces = text.split("${");
    let mut all = pieces.next()?.to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once('}')?;
        let value = variables.or(name, "", true)?;
        if all.len() + value.len() > MOST_LENGTH {
            return None;
        }
        all.push_str(value);
        all.push_str(rest);
    }
    Some(all)
}
