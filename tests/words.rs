//! Plain English: words that must not appear in sources, documents, help and output.
//!
//! Each line of [`WORDS`] is one idea, and what to say in its place. Names are split into their
//! words first, so `way_back` and `WayBack` are found as "way back".

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/source.rs"]
mod source;
mod support;

use std::fs;
use std::process::Command;

use source::{files, root};
use support::{Told, World};

/// What not to say, and what to say.
const WORDS: &[(&[&str], &str)] = &[
    (&["in the way", "obstacle"], "blocked by"),
    (&["beat", "beats", "beaten"], "overrides, is overridden by"),
    (
        &["beats ours", "override ours", "overrides ours", "of ours"],
        "cttune's file, the drop-in",
    ),
    (&["way back"], "revert (computes), roll back (acts)"),
    (&["way there"], "to see the changes: cttune plan"),
    (
        &[
            "put back",
            "puts back",
            "take back",
            "takes back",
            "taken back",
            "carry back",
            "carried back",
        ],
        "roll back, undo, restore",
    ),
    (
        &["carry out", "carries out", "carried out", "carrying out"],
        "apply, do",
    ),
    (
        &["stand in", "stand ins", "stands in", "stand in for"],
        "simulated",
    ),
    (&["undoably"], "reversible"),
    (&["crew", "hands"], "context, session"),
    (&["occasion", "occasions"], "origin"),
    (
        &["wish", "wishes", "survey", "surveys"],
        "desired, current, target, options",
    ),
    (
        &["no right to"],
        "permission denied: needs root (CAP_NET_ADMIN)",
    ),
    (
        &["holds for", "hold for", "profile hold"],
        "applies to, keeps",
    ),
    (
        &["not in line", "is in line", "in line with"],
        "drift, differs",
    ),
    (&["lost by"], "lost at boot"),
    (&["in force"], "active, applied"),
    (&["countdown", "silence"], "time left, idle time"),
    (&["rival", "rivals", "agents"], "other writers"),
    (&["be gone", "let go"], "end, delete, kill"),
    (&["compared with no profile"], "no profile active"),
    (&["is told", "are told", "who may not"], "say who does what"),
    (&["room first", "bears"], "no metaphor"),
    (
        &[
            "flows stand",
            "flow stands",
            "those that stand",
            "entries stand",
        ],
        "flows, entries",
    ),
];

/// Names that stay: of a finding, of JSON, of records in the journal.
const STABLE: &[&str] = &["beaten-at-boot", "\"in_force\"", "\"occasion\""];

/// What people read: sources, profiles, pages.
const READ: &[(&str, &str)] = &[
    ("src", ".rs"),
    ("profiles", ".toml"),
    ("man", ".8"),
    ("man", ".5"),
    ("docs", ".md"),
    ("contrib", ""),
    ("README.md", ""),
    ("CHANGELOG.md", ""),
    ("CONTRIBUTING.md", ""),
    ("SECURITY.md", ""),
];

/// Lower case, one space between words, names split, no comment marks at the start of lines.
fn plain(text: &str) -> String {
    let mut words = String::from(" ");
    for line in text.lines() {
        let line = line.trim_start();
        let marks = ["//!", "///", "//", "#", "\\*(Aq"];
        let mark = marks.iter().find(|mark| line.starts_with(**mark));
        let line = &line[mark.map_or(0, |mark| mark.len())..];
        let mut last = ' ';
        for one in line.chars() {
            if last.is_lowercase() && one.is_uppercase() {
                words.push(' ');
            }
            if one == '_' || one == '-' || one == '\\' {
                words.push(' ');
            } else {
                words.extend(one.to_lowercase());
            }
            last = one;
        }
        words.push(' ');
    }
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The words that a text has and should not have, with what stands around them.
fn found(text: &str) -> Vec<String> {
    // The names of tests may tell what is told.
    let text = text.replace("_told", "");
    let text = STABLE
        .iter()
        .fold(text, |text, name| text.replace(name, ""));
    let plain = plain(&text);
    let mut found = Vec::new();
    for (words, better) in WORDS {
        for word in *words {
            for (at, _) in plain.match_indices(word) {
                let end = at + word.len();
                let is_part = |one: char| one.is_alphanumeric();
                if !plain[..at].ends_with(is_part) && !plain[end..].starts_with(is_part) {
                    let start = plain[..at]
                        .char_indices()
                        .nth_back(30)
                        .map_or(0, |(at, _)| at);
                    let around: String = plain[start..].chars().take(60 + word.len()).collect();
                    found.push(format!("\"{word}\" (say: {better}) in \"…{around}…\""));
                }
            }
        }
    }
    found
}

#[test]
fn no_source_or_page_has_them() {
    let mut wrong = Vec::new();
    let mut read = 0;
    for (place, ending) in READ {
        for path in files(&root().join(place), ending) {
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
            read += 1;
            let text = fs::read_to_string(&path).unwrap();
            wrong.extend(found(&text).iter().map(|one| format!("{name}: {one}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(read > 80, "{read} files");
}

/// What a command says, results and messages.
fn said(told: &Told) -> String {
    format!("{}\n{}", told.stdout, told.stderr)
}

fn clean(command: &str, text: &str) {
    let found = found(text);
    assert!(
        found.is_empty(),
        "cttune {command}:\n{}\n{text}",
        found.join("\n")
    );
}

#[test]
fn no_help_has_them() {
    let mut commands = vec![String::new()];
    let mut seen = 0;
    while let Some(command) = commands.pop() {
        let mut cttune = Command::new(env!("CARGO_BIN_EXE_cttune"));
        let told = Told::by(cttune.args(command.split_whitespace()).arg("--help")).exits(0);
        clean(&format!("{command} --help"), &told.stdout);
        let (_, list) = told.stdout.split_once("Commands:\n").unwrap_or_default();
        let below = list.lines().take_while(|line| line.starts_with("  "));
        let names = below.filter_map(|line| line.split_whitespace().next());
        let names = names.filter(|name| *name != "help");
        commands.extend(names.map(|name| format!("{command} {name}")));
        seen += 1;
    }
    assert!(seen >= 19, "{seen} pages of help");
}

#[test]
fn no_command_says_them() {
    let world = World::story();
    let mut wrong = Vec::new();
    for command in [
        "check",
        "check -v --profile campus-fw",
        "check --deep",
        "check --explain max",
        "plan --profile campus-fw",
        "plan --profile campus-fw --adopt",
        "apply --profile campus-fw --yes",
        "apply --profile campus-fw --adopt --confirm-within 60s --yes",
        "apply --profile rfc-nat --yes",
        "confirm",
        "check",
        "check -v",
        "top",
        "top --by src,dport -v",
        "expire --dry-run",
        "expire --yes",
        "expire --mode delete --settle 1s --dry-run",
        "history",
        "history 1",
        "rollback --yes",
        "rollback --yes",
        "rollback 99",
        "confirm",
        "profile list",
        "profile show cgn",
        "plan --netns nowhere --profile campus-fw",
        "metrics",
    ] {
        let args: Vec<&str> = command.split_whitespace().collect();
        let said = said(&world.cttune(&args));
        let found = found(&said);
        wrong.extend(found.iter().map(|one| format!("cttune {command}: {one}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn this_test_sees_what_it_looks_for() {
    let text = "fn way_back(Crew) {}\n/// It is carried\n/// out; the crewman\n let aWish = \"stand-ins\";";
    let found = found(text);
    let words: Vec<&str> = found
        .iter()
        .map(|one| one.split('"').nth(1).unwrap())
        .collect();
    assert_eq!(
        words,
        ["way back", "carried out", "stand ins", "crew", "wish"]
    );
}
