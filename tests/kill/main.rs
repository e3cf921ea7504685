//! `cttune kill` on a real kernel: it ends the flows that are named, and no other.
//!
//! Needs the packages conntrack and nftables.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod random;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;

use serde_json::Value;
use support::{Told, World};

const TCP: &str = "conntrack -I -p tcp --state ESTABLISHED -u ASSURED,SEEN_REPLY -d 192.0.2.1";

/// Two phones, a web client, a translated flow, ICMP of both families, GRE, SCTP, zones.
const FLOWS: &str = "
    tcp='conntrack -I -p tcp --state ESTABLISHED -u ASSURED,SEEN_REPLY -t 5000'
    udp='conntrack -I -p udp -t 900 -d 198.51.100.60 --dport 5060'
    $udp -s 192.168.9.20 --sport 5060 -m 0xc9
    $udp -s 192.168.9.21 --sport 5061 -u SEEN_REPLY
    $tcp -s 10.0.0.1 -d 192.0.2.1 --sport 1025 --dport 80
    $tcp -s 10.0.0.1 -d 192.0.2.1 --sport 1026 --dport 443 -n 203.0.113.7 -m 0x1c9
    $tcp -s 10.0.0.2 -d 192.0.2.1 --sport 1025 --dport 80 -w 3
    $tcp -s 2001:db8::1 -d 2001:db8::2 --sport 1025 --dport 80
    $tcp -s 2001:db8::1 -d 2001:db8::2 --sport 1027 --dport 80 --orig-zone 5
    $tcp -s 2001:db8::1 -d 2001:db8::2 --sport 1028 --dport 80 --reply-zone 6
    conntrack -I -p tcp --state CLOSE_WAIT -t 600 -s 10.0.0.4 -d 192.0.2.1 --sport 2 --dport 443
    conntrack -I -p icmp -t 600 -s 10.0.0.1 -d 192.0.2.1 --icmp-type 8 --icmp-code 0 --icmp-id 77
    conntrack -I -p icmpv6 -t 600 -s 2001:db8::1 -d 2001:db8::2 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 78
    conntrack -I -p gre -t 600 -s 10.0.0.1 -d 192.0.2.1 --srckey 9 --dstkey 10
    conntrack -I -p sctp --state ESTABLISHED -t 600 -s 10.0.0.1 -d 192.0.2.1 --sport 7 --dport 8 --orig-vtag 1 --reply-vtag 2
    conntrack -I -p 50 -t 600 -s 10.0.0.1 -d 192.0.2.1
";

fn kill(world: &World, args: &[&str]) -> Value {
    let args = [&["kill", "--yes", "--format", "json"], args].concat();
    let told = world.cttune(&args).exits(0).json();
    assert_eq!(told["mode"], "kill", "{told}");
    let number = |name: &str| told[name].as_u64().unwrap();
    assert_eq!(
        number("examined"),
        number("selected") + number("kept"),
        "{told}"
    );
    told
}

fn flush(world: &World) {
    world.sh("conntrack -F 2>/dev/null; conntrack -F -f ipv6 2>/dev/null");
}

/// Every flow as `conntrack -L` lists it, without its time.
fn listed(world: &World) -> BTreeSet<String> {
    let text = world.sh("conntrack -L 2>/dev/null; conntrack -L -f ipv6 2>/dev/null");
    let line = |line: &str| {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        words.remove(2);
        words.join(" ")
    };
    text.lines().map(line).collect()
}

#[test]
fn it_ends_the_flows_that_conntrack_would_and_no_other() {
    let world = World::new();
    for (terms, conntrack) in [
        (&["mark=0xc9"][..], "-D -m 0xc9"),
        (&["mark=0xc9/0xff"], "-D -m 0xc9/0xff"),
        (
            &["src=192.168.9.20,proto=udp,dport=5060"],
            "-D -p udp -s 192.168.9.20 --dport 5060",
        ),
        (&["reply-dst=203.0.113.7"], "-D -q 203.0.113.7"),
        (&["state=CLOSE-WAIT"], "-D -p tcp --state CLOSE_WAIT"),
        (&["proto=TCP,family=ipv6"], "-D -f ipv6 -p tcp"),
        (&["zone=3"], "-D -w 3"),
        (&["orig-zone=5,reply-zone=0"], "-D -f ipv6 --orig-zone 5"),
        (&["reply-zone=6,orig-zone=0"], "-D -f ipv6 --reply-zone 6"),
        (&["icmp-type=8"], "-D -p icmp"),
        (&["icmp-id=78"], "-D -f ipv6 -p icmpv6"),
        (&["gre-key=10"], "-D -p gre"),
        (&["proto=sctp,state=established"], "-D -p sctp"),
        (&["proto=50"], "-D -p 50"),
        (&["dport<443,proto=tcp"], "-D -p tcp --dport 80"),
        (&["left>1h"], "-D -p tcp --state ESTABLISHED"),
        (
            &["reply-sport=5060,status=seen-reply"],
            "-D -p udp --reply-port-dst 5061",
        ),
    ] {
        world.sh(&format!("conntrack -F 2>/dev/null; {FLOWS}"));
        let all = listed(&world);
        assert_eq!(all.len(), 14);
        let args: Vec<String> = terms
            .iter()
            .map(|terms| format!("--match={terms}"))
            .collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let told = kill(&world, &args);
        let left = listed(&world);
        let ended = all.len() - left.len();
        assert_eq!(told["deleted"], ended, "{terms:?}: {told}");
        assert!(ended > 0, "{terms:?}");
        world.sh(&format!("conntrack -F 2>/dev/null; {FLOWS}"));
        world.sh(&format!("conntrack {conntrack}"));
        assert_eq!(left, listed(&world), "{terms:?} and conntrack {conntrack}");
    }
}

/// At one end or at both, with a port that changes or not.
const TRANSLATED: &str = "
    udp='conntrack -I -p udp -t 600 --sport 4000 --dport 80'
    $udp -s 10.1.5.1 -d 10.3.0.1 -g 10.2.0.2:8080 -n 10.2.0.1:5000
    $udp -s 10.1.5.2 -d 10.3.0.1 -g 10.2.0.2 -n 10.2.0.1:4000
    $udp -s 10.1.5.3 -d 10.3.0.1 -n 10.2.0.1:5001
    $udp -s 2001:db8:1::1 -d 2001:db8:3::1 -g [2001:db8:2::2]:8080 -n [2001:db8:2::1]:5000
";

#[test]
fn what_was_saved_is_restored_by_conntrack() {
    let world = World::new();
    world.sh(FLOWS);
    world.sh(TRANSLATED);
    let before = listed(&world);
    let told = kill(&world, &["--match", "left>1", "--save", "/run/flows"]);
    assert_eq!(
        (&told["deleted"], &told["saved"]),
        (&18.into(), &"/run/flows".into())
    );
    assert_eq!(listed(&world).len(), 0);
    assert_eq!(world.sh("stat -c %a /run/flows").trim(), "600");
    world.sh("conntrack -R /run/flows");
    assert_eq!(listed(&world), before);
    // It is not written over.
    let told = world
        .cttune(&["kill", "--match", "left>1", "--yes", "--save", "/run/flows"])
        .exits(1);
    told.says(&["/run/flows", "nothing was changed"]);
    assert_eq!(listed(&world), before);
}

/// What every flow of the table satisfies.
const EVERY: &[&[&str]] = &[
    &["--match", "mark=0/0"],
    &["--match", "zone=0-65535,mark=0x0/0x0"],
    &["--match", "family=ipv4", "--match", "family=ipv6"],
    &["--match", "proto=tcp", "--match", "proto!=tcp"],
    &["--match", "src=0.0.0.0/0", "--match", "src=::/0"],
    &["--match", "proto!=253"],
    &[
        "--match",
        "dport=80,dst!=9.9.9.9",
        "--match",
        "status!=dying",
    ],
    &["--match", "left>0", "--keep", "proto=udp"],
    &["--match", "left<1h", "--match", "left>=1h"],
    &["--match", "status=confirmed"],
    &[
        "--match",
        "status=confirmed,family=ipv4",
        "--match",
        "label!=3",
    ],
];

#[test]
fn nothing_is_ended_without_a_name_and_everything_only_when_asked_for() {
    let world = World::new();
    world.sh(FLOWS);
    let all = listed(&world);
    world.cttune(&["kill", "--yes"]).exits(64);
    world.cttune(&["kill", "--match", "", "--yes"]).exits(64);
    for every in EVERY {
        let told = world
            .cttune(&[&["kill", "--yes"], *every].concat())
            .exits(1);
        told.briefly()
            .says(&["every flow", "--all-flows", "nothing was changed"]);
    }
    let told = world
        .cttune(&["kill", "--yes", "--match", "idle>0s"])
        .exits(1);
    told.says(&["every flow", "--all-flows", "nothing was changed"]);
    let told = world.cttune(&["kill", "--match", "dport=80"]).exits(1);
    told.says(&["no terminal", "--yes"]);
    let told = world
        .cttune(&["kill", "--match", "dport=81", "--yes"])
        .exits(1);
    told.says(&["no flow matches --match", "nothing was changed"]);
    let told = world
        .cttune(&["kill", "--match", "bytes>1MiB", "--yes"])
        .exits(1);
    told.says(&["no flow matches --match", "nf_conntrack_acct"]);
    let told = world
        .cttune(&["kill", "--match", "dport=80", "--yes", "--max-flows", "4"])
        .exits(1);
    told.says(&["--max-flows allows 4", "nothing was changed"]);
    let told = world
        .cttune(&["kill", "--match", "dport=80", "--dry-run"])
        .exits(0);
    for said in [
        "5 flows would be ended",
        "for example",
        "tcp 10.0.0.1:1025 > 192.0.2.1:80",
    ] {
        assert!(told.stdout.contains(said), "{told}");
    }
    assert_eq!(listed(&world), all);
    let told = kill(
        &world,
        &["--match", "mark=0/0", "--all-flows", "--keep", "proto=udp"],
    );
    assert_eq!(
        (&told["deleted"], &told["kept_why"]["keep"]),
        (&12.into(), &2.into())
    );
    assert_eq!(listed(&world).len(), 2);
}

#[test]
fn a_large_table_that_matches_as_a_whole_is_not_ended_by_accident() {
    let world = World::with_flows(2000);
    let args = ["kill", "--match", "left<10d", "--yes"];
    let told = world.cttune(&args).exits(1);
    told.says(&["every flow of the table matches", "--all-flows"]);
    let told = kill(&world, &["--match", "left<10d", "--all-flows"]);
    assert!(told["deleted"].as_u64().unwrap() > 1000, "{told}");
}

#[test]
fn the_session_that_runs_it_is_kept() {
    let world = World::new();
    world.sh(&format!(
        "{TCP} -t 9000 -s 10.0.0.1 --sport 1001 --dport 22; {TCP} -t 9000 -s 10.0.0.1 --sport 1002 --dport 22"
    ));
    // With sshd in another namespace the server has another address there.
    for server in ["192.0.2.1 22", "172.16.0.9 2222"] {
        let mut command = world.command("cttune");
        command.env("SSH_CONNECTION", format!("10.0.0.1 1002 {server}"));
        command.args(["kill", "--match", "dport=22", "--all-flows", "--dry-run"]);
        let told = Told::by(&mut command).exits(0);
        assert!(told.stdout.contains("1 flow would be ended"), "{told}");
    }
    let mut command = world.command("cttune");
    command.env("SSH_CONNECTION", "10.0.0.1 1002 192.0.2.1 22");
    command.args(["kill", "--match", "dport=22", "--yes"]);
    let told = Told::by(&mut command).exits(0);
    let said = "ended 1 flow; kept 1 flow: 1 ssh-session";
    assert!(told.stdout.contains(said), "{told}");
    assert!(
        listed(&world)
            .iter()
            .all(|flow| flow.contains("sport=1002"))
    );
    let log = world.sh("cat \"${CTTUNE_STATE_DIR:-/var/lib/cttune}/flows.json\"");
    assert!(
        log.contains("\"kill\"") && log.contains("dport=22"),
        "{log}"
    );
}

#[test]
fn inside_of_tmux_the_session_that_is_attached_is_kept() {
    // In a sandbox of its own, whose /proc knows the other processes.
    let script = format!(
        "export PATH=$PATH:/usr/sbin:/sbin
        for port in 1001 1002 1003; do
            {TCP} -t 9000 -s 10.0.0.1 --sport $port --dport 22 >/dev/null
        done
        SSH_CONNECTION='10.0.0.1 1001 192.0.2.1 22' sleep 60 >/dev/null 2>&1 &
        until grep -q SSH_CONNECTION /proc/$!/environ; do sleep 0.01; done
        export SSH_CONNECTION='10.0.0.1 1002 192.0.2.1 22'
        for inside in TMUX=/tmp/tmux-0/default STY=7.pts-0.fw A=B; do
            env -u TMUX -u STY $inside cttune kill --match dport=22 --all-flows --dry-run
        done
        kill $!"
    );
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cttune"));
    command.env_remove("TMUX").env_remove("STY");
    command.args(["sandbox", "--flows", "0", "--", "sh", "-ec", &script]);
    let told = Told::by(&mut command).exits(0);
    let ended = told.stdout.lines().filter(|line| line.contains("would be"));
    assert_eq!(
        ended.collect::<Vec<_>>(),
        [
            "1 flow would be ended",
            "1 flow would be ended",
            "2 flows would be ended"
        ]
    );
}

#[test]
fn history_lists_what_was_done_to_flows_and_damage_is_told() {
    let world = World::new();
    world.sh(FLOWS);
    kill(&world, &["--match", "dport=5060", "--match", "icmp-id=77"]);
    world.cttune(&["expire", "--yes"]).exits(0);
    let told = world
        .cttune(&["history", "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(told["changes"], serde_json::json!([]));
    let flows = told["flows"].as_array().unwrap();
    assert_eq!(
        (&flows[0]["mode"], &flows[0]["flows"]),
        (&"kill".into(), &3.into()),
        "{told}"
    );
    assert_eq!(
        flows[0]["match"],
        serde_json::json!(["dport=5060", "icmp-id=77"])
    );
    assert_eq!(
        (&flows[1]["mode"], flows.len()),
        (&"clamp".into(), 2),
        "{told}"
    );
    let text = world.cttune(&["history"]).exits(0).stdout;
    let line = |mode: &str| text.lines().find(|line| line.contains(mode)).unwrap();
    assert!(
        line(" kill ").ends_with("3  dport=5060 or icmp-id=77"),
        "{text}"
    );
    assert!(line(" clamp ").ends_with("  all"), "{text}");
    let file = "\"${CTTUNE_STATE_DIR:-/var/lib/cttune}/flows.json\"";
    world.sh(&format!("printf '[{{' > {file}"));
    let told = world.cttune(&["history"]).exits(0);
    told.says(&["what was done to flows is not shown", "damaged"]);
    // What was lost stays unknown; the next act is written.
    kill(&world, &["--match", "dport=443"]);
    let text = world.cttune(&["history"]).exits(0).stdout;
    assert!(
        text.contains(" unknown ") && text.contains("dport=443"),
        "{text}"
    );
}

#[test]
fn a_flow_that_traffic_creates_again_is_told_and_left() {
    let world = World::new();
    let told = world.sh(
        "udp='conntrack -I -p udp -t 60 -s 10.0.0.1 -d 192.0.2.1 --sport 1 --dport 53'
        $udp
        while [ ! -e /run/stop ]; do $udp || true; done >/dev/null 2>&1 &
        cttune kill --match dport=53 --rate 1/s --yes
        # Also where its packets are some milliseconds apart; under load some may be late.
        for try in $(seq 50); do
            cttune kill --match dport=53 --yes 2>&1 | grep 'again at once' >/run/again && break
        done
        touch /run/stop; wait; sed 's/^/soon: /' /run/again",
    );
    assert!(
        told.contains("soon: note: traffic created 1 flow again at once"),
        "{told}"
    );
    assert!(told.contains("ended 1 flow"), "{told}");
    assert!(
        told.contains("traffic created 1 flow again at once"),
        "{told}"
    );
}

#[test]
fn a_term_about_idle_time_watches_the_flows_first() {
    let world = World::new();
    world.sh(&format!(
        "{TCP} -t 9000 -s 10.0.0.1 --sport 1001 --dport 80; {TCP} -t 9000 -s 10.0.0.1 --sport 1002 --dport 80"
    ));
    let mut speaker = world.command("sh");
    let mut speaker = speaker
        .args(["-c", "sleep 1.5; conntrack -U -p tcp -s 10.0.0.1 -d 192.0.2.1 --sport 1002 --dport 80 -t 9000"])
        .spawn()
        .unwrap();
    let told = kill(&world, &["--match", "dport=80,idle>2"]);
    speaker.wait().unwrap();
    assert_eq!(told["deleted"], 1, "{told}");
    assert!(
        listed(&world)
            .iter()
            .all(|flow| flow.contains("sport=1002"))
    );
    for command in ["expire", "top"] {
        let told = world.cttune(&[command, "--match", "idle>1h"]).exits(64);
        told.says(&["idle", "kill"]);
    }
}
