//! What an operator can get wrong: profiles, settings, the command line.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;

use support::{Place, Told, World, assert_same};

/// Thirteen mistakes of thirteen kinds, each with where it is.
const THIRTEEN: &str = r#"descripton = "Campus firewall"
role = "frewall"
[sysctl]
tcp_timeout_establishd = "2h4m"
udp_timeout = "10"
udp_timeout_stream = "5h10min"
icmp_timeout =
acct = 2
frag6_high_thresh = "8MB"
nf_conntrack_max = { atleast = 1048576 }
max = 5
net.core.somaxconn = 4096
[expire]
mode = "clam"
keep = ["dst=10.1.0.0/16,dprt=5432"]
"#;
const PLACES: [(usize, usize); 13] = [
    (1, 1),
    (2, 8),
    (4, 1),
    (5, 15),
    (6, 27),
    (7, 15),
    (8, 8),
    (9, 23),
    (10, 22),
    (11, 1),
    (12, 10),
    (14, 8),
    (15, 26),
];

#[test]
fn thirteen_mistakes_are_told_in_one_run_each_with_its_place() {
    let world = World::new();
    let profile = world.place.write("site.toml", THIRTEEN);
    let (state, times) = (world.state(), world.times());
    for command in [
        &["apply", "--yes", "--adopt", "--profile", &profile][..],
        &["plan", "--profile", &profile],
        &["check", "--profile", &profile],
        &["profile", "check", &profile],
    ] {
        let told = world.cttune(command).exits(1);
        assert_eq!(
            told.stderr.matches("\n --> ").count() + told.stderr.matches("\n  --> ").count(),
            13,
            "{told}"
        );
        let mut titles = BTreeSet::new();
        for (line, column) in PLACES {
            let place = format!("--> {profile}:{line}:{column}\n");
            let (before, _) = told
                .stderr
                .split_once(&place)
                .unwrap_or_else(|| panic!("{place}{told}"));
            titles.insert(before.trim_end().lines().last().unwrap().to_owned());
        }
        assert_eq!(titles.len(), 13, "of different kinds: {titles:#?}");
        for part in ["did you mean `firewall`?", "13 mistakes"] {
            assert!(told.stderr.contains(part), "{part}: {told}");
        }
        assert_eq!(told.stdout, "");
    }
    assert_same(&state, &world.state(), "mistaken");
    assert_same(&times, &world.times(), "mistaken");
}

#[test]
fn machines_read_the_mistakes_on_stderr() {
    let world = World::new();
    let profile = world.place.write("site.toml", THIRTEEN);
    for command in [
        &["apply", "--yes", "--profile", &profile, "--format", "json"][..],
        &["profile", "check", &profile, "--format", "json"],
    ] {
        let told = world.cttune(command).exits(1);
        let error = told.error();
        assert_eq!(error["exit_code"], 1);
        let mistakes = error["mistakes"].as_array().unwrap();
        let places: Vec<(usize, usize)> = mistakes
            .iter()
            .map(|mistake| {
                assert_eq!(mistake["file"], profile.as_str());
                assert!(!mistake["message"].as_str().unwrap().is_empty());
                let number = |name: &str| usize::try_from(mistake[name].as_u64().unwrap()).unwrap();
                (number("line"), number("column"))
            })
            .collect();
        assert_eq!(places, PLACES);
    }
}

#[test]
fn a_parent_s_mistake_is_told_in_the_parent_s_file() {
    let world = World::new();
    world
        .place
        .write("parent.toml", "[sysctl]\nudp_timeout = -1\n");
    let child = world
        .place
        .write("child.toml", "extends = \"./parent.toml\"\n");
    let told = world.cttune(&["check", "--profile", &child]).exits(1);
    told.says(&["parent.toml:2:15"]);
    let orphan = world
        .place
        .write("orphan.toml", "extends = \"./nobody.toml\"\n");
    let told = world.cttune(&["check", "--profile", &orphan]).exits(1);
    told.says(&["orphan.toml:1:11"]);
}

#[test]
fn a_wrong_setting_on_the_command_line_is_a_usage_error_with_the_nearest_name() {
    let world = World::new();
    let state = world.state();
    for (set, says) in [
        (
            "tcp_timeout_establishd=600",
            "did you mean `tcp_timeout_established`?",
        ),
        ("net.core.somaxconn=1", "is not a conntrack sysctl"),
        ("udp_timeout", "KEY=VALUE"),
        ("udp_timeout=5h10min", "10m"),
        ("udp_timeout=0", "udp_timeout=0"),
        ("acct=2", "acct=2"),
        ("max=", "max="),
    ] {
        for command in ["check", "plan", "apply"] {
            let told = world.cttune(&[command, "--profile", "campus-fw", "--set", set]);
            told.exits(64).briefly().says(&[set, says]);
        }
    }
    // All that are wrong are told, in one run.
    let told = world.cttune(&[
        "plan",
        "--profile",
        "campus-fw",
        "--set",
        "a=1",
        "--set",
        "b=2",
    ]);
    told.exits(64).says(&["--set a=1", "--set b=2"]);
    assert_same(&state, &world.state(), "mistaken");
}

#[test]
fn a_setting_without_any_profile_is_a_usage_error() {
    let world = World::new();
    for command in ["check", "plan", "apply"] {
        let told = world
            .cttune(&[command, "--set", "udp_timeout=60"])
            .exits(64)
            .briefly();
        told.says(&["--set needs a profile", "--profile"]);
    }
    for command in ["plan", "apply"] {
        world
            .cttune(&[command])
            .exits(64)
            .briefly()
            .says(&["no profile is named"]);
    }
}

fn cttune(place: &Place, args: &[&str]) -> Told {
    Told::by(std::process::Command::new(place.program()).args(args))
}

#[test]
fn a_wrong_command_line_exits_with_64_and_says_so_on_stderr() {
    let place = Place::new();
    for args in [
        &[][..],
        &["chek"],
        &["check", "--profil", "x"],
        &["check", "--format", "xml"],
        &["check", "--explain"],
        &["check", "--no-profile", "--profile", "x"],
        &["check", "--explain", "max", "--profile", "x"],
        &["check", "--fail-on", "info"],
        &["check", "--quiet", "--verbose"],
        &["apply", "--yes", "--dry-run", "--profile", "campus-fw"],
        &["apply", "--only", "both", "--profile", "campus-fw"],
        &["plan", "--yes"],
        &["sandbox"],
        &["sandbox", "--netns", "x", "--", "true"],
        &["profile"],
        &["completions", "csh"],
        &["check", "--root", "/", "--netns", "x"],
        &[
            "plan",
            "--profile",
            "campus-fw",
            "--netns",
            "x",
            "--only",
            "persist",
        ],
    ] {
        let told = cttune(&place, args).exits(64);
        assert!(
            told.stdout.is_empty() && !told.stderr.is_empty(),
            "{args:?}: {told}"
        );
    }
    cttune(&place, &["chek"]).says(&["check"]);
}

#[test]
fn help_and_version_are_results() {
    let place = Place::new();
    for args in [
        &["--help"][..],
        &["-h"],
        &["help"],
        &["--version"],
        &["-V"],
        &["check", "--help"],
        &["help", "apply"],
        &["profile", "set", "--help"],
    ] {
        let told = cttune(&place, args).exits(0);
        assert!(
            !told.stdout.is_empty() && told.stderr.is_empty(),
            "{args:?}: {told}"
        );
    }
}

#[test]
fn a_finding_that_there_is_not_is_accepted_with_a_word() {
    let place = Place::new();
    let text = "[accept]\n\"rfc4787-req55\" = \"x\"\n\"rfc4787-req5\" = \"x\"\n";
    let profile = place.write("x.toml", text);
    for args in [
        &["profile", "check", &profile][..],
        &["check", "--profile", &profile],
    ] {
        let told = cttune(&place, args).exits(0);
        let note = "note: the accept table of ";
        assert_eq!(told.stderr.matches(note).count(), 1, "{told}");
        told.says(&["no finding is called `rfc4787-req55`; did you mean `rfc4787-req5`?"]);
    }
    let told = cttune(&place, &["profile", "check", "dns-udp"]).exits(0);
    assert_eq!(told.stderr, "");
}

#[test]
fn a_profile_of_nothing_but_mistakes_is_told_at_once() {
    let world = World::new();
    for (head, line) in [
        ("[sysctl]\nmax = { ", "at-leastN = 1, "),
        ("[sysctl]\n", "udp_timeot_N = 5\n"),
        ("[sysctl]\n", "max = \n"),
        ("[sysctl]\n", "max = 5\n"),
        ("[accept]\n", "some-finding-N = \"\"\n"),
        ("", "role_N = \"nat\"\n"),
        ("[expire]\n", "grace_N = [\n"),
    ] {
        let mut text = head.to_owned();
        let mut number = 0;
        while text.len() < 1_000_000 {
            number += 1;
            text.push_str(&line.replace('N', &number.to_string()));
        }
        let profile = world.place.write("large.toml", &text);
        let start = std::time::Instant::now();
        let told = world.cttune(&["profile", "check", &profile]).exits(1);
        // A time that grew with the square of the text would be minutes.
        assert!(
            start.elapsed().as_secs() < 20,
            "{line}: {:?}",
            start.elapsed()
        );
        let shown = told.stderr.matches("--> ").count();
        assert!((1..=100).contains(&shown), "{line}: {shown}");
        if shown == 100 {
            assert!(told.stderr.contains(" more mistakes\n"), "{line}");
        }
        let error = world
            .cttune(&["profile", "check", &profile, "--format", "json"])
            .error();
        assert_eq!(error["mistakes"].as_array().unwrap().len(), shown, "{line}");
    }
}

#[test]
fn thousands_of_accepted_findings_that_do_not_exist_are_noted_briefly() {
    let world = World::new();
    for (id, reason) in [("no-such-finding", "x"), ("rfc9999-req", "we know")] {
        let lines: String = (0..20_000)
            .map(|n| format!("{id}{n} = \"{reason}\"\n"))
            .collect();
        let profile = world
            .place
            .write("accepting.toml", &format!("[accept]\n{lines}"));
        let start = std::time::Instant::now();
        let told = world.cttune(&["profile", "check", &profile]).exits(0);
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
        let notes = told.stderr.lines().count();
        assert!((2..20).contains(&notes), "{notes}");
        assert!(told.stderr.contains("more"), "{}", told.stderr);
    }
}
