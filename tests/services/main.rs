//! Timeouts for services on a real kernel: what apply writes, reads back and undoes, and what every
//! flow gets.
//!
//! Needs the packages conntrack, iproute2, nftables, python3 and util-linux. Guests with systemd are
//! in tests/guests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stdout)] // what was measured and tried

mod cost;
mod edited;
mod faults;
mod image;
mod lifeline;
mod network;
mod odd;
mod random;
mod story;
#[path = "../support/mod.rs"]
mod support;

use std::fs;

use serde_json::Value;
use support::{Told, World, assert_same};

const PROFILE: &str = "description = \"services\"
extends = \"kernel-defaults\"
[service.push]
match = [\"proto=tcp,dport=5228-5230\"]
established = \"30m\"
[service.dns]
match = [\"proto=udp,dport=53\", \"proto=udp,dport=5353,dst!=10.0.0.0/8\"]
unreplied = 11
replied = \"22s\"
";

/// A world with a profile in /etc/cttune/profiles.
fn world(text: &str) -> World {
    let world = World::new();
    world.sh("mkdir -p /etc/cttune/profiles");
    write(&world, text);
    world
}

fn write(world: &World, text: &str) {
    fs::write(world.path("/etc/cttune/profiles/own.toml"), text).unwrap();
}

fn apply(world: &World, more: &[&str]) -> Told {
    world.cttune(&[&["apply", "own", "--yes", "--json"], more].concat())
}

fn plan(world: &World, more: &[&str]) -> Value {
    world
        .cttune(&[&["plan", "own", "--json"], more].concat())
        .json()
}

fn kinds(object: &Value) -> Vec<&str> {
    let steps = object["steps"].as_array().unwrap().iter();
    steps.map(|step| step["kind"].as_str().unwrap()).collect()
}

fn listed(world: &World) -> String {
    world.sh("nft list ruleset")
}

/// The lines of a listing: objects and chains come in the order in which they were made.
fn sorted(listed: &str) -> Vec<String> {
    let mut lines: Vec<String> = listed.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// The objects of the table.
fn objects(world: &World) -> Vec<String> {
    let listed = listed(world);
    let lines = listed
        .lines()
        .filter_map(|line| line.trim().strip_prefix("ct timeout "));
    let mut names: Vec<String> = lines
        .filter_map(|line| Some(line.strip_suffix(" {")?.to_owned()))
        .collect();
    names.sort();
    names
}

fn finding(world: &World) -> Option<String> {
    let checked = world.cttune(&["check", "own", "--json"]).json();
    let findings = checked["findings"].as_array().unwrap().iter();
    let mut drift = findings.filter(|one| one["id"] == "service-drift");
    let drift = drift
        .next()
        .map(|one| one["message"].as_str().unwrap().to_owned());
    assert_eq!(
        checked["in_line"],
        Value::Bool(drift.is_none()),
        "{checked}"
    );
    drift
}

#[test]
fn apply_loads_the_table_and_persists_it_and_rollback_leaves_nothing() {
    let world = world(PROFILE);
    let before = (world.state(), listed(&world));
    let planned = plan(&world, &[]);
    assert_eq!(kinds(&planned)[..2], ["service", "write-file"]);
    let to = planned["steps"][0]["to"].as_str().unwrap();
    assert!(
        to.contains("established : 1800") && to.contains("syn_sent2 : 120"),
        "{to}"
    );
    assert_eq!(listed(&world), before.1);

    let applied = apply(&world, &[]).exits(0).json();
    for step in applied["steps"].as_array().unwrap() {
        assert_eq!(step["result"], "done", "{step}");
    }
    assert_eq!(plan(&world, &[])["changes"], 0);
    assert_eq!(finding(&world), None);
    // The file that is loaded at boot makes the same table, of nothing and of itself.
    let live = listed(&world);
    world.sh("nft -f /etc/cttune/services.nft");
    assert_eq!(listed(&world), live);
    world.sh("nft flush ruleset; nft -f /etc/cttune/services.nft");
    assert_eq!(listed(&world), live);
    assert!(
        world
            .read("/etc/systemd/system/cttune-services.service")
            .contains("PartOf=nftables")
    );

    world.cttune(&["rollback", "--yes"]).exits(0);
    assert_same(&before.0, &world.state(), "rolled back");
    assert_eq!(listed(&world), before.1);
}

/// What somebody else did to the table is not undone by itself.
fn undo_although_changed(world: &World) {
    let undo = ["rollback", "--yes"];
    let told = world.cttune(&undo).exits(1);
    told.says(&["nft table inet cttune differs from what the change left"]);
    world
        .cttune(&[&undo[..], &["--overwrite-changed"]].concat())
        .exits(0);
}

#[test]
fn a_flush_under_us_is_told_by_check_and_mended_by_apply() {
    let world = world(PROFILE);
    apply(&world, &[]).exits(0);
    let live = listed(&world);
    world.sh("nft flush ruleset");
    let told = finding(&world).unwrap();
    assert!(
        told.contains("is missing: 2 services (dns, push) have no effect"),
        "{told}"
    );
    world.cttune(&["check", "own"]).exits(2);
    assert_eq!(kinds(&plan(&world, &[])), ["service"]);
    apply(&world, &[]).exits(0);
    assert_eq!(listed(&world), live);
    write(&world, &PROFILE.replace("30m", "40m"));
    apply(&world, &["--only", "live"]).exits(0);
    world.sh(
        "nft delete table inet cttune; nft -f /etc/cttune/services.nft; \
              nft flush chain inet cttune own",
    );
    undo_although_changed(&world);
    assert_eq!(listed(&world), live);
}

#[test]
fn a_value_that_nft_froze_is_told_when_its_sysctl_changes() {
    let world = world(PROFILE);
    apply(&world, &[]).exits(0);
    world.sh("sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_close=17");
    let told = finding(&world).unwrap();
    assert!(
        told.contains("close of the service push is 10s in nft and would be 17s"),
        "{told}"
    );
    apply(&world, &[]).exits(0);
    assert_eq!(finding(&world), None);
}

#[test]
fn a_changed_service_keeps_the_old_object_for_its_flows_unless_it_is_replaced() {
    let world = world(PROFILE);
    apply(&world, &[]).exits(0);
    let first = objects(&world);
    write(&world, &PROFILE.replace("30m", "40m"));
    let planned = plan(&world, &[]);
    assert!(
        planned["steps"][0]["why"]
            .as_str()
            .unwrap()
            .contains("--replace"),
        "{planned}"
    );
    apply(&world, &[]).exits(0);
    let both = objects(&world);
    assert_eq!(both.len(), 3);
    assert!(
        first.iter().all(|name| both.contains(name)),
        "{first:?} {both:?}"
    );
    assert_eq!(finding(&world), None);
    apply(&world, &["--replace"]).exits(0);
    assert_eq!(objects(&world).len(), 2);
    // A service that goes takes its objects along.
    write(
        &world,
        &(PROFILE.to_owned() + "[service.off]\nmatch = []\n").replace("5353", "5354"),
    );
    let mut without = PROFILE.split("[service.dns]");
    write(&world, without.next().unwrap());
    let planned = plan(&world, &[]);
    let why = planned["steps"][0]["why"].as_str().unwrap();
    assert!(why.contains("flows of dns return to the sysctls"), "{why}");
    apply(&world, &[]).exits(0);
    assert!(objects(&world).iter().all(|name| name.contains("push")));
    world.cttune(&["rollback", "--yes"]).exits(0);
    assert!(objects(&world).iter().any(|name| name.contains("dns")));
}

#[test]
fn a_foreign_table_of_the_name_blocks_and_is_left_alone() {
    let world = world(PROFILE);
    for (rules, part) in [
        (
            "chain arriving { type filter hook prerouting priority 0; }",
            "chain arriving",
        ),
        ("set hosts { type ipv4_addr; }", "set hosts"),
        (
            "ct timeout t { protocol tcp; policy = { close: 5 }; }",
            "ct timeout t",
        ),
        ("counter c { }", "counter c"),
    ] {
        world.sh(&format!("nft 'table inet cttune {{ {rules}; }}'"));
        let before = listed(&world);
        let state = world.state();
        apply(&world, &[])
            .exits(1)
            .says(&["was not written by cttune", part]);
        assert_same(&state, &world.state(), part);
        assert_eq!(listed(&world), before);
        assert!(finding(&world).unwrap().contains(part));
        // A profile without services does not ask for the name.
        world
            .cttune(&["apply", "kernel-defaults", "--yes", "--only", "live"])
            .exits(0);
        assert_eq!(listed(&world), before);
        world.sh("nft delete table inet cttune");
    }
}

#[test]
fn without_nft_or_its_help_the_rest_is_applied_and_the_plan_says_so() {
    let text = PROFILE.to_owned() + "[sysctl]\nudp_timeout = 77\n";
    for (nft, said) in [
        ("", "nft is not installed"),
        (
            "echo 'f:1:1-2: Error: Could not process rule: No such file or directory' >&2; exit 1",
            "CONFIG_NF_CONNTRACK_TIMEOUT",
        ),
        (
            "echo '-:3:4-9: Error: syntax error, unexpected timeout' >&2; exit 1",
            "0.9.1 and newer",
        ),
    ] {
        let world = world(&text);
        world.sh("mkdir /run/own && touch /run/own/nft && chmod +x /run/own/nft");
        fs::write(
            world.path("/run/own/nft"),
            format!("#!/bin/sh\ncat >/dev/null\n{nft}\n"),
        )
        .unwrap();
        let path = match nft {
            "" => "PATH=/run/nothing".to_owned(),
            _ => format!("PATH=/run/own:{}", world.sh("echo -n $PATH")),
        };
        let program = world.sh("command -v cttune");
        let run = |args: &[&str]| {
            Told::by(
                world
                    .command("env")
                    .args([&path, program.trim()])
                    .args(args),
            )
        };
        let planned = run(&["plan", "own", "--json"]).json();
        let left_out = planned["services_left_out"].as_str().unwrap();
        assert!(left_out.contains(said), "{left_out}");
        assert!(!kinds(&planned).contains(&"service"), "{planned}");
        run(&["plan", "own"]).exits(2);
        run(&["apply", "own", "--yes"])
            .exits(0)
            .says(&["leaves out the timeouts of services"]);
        assert_eq!(world.sysctl("udp_timeout"), 77);
        assert!(!world.path("/etc/cttune/services.nft").exists());
    }
}

#[test]
fn a_mistake_in_a_service_is_told_before_anything_is_touched() {
    let world =
        world(&(PROFILE.to_owned() + "[service.web]\nmatch = [\"dport=50-60\"]\nreplied = 5\n"));
    let state = world.state();
    apply(&world, &[])
        .exits(1)
        .says(&["the services dns and web both match UDP"]);
    world
        .cttune(&["profile", "check", "own"])
        .exits(1)
        .says(&["own.toml:10:10"]);
    assert_same(&state, &world.state(), "refused");
}

#[test]
fn nothing_is_done_without_the_right_to() {
    let world = world(PROFILE);
    let mut command = world.command(support::NOBODY[0]);
    command
        .args(&support::NOBODY[1..])
        .args(["cttune", "plan", "own", "--json"]);
    let planned = Told::by(&mut command).json();
    let left_out = planned["services_left_out"].as_str().unwrap();
    assert!(
        left_out.contains("needs root (CAP_NET_ADMIN)"),
        "{left_out}"
    );
}

#[test]
fn another_namespace_gets_the_table_and_no_file() {
    let world = world(PROFILE);
    let (_keeper, pid) = world.netns();
    let state = world.state();
    let mut command = world.command_among_processes("cttune");
    Told::by(command.args(["apply", "own", "--yes", "--netns", &pid])).exits(0);
    assert_same(&state, &world.state(), "another namespace");
    assert_eq!(listed(&world), "");
    let mut command = world.command_among_processes("nsenter");
    let number = pid.trim_start_matches("pid:");
    let there = Told::by(command.args(["-t", number, "-n", "nft", "list", "ruleset"])).exits(0);
    assert!(there.stdout.contains("service_push_tcp"), "{there}");
}

#[test]
fn top_groups_flows_by_their_service() {
    let world = world(PROFILE);
    apply(&world, &[]).exits(0);
    // One with the label of push, which is for another port afterwards, one without, and another.
    write(&world, &PROFILE.replace("5228-5230", "5300"));
    let told = world.sh("ip link set lo up
         python3 -c '
import socket, subprocess
server = socket.create_server((\"127.0.0.1\", 5229))
client = socket.create_connection((\"127.0.0.1\", 5229))
subprocess.run([\"cttune\", \"apply\", \"own\", \"--yes\", \"-q\"], check=True, stdout=2)
made = \"conntrack -I -p tcp --state ESTABLISHED -t 999 -u SEEN_REPLY,ASSURED -s 10.1.0.1 \"
for ends in \"-d 10.2.0.1 --sport 1 --dport 5300\", \"-d 10.2.0.1 --sport 2 --dport 5229\":
    subprocess.run((made + ends).split(), check=True, stdout=2)
subprocess.run(\"cttune top --by service --exact --json\".split(), check=True)
'");
    let top: Value = serde_json::from_str(&told).unwrap();
    let groups = top["groups"].as_array().unwrap().iter();
    let groups: Vec<(&Value, u64)> = groups
        .map(|one| (&one["by"]["service"], one["flows"].as_u64().unwrap()))
        .collect();
    assert_eq!(
        groups,
        [(&Value::from("push"), 2), (&Value::Null, 1)],
        "{top}"
    );
    let sentence = top["sentence"].as_str().unwrap();
    assert!(sentence.contains("of service push"), "{sentence}");
}

#[test]
fn real_flows_get_the_time_of_their_service_and_others_that_of_the_sysctl() {
    let world = world(PROFILE);
    apply(&world, &[]).exits(0);
    let told = network::with_network(
        &world,
        r#"
nft 'table ip nat {
    chain a { type nat hook prerouting priority dstnat; ip daddr 10.1.0.9 tcp dport 5229 dnat to 10.2.0.2:9999; }
    chain p { type nat hook postrouting priority srcnat; oifname r2 masquerade; }
}'
ip addr add 10.1.0.9/32 dev r1
for port in 5228 9999 80; do listen "$S" 4 tcp - $port; done
listen "$S" 6 tcp - 5230; listen "$S" 4 udp - 53; listen "$S" 6 udp - 53; listen "$S" 4 udp - 54
listen "" 4 tcp - 5228; listen "" 6 udp - 53
hold "$C" 4 tcp 10.2.0.2 5228; hold "$C" 6 tcp 2001:db8:2::2 5230; hold "$C" 4 tcp 10.1.0.9 5229
hold "$C" 4 tcp 10.1.0.1 5228; hold "" 4 tcp 10.2.0.2 5228; hold "$C" 4 tcp 10.2.0.2 80
hold "$C" 4 udp 10.2.0.2 53; hold "$C" 6 udp 2001:db8:2::2 53; hold "$C" 6 udp 2001:db8:1::1 53
hold "$C" 4 udp 10.2.0.2 54
for family in ipv4 ipv6; do
    conntrack -L -f $family 2>/dev/null; echo listed $family $(cut -d" " -f1 /proc/uptime)
done
"#,
    );
    assert_each_has_its_time(&told);
}

/// Compares what conntrack lists of each flow with its service, or the sysctl, to a second.
fn assert_each_has_its_time(told: &str) {
    let lines: Vec<Vec<&str>> = told.lines().map(|line| line.split(' ').collect()).collect();
    let words = told.lines().map(str::split_whitespace);
    let flows: Vec<Vec<&str>> = words.map(Iterator::collect).collect();
    let at = |words: &[&str]| words.last().unwrap().parse::<f64>().unwrap();
    let held: Vec<f64> = lines
        .iter()
        .filter(|words| words[0] == "held")
        .map(|words| at(words))
        .collect();
    let listed = |family: &str| {
        let line = lines.iter().find(|words| words[..2] == ["listed", family]);
        at(line.unwrap())
    };
    let rows: [(&[&str], f64); 10] = [
        (&["src=10.1.0.2", "dst=10.2.0.2", "dport=5228"], 1800.0),
        (&["src=2001:db8:1::2", "dport=5230"], 1800.0),
        (&["dst=10.1.0.9", "dport=5229", "sport=9999"], 1800.0),
        (&["src=10.1.0.2", "dst=10.1.0.1", "dport=5228"], 1800.0),
        (&["src=10.2.0.1", "dst=10.2.0.2", "dport=5228"], 1800.0),
        (&["dst=10.2.0.2", "dport=80"], 432_000.0),
        (&["src=10.1.0.2", "dst=10.2.0.2", "dport=53"], 11.0),
        (&["dst=2001:db8:2::2", "dport=53"], 11.0),
        (&["dst=2001:db8:1::1", "dport=53"], 11.0),
        (&["dst=10.2.0.2", "dport=54"], 30.0),
    ];
    assert_eq!(held.len(), rows.len(), "{told}");
    for ((parts, wanted), held) in rows.iter().zip(held) {
        let flow = flows
            .iter()
            .find(|flow| parts.iter().all(|part| flow.contains(part)) && !flow.contains(&"CLOSE"));
        let flow = flow.unwrap_or_else(|| panic!("{parts:?} in {told}"));
        let left: f64 = flow[2].parse().unwrap();
        let is_v6 = flow.iter().any(|word| word.contains("2001:"));
        let passed = listed(if is_v6 { "ipv6" } else { "ipv4" }) - held;
        // Whole seconds are listed.
        let since = wanted - left;
        assert!(
            (since - passed).abs() <= 1.5,
            "{parts:?} {passed}: {flow:?}"
        );
    }
}
