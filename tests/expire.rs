//! `cttune expire` on a real kernel: what it brings down, and what it leaves alone.
//!
//! Follows "Choosing stale flows safely" and "Three ways to act on a flow" of the kernel's facts.
//! Needs the packages conntrack, nftables and iproute2.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;

use serde_json::Value;
use support::World;
use support::terminal::Terminal;

/// An established connection; what follows decides.
const TCP: &str = "conntrack -I -p tcp --state ESTABLISHED -u ASSURED,SEEN_REPLY -d 192.0.2.1";

fn with_timeout(world: &World, name: &str, seconds: u32) {
    let path = format!("/proc/sys/net/netfilter/nf_conntrack_{name}");
    world.sh(&format!("echo {seconds} > {path}"));
}

fn expire(world: &World, args: &[&str]) -> Value {
    let args = [&["expire", "--format", "json"], args].concat();
    let told = world.cttune(&args).exits(0).json();
    let number = |name: &str| told[name].as_u64().unwrap();
    let parts = ["clamped", "re_aged", "deleted", "gone", "failed"];
    let selected: u64 = parts.into_iter().map(number).sum();
    assert_eq!(number("selected"), selected, "{told}");
    assert_eq!(
        number("examined"),
        selected + number("kept") + number("unknown"),
        "{told}"
    );
    let why = told["kept_why"].as_object().unwrap().values();
    let why: u64 = why.map(|flows| flows.as_u64().unwrap()).sum();
    assert_eq!(number("kept"), why, "{told}");
    told
}

/// Every flow as `conntrack -L` tells it, by all but its time; and its time.
fn times(world: &World) -> BTreeMap<String, u32> {
    let listed = world.sh("conntrack -L -o id 2>/dev/null; conntrack -L -f ipv6 -o id 2>/dev/null");
    let time = |line: &str| {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        let time = words.remove(2).parse().unwrap();
        (words.join(" "), time)
    };
    listed.lines().map(time).collect()
}

/// No flow has more time than before, no established one above 600 s (to port 5228: above `push`),
/// and only those are gone whose own time ran out.
#[track_caller]
fn only_came_down(before: &BTreeMap<String, u32>, after: &BTreeMap<String, u32>, push: u32) {
    for (flow, time) in after {
        assert!(time <= &before[flow], "{flow} was raised to {time}");
        let is_push = flow.contains(" dport=5228 ");
        let most = if is_push { push } else { 600 };
        assert!(
            !flow.contains("ESTABLISHED") || *time <= most,
            "{flow} {time}"
        );
    }
    for (flow, time) in before.iter().filter(|(flow, _)| !after.contains_key(*flow)) {
        assert!(*time <= 120, "{flow} with {time} s is gone");
    }
}

/// The time of the one flow from this port.
fn time_of(world: &World, port: u16) -> u32 {
    let listed = world.sh(&format!("conntrack -L -p tcp --sport {port} 2>/dev/null"));
    let words: Vec<&str> = listed.split_whitespace().collect();
    words[2].parse().unwrap()
}

/// `time` seconds, or the few that a slow machine takes less.
fn is_about(time: u32, seconds: u32) -> bool {
    (seconds.saturating_sub(20)..=seconds).contains(&time)
}

#[test]
fn the_story_s_flows_come_under_a_timeout_that_was_lowered() {
    let world = World::story();
    let nothing = expire(&world, &["--dry-run"]);
    assert_eq!(nothing["selected"], 0);
    with_timeout(&world, "tcp_timeout_established", 600);
    let before = times(&world);
    let told = expire(&world, &["--yes"]);
    assert!(told["clamped"].as_u64().unwrap() > 50_000, "{told}");
    only_came_down(&before, &times(&world), 600);
    let again = expire(&world, &["--yes"]);
    assert_eq!(again["selected"], 0, "{again}");
}

#[test]
fn a_dry_run_changes_nothing_and_predicts_to_the_flow() {
    let world = World::new();
    world.sh(&format!(
        "for port in $(seq 2000 2200); do
            echo \"-I -p tcp --state ESTABLISHED -u ASSURED,SEEN_REPLY -t $((port * 3)) -s 10.0.0.1 -d 192.0.2.1 --sport $port --dport 80\"
        done > /run/flows; conntrack -R /run/flows
        {TCP} -t 9000 -s 10.0.0.2 --sport 1 --dport 80
        conntrack -I -p udp -t 900 -s 10.0.0.2 -d 192.0.2.1 --sport 1 --dport 53
        conntrack -I -p icmp -t 900 -s 10.0.0.1 -d 192.0.2.1 --icmp-type 8 --icmp-code 0 --icmp-id 7
        conntrack -I -p gre -t 900 -s 10.0.0.1 -d 192.0.2.1 --srckey 9 --dstkey 10"
    ));
    with_timeout(&world, "tcp_timeout_established", 6300);
    let before = times(&world);
    let args = ["--keep", "src=10.0.0.2,proto=tcp", "--spread", "1m"];
    let foreseen = expire(&world, &[&args[..], &["--dry-run"]].concat());
    assert!(
        times(&world)
            .iter()
            .all(|(flow, time)| *time + 20 >= before[flow])
    );
    let done = expire(&world, &[&args[..], &["--yes"]].concat());
    for name in ["clamped", "kept", "unknown", "examined", "gone", "failed"] {
        assert_eq!(foreseen[name], done[name], "{name}: {foreseen} {done}");
    }
    assert_eq!(foreseen["kept_why"], done["kept_why"]);
    assert_eq!(done["kept_why"]["keep"], 1);
    assert_eq!(done["kept_why"]["gre"], 1);
    let ends: std::collections::BTreeSet<u32> = times(&world)
        .into_iter()
        .filter(|(flow, _)| flow.contains("10.0.0.1") && flow.contains("tcp"))
        .map(|(_, time)| time)
        .collect();
    assert!(ends.len() > 30, "the ends are not spread: {ends:?}");
}

#[test]
fn each_flow_that_clamp_must_not_touch_keeps_its_time_under_its_reason() {
    let world = World::new();
    world.sh(&format!(
        "{TCP} -t 9000 -s 10.0.0.1 --sport 1001 --dport 80
        {TCP} -t 9000 -s 10.0.0.1 --sport 1002 --dport 80
        conntrack -U -p tcp -s 10.0.0.1 -d 192.0.2.1 --sport 1002 --dport 80 -u FIXED_TIMEOUT
        {TCP} -t 9000 -s 10.0.0.1 --sport 1003 --dport 22
        {TCP} -t 9000 -s 10.0.0.1 --sport 1004 --dport 22 -g 203.0.113.9
        {TCP} -t 9000 -s 10.0.0.1 --sport 1005 --dport 80
        conntrack -I -p tcp --state NONE -t 9000 -s 10.0.0.1 -d 192.0.2.1 --sport 1006 --dport 80
        {TCP} -t 100 -s 10.0.0.1 --sport 1007 --dport 80"
    ));
    with_timeout(&world, "tcp_timeout_established", 600);
    let mut command = world.command("cttune");
    // The second is sshd's view behind a translated address.
    command.env("SSH_CONNECTION", "10.0.0.1 1004 203.0.113.9 22");
    command.args([
        "expire",
        "--yes",
        "--format",
        "json",
        "--keep",
        "sport=1005",
    ]);
    let told = support::Told::by(&mut command).exits(0).json();
    for (why, flows) in [
        ("fixed-timeout", 1),
        ("ssh-session", 1),
        ("keep", 1),
        ("within-timeout", 1),
    ] {
        assert_eq!(told["kept_why"][why], flows, "{why}: {told}");
    }
    assert_eq!(
        (&told["unknown"], &told["clamped"]),
        (&1.into(), &2.into()),
        "{told}"
    );
    for (port, seconds) in [
        (1001, 600),
        (1002, 9000),
        (1003, 600),
        (1004, 9000),
        (1005, 9000),
        (1006, 9000),
        (1007, 100),
    ] {
        let time = time_of(&world, port);
        assert!(is_about(time, seconds), "{port}: {time}");
    }
}

#[test]
fn a_timeout_policy_holds_back_only_what_it_can_be_attached_to_and_only_above_its_value() {
    let world = World::new();
    let six = "conntrack -I -p tcp --state ESTABLISHED -u ASSURED,SEEN_REPLY -t 9000 \
               -s 2001:db8::1 -d 2001:db8::2";
    world.sh(&format!(
        "nft 'table ip6 a {{
            ct timeout short {{ protocol tcp; policy = {{ established: 100 }}; }}
            ct timeout long {{ protocol tcp; policy = {{ established: 7500 }}; }}
            chain c {{
                type filter hook prerouting priority -150
                tcp dport 22 ct timeout set \"long\"
                tcp dport 25 ct timeout set \"short\"
            }}
        }}'
        {TCP} -t 9000 -s 10.0.0.1 --sport 1001 --dport 22
        {six} --sport 1002 --dport 80
        {six} --sport 1003 --dport 22
        conntrack -I -p tcp --state ESTABLISHED -u ASSURED,SEEN_REPLY -t 5000 -s 2001:db8::1 -d 2001:db8::2 --sport 1004 --dport 22
        {six} --sport 1005 --dport 25"
    ));
    with_timeout(&world, "tcp_timeout_established", 600);
    let told = expire(&world, &["--yes"]);
    assert_eq!(told["kept_why"], serde_json::json!({"policy": 1}), "{told}");
    assert_eq!(told["clamped"], 4, "{told}");
    let long: Vec<u32> = times(&world)
        .into_values()
        .filter(|time| *time > 600)
        .collect();
    assert_eq!(long.len(), 2, "{long:?}");
    assert!(is_about(long[0].max(long[1]), 7500) && is_about(long[0].min(long[1]), 5000));
}

#[test]
fn unanswered_udp_comes_under_udp_timeout_and_answered_udp_under_the_longer_one() {
    let world = World::new();
    let udp = "conntrack -I -p udp -t 900 -d 192.0.2.1 --dport 53 -s";
    world.sh(&format!(
        "{udp} 10.0.0.1 --sport 1; {udp} 10.0.0.1 --sport 2 -u SEEN_REPLY
        {udp} 10.0.0.1 --sport 3 -u SEEN_REPLY,ASSURED
        conntrack -I -p udplite -t 900 -d 192.0.2.1 --dport 53 -s 10.0.0.1 --sport 4"
    ));
    for (unanswered, stream, expected) in
        [(20, 180, [20, 180, 180, 20]), (25, 15, [20, 25, 15, 20])]
    {
        with_timeout(&world, "udp_timeout", unanswered);
        with_timeout(&world, "udp_timeout_stream", stream);
        expire(&world, &["--yes"]);
        for (port, most) in (1..).zip(expected) {
            let listed = world.sh(&format!("conntrack -L 2>/dev/null | grep sport={port}"));
            let left: u32 = listed.split_whitespace().nth(2).unwrap().parse().unwrap();
            assert!(
                left <= most && left + 15 > most.min(20),
                "{port}: {left} of {most}"
            );
        }
    }
}

#[test]
fn a_selection_that_matches_nothing_is_said_and_fails() {
    let world = World::new();
    world.sh(&format!("{TCP} -t 300 -s 10.0.0.1 --sport 1001 --dport 80"));
    for args in [&["--yes"][..], &["--yes", "--max-flows", "5"]] {
        let args = [&["expire", "--match", "dport=81"], args].concat();
        let told = world.cttune(&args).exits(1);
        told.says(&["no flow matches --match", "nothing was changed"]);
    }
    world
        .cttune(&["expire", "--match", "dport=81", "--dry-run"])
        .exits(0);
    // It matches, and has nothing to do.
    let told = world
        .cttune(&["expire", "--match", "dport=80", "--yes"])
        .exits(0);
    assert!(
        told.stdout.contains("kept 1 flow: 1 within-timeout"),
        "{told}"
    );
}

#[test]
fn zones_of_both_and_of_one_direction_are_told_apart() {
    let world = World::new();
    let flow = format!("{TCP} -t 9000 -s 10.0.0.1 --dport 80");
    world.sh(&format!(
        "{flow} --sport 1001; {flow} --sport 1001 -w 3; {flow} --sport 1002 --orig-zone 5; {flow} --sport 1003 --reply-zone 6"
    ));
    with_timeout(&world, "tcp_timeout_established", 600);
    for (zone, left) in [("3", 3), ("5", 2), ("6", 1), ("0", 0)] {
        let told = expire(&world, &["--yes", "--match", &format!("zone={zone}")]);
        assert_eq!(told["clamped"], 1, "zone {zone}: {told}");
        let long = times(&world).into_values().filter(|time| *time > 600);
        assert_eq!(long.count(), left, "zone {zone}");
    }
}

#[test]
fn more_flows_than_allowed_are_refused_before_any_is_touched() {
    let world = World::with_flows(1000);
    with_timeout(&world, "tcp_timeout_established", 600);
    let before = times(&world);
    let told = world
        .cttune(&["expire", "--yes", "--max-flows", "10"])
        .exits(1)
        .briefly();
    told.says(&["--max-flows allows 10", "nothing was changed"]);
    assert!(
        times(&world)
            .iter()
            .all(|(flow, time)| *time + 20 >= before[flow])
    );
    expire(&world, &["--yes", "--max-flows", "5000"]);
}

#[test]
fn a_rate_is_kept_and_a_signal_stops_between_two_chunks() {
    let world = World::with_flows(3000);
    with_timeout(&world, "tcp_timeout_established", 600);
    let mut command = world.command("timeout");
    command.args([
        "-s", "INT", "2", "cttune", "expire", "--yes", "--rate", "100/s",
    ]);
    let told = support::Told::by(&mut command);
    assert!(told.stderr.contains("stopped by SIGINT"), "{told}");
    assert!(told.stderr.contains("stay changed"), "{told}");
    let clamped = times(&world)
        .into_values()
        .filter(|time| *time > 600)
        .count();
    assert!(
        clamped > 500,
        "{clamped} flows are left: the rate was not kept"
    );
    expire(&world, &["--yes"]);
}

/// Runs a script while somebody listens to conntrack's events.
fn listened_to(world: &World, script: &str) -> support::Told {
    let listener = "conntrack -E >/dev/null 2>&1 & trap 'kill $!' EXIT
        for n in $(seq 1000); do
            awk '$2 == 12 && $4 != 0 { found = 1 } END { exit !found }' /proc/net/netlink && break
            sleep 0.01
        done";
    let script = format!("{listener}\n{script}");
    let mut command = world.command_among_processes("sh");
    support::Told::by(command.args(["-ec", &script])).exits(0)
}

#[test]
fn a_listener_is_told_of_with_the_rate_even_where_nobody_is_asked() {
    let world = World::new();
    world.sh(&format!("{TCP} -t 9000 -s 10.0.0.1 --sport 1 --dport 80"));
    with_timeout(&world, "tcp_timeout_established", 8000);
    listened_to(&world, "cttune expire --yes")
        .says(&["a program listens", "20,000 flows a second"]);
    let apply = "cttune apply --only live --yes --expire --profile campus-fw";
    listened_to(&world, apply).says(&["20,000 flows a second, so it takes 1s"]);
    let told = world.cttune(&["expire", "--yes"]).exits(0);
    assert!(!told.stderr.contains("listens"), "{told}");
}

#[test]
fn flows_that_never_come_under_their_timeout_are_told_after_three_passes() {
    let world = World::new();
    world.sh(&format!("{TCP} -t 9000 -s 10.0.0.1 --sport 1 --dport 80"));
    with_timeout(&world, "tcp_timeout_established", 600);
    let told = world.sh(
        "while [ ! -e /run/stop ]; do conntrack -U -p tcp -d 192.0.2.1 -t 9000 || true; done >/dev/null 2>&1 &
        cttune expire --yes --rate 1/s; touch /run/stop; wait",
    );
    assert!(told.contains("clamped 3 flows"), "{told}");
    assert!(
        told.contains("the last pass over the table still changed 1 flow"),
        "{told}"
    );
}

#[test]
fn apply_shows_how_far_it_is_with_flows_that_take_long() {
    let world = World::with_flows(2000);
    world.sh(
        "printf '[sysctl]\ntcp_timeout_established = 600\n[expire]\nrate = 500\n' > /run/slow.toml",
    );
    let mut command = world.command("cttune");
    command.args(["apply", "--only", "live", "--yes", "--expire"]);
    let mut terminal = Terminal::start(command.args(["--profile", "/run/slow.toml"]));
    terminal.wait_for("looking at flows");
    terminal.wait_for("clamp 1,");
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
}

#[test]
fn nobody_to_ask_an_image_and_wrong_selections_are_refused() {
    let world = World::new();
    let told = world.cttune(&["expire"]).exits(1).briefly();
    told.says(&["no terminal", "--yes"]);
    world
        .cttune(&["expire", "--root", "/tmp", "--yes"])
        .exits(64);
    for option in ["--match", "--keep"] {
        let told = world
            .cttune(&["expire", option, "dport=x,foo=1", "--yes"])
            .exits(64);
        told.says(&[option, "`x` is not a port", "`foo`"]);
    }
    world
        .cttune(&["expire", "--rate", "fast", "--yes"])
        .exits(64);
    world
        .cttune(&["expire", "--was", "soon", "--yes"])
        .exits(64);
    let mut command = world.command("setpriv");
    command.args([
        "--bounding-set=-net_admin",
        "--inh-caps=-net_admin",
        "cttune",
        "expire",
        "--dry-run",
    ]);
    let told = support::Told::by(&mut command).exits(1).briefly();
    told.says(&["nothing was changed"]);
}

#[test]
fn another_namespace_s_flows_can_be_named() {
    let world = World::new();
    let (_keeper, name) = world.netns();
    let inside = |script: &str| {
        let pid = name.strip_prefix("pid:").unwrap();
        let mut command = world.command_among_processes("nsenter");
        support::Told::by(command.args(["-t", pid, "-n", "sh", "-ec", script]))
            .exits(0)
            .stdout
    };
    inside(&format!(
        "{TCP} -t 9000 -s 10.0.0.1 --sport 1001 --dport 80; echo 600 > /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established"
    ));
    let mut command = world.command_among_processes("cttune");
    command.args(["expire", "--yes", "--format", "json", "--netns", &name]);
    let told = support::Told::by(&mut command).exits(0).json();
    assert_eq!(told["clamped"], 1, "{told}");
    assert!(!inside("conntrack -L 2>/dev/null").contains(" 9000 "));
}

const STORY: [&str; 6] = [
    "--profile",
    "campus-fw",
    "--set",
    "tcp_timeout_established=600",
    "--adopt",
    "--expire",
];

#[test]
fn apply_with_expire_leaves_no_flow_above_the_new_timeout_and_loses_none() {
    let world = World::story();
    let number = |name: &str| -> u64 {
        let path = format!("cat /proc/sys/net/netfilter/nf_conntrack_{name}");
        world.sh(&path).trim().parse().unwrap()
    };
    let max = number("max");
    let plan = [&["plan", "--format", "json"], &STORY[..]].concat();
    let plan = world.cttune(&plan).exits(2).json();
    let step = plan["steps"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&step["kind"], &step["mode"]),
        (&"expire".into(), &"clamp".into())
    );
    assert!(step["from"].is_null() && step["to"].is_null(), "{step}");
    assert!(step["flows"].as_u64().unwrap() > 54_000, "{step}");

    let before = times(&world);
    let apply = [&["apply", "--yes", "--format", "json"], &STORY[..]].concat();
    let applied = world.cttune(&apply).exits(0).json();
    let flows = &applied["flows"];
    assert!(flows["clamped"].as_u64().unwrap() > 54_000, "{flows}");
    assert_eq!(
        applied["steps"].as_array().unwrap().last().unwrap()["result"],
        "done"
    );
    let after = times(&world);
    only_came_down(&before, &after, 1800);
    world.cttune(&["check"]).exits(0);
    // Nothing is left to do, and what the journal tells is enough to count idle time.
    let apply = [&["apply", "--yes", "--format", "json"], &STORY[..]].concat();
    assert_eq!(world.cttune(&apply).exits(0).json()["changed"], false);
    // While the story's max is too small for its table, that alone is not restored.
    let is_too_small = number("count") * 11 / 10 > max;
    let told = world.cttune(&["rollback", "--yes"]);
    let told = told.exits(if is_too_small { 3 } else { 0 });
    told.says(&["flows are left alone"]);
    assert!(
        times(&world)
            .iter()
            .all(|(flow, time)| *time <= after[flow])
    );
}

#[test]
fn apply_re_ages_what_was_watched_or_what_a_trusted_history_tells() {
    for (proof, re_aged, longest) in [
        ("trust-history = 1", 2, 120),
        // Watched for two seconds: that is all that counts.
        ("observe = \"2s\"", 2, 7440),
    ] {
        let world = World::new();
        world.sh(&format!(
            "{TCP} -t 300000 -s 10.0.0.1 --sport 1001 --dport 80
            {TCP} -t 431998 -s 10.0.0.1 --sport 1002 --dport 80
            printf '[sysctl]\ntcp_timeout_established = 7440\n[expire]\nmode = \"re-age\"\n{proof}\n' > /run/p.toml"
        ));
        let wanted = ["--profile", "/run/p.toml", "--expire", "--only", "live"];
        let planned = world.cttune(&[&["plan"], &wanted[..]].concat()).exits(2);
        assert!(
            planned.stdout.contains("re-age at most 2 flows"),
            "{planned}"
        );
        let told = world
            .cttune(&[&["apply", "--yes", "--format", "json"], &wanted[..]].concat())
            .exits(0)
            .json();
        assert_eq!(
            (&told["flows"]["mode"], &told["flows"]["re_aged"]),
            (&"re-age".into(), &re_aged.into()),
            "{told}"
        );
        assert!(is_about(time_of(&world, 1001), longest));
        assert!(is_about(time_of(&world, 1002), 7440));
    }
    let world = World::new();
    let told = world
        .cttune(&[
            "apply",
            "--yes",
            "--profile",
            "campus-fw",
            "--expire=re-age",
        ])
        .exits(64);
    told.says(&["nothing that proves idle time", "observe"]);
}

#[test]
fn what_was_watched_and_silent_is_deleted_and_nothing_without_proof() {
    let world = World::new();
    world.sh("conntrack -I -p udp -t 3000 -s 10.0.0.1 -d 10.0.0.2 --sport 1001 --dport 53");
    let told = world.cttune(&["expire", "--mode", "delete", "--yes"]);
    let told = told.exits(0);
    assert!(told.stdout.contains("1 not-established"), "{told}");
    assert!(!told.stderr.contains("--observe"), "{told}");
    world.sh("conntrack -F");
    world.sh(&format!(
        "{TCP} -t 300000 -s 10.0.0.1 --sport 1001 --dport 80
        {TCP} -t 400 -s 10.0.0.1 --sport 1002 --dport 80
        {TCP} -t 300000 -s 10.0.0.1 --sport 1003 --dport 80
        {TCP} -t 301 -s 10.0.0.1 --sport 1004 --dport 80"
    ));
    with_timeout(&world, "tcp_timeout_established", 600);
    let told = world
        .cttune(&["expire", "--mode", "delete", "--yes"])
        .exits(1);
    assert!(told.stdout.contains("4 not-proven"), "{told}");
    told.says(&["nothing proves", "--observe", "--trust-history"]);
    for wrong in [
        &["--mode", "clamp", "--observe", "2s"][..],
        &["--trust-history"],
        &["--mode", "delete", "--observe", "2s", "--trust-history"],
    ] {
        world
            .cttune(&[&["expire", "--yes"], wrong].concat())
            .exits(64);
    }
    let mut speaker = world.command("sh");
    let mut speaker = speaker
        .args(["-c", "sleep 1.5; conntrack -U -p tcp -s 10.0.0.1 -d 192.0.2.1 --sport 1003 --dport 80 -t 300000"])
        .spawn()
        .unwrap();
    let told = expire(&world, &["--mode", "delete", "--observe", "3s", "--yes"]);
    speaker.wait().unwrap();
    assert_eq!(told["deleted"], 2, "{told}");
    assert_eq!(told["kept_why"]["spoke"], 1, "{told}");
    // It may have had a packet that its time left does not show.
    assert_eq!(told["kept_why"]["ambiguous"], 1, "{told}");
}

#[test]
fn what_cttune_set_itself_is_not_taken_for_idle_time() {
    for first in [
        &["--spread", "2h"][..],
        &["--mode", "re-age", "--grace", "5h", "--observe", "1s"],
    ] {
        let world = World::new();
        world.sh(
            "printf '[sysctl]\ntcp_timeout_established = 600\n' > /run/p.toml
            cttune apply --profile /run/p.toml --only live --yes",
        );
        for port in 1001..1011 {
            world.sh(&format!(
                "{TCP} -t 431000 -s 10.0.0.1 --sport {port} --dport 80"
            ));
        }
        expire(&world, &[&["--yes"], first].concat());
        let second = [
            "--mode",
            "delete",
            "--trust-history",
            "--settle",
            "1s",
            "--yes",
        ];
        let told = expire(&world, &second);
        assert_eq!(told["deleted"], 0, "{first:?}: {told}");
        assert_eq!(times(&world).len(), 10);
    }
}

/// Lowers the timeout as by hand, an hour ago by what is told.
const WAS: [&str; 7] = [
    "--trust-history",
    "--was",
    "5d@1h",
    "--settle",
    "3s",
    "--yes",
    "--mode",
];

#[test]
fn only_what_all_eight_rules_prove_idle_is_re_aged_or_deleted() {
    let world = World::new();
    world.sh(&format!(
        "sysctl -qw net.netfilter.nf_conntrack_acct=1
        {TCP} -t 300000 -s 10.0.0.1 --sport 1001 --dport 80
        {TCP} -t 250 -s 10.0.0.1 --sport 1002 --dport 80
        {TCP} -t 431900 -s 10.0.0.1 --sport 1003 --dport 80
        conntrack -I -p tcp --state ESTABLISHED -u SEEN_REPLY -d 192.0.2.1 -t 300000 -s 10.0.0.1 --sport 1004 --dport 80
        conntrack -I -p tcp --state CLOSE_WAIT -u ASSURED,SEEN_REPLY -d 192.0.2.1 -t 300000 -s 10.0.0.1 --sport 1005 --dport 80
        conntrack -I -p udp -u ASSURED,SEEN_REPLY -d 192.0.2.1 -t 300000 -s 10.0.0.1 --sport 1006 --dport 53
        {TCP} -t 300000 -s 10.0.0.1 --sport 1007 --dport 80
        {TCP} -t 300000 -s 10.0.0.1 --sport 1008 --dport 80
        conntrack -U -p tcp -s 10.0.0.1 -d 192.0.2.1 --sport 1008 --dport 80 -u FIXED_TIMEOUT"
    ));
    with_timeout(&world, "tcp_timeout_established", 600);
    // Nobody knows what it was: nothing is touched.
    let told = expire(
        &world,
        &[
            "--mode",
            "re-age",
            "--trust-history",
            "--settle",
            "1s",
            "--yes",
        ],
    );
    assert_eq!(
        (&told["selected"], &told["unknown"]),
        (&0.into(), &3.into()),
        "{told}"
    );
    // One of them is given its time anew between the looks, as by a packet.
    let mut speaker = world.command("sh");
    let mut speaker = speaker
        .args(["-c", "sleep 1.5; conntrack -U -p tcp -s 10.0.0.1 -d 192.0.2.1 --sport 1007 --dport 80 -t 300000"])
        .spawn()
        .unwrap();
    let told = expire(&world, &[&WAS[..], &["re-age"]].concat());
    speaker.wait().unwrap();
    assert_eq!(told["re_aged"], 1, "{told}");
    for (why, flows) in [
        ("fixed-timeout", 1),
        ("ends-soon", 1),
        ("not-assured", 1),
        ("not-established", 2),
        ("spoke", 1),
    ] {
        assert_eq!(told["kept_why"][why], flows, "{why}: {told}");
    }
    assert_eq!(told["unknown"], 1, "{told}");
    assert!(is_about(time_of(&world, 1001), 120));
    assert!(time_of(&world, 1007) > 299_000);
    let told = expire(&world, &[&WAS[..], &["delete"]].concat());
    assert_eq!(told["deleted"], 1, "{told}");
    assert_eq!(world.sh("conntrack -L -p tcp --sport 1007 2>/dev/null"), "");
    assert_eq!(times(&world).len(), 7);
}

#[test]
fn after_a_timeout_was_raised_what_fits_the_older_one_is_kept() {
    let world = World::new();
    world.sh(&format!(
        "{TCP} -t 3599 -s 10.0.0.1 --sport 1001 --dport 80"
    ));
    let told = expire(
        &world,
        &[
            "--mode",
            "delete",
            "--trust-history",
            "--was",
            "1h@6d",
            "--settle",
            "1s",
            "--yes",
        ],
    );
    assert_eq!(told["kept_why"]["ambiguous"], 1, "{told}");
    assert!(is_about(time_of(&world, 1001), 3599));
}
