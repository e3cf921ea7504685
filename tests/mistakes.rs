//! What an operator can get wrong: profiles, settings, the command line.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;

use support::{Place, Told, World, assert_same, live_steps};

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
fn one_key_is_set_without_any_profile() {
    let world = World::new();
    for command in ["plan", "apply"] {
        let told = world.cttune(&[command]).exits(64).briefly();
        told.says(&["no profile is named"]);
        let told = world.cttune(&[command, "--no-profile"]).exits(64).briefly();
        told.says(&["--no-profile", "--set"]);
    }
    world
        .cttune(&["apply", "--yes", "campus-fw", "--adopt"])
        .exits(0);
    let (state, set) = (world.state(), ["--set", "udp_timeout=61"]);
    // Beside the active profile, or alone.
    for alone in [&[][..], &["--no-profile"]] {
        let plan = [&["plan", "--json"], alone, &set].concat();
        let plan = world.cttune(&plan).exits(2).json();
        assert_eq!(live_steps(&plan), [("udp_timeout".to_owned(), 61)]);
    }
    assert_same(&state, &world.state(), "planned");
    world.cttune(&["rollback", "--yes"]);
    let bare = World::new();
    bare.cttune(&[&["apply", "--yes"][..], &set].concat())
        .exits(0);
    assert_eq!(bare.sysctl("udp_timeout"), 61);
    let told = bare.cttune(&["check", "--json"]).json();
    assert_eq!(told["profile"], "kernel-defaults");
    // From now on it is what apply last applied.
    bare.sh("sysctl -qw net.netfilter.nf_conntrack_udp_timeout=30");
    bare.cttune(&["check"]).exits(2);
}

#[test]
fn a_profile_is_the_argument_or_an_option_but_not_both() {
    let world = World::new();
    let state = world.state();
    for command in ["check", "plan", "apply"] {
        let run = |args: &[&str]| {
            let dry = if command == "apply" {
                &["--dry-run"][..]
            } else {
                &[]
            };
            world.cttune(&[&[command, "--json"][..], dry, args].concat())
        };
        let long = run(&["--profile", "campus-fw"]).exits(2);
        assert_eq!(run(&["campus-fw"]).exits(2).json()["profile"], "campus-fw");
        assert_eq!(long.json()["profile"], "campus-fw");
        let told = run(&["campus-fw", "--profile", "cgn"]).exits(64);
        assert!(
            told.error()["message"]
                .as_str()
                .unwrap()
                .contains("--profile"),
            "{told}"
        );
        run(&["campus-fw", "--no-profile"]).exits(64);
    }
    world
        .cttune(&["check", "--json", "--format", "text"])
        .exits(64);
    assert_same(&state, &world.state(), "named");
}

#[test]
fn words_that_people_type_are_understood() {
    let world = World::story();
    world
        .cttune(&["apply", "--yes", "--adopt", "campus-fw"])
        .exits(0);
    let before = world.state();
    let dry = world.cttune(&["undo", "--dry-run"]).exits(0);
    assert!(dry.stdout.contains("to undo change 1 (campus-fw"), "{dry}");
    let dry = world
        .cttune(&["rollback", "--dry-run", "--json"])
        .exits(0)
        .json();
    assert_eq!(dry["changes"][0]["id"], 1);
    assert!(!dry["changes"][0]["steps"].as_array().unwrap().is_empty());
    // max stays above the number of flows.
    assert!(
        dry["changes"][0]["not_restored"][0]
            .as_str()
            .unwrap()
            .contains("max"),
        "{dry}"
    );
    assert_same(&before, &world.state(), "only shown");
    world.sh("sysctl -qw net.netfilter.nf_conntrack_udp_timeout=77");
    let told = world.cttune(&["rollback", "--dry-run"]).exits(0);
    told.says(&["refuses this without --overwrite-changed"]);
    world.cttune(&["status"]).exits(2);
    for list in ["list", "ls"] {
        let told = world.cttune(&["profile", list]).exits(0);
        assert!(told.stdout.contains("campus-fw"), "{told}");
    }
    let told = world.cttune(&["undo", "--yes"]).exits(1);
    told.says(&["overwritten"]);
    // Flows that were shortened are a change without a step to undo.
    world.sh("sysctl -qw net.netfilter.nf_conntrack_udp_timeout=120");
    world.cttune(&["apply", "--expire", "--yes"]).exits(0);
    let dry = world.cttune(&["rollback", "--dry-run"]).exits(0);
    assert!(dry.stdout.contains("\n  nothing to undo: "), "{dry}");
    let told = world.cttune(&["top", "--match", "dport=HTTPS,proto=TCP", "--json"]);
    let total = told.exits(0).json()["total"].as_u64();
    assert!(total.unwrap() > 0);
}

#[test]
fn profiles_are_compared_copied_and_edited() {
    let world = World::new();
    let alike = world
        .cttune(&["profile", "diff", "campus-fw", "campus-fw"])
        .exits(0);
    assert!(alike.stdout.contains("ask for the same"), "{alike}");
    let told = world
        .cttune(&["profile", "diff", "campus-fw", "rfc-nat", "--json"])
        .exits(2);
    let differences = told.json()["differences"].clone();
    let role = differences
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["key"] == "role");
    assert_eq!(role.unwrap()["second"], "nat");
    world
        .cttune(&["profile", "diff", "campus-fw"])
        .exits(1)
        .briefly();
    // A copy asks for the same, wherever its parent is.
    let copy = world.place.path().join("copies/mine.toml");
    std::fs::create_dir(copy.parent().unwrap()).unwrap();
    let copy = copy.to_str().unwrap();
    world
        .place
        .write("parent.toml", "[sysctl]\nudp_timeout = 50\n");
    let child = world
        .place
        .write("child.toml", "extends = \"./parent.toml\"\n");
    world.cttune(&["profile", "copy", &child, copy]).exits(0);
    world.cttune(&["profile", "diff", &child, copy]).exits(0);
    let told = world
        .cttune(&["profile", "copy", "cgn", copy])
        .exits(1)
        .briefly();
    told.says(&["is there already"]);
    world.cttune(&["profile", "copy", "cgn", "ours"]).exits(0);
    world.cttune(&["profile", "diff", "cgn", "ours"]).exits(0);
    // An editor that appends a line; a second that makes a mistake.
    let edit = |line: &str| {
        let mut command = world.command("cttune");
        command.env("EDITOR", format!("sh -c 'echo \"{line}\" >>\"$1\"' sh"));
        Told::by(command.args(["profile", "edit", copy]))
    };
    edit("# a note").exits(0);
    let text = std::fs::read_to_string(copy).unwrap();
    assert!(text.ends_with("# a note\n"), "{text}");
    let told = edit("frole = 1").exits(1);
    assert_eq!(std::fs::read_to_string(copy).unwrap(), text);
    let (_, kept) = told.stderr.split_once("is kept in ").unwrap();
    let kept = kept.trim();
    assert!(std::fs::read_to_string(kept).unwrap().contains("frole"));
    std::fs::remove_file(kept).unwrap();
    let told = world.cttune(&["profile", "edit", "cgn"]).exits(1).briefly();
    told.says(&["belongs to cttune", "profile copy cgn"]);
}

#[test]
fn a_profile_and_its_parents_tell_every_mistake_in_one_run() {
    let world = World::new();
    let parent = "role = \"frewall\"\nextends = \"no-such\"\n[sysctl]\nacct = 2\n";
    world.place.write("parent.toml", parent);
    let child = "extends = \"./parent.toml\"\n[sysctl]\nudp_timeout = 0\n";
    let child = world.place.write("child.toml", child);
    let told = world.cttune(&["profile", "check", &child]).exits(1);
    for place in [
        "child.toml:3:",
        "parent.toml:1:",
        "parent.toml:2:",
        "parent.toml:4:",
    ] {
        assert!(told.stderr.contains(place), "{place}: {told}");
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
        let note = "note: the accept table";
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

/// Likely mistakes, as they are typed: `$D` is a folder with the profiles that they need.
const THIRTY: &[&str] = &[
    // Names.
    "cttune chek",
    "cttune flush",
    "cttune list",
    "cttune campus-fw",
    "cttune profile delete x",
    "cttune check campus-fv",
    "cttune check $D",
    "cttune check $D/nothing.toml",
    "cttune check $D/binary.toml",
    "cttune check --profil campus-fw",
    "cttune apply campus-fw --force",
    "cttune plan campus-fw --set tcp_timeout_establishd=600",
    "cttune plan --set net.core.somaxconn=4096",
    "cttune plan --set nf_conntrack_count=5",
    "cttune check --explain tcp_timeout",
    "cttune top --by source",
    "cttune top --match dport=htps",
    "cttune top --match proto=tpc",
    "cttune expire --match dst=10.1.2.3/16",
    "cttune completions csh",
    // Units.
    "cttune plan --set max=2M",
    "cttune plan --set max=1,000,000",
    "cttune plan --set udp_timeout=5min",
    "cttune plan --set udp_timeout=0",
    "cttune plan --set acct=maybe",
    "cttune apply campus-fw --confirm-within 2",
    "cttune check --warn 80 --crit 70",
    "cttune check --interval 10x",
    "cttune expire --rate fast",
    // Order.
    "cttune --profile campus-fw check",
    "cttune --yes apply campus-fw",
    "cttune sandbox bash",
    "cttune apply udp_timeout=60",
    "cttune plan campus-fw udp_timeout=60",
    "cttune rollback last",
    // What is missing.
    "cttune plan",
    "cttune kill",
    "cttune expire </dev/null",
    "cttune apply campus-fw --adopt </dev/null",
    "cttune profile edit $D/good.toml </dev/null",
    "cttune rollback --yes",
    "cttune history 99",
    "cttune confirm",
    // The wrong place, or no right to.
    "cttune check --netns blue",
    "cttune plan tonight.json",
    "cttune fleet",
    "cttune fleet /nowhere",
    "cttune fleet fw1.json fw2.json",
    "cttune fleet - </dev/null",
    "cttune profile export campus-fw",
    "cttune apply $D/nothing.json --yes",
    "cttune apply $D/good.json --yes",
    "cttune apply $D/good.json --adopt",
    "cttune plan campus-fw --out tonight",
    "cttune check --netns pid:999999999",
    "cttune check --netns /etc/passwd",
    "cttune check --root /nowhere",
    "cttune check --root / --netns blue",
    "cttune plan campus-fw --netns pid:1 --only persist",
    "setpriv --bounding-set=-net_admin --inh-caps=-net_admin cttune top",
    "mount -t tmpfs none /proc/sys/net/netfilter && cttune profile capture",
];

/// Each answer is what tests/fixtures/mistakes.txt has, but for the layout, and says what to do.
///
/// `CTTUNE_BLESS=1 cargo test --test mistakes thirty` writes the file anew: read it.
#[test]
fn thirty_mistakes_have_an_answer() {
    let world = World::new();
    world
        .place
        .write("good.toml", "[sysctl]\nudp_timeout = 60\n");
    world.place.write("good.json", "{}\n");
    std::fs::write(world.place.path().join("binary.toml"), b"\xff\xfe\n").unwrap();
    let folder = world.place.path().to_str().unwrap().to_owned();
    let state = world.state();
    let mut answers = String::new();
    for line in THIRTY {
        let mut command = world.command("unshare");
        command.args(["-m", "sh", "-c", line]).env("D", &folder);
        let told = Told::by(command.env_remove("EDITOR").env_remove("VISUAL"));
        assert_ne!(told.code, 0, "{line}: {told}");
        assert!(told.stderr.starts_with("error: "), "{line}: {told}");
        assert!(!told.stderr.contains("panicked"), "{line}: {told}");
        let advises = ["hint: ", "needs root"];
        let advises = advises.iter().any(|sign| told.stderr.contains(sign));
        assert!(advises, "{line}: nothing to do about it: {told}");
        let said = told.stderr.replace(&folder, "$D");
        answers.push_str(&format!("$ {line}\n{}: {said}\n", told.code));
    }
    assert_same(&state, &world.state(), "mistaken");
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mistakes.txt");
    if std::env::var_os("CTTUNE_BLESS").is_some() {
        std::fs::write(&file, &answers).unwrap();
    }
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let known = std::fs::read_to_string(&file).unwrap();
    let both = answers.split("\n\n").zip(known.split("\n\n"));
    for (answer, known) in both {
        assert_eq!(plain(answer), plain(known));
    }
    assert_eq!(plain(&answers), plain(&known));
}
