//! Command lines that cannot be parsed: help, version, and mistakes with what was meant.

use std::ffi::OsString;

use clap::builder::PossibleValue;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory, ValueEnum};

use super::args::{Cli, Format};
use super::failure::{Failure, NPD_UNKNOWN, UNKNOWN, USAGE};
use super::out::Out;
use crate::diagnostic::{Hint, Place, quoted};
use crate::files::profiles;
use crate::profile::builtin;
use crate::tunable::nearest_name;

/// Words of other programs, and what does that here.
const WORDS: [(&[&str], &str, &str); 9] = [
    (
        &["flush", "clear", "reset", "purge", "clean"],
        "expire --help",
        "cttune never flushes the table; to shorten flows one by one",
    ),
    (
        &["list", "show", "dump", "flows", "who"],
        "top",
        "to see who fills the table",
    ),
    (
        &["delete", "end", "drop"],
        "kill --help",
        "to end the flows that you name",
    ),
    (
        &["set", "tune", "sysctl"],
        "plan --set KEY=VALUE",
        "to set one key",
    ),
    (
        &["diff", "preview", "dry-run", "test"],
        "plan",
        "to see what apply would change",
    ),
    (
        &["save", "persist", "enable", "start", "install"],
        "apply --help",
        "to apply a profile now and after every reboot",
    ),
    (
        &["stop", "disable", "restore", "cancel", "remove"],
        "rollback",
        "to undo the last change",
    ),
    (
        &["keep", "commit", "accept"],
        "confirm",
        "to keep a pending change",
    ),
    (
        &["health", "doctor", "drift", "info", "monitor"],
        "check",
        "to see the table's health and what differs",
    ),
];

/// Help and version go to stdout and are no error; anything else is a wrong command line.
pub(super) fn answer(error: &clap::Error, arguments: &[OsString]) -> u8 {
    let own = arguments.iter().skip(1).take_while(|one| *one != "--");
    let own: Vec<&str> = own.filter_map(|one| one.to_str()).collect();
    let format = asked_format(&own).unwrap_or(Format::Text);
    let is_page = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if error.use_stderr() && !(is_page && format == Format::Text) {
        let failure = Failure::usage(message(error)).hint(advice(error, &own));
        return Out::plain(format).failure(&failure, &Place::default());
    }
    // clap's own printing ends quietly where nobody reads.
    let _ = error.print();
    match (error.use_stderr(), format) {
        // A monitor whose command prints this page measures nothing.
        (_, Format::Nagios) => UNKNOWN,
        (_, Format::Npd) => NPD_UNKNOWN,
        (true, _) => USAGE,
        (false, _) => 0,
    }
}

/// What clap says is wrong, without its guesses.
fn message(error: &clap::Error) -> String {
    if let ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand =
        error.kind()
    {
        // clap's list has the hidden ones too.
        return "a command is missing".to_owned();
    }
    let text = error.render().to_string();
    let lines = text.lines().map(str::trim);
    let told = lines
        .take_while(|line| !line.starts_with("Usage: ") && !line.starts_with("For more "))
        .filter(|line| !line.is_empty() && !line.starts_with("tip: "));
    let told = told.collect::<Vec<_>>().join(" ");
    told.strip_prefix("error: ").unwrap_or(&told).to_owned()
}

/// What was meant, where that can be told.
fn advice(error: &clap::Error, own: &[&str]) -> Hint {
    let mut cli = Cli::command();
    cli.build();
    let (command, path) = named(&cli, own);
    let told = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let meant = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            told(ContextKind::InvalidSubcommand).and_then(|word| meant_command(word, command))
        }
        ErrorKind::UnknownArgument => {
            told(ContextKind::InvalidArg).and_then(|word| meant_argument(word, command, &path, own))
        }
        ErrorKind::MissingRequiredArgument => choice(error, command),
        ErrorKind::ValueValidation if path == "rollback" => {
            Some(Hint::cttune(path.clone()).to("undo the last change"))
        }
        _ => None,
    };
    meant.unwrap_or_else(|| {
        let help = format!("{path} --help");
        Hint::cttune(help.trim_start().to_owned()).to("options and examples")
    })
}

/// The deepest command that is named, and its name behind `cttune`.
fn named<'a>(cli: &'a Command, own: &[&str]) -> (&'a Command, String) {
    let (mut command, mut path) = (cli, Vec::new());
    for word in own.iter().filter(|word| !word.starts_with('-')) {
        let found = command.find_subcommand(word);
        if let Some(found) = found.filter(|found| !found.is_hide_set()) {
            path.push(found.get_name());
            command = found;
        }
    }
    (command, path.join(" "))
}

fn did_you_mean(name: &str) -> Hint {
    Hint::say(format!("did you mean `{name}`?"))
}

fn meant_command(word: &str, command: &Command) -> Option<Hint> {
    let lower = word.to_lowercase();
    let is_first = command.get_name() == "cttune";
    if is_first && let Some((_, line, to)) = WORDS.iter().find(|row| row.0.contains(&&*lower)) {
        return Some(Hint::cttune(*line).to(*to));
    }
    if is_first && is_profile(word) {
        let line = format!("check {}", quoted(word));
        return Some(Hint::cttune(line).to("a profile comes behind a command"));
    }
    let shown = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    let names = shown.flat_map(|sub| sub.get_all_aliases().chain([sub.get_name()]));
    nearest_name(&lower, names.map(str::to_owned)).map(|near| did_you_mean(&near))
}

fn meant_argument(word: &str, command: &Command, path: &str, own: &[&str]) -> Option<Hint> {
    let Some(option) = word.strip_prefix("--") else {
        return meant_word(word, command, path, own);
    };
    let name = option.split('=').next().unwrap_or_default();
    if name == "force" {
        return Some(Hint::say(
            "each danger has an option of its own, such as --allow-overridden: see --help",
        ));
    }
    let shown = command.get_arguments().filter(|one| !one.is_hide_set());
    let shown: Vec<&Arg> = shown.collect();
    if let Some(known) = shown.iter().find(|one| one.get_long() == Some(name)) {
        let line = in_order(known, own);
        return Some(Hint::cttune(line).to("write it behind the command"));
    }
    let names = shown.iter().filter_map(|one| one.get_long());
    let near = nearest_name(name, names.map(str::to_owned))?;
    Some(did_you_mean(&format!("--{near}")))
}

/// The command line with an option, and its value, at the end.
fn in_order(option: &Arg, own: &[&str]) -> String {
    let long = format!("--{}", option.get_long().unwrap_or_default());
    let is_it = |one: &&str| one.split('=').next() == Some(&long);
    let at = own.iter().position(is_it);
    let (before, from) = own.split_at(at.unwrap_or(own.len()));
    let is_apart = option.get_action().takes_values() && from.first() == Some(&long.as_str());
    let (moved, after) = from.split_at(from.len().min(1 + usize::from(is_apart)));
    let words = [before, after, moved].concat();
    let words: Vec<_> = words.into_iter().map(quoted).collect();
    words.join(" ")
}

/// The values of an option that is missing.
fn choice(error: &clap::Error, command: &Command) -> Option<Hint> {
    let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let mut arguments = command.get_arguments();
    let option = arguments.find(|one| missing.contains(&one.to_string()))?;
    let values = option.get_possible_values();
    let names: Vec<&str> = values.iter().map(PossibleValue::get_name).collect();
    (!names.is_empty()).then(|| Hint::say(format!("{option} is one of {}", names.join(", "))))
}

fn is_profile(word: &str) -> bool {
    let ships = builtin::find(word).is_some();
    ships || profiles::is_path(word)
}

/// A word that is one too many.
fn meant_word(word: &str, command: &Command, path: &str, own: &[&str]) -> Option<Hint> {
    if word.starts_with('-') {
        return None;
    }
    if path == "sandbox" {
        let at = own.iter().position(|one| one == &word)?;
        let line = own.get(at..).unwrap_or_default().join(" ");
        return Some(Hint::cttune(format!("sandbox -- {line}")).to("the command comes behind --"));
    }
    if path == "fleet" {
        return Some(Hint::say(
            "several files are one stream: cat FILES | cttune fleet -",
        ));
    }
    let has = |name| {
        let mut arguments = command.get_arguments();
        arguments.any(|one| one.get_long() == Some(name))
    };
    let word = Some(quoted(word)).filter(|_| word.contains('='))?;
    if has("match") {
        return Some(Hint::say(format!("flows are chosen with --match {word}")));
    }
    has("set").then(|| Hint::say(format!("a key is set with --set {word}")))
}

/// The format asked for on a command line that cannot be parsed. Of several a monitor's: it
/// understands no other exit codes.
fn asked_format(own: &[&str]) -> Option<Format> {
    let inline = own.iter().filter_map(|one| match *one {
        "--json" => Some("json"),
        one => one.strip_prefix("--format="),
    });
    let apart = own.windows(2).filter_map(|pair| match pair {
        ["--format", format] => Some(*format),
        _ => None,
    });
    let asked = inline.chain(apart);
    let asked = asked.filter_map(|format| Format::from_str(format, false).ok());
    let asked: Vec<Format> = asked.collect();
    let monitors = asked.iter().find(|format| is_plugin(**format));
    monitors.or(asked.last()).copied()
}

fn is_plugin(format: Format) -> bool {
    matches!(format, Format::Nagios | Format::Npd)
}
