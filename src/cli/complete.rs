//! What can come next on a command line: what the scripts of `cttune completions` show.
//!
//! In: the words behind `cttune`, the last one unfinished. Out: a line for each candidate, the word
//! and what it is, with a tab between; `:files` stands for the files that the shell knows.
//! Rule: it says nothing on stderr; what cannot be read has no candidates.

use std::path::Path;

use clap::builder::PossibleValue;
use clap::{Arg, Command, CommandFactory, ValueEnum};

use super::args::{Cli, Complete, Format};
use super::failure::DONE;
use super::{load, out, refusals};
use crate::assess::Id;
use crate::change::{Here, Kind, list};
use crate::files::{Root, profiles};
use crate::flow::{Field, Protocol, StatusBit, TcpState, term_names};
use crate::tunable::Key;

/// Where `ip netns` keeps its names.
const NAMESPACES: &str = "/run/netns";
/// The candidate that stands for the shell's own.
const FILES: &str = ":files";

/// A word, and what it is.
type Candidate = (String, String);

/// Runs it.
pub(super) fn run(args: &Complete) -> u8 {
    let words: Vec<String> = args
        .words
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let mut cli = Cli::command();
    cli.build();
    let line = |(word, about): Candidate| {
        let tab = if about.is_empty() { "" } else { "\t" };
        format!("{word}{tab}{about}\n")
    };
    let lines: String = candidates(&cli, &words).into_iter().map(line).collect();
    out::raw(&lines);
    DONE
}

fn candidates(cli: &Command, words: &[String]) -> Vec<Candidate> {
    let Some((current, before)) = words.split_last() else {
        return Vec::new();
    };
    let (mut command, mut given, mut expected) = (cli, 0, None);
    for word in before {
        if word == "--" {
            return vec![bare(FILES)];
        }
        if expected.take().is_some() {
            continue;
        }
        if word.starts_with('-') {
            let takes =
                |arg: &&Arg| arg.get_action().takes_values() && !arg.is_require_equals_set();
            expected = option(command, word)
                .filter(takes)
                .filter(|_| !word.contains('='));
        } else if let Some(sub) = command.find_subcommand(word) {
            (command, given) = (sub, 0);
        } else {
            given += 1;
        }
    }
    let inline = current
        .split_once('=')
        .filter(|_| current.starts_with("--"));
    let found = match (expected, inline) {
        (Some(arg), _) => values(arg, command, current),
        (None, Some((name, value))) => option(command, name)
            .map(|arg| values(arg, command, value))
            .unwrap_or_default()
            .into_iter()
            .map(|(word, about)| (format!("{name}={word}"), about))
            .collect(),
        (None, None) if current.starts_with('-') => options(command),
        (None, None) => subcommands(command)
            .chain(
                positional(command, given)
                    .map_or_else(Vec::new, |arg| values(arg, command, current)),
            )
            .collect(),
    };
    let (files, mut named): (Vec<Candidate>, Vec<Candidate>) =
        found.into_iter().partition(|(word, _)| word == FILES);
    named.retain(|(word, _)| word.starts_with(current));
    // Where names fit, the files of this folder are in nobody's mind.
    if named.is_empty() { files } else { named }
}

fn bare(word: impl Into<String>) -> Candidate {
    (word.into(), String::new())
}

/// The option that a word is, with or without its value.
fn option<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let name = word.split('=').next()?;
    let mut arguments = command.get_arguments();
    match name.strip_prefix("--") {
        Some(long) => arguments.find(|arg| arg.get_long() == Some(long)),
        None => arguments.find(|arg| arg.get_short() == name.chars().next_back()),
    }
}

fn options(command: &Command) -> Vec<Candidate> {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let long = |arg: &Arg| {
        let about = arg.get_help().map(ToString::to_string);
        Some((format!("--{}", arg.get_long()?), about.unwrap_or_default()))
    };
    shown.filter_map(long).collect()
}

fn subcommands(command: &Command) -> impl Iterator<Item = Candidate> {
    let shown = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    shown.map(|sub| {
        let about = sub.get_about().map(ToString::to_string);
        (sub.get_name().to_owned(), about.unwrap_or_default())
    })
}

/// The argument at this place; the last one may be repeated.
fn positional(command: &Command, given: usize) -> Option<&Arg> {
    let mut positionals = command.get_positionals();
    positionals.find(|arg| {
        let is_last = arg.get_action().takes_values()
            && arg.get_num_args().is_some_and(|n| n.max_values() > 1);
        arg.get_index() == Some(given + 1) || is_last
    })
}

/// What an argument can be.
fn values(arg: &Arg, command: &Command, current: &str) -> Vec<Candidate> {
    let possible = arg.get_possible_values();
    if !possible.is_empty() {
        let about = |value: &PossibleValue| value.get_help().map(ToString::to_string);
        let shown = possible.iter().filter(|value| !value.is_hide_set());
        let shown = shown.filter(|value| arg.get_id() != "format" || has_format(command, value));
        return shown
            .map(|value| {
                (
                    value.get_name().to_owned(),
                    about(value).unwrap_or_default(),
                )
            })
            .collect();
    }
    let name = arg.get_value_names().and_then(|names| names.first());
    match name.map_or("", |name| name.as_str()) {
        "PROFILE" | "OTHER" => profile_names().chain([bare(FILES)]).collect(),
        "FILE" | "DIR" | "FILE.prom" => vec![bare(FILES)],
        "KEY" => keys("").collect(),
        "KEY=VALUE" if command.get_name() == "set" => keys("=").chain(accepted()).collect(),
        "KEY=VALUE" => keys("=").collect(),
        "NAME|PATH|pid:PID" => namespaces().chain([bare(FILES)]).collect(),
        "ID" => changes(command.get_name() == "rollback"),
        "FIELDS" => lists(current, "", Field::ALL.iter().map(|field| field.name())),
        "TERM,TERM" => terms(current),
        _ => Vec::new(),
    }
}

/// Whether the command has this format; before a command is typed, one may.
fn has_format(command: &Command, format: &PossibleValue) -> bool {
    let path = command.get_bin_name().unwrap_or_default();
    let owners = Format::from_str(format.get_name(), false).ok();
    match (path.split_once(' '), owners.and_then(refusals::owners)) {
        (Some((_, name)), Some(owners)) => owners.contains(&name),
        _ => true,
    }
}

fn profile_names() -> impl Iterator<Item = Candidate> {
    profiles::list().into_keys().map(|name| {
        let about = load::named(&name).ok().and_then(|named| named.description);
        (name, about.unwrap_or_default())
    })
}

fn keys(end: &str) -> impl Iterator<Item = Candidate> {
    Key::ALL
        .iter()
        .map(move |key| bare(format!("{}{end}", key.short_name())))
}

/// What a profile can accept.
fn accepted() -> impl Iterator<Item = Candidate> {
    Id::ALL
        .iter()
        .map(|id| bare(format!("accept.{}=", id.name())))
}

fn namespaces() -> impl Iterator<Item = Candidate> {
    let names = Root::machine().list(Path::new(NAMESPACES)).ok().flatten();
    let names = names.unwrap_or_default().into_iter();
    names.map(|name| bare(name.to_string_lossy()))
}

/// The changes of the journal, the newest first.
fn changes(to_undo: bool) -> Vec<Candidate> {
    let Ok((listed, _)) = list(&Here::read(Root::machine(), None), None) else {
        return Vec::new();
    };
    let entries = listed.into_iter().rev().map(|(entry, _)| entry);
    let meant = entries.filter(|entry| {
        !to_undo || entry.record.kind == Kind::Apply && entry.state.status().can_be_rolled_back()
    });
    meant
        .map(|entry| {
            let record = &entry.record;
            let about = format!(
                "{}, {}, {}",
                record.profile,
                record.origin.time,
                entry.state.status()
            );
            (record.id.to_string(), about)
        })
        .collect()
}

/// The last part of a list with commas.
fn lists<'a>(current: &str, end: &str, names: impl Iterator<Item = &'a str>) -> Vec<Candidate> {
    let head = current
        .rfind(',')
        .map_or("", |comma| current.get(..=comma).unwrap_or_default());
    names
        .map(|name| bare(format!("{head}{name}{end}")))
        .collect()
}

fn terms(current: &str) -> Vec<Candidate> {
    let term = current.rsplit(',').next().unwrap_or_default();
    let Some((name, _)) = term.split_once('=') else {
        return lists(current, "=", term_names());
    };
    let names: Vec<&str> = match name {
        "proto" => Protocol::NAMES.iter().map(|(name, _)| *name).collect(),
        "state" => TcpState::ALL.iter().map(|state| state.name()).collect(),
        "status" => StatusBit::ALL.iter().map(|bit| bit.name()).collect(),
        "family" => vec!["ipv4", "ipv6"],
        _ => Vec::new(),
    };
    lists(current, "", names.iter().map(|value| &**value))
        .into_iter()
        .map(|(word, about)| {
            let value = word.rsplit(',').next().unwrap_or_default();
            let head = word.len() - value.len();
            let head = word.get(..head).unwrap_or_default();
            (format!("{head}{name}={value}"), about)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_of_a_line_has_its_candidates() {
        let mut cli = Cli::command();
        cli.build();
        for (line, some, none) in [
            ("", "check", "complete"),
            ("watch", "", "watch-pending"),
            ("sand", "sandbox", "sandbox-inside"),
            ("rollback --", "--dry-run", "--adopt"),
            ("apply ", "campus-fw", "check"),
            ("apply --profile ca", "campus-fw", "cgn"),
            ("apply --profile=ca", "--profile=campus-fw", "campus-fw"),
            (
                "status --set tcp_t",
                "tcp_timeout_established=",
                "udp_timeout=",
            ),
            ("check --netns x --explain m", "max", "buckets"),
            ("check --format n", "nagios", "json"),
            ("check --format=n", "--format=npd", "nagios"),
            ("check --format ", "npd", "salt"),
            ("metrics --format ", "munin", "nagios"),
            ("plan --format ", "salt", "npd"),
            ("top --format ", "json", "prometheus"),
            ("profile check --format ", "text", "nagios"),
            ("--format ", "salt", ""),
            ("top --by src,d", "src,dport", "src,src"),
            ("kill --match proto=tcp,st", "proto=tcp,state=", "state="),
            (
                "kill --match proto=tcp,state=es",
                "proto=tcp,state=established",
                "",
            ),
            ("profile ", "diff", "check-all"),
            (
                "profile set x.toml accept.rfc4787",
                "accept.rfc4787-req5=",
                "max=",
            ),
            ("profile check a.toml ca", "campus-fw", ""),
            ("sandbox -- ", FILES, "check"),
            ("apply --expire ca", "campus-fw", "clamp"),
            ("completions ", "fish", "csh"),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let found = candidates(&cli, &words);
            let has = |word: &str| word.is_empty() || found.iter().any(|(one, _)| one == word);
            assert!(has(some), "{line}: {found:?}");
            assert!(none.is_empty() || !has(none), "{line}: {found:?}");
        }
    }
}
