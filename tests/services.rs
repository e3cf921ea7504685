//! Timeouts for services on a real kernel: what apply writes, reads back and undoes, and what every
//! flow gets.
//!
//! Needs the packages conntrack, iproute2, nftables, python3 and util-linux. Guests with systemd are
//! in tests/guests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

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

#[test]
fn a_flush_under_us_is_told_by_check_and_mended_by_apply() {
    let world = world(PROFILE);
    apply(&world, &[]).exits(0);
    let live = listed(&world);
    world.sh("nft flush ruleset");
    let told = finding(&world).unwrap();
    assert!(told.contains("is gone: 2 services"), "{told}");
    world.cttune(&["check", "own"]).exits(2);
    assert_eq!(kinds(&plan(&world, &[])), ["service"]);
    apply(&world, &[]).exits(0);
    assert_eq!(listed(&world), live);
    // What somebody else did in between is not undone by itself.
    write(&world, &PROFILE.replace("30m", "40m"));
    apply(&world, &["--only", "live"]).exits(0);
    world.sh(
        "nft delete table inet cttune; nft -f /etc/cttune/services.nft; \
              nft flush chain inet cttune own",
    );
    let undo = ["rollback", "--yes"];
    let told = world.cttune(&undo).exits(1);
    told.says(&["nft table inet cttune was changed by somebody else since"]);
    world
        .cttune(&[&undo[..], &["--overwrite-changed"]].concat())
        .exits(0);
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
            "the chain arriving",
        ),
        ("set hosts { type ipv4_addr; }", "the set hosts"),
        (
            "ct timeout t { protocol tcp; policy = { close: 5 }; }",
            "the object t",
        ),
        ("counter c { }", "the object c"),
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

/// A client, this world as the router, and a server, with IPv4 and IPv6; `$C` and `$S` run a command
/// in the network of either, and `hold` keeps a flow open and says when its last packet was.
const NETWORK: &str = r#"
cat > /run/talk.py <<'END'
import signal, socket, sys
family = {'4': socket.AF_INET, '6': socket.AF_INET6}[sys.argv[2]]
kind = {'tcp': socket.SOCK_STREAM, 'udp': socket.SOCK_DGRAM}[sys.argv[3]]
one = socket.socket(family, kind)
one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if sys.argv[1] == 'listen':
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    one.bind(('', int(sys.argv[5])))
    if sys.argv[3] == 'tcp':
        one.listen(300)
    print('up', flush=True)
    kept = []
    while True:
        if sys.argv[3] == 'tcp':
            kept.append(one.accept()[0])
        else:
            data, peer = one.recvfrom(99)
            one.sendto(data, peer)
elif sys.argv[1] == 'hold':
    one.settimeout(30)
    one.connect((sys.argv[4], int(sys.argv[5])))
    if sys.argv[3] == 'udp':
        one.send(b'x')
        one.recv(9)
    print('held', open('/proc/uptime').read().split()[0], flush=True)
    signal.pause()
else:
    done = 0
    for number in range(int(sys.argv[6])):
        try:
            one = socket.socket(family, kind)
            one.settimeout(float(sys.argv[7]))
            one.connect((sys.argv[4], int(sys.argv[5])))
            if sys.argv[3] == 'udp':
                one.send(b'x')
                one.recv(9)
            done += 1
        except OSError:
            pass
    print(done)
END
C="nsenter -t $CLIENT -n"; S="nsenter -t $SERVER -n"
ip link set lo up
ip link add r1 type veth peer name c netns $CLIENT
ip link add r2 type veth peer name s netns $SERVER
ip addr add 10.1.0.1/24 dev r1; ip addr add 10.2.0.1/24 dev r2
ip addr add 2001:db8:1::1/64 dev r1 nodad; ip addr add 2001:db8:2::1/64 dev r2 nodad
ip link set r1 up; ip link set r2 up
$C ip addr add 10.1.0.2/24 dev c; $S ip addr add 10.2.0.2/24 dev s
$C ip addr add 2001:db8:1::2/64 dev c nodad; $S ip addr add 2001:db8:2::2/64 dev s nodad
$C ip link set lo up; $C ip link set c up; $S ip link set lo up; $S ip link set s up
$C ip route add default via 10.1.0.1; $S ip route add default via 10.2.0.1
$C ip -6 route add default via 2001:db8:1::1; $S ip -6 route add default via 2001:db8:2::1
echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
listen() {
    where=$1; shift
    $where python3 /run/talk.py listen "$@" > /run/up.$$ & PIDS="$PIDS $!"
    for _ in $(seq 200); do grep -q up /run/up.$$ && break; sleep 0.05; done
    grep -q up /run/up.$$; : > /run/up.$$
}
hold() {
    where=$1; shift
    : > /run/held.$$
    $where python3 /run/talk.py hold "$@" > /run/held.$$ & PIDS="$PIDS $!"
    for _ in $(seq 600); do grep -q held /run/held.$$ && break; sleep 0.05; done
    cat /run/held.$$
}
talk() { $C python3 /run/talk.py talk "$@" 1 5; }
trap 'kill $PIDS' EXIT
"#;

/// Runs a script with the network around it.
fn with_network(world: &World, script: &str) -> String {
    let ((_client, client), (_server, server)) = (world.netns(), world.netns());
    let number = |pid: &str| pid.trim_start_matches("pid:").to_owned();
    let text = format!("{NETWORK}{script}");
    let mut command = world.command_among_processes("sh");
    command.args(["-ec", &text]);
    command
        .env("CLIENT", number(&client))
        .env("SERVER", number(&server));
    Told::by(&mut command).exits(0).stdout
}

#[test]
fn real_flows_get_the_time_of_their_service_and_others_that_of_the_sysctl() {
    let world = world(PROFILE);
    apply(&world, &[]).exits(0);
    let told = with_network(
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

const LIFELINE: &str = "[lifeline]
from = [\"10.1.0.0/24\", \"2001:db8:1::/64\"]
ports = [22]
";

#[test]
fn sessions_of_the_lifeline_need_no_entry_of_a_full_table() {
    // As many as the kernel lets a namespace have.
    let max = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max").unwrap();
    let world = World::with_flows(max.trim().parse().unwrap());
    world.sh("mkdir -p /etc/cttune/profiles");
    write(&world, LIFELINE);
    let told = with_network(
        &world,
        r#"
nft 'table inet filter {
    chain i { type filter hook input priority 0; policy drop; ct state untracked accept;
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; iif lo accept; }
    chain f { type filter hook forward priority 0; policy drop; ct state untracked accept; }
}'
cttune apply own --yes --only live >/dev/null
listen "$S" 4 tcp - 22; listen "$S" 6 tcp - 22; listen "" 4 tcp - 22; listen "" 6 tcp - 22
for to in '4 tcp 10.2.0.2' '6 tcp 2001:db8:2::2' '4 tcp 10.1.0.1' '6 tcp 2001:db8:1::1'; do
    $C python3 /run/talk.py talk $to 22 25 5
done
conntrack -L -p tcp --dport 22 -s 10.1.0.2 2>/dev/null | wc -l
"#,
    );
    assert_eq!(told, "25\n25\n25\n25\n0\n");
}

#[test]
fn a_lifeline_that_the_rules_would_drop_is_refused_with_the_rules_to_add() {
    let world = world(LIFELINE);
    world.sh(
        "nft 'table inet f { chain i { type filter hook input priority 0; policy drop;
         tcp dport 22 ct state new accept; }; }'",
    );
    let before = (world.state(), listed(&world));
    let told = apply(&world, &[]).exits(1).error();
    let message = told["message"].as_str().unwrap();
    let add: Vec<&str> = message
        .lines()
        .filter(|line| line.starts_with("nft insert"))
        .collect();
    assert_eq!(add[0], "nft insert rule inet f i ct state untracked accept");
    assert_same(&before.0, &world.state(), "refused");
    assert_eq!(listed(&world), before.1);
    world.sh(&add.join("\n"));
    // Sessions that are tracked by now are tracked no more.
    let session = "-p tcp -s 10.1.0.7 -d 192.0.2.1 --sport 999 --dport 22";
    world.sh(&format!(
        "conntrack -I {session} --state ESTABLISHED -t 999 -u SEEN_REPLY,ASSURED"
    ));
    let other = session.replace("10.1.0.7", "10.7.0.7");
    world.sh(&format!(
        "conntrack -I {other} --state ESTABLISHED -t 999 -u SEEN_REPLY,ASSURED"
    ));
    apply(&world, &[]).exits(0);
    let left = world.sh("conntrack -L 2>/dev/null");
    assert!(
        left.contains("10.7.0.7") && !left.contains("10.1.0.7"),
        "{left}"
    );
    // Taking it away warns of the sessions that it had.
    write(&world, "[lifeline]\n");
    let planned = plan(&world, &[]);
    let why = planned["steps"][0]["why"].as_str().unwrap();
    assert!(why.contains("may hang"), "{why}");
}
