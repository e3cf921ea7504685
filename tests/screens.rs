//! What every command shows on a terminal: the layout at 80, 60 and 160 columns, as recorded in
//! tests/fixtures/screens.txt, and no line that is wider than the terminal.
//!
//! `CTTUNE_BLESS=1` records the screens anew. Digits are recorded as 0: counts and times vary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fmt::Write;

use support::terminal::{SHOW_CURSOR, Terminal};
use support::{Told, World};

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/screens.txt");
const WIDTHS: [u16; 3] = [80, 60, 160];

/// Settings that do not depend on the machine's memory.
const PROFILE: &str = "
description = \"A profile of a test, whose description is so long that it does not fit beside its name\"
[sysctl]
max = { value = 100000, why = \"a reason that is so long that it takes more than a line of any terminal that somebody really has, and goes on\" }
buckets = 100000
tcp_timeout_established = { value = \"2h4m\", why = \"RFC 5382 REQ-5\" }
udp_timeout = \"2m\"
acct = true
";

const BROKEN: &str = "[sysctl]\nmax = { atleast = 5 }\nudp_timeout = \"10min\"\n";

/// With the story's table.
const FULL: [&[&str]; 2] = [&["check"], &["check", "--profile", "small"]];

/// With some of its flows. Of those that are shown none ends soon.
const SOME: [&[&str]; 6] = [
    &[
        "plan",
        "--profile",
        "small",
        "--set",
        "tcp_timeout_time_wait=30",
    ],
    &["top", "--match", "dport=5228"],
    &["expire", "--dry-run", "--match", "dport=5228"],
    &["forecast", "--match", "state=established"],
    &["forecast", "--key", "udp_timeout", "--match", "dport=5228"],
    &["guard", "--once", "--dry-run"],
];

/// A few flows, the same before each screen, and what writes a profile, a plan or a report.
const FEW: [&[&str]; 27] = [
    &["kill", "--match", "dport=5228", "--dry-run"],
    &["kill", "--match", "dport=5228", "--yes"],
    &["kill", "--match", "dport=443", "--yes"],
    &["expire", "--dry-run"],
    &["expire", "--yes"],
    &["expire", "--mode", "delete", "--dry-run"],
    &["expire", "--mode", "delete", "--observe", "1s", "--dry-run"],
    &["top", "--by", "src,dport", "--remedy"],
    &["guard", "--once", "--high", "3", "--low", "1"],
    &["guard", "--install", "--dry-run"],
    &["check", "--deep"],
    &["check", "--all-netns"],
    &["check", "--interval", "1s"],
    &["check", "--format", "nagios"],
    &["check", "--format", "npd"],
    &["fleet", "/run/fleet"],
    &["plan", "--profile", "small", "--only", "live"],
    &[
        "plan",
        "--profile",
        "small",
        "--only",
        "live",
        "--out",
        "/run/plan.json",
    ],
    &["plan", "--profile", "small", "--out", "/run/plan.json"],
    &["apply", "--profile", "small"],
    &["apply", "--profile", "small", "--only", "live"],
    &["profile", "copy", "campus-fw", "mine"],
    &["profile", "edit", "small"],
    &["profile", "set", "small", "udp_timeout=3m"],
    &["profile", "set", "none", "udp_timeout=3m"],
    &["profile", "capture", "--key", "max", "--key", "udp_timeout"],
    &["report", "--html", "/run/report.html"],
];

/// What comes before each of these.
const MAKE_FEW: &str = "
    conntrack -F >/dev/null 2>&1
    for port in 1 2 3 4; do
        conntrack -I -p tcp --state ESTABLISHED -u ASSURED,SEEN_REPLY -t 400019 \\
            -s 10.0.0.1 -d 192.0.2.1 --sport $port --dport 5228
    done >/dev/null 2>&1
    echo 7440 >/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established
    rm -rf /run/plan.json /run/report.html /etc/cttune/profiles/mine.toml
    cp /run/small.toml /etc/cttune/profiles/small.toml
    [ -e /run/fleet ] || {
        mkdir /run/fleet
        for host in fw1 fw2; do
            hostname $host; cttune check --json >/run/fleet/$host.json || :
        done
        hostname fw
    }";

/// While a change is pending.
const PENDING: [&[&str]; 4] = [
    &["check"],
    &["history"],
    &["rollback", "--dry-run"],
    &["confirm"],
];
const MAKE_PENDING: &str = "
    cttune rollback --yes >/dev/null 2>&1 || :
    cttune apply --profile small --adopt --yes --confirm-within 10m >/dev/null 2>&1";

/// Where nothing was done yet, and the table is empty.
const QUIET: [&[&str]; 27] = [
    &["metrics"],
    &["check", "--explain", "max"],
    &["check", "--profile", "small", "-v"],
    &["top"],
    &["kill", "--match", "dport=5228", "--dry-run"],
    &["confirm"],
    &["rollback", "--yes"],
    &["history"],
    &["check", "--profile", "nosuch"],
    &["check", "--netns", "nosuch"],
    &["expire", "--match", "dport=x"],
    &["check", "--warn", "200"],
    &["profile", "check", "broken"],
    &["forecast"],
    &["report", "--profile", "small"],
    &["watch", "--once"],
    &["guard", "--once"],
    &["metrics", "--format", "munin"],
    &["sandbox"],
    &["sandbox", "--flows", "0", "--", "true"],
    &["profile", "list"],
    &["profile", "show", "small"],
    &["profile", "check", "small"],
    &["profile", "diff", "small", "campus-fw"],
    &["profile", "export", "small", "--to", "sysctl.d"],
    &["profile", "suggest", "--observe", "1s"],
    &["fleet"],
];

/// Once a profile was applied, rolled back, and applied again.
const APPLIED: [&[&str]; 5] = [
    &["check"],
    &["plan"],
    &["history"],
    &["history", "1"],
    &["rollback", "7"],
];

fn on_terminal(world: &World, columns: u16, args: &[&str]) -> (i32, String) {
    let mut command = match args {
        ["sandbox", ..] => {
            let mut outside = support::ordinary_user();
            outside.arg(world.place.program()).env("LC_ALL", "C.UTF-8");
            outside
        }
        _ => world.command_among_processes("cttune"),
    };
    command
        .args(args)
        .env("NO_COLOR", "1")
        .env("EDITOR", "true");
    let mut terminal = Terminal::sized(&command, columns, 24);
    if args[0] == "apply"
        && !args.contains(&"-h")
        && !args.contains(&"--yes")
        && terminal.wait_for_any(&["[y/N", "hint: "]) == 0
    {
        terminal.send("n\r");
    }
    let (code, screen) = terminal.end();
    // Of a line that was drawn again the last state, without a bar that shows progress.
    let lines = screen.lines().map(|line| {
        let last = line.rsplit("\u{1b}[2K").next().unwrap();
        let last = last.replace(SHOW_CURSOR, "");
        last.trim_end_matches('\r').to_owned() + "\n"
    });
    (code, lines.collect())
}

fn sandbox(flows: u32) -> World {
    let world = World::with_flows(flows);
    world.sh("hostname fw");
    let profiles = world.path("/etc/cttune/profiles");
    std::fs::create_dir_all(&profiles).unwrap();
    std::fs::write(profiles.join("small.toml"), PROFILE).unwrap();
    std::fs::write(world.path("/run/small.toml"), PROFILE).unwrap();
    std::fs::write(profiles.join("broken.toml"), BROKEN).unwrap();
    world
}

/// A screen without what varies: digits, the gauge, what this machine lets nobody read.
fn masked(screen: &str) -> String {
    let mut is_unread = false;
    let lines = screen.lines().filter(|line| {
        // A note goes on below its first word.
        let begins = line.starts_with("note: not read") || line.starts_with("not read");
        is_unread = begins || is_unread && line.starts_with("      ");
        // A kernel of its own has keys of its own.
        !is_unread && !line.starts_with("cttune_setting_value{")
    });
    // What is typed before the prompt reads it is shown twice.
    let mut last = "";
    let lines = lines.filter(|line| {
        let is_again = line.contains("[y/N") && *line == last;
        last = line;
        !is_again
    });
    let mut text = String::new();
    for line in lines {
        let kernel = [", kernel ", "kernel            "];
        let kernel = kernel.iter().find_map(|name| {
            let (before, _) = line.split_once(name)?;
            Some(format!("{before}{name}KERNEL"))
        });
        let line = kernel.unwrap_or_else(|| line.to_owned());
        let is_spark = line.contains(", last ");
        let digit = |c: char| match c {
            '0'..='9' => '0',
            '▁' if is_spark => ' ',
            '░' | '▉'..='▏' => '█',
            c => c,
        };
        text.push_str(&line.chars().map(digit).collect::<String>());
        text.push('\n');
    }
    text
}

/// The screens of these commands at every width, after a line that says which it is. A script makes
/// what each of them finds.
fn recorded(world: &World, script: &str, commands: &[&[&str]]) -> String {
    let mut text = String::new();
    for args in commands {
        // What Prometheus reads has one width.
        let widths = if args == &["metrics"] {
            &WIDTHS[..1]
        } else {
            &WIDTHS
        };
        for columns in widths.iter().copied() {
            if !script.is_empty() {
                let mut shell = world.command_among_processes("sh");
                Told::by(shell.args(["-ec", script])).exits(0);
            }
            let (code, screen) = on_terminal(world, columns, args);
            let typed = args.join(" ");
            writeln!(text, "──── {columns} columns, exit {code}: cttune {typed}").unwrap();
            text.push_str(&masked(&screen));
        }
    }
    text
}

#[test]
fn every_screen_is_as_it_was_recorded() {
    let (full, some, quiet) = (sandbox(76_768), sandbox(3000), sandbox(0));
    let mut text = recorded(&full, "", &FULL);
    text += &recorded(&some, "", &SOME);
    text += &recorded(&sandbox(0), MAKE_FEW, &FEW);
    text += &recorded(&sandbox(0), MAKE_PENDING, &PENDING);
    text += &recorded(&quiet, "", &QUIET);
    let apply = ["apply", "--profile", "small", "--adopt", "--yes"];
    for args in [&apply[..], &["rollback", "--yes"], &apply] {
        quiet.cttune(args).exits(0);
    }
    text += &recorded(&quiet, "", &APPLIED);
    if std::env::var_os("CTTUNE_BLESS").is_some() {
        std::fs::write(RECORDED, &text).unwrap();
    }
    let recorded = std::fs::read_to_string(RECORDED).unwrap();
    let screens =
        |text: &str| -> Vec<String> { text.split("──── ").map(str::to_owned).collect() };
    for (shown, recorded) in screens(&text).iter().zip(screens(&recorded)) {
        assert!(
            *shown == recorded,
            "shown now:\n{shown}\nrecorded:\n{recorded}"
        );
    }
    assert_eq!(text.len(), recorded.len());
}

/// Columns that a terminal needs for a line, as far as these screens go: none has wide characters.
fn columns(line: &str) -> usize {
    line.chars().count()
}

/// Whether a path or another word on the line has no room on any: a line may begin at a label.
fn has_no_room(line: &str, width: u16) -> bool {
    const LABEL: usize = 24;
    line.split(' ')
        .any(|word| columns(word) + LABEL > width.into())
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let full = sandbox(3000);
    let name = "a-file-with-a-name-that-is-longer-than-any-terminal-that-somebody-has-used-for-a-long-time";
    full.sh(&format!(
        "echo net.netfilter.nf_conntrack_max=5000 >/etc/sysctl.d/99-{name}.conf
         echo net.netfilter.nf_conntrack_udp_timeout=5s >/etc/sysctl.d/98-{name}.conf
         cp /etc/cttune/profiles/small.toml /etc/cttune/profiles/{name}.toml
         for key in tcp_timeout_established udp_timeout icmp_timeout generic_timeout; do
             echo 1 >/proc/sys/net/netfilter/nf_conntrack_$key
         done
         echo 0 >/proc/sys/net/netfilter/nf_conntrack_tcp_loose"
    ));
    for args in [
        &["check"][..],
        &["check", "-v"],
        &["check", "--keys"],
        &["check", "--profile", "campus-fw"],
        &["check", "--profile", name, "-v"],
        &["check", "--deep", "--profile", "cgn"],
        &["check", "--interval", "1s"],
        &["check", "--all-netns"],
        &["check", "--explain", "max"],
        &["plan", "--profile", "campus-fw"],
        &["plan", "--profile", name, "--adopt"],
        &["apply", "--profile", "campus-fw", "--yes"],
        &["forecast", "-v"],
        &["report", "--profile", "campus-fw"],
        &["watch", "--once"],
        &["guard", "--once"],
        &["profile", "diff", name, "cgn"],
        &["top"],
        &["top", "--by", "src,sport,dst,dport,reply-src,reply-dst"],
        &["top", "--exact", "--remedy"],
        &["expire", "--dry-run"],
        &["expire", "--dry-run", "--mode", "delete"],
        &["kill", "--match", "dport=5228", "--dry-run"],
        &["profile", "list"],
        &["profile", "check", "campus-fw"],
        &["history"],
        &["nosuch"],
        &["check", "--nosuch"],
        &["--help"],
        &["check", "--help"],
        &["apply", "-h"],
    ] {
        for width in [80, 60] {
            let (_, screen) = on_terminal(&full, width, args);
            for line in screen.lines() {
                assert!(
                    columns(line) <= width.into() || has_no_room(line, width),
                    "{args:?} at {width} columns has {}: {line}\n{screen}",
                    columns(line)
                );
            }
        }
    }
}

/// Long hash chains, and flows that expire before their next packet.
const TROUBLE: &str = "cd /proc/sys/net/netfilter; echo 4096 >nf_conntrack_buckets
    for name in generic udp icmp; do echo 0 >nf_conntrack_${name}_timeout; done";

#[test]
fn the_first_screen_of_check_has_the_verdict_what_is_critical_and_the_next_command() {
    let world = World::story();
    for (script, number) in [("", "1 critical finding"), (TROUBLE, "3 critical findings")] {
        world.sh(script);
        let told = world.cttune(&["check", "--profile", "campus-fw", "--format", "json"]);
        let findings = told.json()["findings"].as_array().unwrap().clone();
        let critical = findings.iter().filter(|one| one["severity"] == "critical");
        let (_, screen) = on_terminal(&world, 80, &["check", "--profile", "campus-fw"]);
        let lines: Vec<&str> = screen.lines().take(24).collect();
        let verdict = format!("{number}, 1 warning; 5 of 5 settings of campus-fw differ");
        assert!(lines[0].trim_end().ends_with(&verdict), "{screen}");
        for finding in critical {
            let id = format!("[{}]", finding["id"].as_str().unwrap());
            assert!(
                lines.iter().any(|line| line.contains(&id)),
                "{id}: {screen}"
            );
        }
        let next = "next: see the changes: cttune plan --profile campus-fw";
        assert!(lines.iter().any(|line| line.trim_end() == next), "{screen}");
    }
}

#[test]
fn the_locale_and_columns_are_obeyed_and_colour_only_where_it_is_wanted() {
    let world = World::new();
    let show = |name: &str, value: &str| {
        let mut command = world.command("cttune");
        command
            .args(["check", "--profile", "campus-fw"])
            .env(name, value);
        Told::by(&mut command).stdout
    };
    for command in ["forecast -v", "report", "watch --once", "top", "history"] {
        let mut told = world.command("cttune");
        told.args(command.split(' ')).env("LC_ALL", "C");
        let told = Told::by(&mut told).exits(0);
        assert!(told.stdout.is_ascii(), "{command}: {told}");
    }
    let is_ascii = |text: &str| text.is_ascii();
    assert!(!is_ascii(&show("LC_ALL", "C.UTF-8")));
    assert!(!is_ascii(&show("LC_ALL", "de_DE.utf8@euro")));
    assert!(is_ascii(&show("LC_ALL", "C")));
    assert!(is_ascii(&show("LC_ALL", "de_DE.ISO-8859-1")));
    let widest = |text: &str| text.lines().map(columns).max().unwrap();
    assert!(widest(&show("COLUMNS", "50")) <= 50);
    // Without a terminal, and with what is no number: a finding is one line for grep(1).
    let piped = show("COLUMNS", "wide");
    let mut findings = piped.lines().filter(|line| line.starts_with("warning: "));
    assert!(
        findings.any(|line| line.contains("[beaten-at-boot]")),
        "{piped}"
    );
    let command = world.command("cttune");
    let mut colored = command;
    colored.args(["check"]);
    assert!(
        Terminal::sized(&colored, 80, 24)
            .end()
            .1
            .contains("\u{1b}[38;5;")
    );
    colored.env("NO_COLOR", "1");
    assert!(!Terminal::sized(&colored, 80, 24).end().1.contains('\u{1b}'));
    colored.args(["--color", "always"]);
    assert!(Told::by(&mut colored).stdout.contains('\u{1b}'));
}
