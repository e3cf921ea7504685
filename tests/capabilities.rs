//! Every command works with the least that SECURITY.md says, and says what it lacks without it.
//!
//! In the sandbox, as root whose other capabilities are taken away with setpriv(1).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::path::Path;

use support::{Told, World, ordinary_user};

/// A row of the table: its commands, whether any user may run them, and what they need.
struct Row {
    commands: Vec<String>,
    any_user: bool,
    needs: String,
}

fn table() -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("SECURITY.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, table) = text.split_once("## What each command needs").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let commands = cells[1].split('`').skip(1).step_by(2);
        Row {
            commands: commands.map(str::to_owned).collect(),
            any_user: cells[2] == "any",
            needs: cells[3].to_owned(),
        }
    })
    .collect()
}

/// Runs a command inside as root with these capabilities alone.
fn with(world: &World, capabilities: &str, command: &str) -> Told {
    let bounding = format!("--bounding-set=-all{capabilities}");
    let mut setpriv = world.command_among_processes("setpriv");
    setpriv.args([&bounding, "--inh-caps=-all", "--", "cttune"]);
    Told::by(setpriv.args(command.split_whitespace()))
}

#[test]
fn every_command_works_with_the_least_that_it_needs() {
    let world = World::with_flows(1000);
    let mut seen = 0;
    for row in table() {
        for command in &row.commands {
            let needed = if row.needs.starts_with("CAP_NET_ADMIN") {
                ",+net_admin"
            } else {
                ""
            };
            let told = with(&world, needed, command);
            assert!([0, 2].contains(&told.code), "{command}: {told}");
            assert!(!told.stderr.contains("ermission"), "{command}: {told}");
            seen += 1;
        }
    }
    assert!(seen >= 15, "{seen} commands");
}

#[test]
fn without_it_they_say_so() {
    let world = World::with_flows(1000);
    for row in table()
        .iter()
        .filter(|row| row.needs.starts_with("CAP_NET_ADMIN"))
    {
        let goes_on = row.needs.contains("go on");
        for command in &row.commands {
            let told = with(&world, "", command);
            assert_eq!(told.code, i32::from(!goes_on), "{command}: {told}");
            if command.contains("suggest") {
                // It says so in the profile that it writes.
                continue;
            }
            let said = told.stderr.to_lowercase();
            let names_it = ["permission", "permitted", "cap_net_admin"]
                .iter()
                .any(|one| said.contains(one));
            assert!(names_it, "{command}: {told}");
        }
    }
}

#[test]
fn what_any_user_may_run_an_ordinary_user_runs() {
    let world = World::new();
    for row in table()
        .iter()
        .filter(|row| row.any_user && row.needs.starts_with("none"))
    {
        for command in &row.commands {
            // On the host, since the sandbox has no user but root.
            let mut cttune = ordinary_user();
            cttune.arg(world.place.program());
            let told = Told::by(cttune.args(command.split_whitespace()));
            assert!([0, 2].contains(&told.code), "{command}: {told}");
        }
    }
}
