//! One manual page: man(7) text from a command's type and its help.

use clap::{Arg, ArgAction, Command};

use super::shown;

/// What every page ends its name line with.
const DATE: &str = "2026-11-26";

const FILES: &[(&str, &str)] = &[
    (
        "/etc/cttune/profiles/*.toml",
        "Profiles of your own, by name; see cttune-profile(5).",
    ),
    (
        "/etc/cttune/active.toml",
        "What apply last applied: the profile, and what was set beside it.",
    ),
    (
        "/etc/sysctl.d/90-cttune.conf",
        "The values for the next boot.",
    ),
    (
        "/etc/modules-load.d/cttune.conf, /etc/udev/rules.d/90-cttune.rules",
        "Written where conntrack is a module: they load it, and set the values when it is loaded later.",
    ),
    (
        "/var/lib/cttune",
        "The journal of changes, from which they are undone.",
    ),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("CTTUNE_STATE_DIR", "Another folder than /var/lib/cttune."),
    ("NO_COLOR", "No colour, if it is set and not empty."),
    ("VISUAL, EDITOR", "The editor of cttune profile edit."),
    (
        "SSH_CONNECTION",
        "The session that expire and kill never touch.",
    ),
];

const EXIT: &str =
    "0 done or nothing to do; 1 failed or refused, nothing was changed; 64 wrong command line";

/// Programs that cttune works beside.
const BESIDE: &[&str] = &["conntrack(8)", "nft(8)", "sysctl(8)", "sysctl.d(5)"];

/// The name of a command's page.
pub(super) fn name(command: &Command) -> String {
    command.get_bin_name().unwrap_or("cttune").replace(' ', "-")
}

/// The first line of a page.
pub(super) fn head(name: &str, section: u8, about: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let title = name.to_uppercase();
    let line = filled(&format!("{name} - {about}"));
    format!(".TH {title} {section} {DATE} \"cttune {version}\" cttune\n.SH NAME\n{line}\n")
}

/// Running text: signs that man(7) reads are written so that it prints them, and what is between
/// backticks is bold.
pub(super) fn text(plain: &str) -> String {
    let mut text = String::new();
    for (index, part) in plain.split('`').enumerate() {
        let part = part.replace('\\', "\\e").replace('-', "\\-");
        match index % 2 {
            1 => text.push_str(&format!("\\fB{part}\\fR")),
            _ => text.push_str(&part),
        }
    }
    let guarded = |line: &str| match line.chars().next() {
        Some('.' | '\'') => format!("\\&{line}"),
        _ => line.to_owned(),
    };
    text.lines().map(guarded).collect::<Vec<_>>().join("\n")
}

/// Running text in lines of at most 78 bytes, which mandoc(1) asks for.
pub(super) fn filled(plain: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text(&plain.replace('\n', " ")).split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + word.len() < 78 => {
                line.push(' ');
                line.push_str(word);
            }
            _ if word.starts_with(['.', '\'']) => lines.push(format!("\\&{word}")),
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

/// Text as it stands, in its lines.
pub(super) fn verbatim(lines: &str) -> String {
    let lines: String = lines
        .lines()
        .map(|line| format!("{}\n", text(line)))
        .collect();
    format!(".EX\n{lines}.EE\n")
}

/// An entry of a list.
pub(super) fn entry(term: &str, about: &str) -> String {
    format!(".TP\n{term}\n{}\n", filled(about))
}

fn list(entries: &[(&str, &str)]) -> String {
    let bold = |term: &str| format!("\\fB{}\\fR", text(term));
    entries
        .iter()
        .map(|(term, about)| entry(&bold(term), about))
        .collect()
}

/// The page of a command; `pages` are the names of all.
pub(super) fn of(command: &Command, pages: &[String]) -> String {
    let name = name(command);
    let is_first = name == "cttune";
    let about = command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    let parts = Parts::of(command);
    let mut page = head(&name, 8, about.trim_end_matches('.'));
    page.push_str(&format!(".SH SYNOPSIS\n{}", synopsis(command)));
    let section = |page: &mut String, title: &str, body: String| {
        if !body.is_empty() {
            page.push_str(&format!(".SH {title}\n{body}"));
        }
    };
    let described = if parts.description.is_empty() {
        format!("{}.\n", text(about.trim_end_matches('.')))
    } else {
        parts.description.clone()
    };
    section(&mut page, "DESCRIPTION", described);
    let commands = shown(command).map(|sub| {
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        let term = format!("\\fB{}\\fR(8)", text(&self::name(sub)));
        entry(&term, &format!("{about}."))
    });
    section(&mut page, "COMMANDS", commands.collect());
    let (global, own): (Vec<&Arg>, Vec<&Arg>) =
        arguments(command).partition(|arg| arg.is_global_set());
    let own: String = own.into_iter().map(option).collect();
    section(&mut page, "OPTIONS", own);
    let global = if is_first {
        global.into_iter().map(option).collect()
    } else {
        let names = global.iter().filter_map(|arg| arg.get_long());
        let names: Vec<String> = names.map(|name| format!("`--{name}`")).collect();
        format!("{}: see\n.BR cttune (8).\n", filled(&names.join(", ")))
    };
    section(&mut page, "GLOBAL OPTIONS", global);
    section(&mut page, "EXAMPLES", parts.examples);
    section(&mut page, "EXIT STATUS", parts.exit);
    section(&mut page, "FILES", list(FILES));
    section(&mut page, "ENVIRONMENT", list(ENVIRONMENT));
    let others = pages
        .iter()
        .filter(|page| **page != name)
        .map(|page| format!("{page}(8)"));
    let near =
        |page: &String| is_first || page.matches('-').count() == 1 || page.starts_with(&name);
    let others = others.filter(near).chain(["cttune-profile(5)".to_owned()]);
    let others = others.chain(BESIDE.iter().map(|page| (*page).to_owned()));
    let linked = others.map(|page| {
        let (name, section) = page.split_once('(').unwrap();
        format!(".BR {} ({section}", text(name))
    });
    section(
        &mut page,
        "SEE ALSO",
        linked.collect::<Vec<_>>().join(" ,\n") + "\n",
    );
    page
}

/// The arguments that the page shows.
fn arguments(command: &Command) -> impl Iterator<Item = &Arg> {
    let all = command.get_arguments().filter(|arg| !arg.is_hide_set());
    all.filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version"))
}

/// How an argument is typed, with its value.
fn typed(arg: &Arg) -> String {
    let value = arg.get_value_names().and_then(|names| names.first());
    let value = value.map(ToString::to_string).unwrap_or_default();
    let value = format!("\\fI{}\\fR", text(&value));
    let Some(long) = arg.get_long() else {
        return value;
    };
    let long = format!("\\fB\\-\\-{}\\fR", text(long));
    let names = match arg.get_short() {
        Some(short) => format!("\\fB\\-{short}\\fR, {long}"),
        None => long,
    };
    if !arg.get_action().takes_values() {
        names
    } else if arg.is_require_equals_set() {
        format!("{names}[={value}]")
    } else {
        format!("{names} {value}")
    }
}

fn synopsis(command: &Command) -> String {
    let name = command.get_bin_name().unwrap_or("cttune");
    let mut lines = format!(".B {}\n", text(name));
    let (options, words): (Vec<&Arg>, Vec<&Arg>) = arguments(command)
        .filter(|arg| !arg.is_global_set())
        .partition(|arg| arg.get_long().is_some());
    if shown(command).next().is_some() {
        lines.push_str("\\fICOMMAND\\fR [\\fIOPTIONS\\fR]\n");
    }
    for arg in options.into_iter().chain(words) {
        let repeated = matches!(arg.get_action(), ArgAction::Append)
            || arg
                .get_num_args()
                .is_some_and(|number| number.max_values() > 1);
        let dots = if repeated { "..." } else { "" };
        let typed = typed(arg).replace(", ", "|");
        let typed = if arg.is_last_set() {
            format!("\\fB\\-\\-\\fR {typed}")
        } else {
            typed
        };
        let (open, close) = if arg.is_required_set() {
            ("", "")
        } else {
            ("[", "]")
        };
        lines.push_str(&format!("{open}{typed}{close}{dots}\n"));
    }
    lines
}

/// An option in the list: its help, its values, its default.
fn option(arg: &Arg) -> String {
    let mut about = arg
        .get_long_help()
        .or(arg.get_help())
        .map(ToString::to_string)
        .unwrap_or_default();
    about = about.replacen("\n\n", ". ", 1);
    let about = about.trim_end().trim_end_matches('.');
    let values = arg.get_possible_values();
    let values: Vec<String> = values
        .iter()
        .filter(|_| arg.get_action().takes_values() && !arg.is_hide_possible_values_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    let mut about = format!("{about}.");
    if !values.is_empty() {
        about.push_str(&format!(" One of {}.", values.join(", ")));
    }
    let default = arg
        .get_default_values()
        .first()
        .filter(|_| arg.get_action().takes_values());
    if let Some(default) = default {
        about.push_str(&format!(" Default: `{}`.", default.to_string_lossy()));
    }
    entry(&typed(arg), &about)
}

/// What the help of a command says behind its options.
struct Parts {
    description: String,
    examples: String,
    exit: String,
}

impl Parts {
    fn of(command: &Command) -> Parts {
        let help = command
            .get_after_long_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let (mut described, mut examples, mut exit) =
            (Vec::new(), Vec::new(), ExitCodes::parse(EXIT).roff());
        for block in help.split("\n\n").filter(|block| !block.trim().is_empty()) {
            if let Some(codes) = block.strip_prefix("Exit codes: ") {
                exit = ExitCodes::parse(codes).roff();
                continue;
            }
            let (indented, plain): (Vec<&str>, Vec<&str>) =
                block.lines().partition(|line| line.starts_with("  "));
            if !plain.is_empty() {
                described.push(format!("{}\n", filled(&plain.join(" "))));
            }
            let is_example =
                |line: Option<&&str>| line.is_some_and(|line| line.starts_with("  cttune "));
            if is_example(indented.first()) || is_example(indented.last()) {
                examples.extend(indented.iter().map(|line| example(line.trim())));
            } else if !indented.is_empty() {
                let columns = |line: &&str| {
                    line.trim()
                        .split("  ")
                        .filter(|part| !part.is_empty())
                        .count()
                };
                let is_table = indented.iter().any(|line| columns(line) > 2);
                described.push(if is_table {
                    verbatim(&indented.join("\n"))
                } else {
                    terms(&indented)
                });
            }
        }
        Parts {
            // A list needs no paragraph before it.
            description: described.join(".PP\n").replace(".PP\n.TP\n", ".TP\n"),
            examples: examples.join(".PP\n"),
            exit,
        }
    }
}

/// Lines of a word, a gap, and what it is; what goes on is indented further.
fn terms(lines: &[&str]) -> String {
    let mut entries: Vec<(String, String)> = Vec::new();
    for line in lines {
        match (line.trim().split_once("  "), entries.last_mut()) {
            (Some((term, about)), _) => entries.push((term.to_owned(), about.trim().to_owned())),
            (None, Some((_, about))) => about.push_str(&format!(" {}", line.trim())),
            (None, None) => {}
        }
    }
    let one = |(term, about): &(String, String)| {
        entry(&format!("\\fB{}\\fR", text(term)), &format!("{about}."))
    };
    entries.iter().map(one).collect()
}

/// A command as it is typed, below what it is for.
fn example(line: &str) -> String {
    let (command, about) = line.split_once("   ").unwrap_or((line, ""));
    let about = about.trim();
    let about = if about.is_empty() {
        String::new()
    } else {
        format!("# {about}\n")
    };
    verbatim(&format!("{about}{command}"))
}

/// What a command's exit codes mean.
pub(super) struct ExitCodes {
    /// What is said before the first number.
    before: String,
    pub(super) entries: Vec<(String, String)>,
    /// The sentences behind the list.
    pub(super) rest: String,
}

impl ExitCodes {
    /// Those of a command's help.
    pub(super) fn of(command: &Command) -> Option<ExitCodes> {
        let help = command.get_after_long_help()?.to_string();
        let mut blocks = help.split("\n\n");
        let codes = blocks.find_map(|block| block.strip_prefix("Exit codes: "))?;
        Some(ExitCodes::parse(codes))
    }

    /// `0 done; 1 failed`.
    fn parse(codes: &str) -> ExitCodes {
        let (first, rest) = codes.split_once(".\n").unwrap_or((codes, ""));
        let joined = first.trim_end_matches('.').replace('\n', " ");
        let mut codes = ExitCodes {
            before: String::new(),
            entries: Vec::new(),
            rest: rest.replace('\n', " "),
        };
        for piece in joined.split("; ") {
            let is_code = |word: &&&str| word.starts_with(|c: char| c.is_ascii_digit());
            let words: Vec<&str> = piece.split(' ').collect();
            let numbers = words.iter().take_while(is_code).count();
            let (number, about) = words.split_at(numbers);
            match (numbers, codes.entries.last_mut()) {
                (0, Some((_, last))) => last.push_str(&format!("; {piece}")),
                (0, None) => piece.clone_into(&mut codes.before),
                _ => codes.entries.push((number.join(" "), about.join(" "))),
            }
        }
        codes
    }

    fn roff(&self) -> String {
        let one = |(number, about): &(String, String)| {
            entry(&format!("\\fB{}\\fR", text(number)), &format!("{about}."))
        };
        let sentence = |text: String| {
            if text.is_empty() {
                text
            } else {
                format!("{text}.\n")
            }
        };
        let before = sentence(filled(&self.before));
        let entries: String = self.entries.iter().map(one).collect();
        let rest = sentence(filled(self.rest.trim_end_matches('.')));
        let gap = if rest.is_empty() { "" } else { ".PP\n" };
        format!("{before}{entries}{gap}{rest}")
    }
}
