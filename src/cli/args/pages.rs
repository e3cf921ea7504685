//! The manual pages and the help are made from the command line's types.
//!
//! `CTTUNE_BLESS=1 cargo test --lib pages` writes man/ anew.

mod keys;
mod page;

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;

use super::Cli;

/// The lines of a terminal that nobody made larger.
const SCREEN: usize = 24;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("man")
}

/// Every page: its file name and its text.
fn pages() -> Vec<(String, String)> {
    let mut command = Cli::command();
    command.build();
    let mut names = Vec::new();
    visit(&command, &mut |command| names.push(page::name(command)));
    let mut pages = vec![("cttune-profile.5".to_owned(), keys::page())];
    visit(&command, &mut |command| {
        let file = format!("{}.8", page::name(command));
        pages.push((file, page::of(command, &names)));
    });
    pages
}

/// The pages of the book that are made from the code.
fn reference() -> Vec<(&'static str, String)> {
    let mut command = Cli::command();
    command.build();
    let mut text = "# Exit codes\n\nA closed stdout never stops an apply. Where a command is not listed: 0 done, \
        1 failed or\nrefused and nothing was changed, 64 wrong command line.\n"
        .to_owned();
    visit(&command, &mut |command| {
        let Some(codes) = page::ExitCodes::of(command) else {
            return;
        };
        let name = command.get_bin_name().unwrap_or("cttune");
        let row = |(code, about): &(String, String)| format!("| {code} | {about} |\n");
        let rows: String = codes.entries.iter().map(row).collect();
        text.push_str(&format!(
            "\n## {name}\n\n| code | meaning |\n|---|---|\n{rows}"
        ));
        if !codes.rest.is_empty() {
            text.push_str(&format!("\n{}\n", codes.rest));
        }
    });
    vec![("exit-codes.md", text), ("keys.md", keys::table())]
}

#[test]
fn the_pages_of_the_book_are_those_of_this_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference");
    for (name, text) in reference() {
        if std::env::var_os("CTTUNE_BLESS").is_some() {
            fs::write(folder.join(name), &text).unwrap();
        }
        let committed = fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(
            committed == text,
            "docs/reference/{name} is not up to date: CTTUNE_BLESS=1 cargo test --lib pages"
        );
    }
}

#[test]
fn the_pages_are_those_of_this_program() {
    let pages = pages();
    if std::env::var_os("CTTUNE_BLESS").is_some() {
        for old in fs::read_dir(folder()).unwrap() {
            fs::remove_file(old.unwrap().path()).unwrap();
        }
        for (name, text) in &pages {
            fs::write(folder().join(name), text).unwrap();
        }
    }
    for (name, text) in &pages {
        let committed = fs::read_to_string(folder().join(name)).unwrap_or_default();
        assert!(
            committed == *text,
            "man/{name} is not up to date: CTTUNE_BLESS=1 cargo test --lib pages"
        );
    }
    let committed = fs::read_dir(folder()).unwrap().count();
    assert_eq!(
        committed,
        pages.len(),
        "a page in man/ belongs to no command"
    );
}

/// The commands below this one that help lists, but for `help` itself.
fn shown(command: &clap::Command) -> impl Iterator<Item = &clap::Command> {
    let commands = command.get_subcommands();
    commands.filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
}

/// Calls `look` with each command that is shown.
fn visit(command: &clap::Command, look: &mut impl FnMut(&clap::Command)) {
    look(command);
    for sub in shown(command) {
        visit(sub, look);
    }
}

#[test]
fn help_fits_the_screen_and_every_command_explains_itself() {
    let mut command = Cli::command();
    command.build();
    visit(&command, &mut |command| {
        let name = command.get_bin_name().unwrap_or("cttune");
        let long = command.clone().render_long_help().to_string();
        let short = command.clone().render_help().to_string();
        // clap wraps what is too long, in the middle of a table too.
        let written = command.get_after_long_help().map(ToString::to_string);
        let written = written.unwrap_or_default();
        for line in written.lines().chain(long.lines()).chain(short.lines()) {
            assert!(line.chars().count() <= 80, "{name}: {line}");
        }
        assert!(
            short.lines().count() < SCREEN,
            "{name} -h does not fit the screen:\n{short}"
        );
        assert!(command.get_about().is_some(), "{name} has no help");
        for argument in command.get_arguments().filter(|one| !one.is_hide_set()) {
            let id = argument.get_id();
            assert!(argument.get_help().is_some(), "{name} {id} has no help");
        }
    });
}
