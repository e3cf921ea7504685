//! What input costs: time in proportion to its size, whoever made it, and at most a second.
//!
//! Seconds are those of the processor, so that a loaded machine fails no test; a debug build gets ten
//! times as many.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;

use support::{Told, World};

/// What a command may take.
const MOST: f64 = if cfg!(debug_assertions) { 60.0 } else { 1.0 };

/// Runs a command in the world, and gives the seconds that its processes took.
#[track_caller]
fn seconds(world: &World, args: &str) -> f64 {
    let script = format!(
        "TIMEFORMAT='took %U %S'; time cttune {args} >/run/out 2>/run/err; tail -c 300 /run/err >&2"
    );
    let told = Told::by(world.command("bash").args(["-c", &script]));
    let (said, took) = told
        .stderr
        .rsplit_once("took ")
        .unwrap_or_else(|| panic!("{told}"));
    assert!(!said.contains("panicked"), "{args}: {told}");
    let mut numbers = took.split_whitespace().map(str::parse::<f64>);
    let mut next = || numbers.next().unwrap().unwrap();
    next() + next()
}

/// A command on an input of this size and one of a quarter of it: the larger takes no more than the
/// limit, and not much more than four times as long.
#[track_caller]
fn linear(what: &str, large: usize, make: impl Fn(&World, usize), args: &[&str]) {
    let times = |size: usize| -> Vec<f64> {
        let world = World::new();
        make(&world, size);
        args.iter().map(|args| seconds(&world, args)).collect()
    };
    // A debug build takes ten times as long.
    let large = if cfg!(debug_assertions) {
        large / 5
    } else {
        large
    };
    let (small, large) = (times(large / 4), times(large));
    for ((args, small), large) in args.iter().zip(small).zip(large) {
        assert!(large < MOST, "{what}: {args} took {large} s");
        // Below a tenth of a second the start of the program is most of it.
        assert!(
            large < 0.1 || large < small * 8.0,
            "{what}: {args} took {small} s, then {large} s"
        );
    }
}

fn lines(world: &World, inside: &str, size: usize, line: impl Fn(usize) -> String) {
    let text: String = (0..size).map(line).collect();
    fs::write(world.path(inside), text).unwrap();
}

const FILE: &str = "/etc/sysctl.d/50-many.conf";
const CHECK: [&str; 4] = [
    "check --profile campus-fw",
    "check --explain udp_timeout --format json",
    "check --explain udp_timeout",
    "plan --adopt --profile campus-fw",
];

#[test]
fn lines_of_one_key_cost_in_proportion() {
    linear(
        "lines of one key",
        100_000,
        |world, size| {
            let line = |n| format!("net.netfilter.nf_conntrack_udp_timeout = {}\n", n % 50 + 30);
            lines(world, FILE, size, line);
        },
        &[
            &CHECK[..],
            &["apply --adopt --yes --profile campus-fw", "rollback --yes"],
        ]
        .concat(),
    );
}

#[test]
fn globs_cost_in_proportion() {
    linear(
        "globs",
        100_000,
        |world, size| {
            let line = |n| format!("net.netfilter.nf_conntrack_*p_timeout{n} = 30\n");
            lines(world, FILE, size, line);
        },
        &CHECK,
    );
}

#[test]
fn braces_cost_in_proportion() {
    linear(
        "braces",
        5_000,
        |world, size| {
            let line = |n| format!("net.netfilter.nf_*{n}{} = 30\n", "{a,b}".repeat(8));
            lines(world, FILE, size, line);
        },
        &CHECK,
    );
}

#[test]
fn lines_that_are_in_vain_cost_little() {
    linear(
        "lines that do nothing",
        100_000,
        |world, size| {
            lines(world, FILE, size, |n| {
                format!("net.nf_conntrack_maxx{n} = 5\n")
            });
        },
        &CHECK,
    );
    linear(
        "one long name",
        4_000_000,
        |world, size| {
            lines(world, FILE, 1, |_| {
                format!("nf_conntrack_{} = 5\n", "x".repeat(size))
            });
        },
        &CHECK,
    );
    linear(
        "commands of a script",
        20_000,
        |world, size| {
            let line = |n| format!("A{n}=$A; if true; then sysctl -w net.netfilter.x=$A{n}; fi\n");
            lines(world, "/etc/rc.local", size, line);
            world.sh("chmod 755 /etc/rc.local");
        },
        &CHECK[..1],
    );
}

#[test]
fn a_profile_of_a_mebibyte_is_judged_in_a_second() {
    let make = |head: &'static str, line: fn(usize) -> String| {
        move |world: &World, size: usize| {
            let mut text = head.to_owned();
            for n in 0.. {
                let next = line(n);
                if text.len() + next.len() > size {
                    break;
                }
                text.push_str(&next);
            }
            fs::write(world.path("/run/large.toml"), text).unwrap();
            world.sh("chmod 644 /run/large.toml");
        }
    };
    let args = [
        "profile check /run/large.toml",
        "check --format json --profile /run/large.toml",
    ];
    for (what, head, line) in [
        (
            "unknown keys",
            "[sysctl]\n",
            (|n| format!("udp_timout{n} = 45\n")) as fn(usize) -> String,
        ),
        ("keys given twice", "[sysctl]\n", |_| {
            "udp_timeout = 1\n".to_owned()
        }),
        ("wrong values", "[sysctl]\n", |n| format!("key{n} = 'x\n")),
        ("findings", "[accept]\n", |n| format!("x{n} = ''\n")),
        ("terms", "[expire]\nkeep = [", |n| format!("'dst={n}',")),
        ("tables", "", |n| format!("[sysctl.x{n}]\nvalue = 1\n")),
        ("brackets", "a = ", |_| "[".to_owned()),
    ] {
        linear(what, 1 << 20, make(head, line), &args);
    }
    let long = |world: &World, size: usize| {
        let text = format!("[sysctl]\n{} = 1\n", "x".repeat(size - 100));
        fs::write(world.path("/run/large.toml"), text).unwrap();
    };
    linear("one long key", 1 << 20, long, &args);
}

#[test]
fn a_journal_of_a_thousand_changes_is_listed_in_a_second() {
    let fill = |world: &World, size: usize| {
        world
            .cttune(&["apply", "--profile", "campus-fw", "--adopt", "--yes"])
            .exits(0);
        let journal = world.path("/run/cttune-sandbox/state/journal");
        let record = fs::read_to_string(journal.join("000001.json")).unwrap();
        let state = fs::read(journal.join("000001.state")).unwrap();
        for id in 2..=size {
            let record = record.replace("\"id\": 1,", &format!("\"id\": {id},"));
            fs::write(journal.join(format!("{id:06}.json")), record).unwrap();
            fs::write(journal.join(format!("{id:06}.state")), &state).unwrap();
        }
    };
    let args = [
        "history",
        "history --format json",
        "check",
        "plan --profile rfc-nat",
        "metrics",
    ];
    linear("records", 1000, fill, &args);
}
