//! Completion in the real shells: what Tab shows is what the machine has.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::process::Command;

use support::terminal::Terminal;
use support::{Place, World};

/// A shell in the world with the completion script loaded as its manual says.
fn shell(world: &World, name: &str) -> Terminal {
    let script = world.place.path().join(name);
    let told = world.cttune(&["completions", name]).exits(0);
    fs::write(&script, told.stdout).unwrap();
    let script = script.display();
    let (program, arguments, load) = match name {
        "bash" => (
            "bash",
            vec!["--norc", "--noprofile", "-i"],
            format!("source {script}"),
        ),
        _ => (
            "zsh",
            vec!["-f", "-i"],
            format!("autoload -Uz compinit; compinit -u -D; source {script}"),
        ),
    };
    let mut command = world.command_among_processes(program);
    let mut terminal = Terminal::start(command.args(arguments).env("TERM", "dumb"));
    terminal.send(&format!("PS1='> '; {load}; echo rea''dy\r"));
    terminal.wait_for("ready");
    terminal.wait_for("> ");
    terminal
}

/// What a shell makes of the start of a line.
const LINES: [(&str, &str); 7] = [
    ("cttune apply --profile ca", "campus-fw"),
    ("cttune apply rfc", "rfc-nat"),
    (
        "cttune plan --set tcp_timeout_establ",
        "tcp_timeout_established=",
    ),
    ("cttune check --netns blu", "blue"),
    ("cttune rollback ", "1"),
    ("cttune check --format na", "nagios"),
    // Only one of its formats begins so.
    ("cttune plan --format s", "salt"),
];

fn world() -> World {
    let world = World::new();
    world.sh("mkdir -p /run/netns; : >/run/netns/blue");
    let set = ["apply", "--yes", "--set", "udp_timeout=61"];
    world.cttune(&set).exits(0);
    world
}

#[test]
fn bash_and_zsh_complete_what_there_is() {
    let world = world();
    for name in ["bash", "zsh"] {
        for (line, whole) in LINES {
            let mut terminal = shell(&world, name);
            // What is missing of the word appears behind what was typed.
            terminal.send(line);
            terminal.wait_for(line);
            terminal.send("\t");
            let (_, typed) = line.rsplit_once(' ').unwrap();
            terminal.wait_for(whole.strip_prefix(typed).unwrap());
        }
    }
}

#[test]
fn bash_completes_a_value_behind_an_equals_sign() {
    let world = world();
    let mut terminal = shell(&world, "bash");
    terminal.send("cttune check --profile=camp\t");
    terminal.wait_for("--profile=campus-fw");
}

#[test]
fn fish_completes_what_there_is() {
    let world = world();
    let script = world.place.path().join("cttune.fish");
    let told = world.cttune(&["completions", "fish"]).exits(0);
    fs::write(&script, told.stdout).unwrap();
    for (line, whole) in LINES {
        let ask = format!("source {}; complete -C '{line}'", script.display());
        let mut fish = world.command_among_processes("fish");
        let output = fish.args(["--no-config", "-c", &ask]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let offers = |one: &str| one.split('\t').next() == Some(whole);
        assert!(said.lines().any(offers), "{line}: {said}");
    }
}

#[test]
fn what_nobody_types_is_not_offered() {
    let place = Place::new();
    for line in [
        &["watch-"][..],
        &["complete"],
        &["sandbox-"],
        &["check", "--watch-p"],
    ] {
        let mut command = Command::new(place.program());
        let output = command
            .args(["complete", "--"])
            .args(line)
            .output()
            .unwrap();
        assert!(output.stdout.is_empty(), "{line:?}");
    }
}
