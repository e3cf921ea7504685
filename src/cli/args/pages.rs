//! The manual pages and the help are made from the command line's types.
//!
//! `CTTUNE_BLESS=1 cargo test --lib pages` writes man/ anew.

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
    let mut pages = Vec::new();
    let mut command = Cli::command();
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
        .date("2026-11-25")
        .render(&mut text)
        .unwrap();
    pages.push((format!("{name}.8"), String::from_utf8(text).unwrap()));
    for sub in shown(command) {
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
fn visit(command: &clap::Command, look: &impl Fn(&clap::Command)) {
    look(command);
    for sub in shown(command) {
        visit(sub, look);
    }
}

#[test]
fn help_fits_the_screen_and_every_command_explains_itself() {
    let mut command = Cli::command();
    command.build();
    visit(&command, &|command| {
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
