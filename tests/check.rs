//! `cttune check` as an operator and as a machine see it, in a sandbox.
//!
//! Follows "What machines read" and the exit codes of the design: the names of the JSON are fixed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::too_many_lines)] // tables of cases

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;
use support::{Place, Told, World, ordinary_user};

const CAMPUS: [&str; 3] = ["check", "--profile", "campus-fw"];

fn json(world: &World, args: &[&str]) -> Value {
    world.cttune(&[args, &["--format", "json"]].concat()).json()
}

fn setting<'a>(checked: &'a Value, name: &str) -> &'a Value {
    let key = format!("net.netfilter.nf_conntrack_{name}");
    let settings = checked["settings"].as_array().unwrap().iter();
    let mut found = settings.filter(|setting| setting["key"] == key.as_str());
    let first = found
        .next()
        .unwrap_or_else(|| panic!("no {key} in {checked:#}"));
    assert!(found.next().is_none(), "{key} is there twice");
    first
}

/// The names of an object, without those of its parts.
fn names(object: &Value) -> Vec<&str> {
    object
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[track_caller]
fn has_names(object: &Value, wanted: &[&str]) {
    let names = names(object);
    for name in wanted {
        assert!(names.contains(name), "no {name} among {names:?}");
    }
}

#[test]
fn the_story_is_told_and_exits_with_2() {
    let world = World::story();
    let told = world.cttune(&CAMPUS).exits(2);
    let line = format!("/etc/sysctl.conf:{}", world.line_by_hand());
    let beaten = told.stdout.lines().find(|text| text.contains(&line));
    let beaten = beaten.unwrap_or_else(|| panic!("{line} is not in {told}"));
    assert!(
        beaten.contains("overrides /etc/sysctl.d/90-cttune.conf"),
        "{beaten}"
    );

    let row = |name: &str| {
        let mut rows = told
            .stdout
            .lines()
            .filter(|line| line.contains(" differs "));
        let name = format!("{name} ");
        rows.find(|line| line.starts_with(&name))
            .unwrap()
            .to_owned()
    };
    let established = row("tcp_timeout_established");
    assert!(
        established.contains(" 5d ") && established.ends_with(" 2h4m"),
        "{established}"
    );
    let wanted = setting(&json(&world, &CAMPUS), "max")["wanted"].to_string();
    let max = row("max").replace(',', "");
    assert!(max.contains(" 76800 ") && max.contains(&wanted), "{max}");
    // Not the exact number: the shortest flows expire meanwhile.
    assert!(told.stdout.contains(" of 76,800 entries ("), "{told}");
    only_notes_what_is_unread(&told);
}

#[test]
fn machines_read_the_names_and_types_of_the_design() {
    let world = World::story();
    let checked = json(&world, &CAMPUS);
    has_names(
        &checked,
        &[
            "schema", "profile", "in_line", "table", "settings", "findings",
        ],
    );
    assert_eq!(checked["schema"], 1);
    assert_eq!(checked["profile"], "campus-fw");
    assert_eq!(checked["in_line"], false);

    let table = &checked["table"];
    has_names(table, &["count", "max", "buckets", "fill"]);
    for name in ["count", "max", "buckets"] {
        assert!(table[name].is_i64(), "{table}");
    }
    let fill = table["fill"].as_f64().unwrap();
    assert!((0.99..=1.0).contains(&fill), "{fill}");

    for setting in checked["settings"].as_array().unwrap() {
        has_names(
            setting,
            &["key", "live", "persisted", "wanted", "state", "why"],
        );
        assert!(
            setting["live"].is_i64() && setting["wanted"].is_i64(),
            "{setting}"
        );
        assert!(setting["why"].is_string(), "{setting}");
    }
    let established = setting(&checked, "tcp_timeout_established");
    assert_eq!(
        (&established["live"], &established["wanted"]),
        (&432_000.into(), &7440.into())
    );
    assert_eq!(
        (&established["persisted"], &established["state"]),
        (&Value::Null, &"differs".into())
    );
    assert_eq!(setting(&checked, "max")["persisted"], 131_072);

    let findings = checked["findings"].as_array().unwrap();
    assert!(findings.len() >= 2);
    for finding in findings {
        has_names(
            finding,
            &["id", "severity", "message", "hint", "source", "accepted"],
        );
        let severity = finding["severity"].as_str().unwrap();
        assert!(["info", "warning", "critical"].contains(&severity));
        assert!(finding["accepted"].is_boolean(), "{finding}");
    }
}

#[test]
fn without_a_profile_every_key_is_shown_and_only_a_critical_finding_counts() {
    let (full, empty) = (World::story(), World::new());
    for (world, code) in [(&full, 2), (&empty, 0)] {
        let told = world.cttune(&["check", "--format", "json"]).exits(code);
        let checked = told.json();
        assert_eq!(
            (&checked["profile"], &checked["in_line"]),
            (&Value::Null, &Value::Null)
        );
        let settings = checked["settings"].as_array().unwrap();
        let keys: Vec<String> = cttune::internals::keys()
            .into_iter()
            .map(|key| format!("net.netfilter.{key}"))
            .collect();
        assert_eq!(settings.len(), keys.len());
        for (setting, key) in settings.iter().zip(keys) {
            assert_eq!(
                (&setting["key"], &setting["wanted"]),
                (&key.into(), &Value::Null)
            );
        }
        world.cttune(&["check"]).exits(code);
    }
}

#[test]
fn no_profile_forgets_the_one_in_force() {
    let world = World::new();
    world
        .cttune(&["apply", "--profile", "campus-fw", "--adopt", "--yes"])
        .exits(0);
    assert_eq!(json(&world, &["check"])["profile"], "campus-fw");
    world.sh("echo 31 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout");
    world.cttune(&["check"]).exits(2);
    let told = world
        .cttune(&["check", "--no-profile", "--format", "json"])
        .exits(0);
    assert_eq!(told.json()["profile"], Value::Null);
}

#[test]
fn fail_on_adds_findings_of_that_severity_or_worse() {
    let world = World::new();
    world.agree();
    for (buckets, plain, critical, warning) in [(65536, 0, 0, 0), (10240, 0, 0, 2), (1024, 0, 0, 2)]
    {
        world.sh(&format!(
            "echo {buckets} >/proc/sys/net/netfilter/nf_conntrack_buckets"
        ));
        world.cttune(&["check"]).exits(plain);
        world
            .cttune(&["check", "--fail-on", "critical"])
            .exits(critical);
        world
            .cttune(&["check", "--fail-on", "warning"])
            .exits(warning);
    }
}

#[test]
fn explain_names_every_line_and_the_winner_of_each_reader() {
    let world = World::new();
    world.sh("echo net.netfilter.nf_conntrack_max = 1000 >/etc/sysctl.d/10-first.conf");
    let line = world.line_by_hand();
    let told = world.cttune(&["check", "--explain", "max"]).exits(0);
    for part in [
        "/etc/sysctl.d/10-first.conf:1",
        "131072",
        "systemd-sysctl",
        "sysctl --system",
    ] {
        assert!(told.stdout.contains(part), "{part}: {told}");
    }
    assert!(
        told.stdout.contains(&format!("sysctl.conf:{line}")),
        "{told}"
    );

    let explained = json(
        &world,
        &["check", "--explain", "net.netfilter.nf_conntrack_max"],
    );
    has_names(&explained, &["key", "procps", "systemd", "lines"]);
    assert_eq!(explained["key"], "net.netfilter.nf_conntrack_max");
    for reader in ["procps", "systemd"] {
        has_names(&explained[reader], &["value", "file", "line"]);
        assert_eq!(
            (&explained[reader]["value"], &explained[reader]["line"]),
            (&131_072.into(), &line.into())
        );
    }
    let lines = explained["lines"].as_array().unwrap();
    assert!(lines.len() >= 2, "{explained:#}");
    for line in lines {
        has_names(line, &["file", "line", "value", "wins_for"]);
    }
    assert_eq!(lines[0]["value"], 1000);
    assert_eq!(lines[0]["wins_for"], Value::Array(Vec::new()));

    let told = world.cttune(&["check", "--explain", "maxx"]).exits(64);
    told.briefly().says(&["`maxx`", "did you mean `max`?"]);
}

#[test]
fn a_key_that_this_kernel_lacks_is_missing_and_no_drift_unless_required() {
    let world = World::new();
    assert!(
        !world.sh("ls /proc/sys/net/netfilter").contains("dccp"),
        "this test needs a kernel without DCCP (6.17 and later)"
    );
    for (required, code, in_line) in [(false, 0, true), (true, 2, false)] {
        let profile = world.place.write(
            "small.toml",
            &format!("[sysctl]\ndccp_timeout_open = {{ value = 43200, required = {required} }}\n"),
        );
        let told = world.cttune(&["check", "--profile", &profile, "--format", "json"]);
        let checked = told.exits(code).json();
        assert_eq!(setting(&checked, "dccp_timeout_open")["state"], "missing");
        assert_eq!(setting(&checked, "dccp_timeout_open")["live"], Value::Null);
        assert_eq!(checked["in_line"], in_line);
        let told = world.cttune(&["check", "--profile", &profile]).exits(code);
        assert_eq!(told.stdout.contains("1 of 1 settings"), required, "{told}");
    }
}

#[test]
fn a_setting_is_ok_where_live_and_persisted_agree_and_differs_where_one_does_not() {
    let world = World::new();
    let profile = world
        .place
        .write("small.toml", "[sysctl]\nudp_timeout = 45\n");
    let check = ["check", "--profile", &profile];
    for (live, persisted, state, code) in [
        (30, "30", "differs", 2),
        (45, "30", "not-persisted", 2),
        (30, "45", "differs", 2),
        (45, "45", "ok", 0),
        (45, "", "not-persisted", 2),
    ] {
        world.sh(&format!(
            "echo {live} >/proc/sys/net/netfilter/nf_conntrack_udp_timeout
             rm -f /etc/sysctl.d/20-udp.conf
             test -z '{persisted}' ||
                 echo 'net.netfilter.nf_conntrack_udp_timeout={persisted}' >/etc/sysctl.d/20-udp.conf"
        ));
        world.cttune(&check).exits(code);
        let checked = json(&world, &check);
        let setting = setting(&checked, "udp_timeout");
        assert_eq!(
            setting["state"], state,
            "live {live}, persisted {persisted:?}: {setting}"
        );
        assert_eq!(
            setting["persisted"],
            persisted.parse::<i64>().map_or(Value::Null, Value::from)
        );
        assert_eq!(checked["in_line"], code == 0);
    }
}

#[test]
fn in_another_namespace_the_machine_s_keys_are_read_only_and_files_count_for_nothing() {
    let world = World::new();
    let (_keeper, pid) = world.netns();
    let check = |profile: &str| {
        let mut command = world.command_among_processes("cttune");
        command.args([
            "check",
            "--netns",
            &pid,
            "--profile",
            profile,
            "--format",
            "json",
        ]);
        Told::by(&mut command)
    };
    let profile = world
        .place
        .write("small.toml", "[sysctl]\nmax = 5000\nudp_timeout = 30\n");
    let checked = check(&profile).exits(0).json();
    assert_eq!(setting(&checked, "max")["state"], "read-only");
    assert_eq!(setting(&checked, "max")["persisted"], Value::Null);
    assert_eq!(setting(&checked, "udp_timeout")["state"], "ok");
    assert_eq!(checked["in_line"], true);

    let profile = world
        .place
        .write("small.toml", "[sysctl]\nmax = 5000\nudp_timeout = 31\n");
    assert_eq!(check(&profile).exits(2).json()["in_line"], false);
}

#[test]
fn read_only_here_breaks_in_line() {
    let world = World::new();
    world.sh("
        echo 'net.netfilter.nf_conntrack_udp_timeout=45' >/etc/sysctl.d/20-udp.conf
        mount -o remount,bind,ro /proc/sys/net");
    let profile = world
        .place
        .write("small.toml", "[sysctl]\nudp_timeout = 45\n");
    let told = world.cttune(&["check", "--profile", &profile, "--format", "json"]);
    let checked = told.exits(2).json();
    assert_eq!(setting(&checked, "udp_timeout")["state"], "read-only");
    assert_eq!(checked["in_line"], false);
}

#[test]
fn with_a_root_only_its_files_are_compared() {
    let world = World::new();
    let image = world.place.path().join("image");
    let image = image.to_str().unwrap();
    world.place.write(
        "image/etc/sysctl.d/20-udp.conf",
        "net.netfilter.nf_conntrack_udp_timeout=45\n",
    );
    let profile = world
        .place
        .write("small.toml", "[sysctl]\nudp_timeout = 45\n");
    let told = world.cttune(&[
        "check",
        "--root",
        image,
        "--profile",
        &profile,
        "--format",
        "json",
    ]);
    let checked = told.exits(0).json();
    assert_eq!(checked["table"], Value::Null);
    let udp = setting(&checked, "udp_timeout");
    assert_eq!(
        (&udp["live"], &udp["persisted"], &udp["state"]),
        (&Value::Null, &45.into(), &"ok".into())
    );
}

/// The parser's own refusals too, which come before it is known what was asked for.
#[test]
fn a_wrong_command_line_is_json_where_json_is_asked_for() {
    let world = World::new();
    for args in [
        &["bogus", "--format", "json"][..],
        &["--format=json", "check", "--bogus"],
        &["check", "--format", "json", "--fail-on", "never"],
        &["check", "--format", "json", "--profile"],
        &["--format", "json"],
        &["--format", "json", "check", "--set", "bogus=1"],
    ] {
        let told = world.cttune(args).exits(64);
        assert_eq!(told.stdout, "", "{args:?}");
        let error = told.error();
        assert_eq!(error["exit_code"], 64, "{args:?}");
        let message = error["message"].as_str().unwrap();
        assert!(
            !message.is_empty() && !message.contains("Usage"),
            "{message}"
        );
    }
    // After `--` it belongs to somebody else.
    let told = world.cttune(&["sandbox", "--bogus", "--", "x", "--format", "json"]);
    assert!(told.exits(64).stderr.starts_with("error: "));
}

/// What a hint says can be typed as it stands: same image, same profile, same settings beside it.
#[test]
fn the_plan_that_check_names_can_be_pasted() {
    let world = World::new();
    let way = |args: &[&str]| {
        let told = world.cttune(args).exits(2);
        let way = |line: &str| {
            line.strip_prefix("next: see the changes: ")
                .map(str::to_owned)
        };
        told.stdout.lines().find_map(way).unwrap()
    };
    let set = ["--set", "udp_timeout=61"];
    assert_eq!(
        way(&[&CAMPUS[..], &set].concat()),
        "cttune plan --profile campus-fw --set udp_timeout=61"
    );
    let profile = world
        .place
        .write("our own.toml", "[sysctl]\nudp_timeout = 45\n");
    let image = world.place.path().join("image");
    std::fs::create_dir(&image).unwrap();
    let image = image.to_str().unwrap();
    assert_eq!(
        way(&["check", "--profile", &profile, "--root", image]),
        format!("cttune --root {image} plan --profile '{profile}'")
    );

    let apply = ["apply", "--profile", "campus-fw", "--adopt", "--yes"];
    world.cttune(&[&apply[..], &set].concat()).exits(0);
    world.sh("echo 62 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout");
    assert_eq!(way(&["check"]), "cttune plan");

    let root = ["--root", image];
    let told = world.cttune(&[&apply[..], &root].concat()).exits(0);
    let undo = format!("undo: cttune --root {image} rollback 1\n");
    assert!(told.stdout.ends_with(&undo), "{told}");
    let told = world.cttune(&[&["check"][..], &root].concat()).exits(0);
    let verdict = told.stdout.lines().next().unwrap();
    assert!(verdict.ends_with("match, persisted"), "{told}");
    let told = world.cttune(&[&["rollback", "--yes"][..], &root].concat());
    let redo = format!("redo: cttune --root {image} rollback 2\n");
    assert!(told.stdout.ends_with(&redo), "{told}");
}

#[test]
fn the_table_is_never_walked() {
    let world = World::with_flows(100);
    let trace_opens = ["-e", "trace=sendto,open,openat,openat2,execve"];
    let (told, trace) = world.strace(&trace_opens, &CAMPUS);
    told.exits(2);
    assert!(
        trace.contains("nf_conntrack_count"),
        "the trace shows what was opened: {trace}"
    );
    assert!(!trace.contains("/proc/net/nf_conntrack"), "{trace}");
    // A dump of flows: type 0x101 and flags 0x301 after the length, by name or as bytes.
    let walks = |trace: &str| {
        ["IPCTNL_MSG_CT_GET,", "nlmsg_type=0x101 ", r"\0\0\0\1\1\1\3"]
            .iter()
            .any(|request| trace.contains(request))
    };
    assert!(!walks(&trace), "{trace}");
    let (_, trace) = world.strace(&trace_opens, &["check", "--deep"]);
    assert!(
        walks(&trace),
        "--deep walks, and the trace shows it: {trace}"
    );
}

/// Ten milliseconds is the promise; a program that is not optimized may take a few times as long.
#[test]
fn quiet_leaves_the_exit_code_alone() {
    let world = World::story();
    let told = world.cttune(&[&CAMPUS[..], &["--quiet"]].concat()).exits(2);
    assert_eq!((told.stdout.as_str(), told.stderr.as_str()), ("", ""));
}

#[test]
fn an_ordinary_user_reads_what_can_be_read_of_the_host() {
    let place = Place::new();
    let check = |args: &[&str]| {
        let mut command = ordinary_user();
        Told::by(
            command
                .arg(place.program())
                .args(args)
                .env("COLUMNS", support::WIDE)
                .current_dir(place.path()),
        )
    };
    // Whether the host is in line is its own affair; that it was judged is not.
    for args in [&["check", "--no-profile"][..], &CAMPUS] {
        let told = check(&[args, &["--format", "json"]].concat());
        assert!([0, 2].contains(&told.code), "{told}");
        let checked = told.json();
        assert!(checked["table"]["count"].is_i64(), "{told}");
        assert!(
            setting(&checked, "tcp_timeout_established")["live"].is_i64(),
            "{told}"
        );
        only_notes_what_is_unread(&told);
    }
}

/// One line at most beside the result.
#[track_caller]
fn only_notes_what_is_unread(told: &Told) {
    let lines: Vec<&str> = told.stderr.lines().collect();
    let is_note = |line: &&str| line.starts_with("note: not read: ");
    assert!(lines.len() <= 1 && lines.iter().all(is_note), "{told}");
}

#[test]
fn a_file_that_may_not_be_read_is_noted() {
    let place = Place::new();
    let root = place.path().join("image");
    place.write(
        "image/etc/sysctl.d/50-secret.conf",
        "net.netfilter.nf_conntrack_udp_timeout=45\n",
    );
    let lock = Command::new("chmod")
        .arg("000")
        .arg(root.join("etc/sysctl.d/50-secret.conf"))
        .status();
    assert!(lock.unwrap().success());
    let mut command = ordinary_user();
    command.arg(place.program()).current_dir(place.path());
    let told = Told::by(command.args(["check", "--root", "image", "--profile", "campus-fw"]));
    told.exits(2).says(&[
        "note: not read: ",
        "/etc/sysctl.d/50-secret.conf (cannot be read)",
    ]);
}

/// As a container hides files: the folder's own list still says that it is a file.
#[test]
fn a_file_that_null_was_put_over_sets_nothing() {
    let world = World::new();
    let file = "/etc/sysctl.d/99-site.conf";
    world.sh(&format!(
        "mkdir -p /etc/sysctl.d; echo net.netfilter.nf_conntrack_max=9999 > {file}"
    ));
    let explained = || {
        let told = world.cttune(&["check", "--explain", "nf_conntrack_max"]);
        assert!(!told.stdout.contains("not sure"), "{told}");
        told.exits(0).stdout.contains("9999")
    };
    assert!(explained());
    world.sh(&format!("mount --bind /dev/null {file}"));
    assert!(!explained());
    world.sh(&format!("mount -o remount,bind,nodev {file}"));
    assert!(!explained());
}

/// A journalctl that has this line, in front of the real one.
fn journal_with(world: &World, record: &str) {
    let script = format!("#!/bin/sh\ncat <<'END'\n{record}\nEND\n");
    let path = world.path("/run/cttune-sandbox/bin/journalctl");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The sandbox's root is nobody special to the kernel log, which such a user may not read.
#[test]
fn where_the_kernel_log_may_not_be_read_the_journal_is_asked() {
    let world = World::new();
    // It may where dmesg_restrict is 0, so it is taken away.
    world.sh("
        touch /run/null; mount --bind /dev/null /run/null
        mount -t tmpfs none /dev; touch /dev/null; mount --bind /run/null /dev/null");
    let unread = json(&world, &["check"])["unread"].clone();
    assert_eq!(unread[0]["what"], "kernel log", "{unread}");
    assert_eq!(unread[0]["source"], "kernel log", "{unread}");
    let told = world.cttune(&["check"]);
    assert!(
        told.stderr.contains("note: not read: kernel log ("),
        "{told}"
    );

    let mut stat = world.command_among_processes("stat");
    let inode = Told::by(stat.args(["-L", "-c", "%i", "/proc/self/ns/net"]))
        .exits(0)
        .stdout;
    let message = format!(
        "nf_conntrack: table full in netns {}, dropping packet",
        inode.trim()
    );
    journal_with(
        &world,
        &format!("{{\"__REALTIME_TIMESTAMP\":\"1767225600000000\",\"MESSAGE\":\"{message}\"}}"),
    );
    let mut check = world.command_among_processes("cttune");
    let checked = Told::by(check.args(["check", "--interval", "1s", "--format", "json"])).json();
    assert_eq!(checked["unread"].as_array().unwrap().len(), 0);
    let findings = checked["findings"].as_array().unwrap().iter();
    let logged = findings.clone().find(|one| one["id"] == "table-full-log");
    let logged = logged.unwrap_or_else(|| panic!("{checked:#}"));
    let message = logged["message"].as_str().unwrap();
    assert!(message.contains("this namespace was full"), "{message}");
    assert!(
        message.ends_with("once, at 2026-01-01T00:00:00Z"),
        "{message}"
    );
}

// ---- what is pending, set beside the profile, or unread -------------------------------------------

#[test]
fn a_pending_change_is_the_first_line() {
    let world = World::new();
    for (id, time) in [(1, "90s"), (2, "10m")] {
        let profile = world.place.write(
            "udp.toml",
            &format!("[sysctl]\nudp_timeout = {}\n", 60 + id),
        );
        let apply = [
            "apply",
            "--profile",
            &profile,
            "--yes",
            "--confirm-within",
            time,
        ];
        let among = |args: &[&str]| Told::by(world.command_among_processes("cttune").args(args));
        among(&apply).exits(0);
        let told = among(&["check"]);
        let first = told.stdout.lines().next().unwrap();
        let begins = format!("pending: change {id} ({profile}) is undone at ");
        assert!(first.starts_with(&begins), "{told}");
        assert!(first.ends_with(" unless you run: cttune confirm"), "{told}");
        let pending = &among(&["check", "--format", "json"]).json()["pending"];
        assert_eq!(pending["id"], id);
        let deadline = pending["deadline"].as_str().unwrap();
        assert!(
            deadline.ends_with('Z') && deadline.contains('T'),
            "{deadline}"
        );
        among(&["confirm"]).exits(0);
        let checked = among(&["check", "--format", "json"]).json();
        assert_eq!(checked["pending"], Value::Null);
    }
}

#[test]
fn overrides_are_named_in_the_headline_and_in_json() {
    let world = World::new();
    for (set, key, value) in [
        (
            "udp_timeout=61",
            "net.netfilter.nf_conntrack_udp_timeout",
            61,
        ),
        ("acct=1", "net.netfilter.nf_conntrack_acct", 1),
    ] {
        let told = world.cttune(&["check", "--profile", "campus-fw", "--set", set]);
        let headline = format!(", with --set {set}\n");
        assert!(told.stdout.contains(&headline), "{told}");
        let args = [
            "check",
            "--profile",
            "campus-fw",
            "--set",
            set,
            "--format",
            "json",
        ];
        let overrides = &world.cttune(&args).json()["overrides"];
        assert_eq!(overrides[key], value, "{overrides}");
    }
}

#[test]
fn a_critical_finding_fails_with_a_satisfied_profile_too() {
    let world = World::story();
    let write = |text: &str| world.place.write("nothing.toml", text);
    let profile = write("[sysctl]\n");
    let check = |more: &[&str]| {
        let args = [&["check", "--profile", &profile][..], more].concat();
        world.cttune(&args)
    };
    let told = check(&[]).exits(2);
    let first = told.stdout.lines().next().unwrap();
    assert!(first.contains("1 critical finding"), "{told}");
    assert!(
        told.stdout.contains("cttune top") && told.stdout.contains("cttune expire"),
        "{told}"
    );
    check(&["--fail-on", "critical", "--warn", "99", "--crit", "100"]).exits(0);
    check(&["--fail-on", "warning", "--warn", "99", "--crit", "100"]).exits(2);
    write("[sysctl]\n[accept]\n\"table-fill\" = \"this host is the sandbox\"\n");
    check(&[]).exits(0);
}

const STAT: &str = "/proc/thread-self/net/stat/nf_conntrack";

/// The check where opening some files fails.
fn check_without(world: &World, files: &[&str], error: &str, more: &[&str]) -> (Told, Value) {
    let inject = format!("inject=open,openat:error={error}");
    let mut options = vec!["-e", "trace=open,openat,socket", "-e", &inject];
    options.extend(more);
    for file in files {
        options.extend(["-P", file]);
    }
    let (told, _) = world.strace(&options, &["check", "--format", "json"]);
    let json = told.json();
    (told, json)
}

#[test]
fn every_source_that_cannot_be_read_is_told() {
    let world = World::new();
    world.sh("echo net.netfilter.nf_conntrack_acct=1 >/etc/sysctl.d/77-own.conf");
    for (file, source) in [(STAT, "counters"), ("/dev/kmsg", "kernel log")] {
        let (told, checked) = check_without(&world, &[file, "/var/log/kern.log"], "EACCES", &[]);
        let unread = checked["unread"].as_array().unwrap();
        let one = unread.iter().find(|one| one["source"] == source);
        let why = one.unwrap_or_else(|| panic!("{source}: {unread:?}"))["why"]
            .as_str()
            .unwrap();
        assert!(
            why.contains("Permission denied") && !why.contains("os error"),
            "{why}"
        );
        let notes = told.stderr.lines().filter(|line| line.contains(source));
        assert_eq!(notes.count(), 1, "{told}");
    }
    let options = [
        "-e",
        "trace=openat",
        "-e",
        "inject=openat:error=EACCES",
        "-P",
        STAT,
    ];
    let (told, _) = world.strace(&options, &["check", "--format", "nagios"]);
    let (short, _) = told.stdout.split_once(" | ").unwrap();
    assert!(
        short.contains("not read: ") && short.contains("counters"),
        "{told}"
    );
}

/// Files that decide about the next boot.
const DECIDING: [&str; 14] = [
    "/etc/NetworkManager/dispatcher.d/own",
    "/etc/cron.d/own",
    "/etc/default/ufw",
    "/etc/network/interfaces",
    "/etc/os-release",
    "/etc/rc.local",
    "/etc/sysctl.d/77-own.conf",
    "/etc/systemd/system/own.service",
    "/etc/tuned/active_profile",
    "/etc/udev/rules.d/own.rules",
    "/etc/ufw/ufw.conf",
    "/proc/1/comm",
    "/proc/cmdline",
    "/proc/self/mountinfo",
];

#[test]
fn each_file_that_cannot_be_read_is_told_everywhere_and_nothing_is_called_persisted() {
    let world = World::new();
    let lay = DECIDING.iter().filter(|file| file.starts_with("/etc/"));
    for file in lay {
        let text = match *file {
            "/etc/ufw/ufw.conf" => "ENABLED=yes",
            "/etc/default/ufw" => "IPT_SYSCTL=/etc/ufw/sysctl.conf",
            "/etc/systemd/system/own.service" => "[Service]\nExecStart=/bin/true",
            "/etc/os-release" => "ID=debian",
            _ => "# nothing",
        };
        world.sh(&format!(
            "mkdir -p $(dirname {file}); rm -f {file}; printf '{text}\\n' >{file}; chmod 755 {file}"
        ));
    }
    world.sh("mkdir -p /etc/systemd/system/multi-user.target.wants
        ln -s ../own.service /etc/systemd/system/multi-user.target.wants/");
    let apply = ["apply", "--profile", "rfc-nat", "--yes", "--adopt"];
    world.cttune(&apply).exits(0);
    let hidden = |file: &str, args: &[&str]| {
        let calls = "open,openat,openat2";
        let (trace, inject) = (
            format!("trace={calls}"),
            format!("inject={calls}:error=EACCES"),
        );
        let mut command = world.command_among_processes("strace");
        command.args([
            "-f",
            "-o",
            "/dev/null",
            "-e",
            &trace,
            "-e",
            &inject,
            "-P",
            file,
        ]);
        Told::by(command.arg("cttune").args(args))
    };
    for file in DECIDING {
        let told = hidden(file, &["check", "--format", "json"]);
        let notes = told
            .stderr
            .lines()
            .filter(|line| line.starts_with("note: "));
        let notes = notes.filter(|line| line.contains(file));
        assert_eq!(notes.count(), 1, "{file}: {told}");
        let checked = told.json();
        let unread = checked["unread"].as_array().unwrap();
        assert!(
            unread.iter().any(|one| one["source"] == file),
            "{file}: {checked:#}"
        );
        let nagios = hidden(file, &["check", "--format", "nagios"]).stdout;
        let (short, _) = nagios.split_once(" | ").unwrap();
        assert!(
            short.contains("not read: ") && nagios.contains(file),
            "{nagios}"
        );
        let text = hidden(file, &["check"]).stdout;
        assert!(
            text.contains(", but the next boot may change "),
            "{file}: {text}"
        );
        let metrics = hidden(file, &["metrics", "--flows", "none"]);
        assert!(
            metrics.stdout.contains("source_up{source=\"files\"} 0\n"),
            "{metrics}"
        );
    }
    let text = world.cttune(&["check"]).stdout;
    assert!(text.contains("match, live and persisted\n"), "{text}");
}

#[test]
fn counters_come_over_netlink_where_procfs_has_none() {
    let world = World::new();
    let (_, checked) = check_without(&world, &[STAT], "ENOENT", &[]);
    assert_eq!(checked["counters"]["drop"]["total"], 0, "{checked:#}");
    let unread = checked["unread"].to_string();
    assert!(!unread.contains("counters"), "{unread}");
}

#[test]
fn a_full_table_of_another_namespace_is_told_by_its_name() {
    let world = World::new();
    let inside = |program: &str, args: &[&str]| {
        Told::by(world.command_among_processes(program).args(args)).exits(0)
    };
    let add = "mount -t tmpfs none /var/log; ip netns add qrouter-1; ip netns add blue";
    inside("sh", &["-ec", add]);
    let check = || {
        let mut command = world.command_among_processes("strace");
        command.args(["-f", "-o", "/dev/null", "-e", "trace=openat"]);
        command.args(["-e", "inject=openat:error=EPERM", "-P", "/dev/kmsg"]);
        Told::by(command.args(["cttune", "check", "--format", "json"])).json()
    };
    let inode = |name: &str| {
        world
            .sh(&format!("stat -Lc %i /run/netns/{name}"))
            .trim()
            .to_owned()
    };
    let boot = "n kernel: [    0.000000] Linux version 6.18";
    for name in ["qrouter-1", "blue"] {
        let line = format!(
            "n kernel: [    1.000000] nf_conntrack: table full in netns {}, dropping packet",
            inode(name)
        );
        world.sh(&format!(
            "printf '%s\\n' '{boot}' '{line}' '{line}' >/var/log/kern.log"
        ));
        let checked = check();
        let findings = checked["findings"].as_array().unwrap();
        let found = findings.iter().find(|one| one["id"] == "table-full-log");
        let found = found.unwrap_or_else(|| panic!("{checked:#}"));
        let message = found["message"].as_str().unwrap();
        assert!(message.contains(&format!("{name} 2 times")), "{message}");
        let top = format!("cttune top --netns {name}");
        assert!(found["hint"].as_str().unwrap().contains(&top), "{found}");
    }
    let gone = inode("blue");
    inside("sh", &["-ec", "ip netns del blue"]);
    let checked = check();
    let findings = checked["findings"].as_array().unwrap();
    let found = findings.iter().find(|one| one["id"] == "table-full-log");
    let found = found.unwrap_or_else(|| panic!("{checked:#}"));
    let message = found["message"].as_str().unwrap();
    assert!(
        message.contains(&format!("does not find now: inode {gone} 2 times")),
        "{message}"
    );
    assert_eq!(found["severity"], "info");
}

// ---- foreign text ---------------------------------------------------------------------------------

/// Whether a terminal would do more than show it: controls but line ends, tabs and colours, and
/// marks of text direction.
fn controls(text: &str) -> bool {
    let without_colours =
        text.split('\x1b')
            .enumerate()
            .map(|(at, part)| match part.split_once('m') {
                Some((color, rest))
                    if at > 0
                        && color.strip_prefix('[').is_some_and(|digits| {
                            digits.chars().all(|c| c.is_ascii_digit() || c == ';')
                        }) =>
                {
                    rest.to_owned()
                }
                _ if at > 0 => format!("\x1b{part}"),
                _ => part.to_owned(),
            });
    let text: String = without_colours.collect();
    text.chars().any(|c| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    })
}

#[test]
fn nothing_that_is_printed_controls_a_terminal() {
    let world = World::new();
    let nasty = "\\u001b]0;TITLE\\u0007\\u001b[2J\\u202egnp\\u009b2J";
    let profile = world.place.write(
        "nasty.toml",
        &format!(
            "description = \"d {nasty}\"\nrole = \"nat\"\n[sysctl.udp_timeout]\nvalue = 45\n\
             why = \"w {nasty}\"\n[accept]\n\"x {nasty}\" = \"y\"\n\
             \"rfc4787-req5\" = \"z {nasty}\"\n"
        ),
    );
    let raw = "\x1b]0;TITLE\x07\x1b[2J\u{202e}gnp\x08\x0c";
    world.sh(&format!(
        "printf '%s\\n' 'net.netfilter.nf_conntrack_udp_timeout = 77 # {raw}' >'/etc/sysctl.d/77-{raw}.conf'
         mkdir -p \"$CTTUNE_STATE_DIR\""
    ));
    let sinks: &[&[&str]] = &[
        &["check", "-v", "--profile", &profile],
        &["check", "--explain", "udp_timeout"],
        &["check", "--netns", raw],
        &["plan", "--profile", &profile],
        &["plan", "--profile", "campus-fw", "--adopt"],
        &["profile", "check", &profile],
        &["profile", "show", raw],
        &["metrics", "--profile", &profile, "--flows", "none"],
        &["history"],
    ];
    for sink in sinks {
        for format in [&["--color", "always"][..], &["--format", "json"]] {
            let told = world.cttune(&[sink, format].concat());
            assert!(
                !told.stdout.is_empty() || !told.stderr.is_empty(),
                "{sink:?}"
            );
            assert!(!controls(&told.stdout), "{sink:?}: {:?}", told.stdout);
            assert!(!controls(&told.stderr), "{sink:?}: {:?}", told.stderr);
        }
    }
    for format in ["nagios", "npd"] {
        let told = world.cttune(&["check", "--format", format, "--profile", &profile]);
        assert!(
            !controls(&told.stdout) && !told.stdout.contains('\x1b'),
            "{told}"
        );
    }
    for format in ["prometheus", "munin"] {
        let args = [
            "metrics",
            "--format",
            format,
            "--flows",
            "none",
            "--profile",
            &profile,
        ];
        let told = world.cttune(&args);
        assert!(
            !controls(&told.stdout) && !told.stdout.contains('\x1b'),
            "{told}"
        );
    }
    let checked = world
        .cttune(&["check", "--format", "json", "--profile", &profile])
        .json();
    assert!(
        checked.to_string().contains("TITLE"),
        "the text is there, escaped"
    );
}

#[test]
fn a_bundle_has_everything_on_lines_of_its_own() {
    let world = World::story();
    world.sh("echo '# 203.0.113.9' >>/etc/sysctl.conf");
    let file = world.place.path().join("bundle.txt");
    let file = file.to_str().unwrap();
    let told = world
        .cttune(&["check", "campus-fw", "--deep", "--bundle", file])
        .exits(0);
    assert!(told.stdout.contains("look at it"), "{told}");
    let text = std::fs::read_to_string(file).unwrap();
    for part in [
        "cttune ",
        "Linux ",
        "table-fill",
        "\"findings\"",
        "/etc/sysctl.conf",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Laid out as on a screen: every key has a row.
    assert!(text.contains("\ntcp_timeout_established  "), "{text}");
    assert!(!text.contains("203.0.113.9"), "{text}");
    assert!(!text.contains('\u{1b}'));
    world
        .cttune(&["check", "--bundle", "/nowhere/x"])
        .exits(1)
        .briefly();
}
