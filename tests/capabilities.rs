//! Every command works with the least that SECURITY.md says, and says what it lacks without it.
//!
//! In the sandbox, as root whose other capabilities are taken away with setpriv(1).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
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

/// The commands of the second table, and how each is run here.
const GIVING_UP: [(&str, &str); 20] = [
    ("history", "history"),
    ("metrics", "metrics"),
    ("metrics --all-netns", "metrics --all-netns"),
    ("guard", "guard --once"),
    ("watch", "watch --once --interval 200ms"),
    ("forecast", "forecast"),
    ("report", "report"),
    ("completions", "completions bash"),
    ("check", "check --format nagios"),
    ("plan", "plan --profile campus-fw"),
    ("top", "top"),
    ("fleet", "fleet /nowhere"),
    ("plan --out", "plan --profile campus-fw --out /run/x.json"),
    ("profile", "profile list"),
    ("expire", "expire --dry-run"),
    ("kill", "kill --dry-run --match dport=5228"),
    ("metrics --textfile", "metrics --textfile /run/x.prom"),
    ("apply", "apply --profile campus-fw --adopt --yes"),
    ("confirm", "confirm"),
    ("rollback", "rollback --yes"),
];

#[test]
fn every_command_gives_up_what_it_does_not_need_before_it_reads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("SECURITY.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, table) = text.split_once("## What each command gives up").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let world = World::with_flows(100);
    let (mut kept, mut seen) = (BTreeSet::new(), 0);
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').collect();
        // Each row keeps what the one before it does, and more.
        let words = cells[2].split(|c: char| !c.is_ascii_uppercase() && c != '_');
        kept.extend(words.filter(|word| word.starts_with("CAP_")));
        for name in cells[1].split('`').skip(1).step_by(2) {
            let Some((_, command)) = GIVING_UP.iter().find(|(one, _)| *one == name) else {
                assert_eq!(name, "sandbox");
                continue;
            };
            let args: Vec<&str> = command.split_whitespace().collect();
            let trace = "trace=capset,prctl,seccomp,openat,openat2,socket,execve";
            let (told, trace) = world.strace(&["-e", trace], &args);
            assert_ne!(told.code, 64, "{told}");
            let (before, after) = trace
                .split_once("capset(")
                .unwrap_or_else(|| panic!("{trace}"));
            let sets = after.lines().next().unwrap();
            let effective = sets
                .split("effective=")
                .nth(1)
                .unwrap()
                .split(',')
                .next()
                .unwrap();
            let effective: BTreeSet<&str> = effective
                .split('|')
                .map(|one| one.trim_start_matches("1<<"))
                .collect();
            assert_eq!(effective, kept, "{command}");
            assert!(sets.contains("inheritable=0"), "{sets}");
            reads_nothing_foreign(command, before);
            let filtered = ["metrics", "guard"];
            let is_filtered = filtered.iter().any(|name| command.starts_with(name));
            for call in ["PR_SET_NO_NEW_PRIVS, 1", "SECCOMP_SET_MODE_FILTER"] {
                let is_filtered = is_filtered || command.contains("nagios");
                assert_eq!(before.contains(call), is_filtered, "{command}: {call}");
            }
            seen += 1;
        }
    }
    assert_eq!(seen, GIVING_UP.len());
}

/// None of these system calls opens what others may have written.
#[track_caller]
fn reads_nothing_foreign(command: &str, calls: &str) {
    let places = [
        "\"/etc/sysctl",
        "\"/etc/cttune",
        "conntrack",
        "AF_NETLINK",
        "\"/var/",
    ];
    for place in places {
        assert!(
            !calls.contains(place),
            "{command} reads {place} before: {calls}"
        );
    }
}

#[test]
fn a_monitor_that_writes_nothing_is_confined_before_it_reads() {
    let world = World::with_flows(10);
    let trace = "trace=landlock_create_ruleset,landlock_restrict_self,openat,openat2,socket";
    for (command, is_confined) in [
        ("metrics", true),
        ("metrics --format munin --flows none", true),
        ("metrics --textfile /run/x.prom", false),
        ("metrics --all-netns", false),
        ("check --format nagios", false),
    ] {
        let args: Vec<&str> = command.split_whitespace().collect();
        let (told, trace) = world.strace(&["-e", trace], &args);
        // For nagios 1 is a warning: the sandbox has one.
        let codes: &[i32] = if command.contains("nagios") {
            &[0, 1, 2]
        } else {
            &[0, 2]
        };
        assert!(codes.contains(&told.code), "{command}: {told}");
        let asked = trace.split_once("landlock_create_ruleset(");
        assert_eq!(asked.is_some(), is_confined, "{command}: {trace}");
        let Some((before, after)) = asked else {
            continue;
        };
        reads_nothing_foreign(command, before);
        let answer = after.lines().next().unwrap();
        let is_there = !answer.contains("ENOSYS") && !answer.contains("EOPNOTSUPP");
        let restricts = after
            .lines()
            .any(|line| line.contains("landlock_restrict_self(") && line.ends_with("= 0"));
        assert_eq!(restricts, is_there, "{command}: {trace}");
    }
}
