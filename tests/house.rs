//! The house keeps its direction: cli → acting → doors → pure, never back; and each room keeps
//! its rule.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

const PURE: &[&str] = &[
    "assess",
    "boot",
    "diagnostic",
    "flow",
    "plan",
    "profile",
    "render",
    "tunable",
];
const DOORS: &[&str] = &["files", "kernel"];
const ACTING: &[&str] = &["change", "sandbox", "screen"];
const TOP: &[&str] = &["cli"];

/// What a pure room may not name: files, clocks, the environment, a terminal, processes.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::env",
    "std::process",
    "std::net::Tcp",
    "std::time::SystemTime",
    "std::time::Instant",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    " nix::",
    "sysctl::",
    "dialoguer",
    "signal_hook",
    "tempfile",
];

fn level(room: &str) -> usize {
    [PURE, DOORS, ACTING, TOP]
        .iter()
        .position(|rooms| rooms.contains(&room))
        .unwrap_or_else(|| panic!("the room `{room}` is not in the table of this test"))
}

fn source_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(source_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files
}

fn rooms() -> Vec<(String, PathBuf)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let folders = fs::read_dir(source)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    folders
        // What tests see of the inside is no room: it reaches into all of them.
        .filter(|path| path.is_dir() && !path.ends_with("internals"))
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path))
        .collect()
}

/// The text of a file without its comments and without the tests at its end.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The rooms that a text names: `crate::room` and `crate::{room::…, other::…}`.
fn named_rooms(code: &str) -> Vec<String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let mut named = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        assert!(
            !rest.starts_with('{'),
            "`use crate::{{…}}` hides its rooms: one `use` a room"
        );
        let name: String = rest.chars().take_while(|c| is_name(*c)).collect();
        if !name.is_empty() {
            named.push(name);
        }
    }
    named
}

#[test]
fn rooms_depend_one_way() {
    let mut wrong = Vec::new();
    for (room, folder) in rooms() {
        for file in source_files(&folder) {
            for other in named_rooms(&code(&file)) {
                if other != room && level(&other) > level(&room)
                    || (other != room && level(&room) > 0 && level(&other) == level(&room))
                {
                    wrong.push(format!("{} uses crate::{other}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_rooms_touch_nothing() {
    let mut wrong = Vec::new();
    for (room, folder) in rooms().into_iter().filter(|(room, _)| level(room) == 0) {
        for file in source_files(&folder) {
            let code = code(&file);
            for impure in IMPURE.iter().filter(|impure| code.contains(**impure)) {
                wrong.push(format!(
                    "{} of the pure room {room} names {impure}",
                    file.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_opens_with_what_it_owns() {
    for (_, folder) in rooms() {
        for file in source_files(&folder) {
            let text = fs::read_to_string(&file).unwrap();
            assert!(
                text.starts_with("//! "),
                "{} has no opening page",
                file.display()
            );
        }
    }
}

#[test]
fn flow_creation_is_the_sandboxs_alone() {
    for (room, folder) in rooms().into_iter().filter(|(room, _)| room != "sandbox") {
        for file in source_files(&folder) {
            let inside = file
                .components()
                .any(|part| part.as_os_str() == "ctnetlink");
            let code = code(&file);
            let names = ["NLM_F_CREATE", "ctnetlink::create", "NewFlow"];
            let creates = !inside && names.iter().any(|name| code.contains(name));
            assert!(!creates, "{} of {room} creates flows", file.display());
        }
    }
}

#[test]
fn this_test_sees_what_it_looks_for() {
    assert_eq!(
        named_rooms("use crate::plan::Plan;\nlet x = crate::cli::run();"),
        ["plan", "cli"]
    );
    assert!(rooms().len() >= 12);
    assert_eq!((level("tunable"), level("cli")), (0, 3));
}
