//! The house keeps its direction, cli → acting → doors → pure, and each room keeps its rule.
//!
//! Read is the code of every file to its end, without comments, strings and test modules, which may
//! use what they like.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/source.rs"]
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use source::{code, files, root, test_modules, without_tests};

/// The pure rooms from the bottom to the top: each uses only those before it.
const PURE: &[&str] = &[
    "diagnostic",
    "tunable",
    "conntrack",
    "flow",
    "service",
    "profile",
    "boot",
    "plan",
    "assess",
    "fleet",
    "render",
];
/// The kernel's few files of a machine (names, logs) are read through the door to files.
const DOORS: &[&str] = &["files", "kernel"];
const ACTING: &[&str] = &["change", "sandbox", "screen", "trial"];
/// What acts for as long as it runs, through the walk and the locks of `change`.
const SERVICES: &[&str] = &["guard"];
const TOP: &[&str] = &["cli"];
/// What tests, benches and fuzz targets see of the inside: no room, it reaches into all of them.
const OUTSIDE: &[&str] = &["internals"];

/// What a pure room may not name: files, clocks, the environment, a terminal, processes.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::env",
    "std::process",
    "std::net::Tcp",
    "std::net::Udp",
    "std::time::SystemTime",
    "std::time::Instant",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "std::{",
    " nix::",
    " sysctl::",
    "dialoguer",
    "signal_hook",
    "tempfile",
];

/// The files of `cli` that are commands, and how many lines one may have.
const COMMANDS: &[&str] = &[
    "apply",
    "check",
    "completions",
    "confirm",
    "expire",
    "fleet",
    "forecast",
    "guard",
    "history",
    "kill",
    "metrics",
    "plan",
    "profile",
    "report",
    "rollback",
    "sandbox",
    "suggest",
    "top",
    "watch",
];
const COMMAND_LINES: usize = 100;

/// A file of a room, and what of it is no test.
struct File {
    room: String,
    path: PathBuf,
    text: String,
    code: String,
}

fn rooms() -> Vec<(String, PathBuf)> {
    let folders = fs::read_dir(root().join("src")).unwrap();
    folders
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path))
        .filter(|(room, _)| !OUTSIDE.contains(&room.as_str()))
        .collect()
}

/// Every file of every room that is not there for tests alone.
fn house() -> Vec<File> {
    let mut house = Vec::new();
    for (room, folder) in rooms() {
        let mut tests = Vec::new();
        let start = house.len();
        for path in files(&folder, ".rs") {
            let text = fs::read_to_string(&path).unwrap();
            let all = code(&text);
            let own = match path.file_stem().unwrap().to_str().unwrap() {
                "mod" => path.parent().unwrap().to_owned(),
                _ => path.with_extension(""),
            };
            tests.extend(test_modules(&all).iter().map(|name| own.join(name)));
            house.push(File {
                room: room.clone(),
                path,
                text,
                code: without_tests(&all),
            });
        }
        let is_test = |file: &File| {
            let mut modules = tests.iter();
            modules
                .any(|test| file.path.starts_with(test) || file.path == test.with_extension("rs"))
        };
        let (kept, _): (Vec<File>, Vec<File>) =
            house.drain(start..).partition(|file| !is_test(file));
        house.extend(kept);
    }
    house
}

/// Where a room stands: its floor, and among the pure ones its place.
fn place(room: &str) -> (usize, usize) {
    for (floor, rooms) in [PURE, DOORS, ACTING, SERVICES, TOP].iter().enumerate() {
        if let Some(at) = rooms.iter().position(|one| *one == room) {
            return (floor, if floor <= 1 { at } else { 0 });
        }
    }
    panic!("the room `{room}` is not in the table of this test")
}

/// The rooms that code names: after `crate::`, and after as many `super::` as lead out of the room.
fn named_rooms(code: &str, depth: usize) -> Vec<String> {
    let way_out = "super::".repeat(depth);
    let mut named = Vec::new();
    for way in ["crate::", &way_out] {
        for (at, _) in code.match_indices(way) {
            let inner = code[..at].ends_with(|one: char| one.is_alphanumeric() || one == '_');
            let longer = code[..at].ends_with("super::");
            let rest = code[at + way.len()..].trim_start_matches("super::");
            assert!(
                !rest.starts_with('{') || way != "crate::",
                "`use crate::{{…}}` hides its rooms: one `use` a room"
            );
            let is_name = |one: &char| one.is_ascii_lowercase() || *one == '_';
            let name: String = rest.chars().take_while(is_name).collect();
            if !inner && !longer && !name.is_empty() {
                named.push(name);
            }
        }
    }
    named
}

/// How many modules a file is below the crate's root.
fn depth(path: &Path) -> usize {
    let inside = path.strip_prefix(root().join("src")).unwrap();
    let parts = inside.components().count();
    parts - usize::from(path.ends_with("mod.rs"))
}

fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rooms_depend_one_way() {
    let known: Vec<String> = rooms().into_iter().map(|(room, _)| room).collect();
    let mut wrong = Vec::new();
    for file in house() {
        for other in named_rooms(&file.code, depth(&file.path)) {
            if known.contains(&other) && other != file.room && place(&other) >= place(&file.room) {
                wrong.push(format!(
                    "{} uses {other}, which is not below {}",
                    file.path.display(),
                    file.room
                ));
            }
        }
    }
    none(&wrong);
}

#[test]
fn pure_rooms_touch_nothing() {
    let mut wrong = Vec::new();
    for file in house().iter().filter(|file| place(&file.room).0 == 0) {
        for impure in IMPURE.iter().filter(|impure| file.code.contains(**impure)) {
            let (path, room) = (file.path.display(), &file.room);
            wrong.push(format!("{path} of the pure room {room} names {impure}"));
        }
    }
    none(&wrong);
}

#[test]
fn every_file_opens_with_what_it_owns() {
    let mut wrong = Vec::new();
    for file in house().iter().filter(|file| !file.text.starts_with("//! ")) {
        wrong.push(format!("{} has no module page", file.path.display()));
    }
    none(&wrong);
}

#[test]
fn a_command_is_short() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in house().iter().filter(|file| file.room == "cli") {
        let own = match file.path.file_stem().unwrap().to_str().unwrap() {
            "mod" => file.path.parent().unwrap().to_owned(),
            _ => file.path.with_extension(""),
        };
        let name = own.file_name().unwrap().to_str().unwrap();
        let lines = file.code.trim_end().lines().count();
        if !COMMANDS.contains(&name) || depth(&file.path) != 2 {
            continue;
        }
        seen += 1;
        if lines > COMMAND_LINES {
            wrong.push(format!("{} has {lines} lines", file.path.display()));
        }
    }
    none(&wrong);
    assert_eq!(seen, COMMANDS.len());
}

const NEVER_SILENT: &[&str] = &[
    "dead_code",
    "expect_used",
    "panic",
    "too_many_arguments",
    "too_many_lines",
    "unused",
    "unwrap_used",
];

/// The lints that code silences.
fn silenced(code: &str) -> Vec<&str> {
    let mut lints = Vec::new();
    for way in ["[allow(", "[expect("] {
        for (at, _) in code.match_indices(way) {
            let list = code[at + way.len()..].split(')').next().unwrap();
            lints.extend(list.split(',').map(str::trim));
        }
    }
    lints
}

/// clippy counts the lines of functions and forbids what panics: it may not be told to look away.
#[test]
fn no_lint_of_size_or_panic_is_silenced() {
    let mut wrong = Vec::new();
    for file in house() {
        for lint in silenced(&file.code) {
            if NEVER_SILENT.contains(&lint.trim_start_matches("clippy::")) {
                wrong.push(format!("{} silences {lint}", file.path.display()));
            }
        }
    }
    none(&wrong);
}

#[test]
fn flow_creation_is_the_sandboxs_alone() {
    for file in house().iter().filter(|file| file.room != "sandbox") {
        let inside = file.path.components().any(|part| {
            ["ctnetlink", "conntrack"]
                .iter()
                .any(|one| part.as_os_str() == *one)
        });
        let names = ["NLM_F_CREATE", "ctnetlink::create", "NewFlow"];
        let creates = !inside && names.iter().any(|name| file.code.contains(name));
        assert!(!creates, "{} creates flows", file.path.display());
    }
}

/// `tests/run --quick` leaves out tests by name: none of them may be renamed unnoticed.
#[test]
fn the_quick_run_leaves_out_tests_that_there_are() {
    let run = fs::read_to_string(root().join("tests/run")).unwrap();
    let list = |name: &str| {
        let (_, after) = run.split_once(&format!("\n{name}=\"")).unwrap();
        after.split_once('"').unwrap().0.trim().to_owned()
    };
    let tests: Vec<String> = files(&root().join("tests"), ".rs")
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    for line in list("quick_skips").lines() {
        let name = line.split_whitespace().next().unwrap();
        let function = format!("fn {name}()");
        assert!(tests.iter().any(|text| text.contains(&function)), "{name}");
    }
    for name in list("quick_files").split_whitespace() {
        let tests = root().join("tests");
        let one = tests.join(format!("{name}.rs")).exists();
        assert!(one || tests.join(name).join("main.rs").exists(), "{name}");
    }
}

/// SECURITY.md names a test for each "cannot".
#[test]
fn what_attackers_cannot_do_is_tested() {
    let security = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let (_, table) = security.split_once("## Who can do what").unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let last = rows.skip(1).filter_map(|row| row.rsplit('|').nth(1));
    let names: Vec<&str> = last
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    assert!(names.len() >= 9, "{names:?}");
    let mut sources = files(&root().join("tests"), ".rs");
    sources.extend(files(&root().join("src"), ".rs"));
    let texts: Vec<String> = sources
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    for name in names {
        let test = format!("#[test]\nfn {name}()");
        let inner = format!("#[test]\n    fn {name}()");
        let is_there = texts
            .iter()
            .any(|text| text.contains(&test) || text.contains(&inner));
        assert!(is_there, "SECURITY.md names {name}, which is no test");
    }
}

#[test]
fn these_tests_see_what_they_look_for() {
    let text = "use crate::plan::Plan; // crate::cli
        fn a<'x>(b: &'x str) -> char { let _ = \"crate::files {\"; '{' }
        #[cfg(test)]
        mod tests { use crate::kernel; fn b() { r#\"}\"# } }
        #[cfg(test)]
        mod fake;
        /* crate::sandbox */ const C: &[u8] = b\"\\\"crate::render\";
        fn d() { super::super::flow::e(); super::f(); crate::change::g() }";
    let code = code(text);
    assert_eq!(test_modules(&code), ["fake"]);
    assert_eq!(
        named_rooms(&without_tests(&code), 2),
        ["plan", "change", "flow"]
    );
    assert_eq!(
        silenced("#[allow(dead_code, clippy::panic)] #![expect(unused)]"),
        ["dead_code", "clippy::panic", "unused"]
    );
    assert!(place("tunable") < place("render") && place("render") < place("kernel"));
    assert!(place("files") < place("kernel"));
    assert!(place("cli") > place("change"));
    assert_eq!(depth(&root().join("src/plan/mod.rs")), 1);
    assert_eq!(depth(&root().join("src/plan/order.rs")), 2);
    let house = house();
    assert!(house.len() > 100, "{} files", house.len());
    for (room, _) in rooms() {
        place(&room);
    }
}
