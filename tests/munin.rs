//! A real munin-node serves the plugin of contrib/, beside munin's own fw_conntrack, and the two
//! agree on the same table.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use support::{Told, World, ordinary_user};

const STOCK: &str = "/usr/share/munin/plugins/fw_conntrack";
const GRAPHS: [&str; 3] = [
    "multigraph cttune_drops",
    "multigraph cttune_drift",
    "multigraph cttune_destinations",
];

fn plugin() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/munin/cttune");
    path.to_str().unwrap().to_owned()
}

/// Flows of every kind that either plugin counts, and of some that they do not, for conntrack(8) to
/// load; none ends while a test looks.
const FLOWS: &str = r#"
    load() { sed 's/^/-A -t 90000 /' >/run/flows; conntrack -R /run/flows; }
    states="SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT CLOSE"
    awk -v states="$states" 'BEGIN {
        number = split(states, state)
        for (i = 0; i < 20000; i++) {
            status = "SEEN_REPLY" (i % 3 ? ",ASSURED" : "")
            flow = "-p tcp --state " state[i % number + 1] " -u " status
            address = i % 5 ? "-s 10.0." int(i / 250) ".7 -d 192.0.2.1" : "-s 2001:db8::" i / 5 " -d 2001:db8::1"
            print flow, address, "--sport", i + 1024, "--dport 443"
        }
        for (i = 0; i < 4000; i++) {
            flow = "-p " (i % 9 ? "udp" : "udplite") (i % 4 ? " -u SEEN_REPLY,ASSURED" : "")
            print flow, "-s 10.1.0.1 -d 192.0.2.53 --sport", i + 1024, "--dport 53"
        }
        for (i = 0; i < 70; i++) {
            print "-p icmp -s 10.2.0.1 -d 192.0.2.1 --icmp-type 8 --icmp-code 0 --icmp-id", i
            print "-p gre -s 10.2.0.1 -d 192.0.2.1 --srckey", i, "--dstkey 1"
        }
        tcp = "-p tcp --state ESTABLISHED -u ASSURED,SEEN_REPLY -s 10.3.0.1 -d 192.0.2.1 --dport 80"
        for (i = 0; i < 30; i++) print tcp, "--sport", i + 1024, "-g 203.0.113.9"
        for (i = 0; i < 20; i++) print tcp, "--sport", i + 2024, "-n 203.0.113.9"
    }' | load"#;

/// A munin-node in a world of its own, with both plugins.
struct Node {
    world: World,
    node: Child,
}

impl Node {
    /// Starts one; `settings` are lines for our plugin.
    fn start(world: World, settings: &str) -> Self {
        let folder = world.place.path().to_str().unwrap().to_owned();
        world.place.write(
            "node.conf",
            &format!(
                "log_file {folder}/node.log\npid_file {folder}/node.pid\nbackground 0\nsetsid 0\n\
                 user root\ngroup root\nhost 127.0.0.1\nport 4949\nallow ^127\\.0\\.0\\.1$\n"
            ),
        );
        let conf = format!("[*]\nuser root\ngroup root\nenv.cttune {folder}/cttune\n{settings}");
        world.place.write("plugin-conf.d/conntrack", &conf);
        fs::create_dir(world.place.path().join("plugins")).unwrap();
        world.sh(&format!(
            "cp {STOCK} {} {folder}/plugins
            mount --bind {folder}/plugins /etc/munin/plugins
            mount --bind {folder}/plugin-conf.d /etc/munin/plugin-conf.d
            ip link set lo up",
            plugin()
        ));
        // The counters are in /proc, which shows the processes of the sandbox alone.
        let mut command = world.command_among_processes("munin-node");
        let node = command
            .args(["--foreground", "--config"])
            .arg(format!("{folder}/node.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let node = Node { world, node };
        node.sh("for try in $(seq 200); do
                (exec 3<>/dev/tcp/127.0.0.1/4949) 2>/dev/null && exit 0; sleep 0.05
            done
            echo munin-node does not listen >&2; exit 1");
        node
    }

    #[track_caller]
    fn sh(&self, script: &str) -> String {
        let told = Told::by(self.world.command("bash").args(["-ec", script]));
        told.exits(0).stdout
    }

    /// What the node answers to the last of these lines.
    #[track_caller]
    fn asks(&self, lines: &[&str]) -> String {
        let said = self.sh(&format!(
            "exec 3<>/dev/tcp/127.0.0.1/4949
            printf '%s\\n' {} quit >&3
            cat <&3",
            lines
                .iter()
                .map(|line| format!("'{line}'"))
                .collect::<Vec<_>>()
                .join(" ")
        ));
        // A greeting, and a line for each `cap`; a list ends with its line, the rest with a dot.
        let answers: Vec<&str> = said.lines().skip(lines.len()).collect();
        let ended = answers.iter().position(|line| *line == ".");
        let answer = &answers[..ended.unwrap_or(answers.len())];
        answer.iter().map(|line| format!("{line}\n")).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.node.kill();
        let _ = self.node.wait();
    }
}

/// The part of an answer that is about the plugin's own graph.
fn own_graph(answer: &str) -> &str {
    let end = answer.find("multigraph ").unwrap_or(answer.len());
    &answer[..end]
}

fn value(answer: &str, field: &str) -> u64 {
    let start = format!("{field}.value ");
    let line = answer.lines().find_map(|line| line.strip_prefix(&start));
    let line = line.unwrap_or_else(|| panic!("no {field} in {answer}"));
    line.parse().unwrap()
}

#[test]
fn every_field_equals_fw_conntracks_on_the_same_table() {
    let world = World::new();
    world.sh(FLOWS);
    let node = Node::start(world, "");
    let multigraph = "cap multigraph";
    assert_eq!(
        own_graph(&node.asks(&[multigraph, "config cttune"])),
        node.asks(&[multigraph, "config fw_conntrack"])
    );
    let ours = node.asks(&[multigraph, "fetch cttune"]);
    let stock = node.asks(&[multigraph, "fetch fw_conntrack"]);
    assert_eq!(own_graph(&ours), stock);
    for (field, number) in [
        ("established", 2550),
        ("fin_wait", 2500),
        ("udp", 3555),
        ("nated", 50),
        ("total", 24_190),
    ] {
        assert_eq!(value(&stock, field), number, "{field} of {stock}");
    }
}

#[test]
fn the_other_graphs_come_to_who_understands_them() {
    let node = Node::start(World::story(), "");
    let caps = "cap multigraph dirtyconfig";
    let services = node.asks(&[caps, "list"]);
    assert!(services.contains("cttune") && services.contains("fw_conntrack"));

    let values = node.asks(&[caps, "fetch cttune"]);
    for graph in GRAPHS {
        assert!(values.contains(graph), "{values}");
    }
    assert!(value(&values, "place1") > 51_000);
    assert!(value(&values, "place1") > value(&values, "place2"));
    // No profile is in force.
    assert!(values.contains("drift.value U\n"));
    assert_eq!(value(&values, "drop"), 0);

    // A dirty configuration has the values with it, graph by graph.
    let dirty = node.asks(&[caps, "config cttune"]);
    let place = |text: &str| {
        dirty
            .find(text)
            .unwrap_or_else(|| panic!("{text} in {dirty}"))
    };
    assert!(place("total.critical 69120\n") < place("established.value "));
    assert!(place("established.value ") < place(GRAPHS[0]));
    assert!(place("place1.label 1: 2a00:1450:400b:c02::bc\n") < place("place1.value "));
    let clean = node.asks(&["cap multigraph", "config cttune"]);
    assert!(!clean.contains(".value "), "{clean}");

    let world = &node.world;
    let apply = ["apply", "--profile", "campus-fw", "--yes", "--adopt"];
    world.cttune(&apply).exits(0);
    assert_eq!(value(&node.asks(&[caps, "fetch cttune"]), "drift"), 0);
    world.sh("echo 77 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout");
    assert_eq!(value(&node.asks(&[caps, "fetch cttune"]), "drift"), 1);
}

#[test]
fn a_large_table_is_sampled_and_the_graph_says_how_exact_it_is() {
    let node = Node::start(World::with_flows(230_000), "");
    let entries = node.world.sysctl("count");
    assert!(
        entries > 200_000,
        "this host's max is too small for this test"
    );
    let caps = "cap multigraph dirtyconfig";
    let before = node.asks(&[caps, "fetch fw_conntrack"]);
    let answer = node.asks(&[caps, "config cttune"]);
    let info = answer.lines().find(|line| line.starts_with("graph_info "));
    let info = info.unwrap_or_else(|| panic!("{answer}"));
    assert!(info.contains("a sample of 50,000 flows"), "{info}");
    let after = node.asks(&[caps, "fetch fw_conntrack"]);
    // Six times the margin of 0.4 %: off by more once in more runs than there will be.
    let off = value(&after, "total") * 24 / 1000;
    for field in ["established", "udp", "assured", "total"] {
        let [before, ours, after] = [&before, &answer, &after].map(|text| value(text, field));
        // Flows end meanwhile, and none begins.
        let right = after.saturating_sub(off)..=before + off;
        assert!(right.contains(&ours), "{field}: {ours} is not in {right:?}");
    }
}

#[test]
fn every_flow_is_read_where_the_operator_wants_it() {
    let node = Node::start(World::with_flows(210_000), "[cttune]\nenv.flows all\n");
    assert!(node.world.sysctl("count") > 200_000);
    let answer = node.asks(&["cap multigraph dirtyconfig", "config cttune"]);
    assert!(!answer.contains("graph_info"), "{answer}");
}

#[test]
fn a_link_named_after_a_namespace_shows_its_table() {
    let world = World::story();
    let (_keeper, pid) = world.netns();
    let number = pid.strip_prefix("pid:").unwrap();
    let mut command = world.command_among_processes("bash");
    let told = Told::by(
        command
            .env("cttune", "/run/cttune-sandbox/bin/cttune")
            .args([
                "-ec",
                &format!(
                    "touch /run/blue; mkdir -p /run/netns; touch /run/netns/blue-1
            mount --bind /proc/{number}/ns/net /run/netns/blue-1
            ln -s {} /run/cttune_blue-1
            MUNIN_CAP_MULTIGRAPH=1 /run/cttune_blue-1",
                    plugin()
                ),
            ]),
    );
    let told = told.exits(0);
    assert_eq!(value(&told.stdout, "total"), 0);
    assert!(
        told.stdout.contains("multigraph cttune_blue_1_drops\n"),
        "{told}"
    );
}

#[test]
fn autoconf_says_yes_or_why_not() {
    let world = World::new();
    let autoconf = ["metrics", "--format", "munin", "autoconf"];
    assert_eq!(world.cttune(&autoconf).exits(0).stdout, "yes\n");
    let mut command = ordinary_user();
    command.arg(world.place.program()).args(autoconf);
    let told = Told::by(&mut command).exits(0);
    assert_eq!(
        told.stdout,
        "no (reading the conntrack table: permission denied: needs root (CAP_NET_ADMIN))\n"
    );
}

#[test]
fn who_may_not_walk_the_table_still_gets_its_size() {
    let world = World::new();
    let mut command = ordinary_user();
    command.arg(world.place.program());
    let told = Told::by(command.args(["metrics", "--format", "munin"])).exits(0);
    assert!(told.stdout.contains("established.value U\n"), "{told}");
    assert!(value(&told.stdout, "total") < u64::MAX);
    told.says(&["note: flows not read: reading the conntrack table: permission denied"]);
}
