//! The manual pages say what the program says: they are made from its command line.
//!
//! `CTTUNE_BLESS=1 cargo test --test man` writes them anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use cttune::internals;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("man")
}

/// Every page: its file name and its text.
fn pages() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    let mut command = internals::command();
    command.build();
    render("cttune", &command, &mut pages);
    pages
}

fn render(name: &str, command: &clap::Command, pages: &mut Vec<(String, String)>) {
    let mut text = Vec::new();
    let version = env!("CARGO_PKG_VERSION");
    let own = command
        .clone()
        .name(name.to_owned())
        .bin_name(name.replace('-', " "));
    clap_mangen::Man::new(own)
        .title(name.to_uppercase())
        .section("8")
        .manual("cttune")
        .source(format!("cttune {version}"))
        .date("2026-11-23")
        .render(&mut text)
        .unwrap();
    pages.push((format!("{name}.8"), String::from_utf8(text).unwrap()));
    let shown = |sub: &&clap::Command| !sub.is_hide_set() && sub.get_name() != "help";
    for sub in command.get_subcommands().filter(shown) {
        render(&format!("{name}-{}", sub.get_name()), sub, pages);
    }
}

#[test]
fn the_pages_are_those_of_this_program() {
    let pages = pages();
    if std::env::var_os("CTTUNE_BLESS").is_some() {
        fs::create_dir_all(folder()).unwrap();
        for (name, text) in &pages {
            fs::write(folder().join(name), text).unwrap();
        }
    }
    for (name, text) in &pages {
        let committed = fs::read_to_string(folder().join(name)).unwrap_or_default();
        assert!(
            committed == *text,
            "man/{name} is not up to date: CTTUNE_BLESS=1 cargo test --test man"
        );
    }
    let committed = fs::read_dir(folder()).unwrap().count();
    assert_eq!(
        committed,
        pages.len(),
        "a page in man/ belongs to no command"
    );
}

#[test]
fn mandoc_finds_no_error_in_them() {
    for (name, text) in pages() {
        let mut page = tempfile::NamedTempFile::new().unwrap();
        page.write_all(text.as_bytes()).unwrap();
        let output = Command::new("mandoc")
            .args(["-Tlint", "-Werror"])
            .arg(page.path())
            .output()
            .expect("mandoc is installed");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.is_empty(), "{name}: {said}");
    }
}

#[test]
fn help_fits_eighty_columns_and_every_command_explains_itself() {
    fn visit(command: &clap::Command) {
        let help = command.clone().render_long_help().to_string();
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
        }
        assert!(
            command.get_about().is_some(),
            "{} has no help",
            command.get_name()
        );
        for argument in command.get_arguments().filter(|a| !a.is_hide_set()) {
            let id = argument.get_id();
            assert!(
                argument.get_help().is_some(),
                "{} {id} has no help",
                command.get_name()
            );
        }
        command.get_subcommands().for_each(visit);
    }
    let mut command = internals::command();
    command.build();
    visit(&command);
}
