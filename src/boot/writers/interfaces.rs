//! Commands in the description of interfaces that run when one comes up, and whether ifupdown brings
//! it up at boot: its service starts, and `auto` or `allow-hotplug` names the interface.
//! Follows interfaces(5): a file that a line names is read at the place of the line, and interfaces
//! come up in the order of `auto`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::facts::Facts;
use super::scripts::{Runner, Scripts, TOO_MUCH, first_line};
use super::units;
use crate::boot::SourceLine;
use crate::boot::shell::Files;

const FILE: &str = "/etc/network/interfaces";
/// Where init starts ifupdown, without systemd.
const RUNLEVELS: [&str; 3] = [
    "/etc/rcS.d",
    "/etc/runlevels/boot",
    "/etc/runlevels/default",
];

/// A line: its first word, and the rest.
struct Line<'a> {
    file: Rc<Path>,
    number: usize,
    option: Cow<'a, str>,
    rest: Cow<'a, str>,
}

/// The lines that ifupdown reads, in its order; none where that is too much to be worked out.
fn lines<'a>(facts: &'a Facts<'_>) -> Option<Vec<Line<'a>>> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::from([PathBuf::from(FILE)]);
    // The next one is the last.
    let mut open = of_file(facts, Path::new(FILE));
    open.reverse();
    while let Some(line) = open.pop() {
        let included = match line.option.as_ref() {
            "source" => included(facts, &line)?,
            "source-directory" | "source-dir" => {
                let folders = included(facts, &line)?;
                let files = folders.iter().flat_map(|folder| in_folder(facts, folder));
                files.collect()
            }
            _ => Vec::new(),
        };
        found.push(line);
        for path in included.into_iter().rev() {
            if seen.insert(path.clone()) {
                open.extend(of_file(facts, &path).into_iter().rev());
            }
        }
    }
    Some(found)
}

fn of_file<'a>(facts: &'a Facts<'_>, path: &Path) -> Vec<Line<'a>> {
    let file: Rc<Path> = path.into();
    let mut found = Vec::new();
    let mut lines = (1..).zip(facts.text(path).unwrap_or_default().lines());
    while let Some((number, line)) = lines.next() {
        let mut text = Cow::Borrowed(line.trim());
        while !text.starts_with('#') && text.ends_with('\\') {
            let next = lines.next().map_or("", |(_, next)| next.trim());
            let all = text.to_mut();
            all.pop();
            all.push(' ');
            all.push_str(next);
        }
        let pair = match &text {
            Cow::Borrowed(text) => text
                .split_once([' ', '\t'])
                .map(|(option, rest)| (option.into(), rest.trim().into())),
            Cow::Owned(text) => text
                .split_once([' ', '\t'])
                .map(|(option, rest)| (option.to_owned().into(), rest.trim().to_owned().into())),
        };
        found.extend(pair.map(|(option, rest)| Line {
            file: Rc::clone(&file),
            number,
            option,
            rest,
        }));
    }
    found
}

/// The paths that a line names, which may be patterns; one without a `/` in front of it is beside
/// the file of the line.
fn included(facts: &Facts<'_>, line: &Line<'_>) -> Option<Vec<PathBuf>> {
    let folder = line.file.parent().unwrap_or(&line.file);
    let mut found = Vec::new();
    for word in line.rest.split_ascii_whitespace() {
        let path = folder.join(word);
        let paths = facts.paths(&path.to_string_lossy(), facts.budget())?;
        found.extend(paths.into_iter().map(PathBuf::from));
    }
    Some(found)
}

/// The files of a folder that `source-directory` takes.
fn in_folder(facts: &Facts<'_>, folder: &Path) -> Vec<PathBuf> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let names = facts.names(folder).iter();
    names
        .filter(|name| name.chars().all(is_plain))
        .map(|name| folder.join(name))
        .collect()
}

/// The interfaces that ifupdown brings up at boot, those of `auto` first and in its order.
fn brought_up(facts: &Facts<'_>, lines: &[Line<'_>]) -> Vec<String> {
    let starts = || {
        let is_it = |name: &String| {
            name == "networking" || name.starts_with('S') && name.ends_with("networking")
        };
        units::starts(facts, "networking.service")
            || RUNLEVELS
                .iter()
                .any(|folder| facts.names(folder).iter().any(is_it))
    };
    let of_lines = |options: &[&str]| {
        let lines = lines
            .iter()
            .filter(|line| options.contains(&line.option.as_ref()));
        let names = lines.flat_map(|line| line.rest.split_ascii_whitespace());
        names.map(str::to_owned).collect::<Vec<String>>()
    };
    let names = [
        of_lines(&["auto", "allow-auto"]),
        of_lines(&["allow-hotplug"]),
    ]
    .concat();
    if names.is_empty() || !starts() {
        Vec::new()
    } else {
        names
    }
}

/// Whether its hooks run at boot, which they do for `lo` too.
pub(super) fn brings_some_up(facts: &Facts<'_>) -> bool {
    lines(facts).is_some_and(|lines| !brought_up(facts, &lines).is_empty())
}

/// A command, and when it runs: the place of its interface among those that are brought up, its
/// part of the file, and whether it comes behind those of `pre-up`.
struct Command<'a> {
    when: (usize, usize, bool),
    interface: &'a str,
    line: &'a Line<'a>,
}

pub(super) fn read(facts: &Facts<'_>, scripts: &mut Scripts<'_>) {
    let runner = |interface: &str, is_conditional| Runner {
        who: "ifup".to_owned(),
        when: format!("when ifup brings {interface} up"),
        is_conditional,
        ..Runner::default()
    };
    let Some(lines) = lines(facts) else {
        let runner = runner("an interface", true);
        return scripts.unfollowed(&first_line(Path::new(FILE)), &runner, TOO_MUCH);
    };
    let brought_up = brought_up(facts, &lines);
    // Of a name that stands twice the first place counts.
    let places = brought_up.iter().enumerate().rev();
    let places: BTreeMap<&str, usize> = places.map(|(at, name)| (name.as_str(), at)).collect();
    let mut commands = Vec::new();
    let (mut interface, mut at, mut part) = ("", brought_up.len(), 0);
    let mut file = None;
    for line in &lines {
        if file
            .replace(&line.file)
            .is_some_and(|file| !Rc::ptr_eq(file, &line.file))
        {
            (interface, at) = ("", brought_up.len());
        }
        match line.option.as_ref() {
            "iface" => {
                interface = line.rest.split_ascii_whitespace().next().unwrap_or("");
                at = *places.get(interface).unwrap_or(&brought_up.len());
                part += 1;
            }
            "auto" | "mapping" | "source" | "source-directory" | "source-dir" => {
                (interface, at) = ("", brought_up.len());
            }
            option @ ("up" | "post-up" | "pre-up") => commands.push(Command {
                when: (at, part, option != "pre-up"),
                interface,
                line,
            }),
            _ => {}
        }
    }
    commands.sort_by_key(|command| command.when);
    for Command {
        when,
        interface,
        line,
    } in commands
    {
        let place = SourceLine {
            file: line.file.to_path_buf(),
            line: line.number,
        };
        let runner = runner(interface, when.0 == brought_up.len());
        scripts.line(&line.rest, &place, &runner);
    }
}
