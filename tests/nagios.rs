//! `check --format nagios` on every way that it can end: one line, and the code that goes with it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::{Told, World};

const STATES: [&str; 4] = ["OK", "WARNING", "CRITICAL", "UNKNOWN"];

/// Makes sure of a plugin's answer: the code, a short first line that begins with its name, and
/// numbers that can be read, which only UNKNOWN may lack. Gives the first line.
#[track_caller]
fn answers(told: Told, code: i32) -> String {
    let told = told.exits(code);
    let line = told.stdout.lines().next().unwrap_or_default();
    let short = line.split_once(" | ").map_or(line, |(short, _)| short);
    assert!(short.len() <= 200, "{told}");
    assert_eq!(
        told.stdout.matches('|').count(),
        usize::from(code != 3),
        "{told}"
    );
    let state = STATES[usize::try_from(code).unwrap()];
    assert!(line.starts_with(&format!("CTTUNE {state} - ")), "{told}");
    match line.split_once('|') {
        None => assert_eq!(code, 3, "{told}"),
        Some((_, numbers)) => numbers.split_whitespace().for_each(well_formed),
    }
    line.to_owned()
}

/// `'label'=value[UOM];[warn];[crit];[min];[max]`
fn well_formed(number: &str) {
    let (label, rest) = number.strip_prefix('\'').unwrap().split_once("'=").unwrap();
    assert!(!label.is_empty() && !label.contains('='), "{number}");
    let mut parts = rest.split(';');
    let value = parts.next().unwrap().trim_end_matches(['%', 'c']);
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    for part in [&[value], &parts[..]].concat() {
        assert!(part.parse::<f64>().is_ok(), "{number}");
    }
}

fn nagios(world: &World, args: &[&str]) -> Told {
    // The counters are in /proc, which shows the processes of the sandbox alone.
    let mut command = world.command_among_processes("cttune");
    Told::by(command.args(["check", "--format", "nagios"]).args(args))
}

#[test]
fn a_table_is_judged_by_how_full_it_is() {
    let world = World::story();
    world.agree();
    for (levels, code) in [
        (&[][..], 2),
        (&["--warn", "99%", "--crit", "100%"], 1),
        (&["--warn=50", "--crit=99.9"], 2),
        (&["-w", "99", "-c", "100%"], 1),
        (&["-w99%", "-c100"], 1),
        (&["--warn", "100", "--crit", "100"], 0),
    ] {
        let line = answers(nagios(&world, levels), code);
        assert!(line.contains(" of 76,800 entries (100.0 %)"), "{line}");
    }
    let line = answers(nagios(&world, &["--warn", "50%", "--crit", "75%"]), 2);
    assert!(line.contains(";38400;57600;0;76800 "), "{line}");
    assert!(line.contains("%;50;75;0;100 "), "{line}");
    let line = answers(nagios(&world, &["--warn=-0", "--crit", "29"]), 2);
    assert!(line.contains("%;0;29;0;100 "), "{line}");
    // The levels are those of the finding, in every format.
    let text = world.cttune(&["check", "--warn", "100", "--crit", "100"]);
    assert!(!text.stdout.contains("table-fill"), "{text}");
}

#[test]
fn an_empty_table_is_fine_and_quiet_changes_nothing() {
    let world = World::new();
    world.agree();
    let line = answers(nagios(&world, &[]), 0);
    assert!(line.contains(" 'drop'=0c "), "{line}");
    assert_eq!(answers(nagios(&world, &["--quiet"]), 0), line);
}

#[test]
fn drift_is_a_warning_until_it_is_gone() {
    let world = World::new();
    let profile = world
        .place
        .write("udp.toml", "[sysctl]\nudp_timeout = 45\n");
    let wish = ["--profile", &profile];
    let told = nagios(&world, &wish);
    let differs = "\ndiffers: net.netfilter.nf_conntrack_udp_timeout\n";
    assert!(told.stdout.contains(differs), "{told}");
    let line = answers(told, 1);
    assert!(line.contains("1 of 1 settings of "), "{line}");
    assert!(line.ends_with("'drift'=1;;;0"), "{line}");
    let apply = ["apply", "--yes", "--profile", &profile];
    world.cttune(&apply).exits(0);
    let line = answers(nagios(&world, &[]), 0);
    assert!(
        line.contains("udp.toml holds") && line.ends_with("'drift'=0;;;0"),
        "{line}"
    );
}

#[test]
fn findings_raise_the_state_unless_they_are_accepted() {
    let world = World::new();
    world.agree();
    world.sh("echo 9000 >/proc/sys/net/netfilter/nf_conntrack_buckets
        echo 40000 >/proc/sys/net/netfilter/nf_conntrack_max");
    let line = answers(nagios(&world, &[]), 1);
    assert!(line.contains("[hash-load]"), "{line}");
    answers(nagios(&world, &["--fail-on", "critical"]), 0);
    world.sh("echo 0 >/proc/sys/net/netfilter/nf_conntrack_max");
    let line = answers(nagios(&world, &["--fail-on", "critical"]), 2);
    assert!(
        line.contains("no limit; ") && line.contains("[max-unlimited]"),
        "{line}"
    );
    let text = "[sysctl]\n[accept]\n\"max-unlimited\" = \"a guest | with\\nlittle memory\"\n";
    let profile = world.place.write("accepts.toml", text);
    answers(nagios(&world, &["--profile", &profile]), 0);
}

#[test]
fn every_trouble_is_unknown() {
    let world = World::new();
    let broken = world
        .place
        .write("broken.toml", "[sysctl]\nudp_timeout = \"10\"\nno = 1\n");
    let nagios = ["--format", "nagios"];
    for (args, says) in [
        // Of the command line, wherever the format stands on it.
        (&["check", "--format=nagios", "--no-such"][..], "--no-such"),
        (&["--format", "nagios"], "a command is missing"),
        (
            &["check", "--format", "nagios", "--format=json"],
            "--format",
        ),
        (&["check", "--format=text", "--format=nagios"], "--format"),
        (&["--format", "nagios", "chekc"], "chekc"),
        (&["check", "--warn"], "--warn"),
        (&["check", "--warn", "x"], "--warn x: not a percentage"),
        (&["check", "--warn", "NaN"], "not a percentage"),
        (
            &["check", "--crit", "101%"],
            "--crit 101%: not a percentage",
        ),
        (&["check", "--crit", "-1"], "-1"),
        (&["check", "--warn", "95%"], "--warn is above --crit"),
        (&["check", "--interval", "soon"], "--interval soon"),
        (&["check", "--explain", "max"], "--explain"),
        (
            &["check", "--set", "udp_timeout=0"],
            "--set udp_timeout=0: a timeout of zero",
        ),
        (&["top"], "it belongs to: cttune check"),
        (&["metrics"], "it belongs to: cttune check"),
        (
            &["plan", "--profile", "campus-fw"],
            "it belongs to: cttune check",
        ),
        // Of what is asked for.
        (&["check", "--profile", "no-such"], "no-such"),
        (&["check", "--profile", &broken], "broken.toml:2"),
        (&["check", "--netns", "no-such"], "no-such"),
        (&["check", "--root", "/"], "--root"),
    ] {
        let args = if args.iter().any(|arg| arg.contains("format")) {
            args.to_vec()
        } else {
            [args, &nagios].concat()
        };
        let line = answers(world.cttune(&args), 3);
        assert!(line.contains(says), "{says:?} is not in {line}");
    }
    // Help is no measurement.
    world
        .cttune(&["check", "--format", "nagios", "--help"])
        .exits(3);
    // After `--` it is a command's own.
    world
        .cttune(&["sandbox", "--no-such", "--", "x", "--format=nagios"])
        .exits(64);
}

#[test]
fn a_table_that_cannot_be_read_is_unknown() {
    let sysctls = "/proc/sys/net/netfilter";
    for (hide, says) in [
        (format!("mount -t tmpfs none {sysctls}"), "not loaded"),
        (
            format!("mount --bind /dev/null {sysctls}/nf_conntrack_count"),
            "cannot read net.netfilter.nf_conntrack_count",
        ),
    ] {
        let world = World::new();
        world.sh(&hide);
        let line = answers(nagios(&world, &[]), 3);
        assert!(line.contains(says), "{line}");
    }
}

/// The line and the exit code of a plugin of node-problem-detector.
#[track_caller]
fn detector(told: &Told, code: i32) -> String {
    assert_eq!(told.code, code, "{told}");
    let [line] = told.stdout.lines().collect::<Vec<_>>()[..] else {
        panic!("not one line: {told}");
    };
    assert!(line.len() <= 80, "{told}");
    line.to_owned()
}

#[test]
fn node_problem_detector_has_one_short_line_and_three_codes() {
    let npd = ["check", "--format", "npd"];
    let full = World::story();
    let line = detector(&full.cttune(&npd), 1);
    assert!(line.contains("of 76,800 entries"), "{line}");
    let fine = World::new();
    detector(&fine.cttune(&npd), 0);
    fine.sh("echo 9000 >/proc/sys/net/netfilter/nf_conntrack_buckets
        echo 40000 >/proc/sys/net/netfilter/nf_conntrack_max");
    detector(&fine.cttune(&npd), 0);
    let line = detector(
        &fine.cttune(&[&npd[..], &["--fail-on", "warning"]].concat()),
        1,
    );
    assert!(line.contains("[hash-load]"), "{line}");
    for wrong in [
        &["--warn", "x"][..],
        &["--no-such"],
        &["--profile", "no-such"],
        &["--root", "/"],
    ] {
        detector(&fine.cttune(&[&npd[..], wrong].concat()), 2);
    }
    detector(&fine.cttune(&["top", "--format", "npd"]), 2);
    fine.sh("mount -t tmpfs none /proc/sys/net/netfilter");
    let line = detector(&fine.cttune(&npd), 2);
    assert!(line.contains("not loaded"), "{line}");
}
