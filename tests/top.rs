//! `cttune top` against the kernel that runs, judged by `conntrack -L`, in sandboxes.
//!
//! Needs the packages conntrack and nftables.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::too_many_lines)] // tables of cases

mod inside;

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::ops::ControlFlow;
use std::process::{Command, Output};

use cttune::internals::{FlowData, walk};
use inside::{FLOWS, goes_inside, goes_inside_with, path, sh};
use serde_json::Value;

fn cttune(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cttune"))
        .args(arguments)
        .env("PATH", path())
        .env("COLUMNS", "1000")
        .output()
        .unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let output = cttune(&[&["top", "--format", "json"], arguments].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What `cttune top` shows in a sandbox with the story's flows, by a shell script.
fn in_sandbox(flows: &str, script: &str) -> String {
    let output = cttune(&["sandbox", "--flows", flows, "--", "sh", "-ec", script]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{script}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

const FIELDS: [&str; 9] = [
    "family", "proto", "state", "src", "sport", "dst", "dport", "zone", "mark",
];

/// Flows counted by all fields, from the lines of `conntrack -L -o extended`.
fn independent_count(listing: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in listing.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        // The first of the words that start so: those of the original direction.
        let first = |name: &str| {
            let found = words.iter().find_map(|word| word.strip_prefix(name));
            found.map(str::to_owned)
        };
        let zone = first("zone=")
            .or(first("zone-orig="))
            .or(first("zone-reply="));
        let proto = match (words[2], words[3]) {
            ("unknown", number) => number.replace("50", "esp"),
            (name, _) => name.to_owned(),
        };
        let state = (proto == "tcp").then(|| words[5].to_ascii_lowercase());
        let none = || "null".to_owned();
        let key = [
            words[0].to_owned(),
            proto,
            state.unwrap_or_else(none),
            first("src=").unwrap(),
            first("sport=").unwrap_or_else(none),
            first("dst=").unwrap(),
            first("dport=").unwrap_or_else(none),
            zone.unwrap_or_else(|| "0".to_owned()),
            first("mark=").unwrap(),
        ];
        *counts.entry(key.join(" ")).or_default() += 1;
    }
    counts
}

fn counted_by_top(top: &Value) -> BTreeMap<String, u64> {
    let groups = top["groups"].as_array().unwrap();
    let key = |group: &Value| {
        let value = |name: &&str| group["by"][*name].to_string().replace('"', "");
        FIELDS.iter().map(value).collect::<Vec<_>>().join(" ")
    };
    let count = |group: &Value| (key(group), group["flows"].as_u64().unwrap());
    groups.iter().map(count).collect()
}

/// Every protocol that conntrack tracks here (DCCP is gone since about 6.17) and two that it does
/// not know, over each family that has it, with and without a zone, of both directions and of one,
/// and a mark.
const EVERY_KIND: &str = r#"
    every() {
        for protocol in "$@" \
            'tcp --sport 1 --dport 2 --state ESTABLISHED' 'udp --sport 1 --dport 2' \
            'udplite --sport 1 --dport 2' \
            'sctp --sport 1 --dport 2 --state ESTABLISHED --orig-vtag 1 --reply-vtag 2' \
            'gre --srckey 9 --dstkey 10' 50 2
        do
            set -- $protocol; name=$1; shift
            for more in 4 '5 -w 3' '6 -m 7' '7 -w 3 -m 7' '8 --orig-zone 5' '9 --reply-zone 6 -m 8'; do
                conntrack -I -p $name -t 60 -d ${net}1 -s $net$more $*
            done
        done
    }
    net=10.0.0. every 'icmp --icmp-type 8 --icmp-code 0 --icmp-id 77'
    net=2001:db8:: every 'icmpv6 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 78'
"#;

/// Flows that real packets make: UDP over the loopback interface.
fn talk() {
    sh(
        "nft add table inet t; nft add chain inet t o '{ type filter hook output priority 0; }'
        nft add rule inet t o ct state new counter",
    );
    for ip in ["127.0.0.1", "[::1]"] {
        let (one, two) = (
            UdpSocket::bind(format!("{ip}:0")).unwrap(),
            UdpSocket::bind(format!("{ip}:0")).unwrap(),
        );
        let mut buffer = [0; 8];
        one.send_to(b"hello", two.local_addr().unwrap()).unwrap();
        let (_, from) = two.recv_from(&mut buffer).unwrap();
        two.send_to(b"you too", from).unwrap();
        one.recv_from(&mut buffer).unwrap();
    }
}

#[test]
fn top_agrees_to_the_flow_with_what_conntrack_lists() {
    if goes_inside("top_agrees_to_the_flow_with_what_conntrack_lists") {
        return;
    }
    sh(FLOWS);
    sh(EVERY_KIND);
    talk();
    let top = json(&[
        "--by",
        &FIELDS.join(","),
        "-n",
        "1000",
        "--prefix",
        "128,32",
    ]);
    let listed = independent_count(&sh("conntrack -L -o extended"));
    assert_eq!(counted_by_top(&top), listed);
    assert_eq!(top["total"].as_u64().unwrap(), listed.values().sum::<u64>());
    // Eight protocols, two families, six ways; FLOWS; and the two that talked.
    assert!(listed.len() >= 8 * 2 * 6 + 18, "{listed:#?}");
    assert!(top["sampled"].is_null());
    for group in top["groups"].as_array().unwrap() {
        assert_eq!(group["margin"], 0.0);
    }
}

#[test]
fn each_field_alone_adds_up_to_the_table() {
    if goes_inside("each_field_alone_adds_up_to_the_table") {
        return;
    }
    sh(FLOWS);
    for (field, groups) in [
        ("family", 2),
        ("proto", 8),
        ("state", 4),
        ("dport", 5),
        ("zone", 4),
        ("mark", 2),
        ("reply-src", 3),
        ("reply-dst", 4),
    ] {
        let top = json(&["--by", field]);
        let shown = top["groups"].as_array().unwrap();
        assert_eq!(shown.len(), groups, "{field}: {shown:#?}");
        let flows: u64 = shown
            .iter()
            .map(|group| group["flows"].as_u64().unwrap())
            .sum();
        assert_eq!(flows, 16, "{field}");
    }
    let top = json(&["--by", "src", "--prefix", "32,8"]);
    let nets: Vec<_> = top["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|g| g["by"]["src"].clone())
        .collect();
    assert_eq!(nets, ["10.0.0.0/8", "2001:db8::/32"]);
    let top = json(&[
        "--match",
        "proto=tcp,zone=3",
        "--match",
        "proto=esp",
        "--by",
        "proto",
    ]);
    assert_eq!(top["total"], 2);
    let top = json(&[
        "--match",
        "dport=80",
        "--keep",
        "zone=3",
        "--keep",
        "family=ipv6",
    ]);
    let listed = sh("conntrack -L -f ipv4 -p tcp --dport 80 2>/dev/null");
    let wanted = listed.lines().filter(|line| !line.contains("zone=3"));
    assert_eq!(top["total"], wanted.count());
}

#[test]
fn the_story_is_told_in_a_sentence() {
    let text = in_sandbox("76768", "cttune top");
    let first = text.lines().next().unwrap();
    let (numbers, rest) = first.split_once(" %) ").unwrap();
    assert_eq!(
        rest,
        "are established TCP to 2a00:1450:400b:c02::bc port 5228, \
         from 17 /64 networks (the largest 6.4 %); if idle, half of them end within 2d12h."
    );
    // 52,000 of 76,768 flows (67.7, less those that ended until the table was read.
    let words: Vec<f64> = numbers
        .split([' ', '('])
        .filter_map(|word| word.replace(',', "").parse().ok())
        .collect();
    let [flows, total, share] = words[..] else {
        panic!("{first}")
    };
    assert!(
        (51_990.0..=52_000.0).contains(&flows) && total <= 76_768.0,
        "{first}"
    );
    assert!(
        (share - (1000.0 * flows / total).round() / 10.0).abs() < 0.01,
        "{first}"
    );
}

/// What a chi-square exceeds as rarely as a normal variable exceeds `sigmas`, by Wilson and
/// Hilferty.
fn critical(freedom: usize, sigmas: f64) -> f64 {
    let freedom = f64::from(u32::try_from(freedom).unwrap());
    let spread = 2.0 / (9.0 * freedom);
    freedom * (1.0 - spread + sigmas * spread.sqrt()).powi(3)
}

/// What flows are told apart by when the sample is judged.
const KEYS: [fn(&FlowData) -> String; 4] = [
    |flow| format!("{} {:?} {}", flow.protocol, flow.state, flow.dst),
    |flow| match flow.src {
        std::net::IpAddr::V4(address) => address.octets()[2].to_string(),
        std::net::IpAddr::V6(address) => address.segments()[3].to_string(),
    },
    |flow| format!("{:?}", flow.ports.map(|(src, _)| src)),
    |flow| format!("{:?}", flow.time_left.map(|seconds| seconds / 10_000)),
];

#[test]
fn the_first_flows_of_a_dump_are_a_uniform_sample() {
    if goes_inside_with("the_first_flows_of_a_dump_are_a_uniform_sample", "76768") {
        return;
    }
    // The sample and the whole table from one dump, so that no flow can end in between.
    let mut flows: Vec<[String; 4]> = Vec::new();
    walk("", |flow| {
        flows.push(KEYS.map(|key| key(flow)));
        ControlFlow::Continue(())
    })
    .unwrap();
    for sampled in [2_000, 10_000, 50_000] {
        for key in 0..KEYS.len() {
            let mut counts: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
            for (place, flow) in flows.iter().enumerate() {
                let count = counts.entry(&flow[key]).or_default();
                count.0 += 1.0;
                count.1 += f64::from(u8::from(place < sampled));
            }
            let square = chi_square(counts.values(), number(sampled) / number(flows.len()));
            // Once in a million: a dozen are judged a run, over a table whose order is drawn anew,
            // and at 0.1 % one run in eighty failed for nothing.
            let limit = critical(square.1, 4.75);
            assert!(
                square.0 < limit,
                "key {key} of {sampled}: {square:?} above {limit}"
            );
        }
    }
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

/// How far what was sampled is from what was to be expected of `part` of each group, and in how
/// many independent ways. Groups of fewer than five are taken together.
fn chi_square<'a>(counts: impl Iterator<Item = &'a (f64, f64)>, part: f64) -> (f64, usize) {
    let (mut square, mut cells, mut rest) = (0.0, 0, (0.0, 0.0));
    // Drawn without putting back: the spread is that much smaller.
    let mut add = |(whole, found): (f64, f64)| {
        square += (found - whole * part).powi(2) / (whole * part) / (1.0 - part);
        cells += 1;
    };
    for (whole, found) in counts {
        if whole * part < 5.0 {
            rest = (rest.0 + whole, rest.1 + found);
        } else {
            add((*whole, *found));
        }
    }
    if rest.0 * part >= 5.0 {
        add(rest);
    }
    assert!(cells > 5);
    (square, cells - 1)
}

#[test]
fn the_judge_of_samples_sees_one_that_is_not_uniform() {
    let fair: Vec<(f64, f64)> = vec![(1000.0, 100.0); 10];
    let (square, freedom) = chi_square(fair.iter(), 0.1);
    assert!(square < critical(freedom, 4.75));
    let mut unfair = fair;
    (unfair[0].1, unfair[1].1) = (160.0, 40.0);
    let (square, freedom) = chi_square(unfair.iter(), 0.1);
    assert!(square > critical(freedom, 4.75));
    // From the tables: 0.1 % points for 9 and 100 degrees.
    assert!((critical(9, 3.09) - 27.88).abs() < 0.3 && (critical(100, 3.09) - 149.4).abs() < 0.5);
}

#[test]
fn margins_hold_the_truth() {
    let text = in_sandbox(
        "76768",
        "for look in 1 2 3 4 5; do
             cttune top --by proto,state,dst --exact --format json | tr -d '\\n'; echo
             cttune top --by proto,state,dst --sample 5000 --format json | tr -d '\\n'; echo
         done",
    );
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (looks, rest) = lines.as_chunks();
    assert!(rest.is_empty(), "{text}");
    let wrong: Vec<usize> = looks.iter().map(outside_of_the_margin).collect();
    // One group in twenty may be, and one that is larger makes others smaller: five of twenty are
    // more than chance, and two such samples of five are more than bad luck.
    let unlucky = wrong.iter().filter(|number| **number >= 5);
    assert!(looks.len() == 5 && unlucky.count() < 2, "{wrong:?} of 20");
}

/// Of the groups of a sample, those whose share is more than its margin off.
fn outside_of_the_margin([all, sample]: &[Value; 2]) -> usize {
    let truth = |by: &Value| {
        let groups = all["groups"].as_array().unwrap();
        let found = groups.iter().find(|group| group["by"] == *by);
        found.map_or(0.0, |group| group["share"].as_f64().unwrap())
    };
    let off = |group: &&Value| {
        let (share, margin) = (
            group["share"].as_f64().unwrap(),
            group["margin"].as_f64().unwrap(),
        );
        assert!(margin > 0.0 && margin < 0.02);
        (share - truth(&group["by"])).abs() > margin
    };
    // Some end between the two.
    let [all_flows, sampled_of] = [all, sample].map(|look| look["total"].as_u64().unwrap());
    let ended = all_flows.abs_diff(sampled_of);
    assert!(ended <= 1_000, "{all_flows} {sampled_of}");
    let groups = sample["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 20);
    groups.iter().filter(off).count()
}

/// Makes flows from lines of `conntrack -I` that a shell loop prints.
fn restore(lines: &str) {
    sh("conntrack -F >/dev/null 2>&1");
    sh(&format!("{{ {lines} }} | conntrack -R - >/dev/null"));
}

/// What `top --remedy` prints, and what it says.
fn remedy(arguments: &[&str]) -> (String, String) {
    let output = cttune(&[&["top", "--remedy"], arguments].concat());
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {told}");
    // It is tried, and not loaded here.
    assert_eq!(sh("nft list ruleset"), "");
    (String::from_utf8(output.stdout).unwrap(), told)
}

#[test]
fn a_remedy_was_tried_and_nft_accepts_it() {
    if goes_inside("a_remedy_was_tried_and_nft_accepts_it") {
        return;
    }
    let one_host = "for n in $(seq 400); do echo \"-I -p udp -t 90 -s 10.0.0.1 -d 192.0.2.$((n % 9)) --sport $((2000 + n)) --dport 27015\"; done";
    // The machine's own flows.
    sh("ip link set lo up; ip addr add 10.3.0.1/32 dev lo");
    let own = "for n in $(seq 400); do echo \"-I -p udp -t 90 -s 10.3.0.1 -d 192.0.2.9 --sport 6881 --dport $((2000 + n))\"; done";
    let behind_nat = "for n in $(seq 300); do echo \"-I -p tcp --state SYN_SENT -t 90 -s 10.0.0.1 -d 192.0.2.9 --sport $((2000 + n)) --dport 80 --reply-src 10.7.0.2 --reply-dst 10.0.0.1 --reply-port-src 8080 --reply-port-dst $((2000 + n))\"; done";
    let one_net = "for n in $(seq 300); do echo \"-I -p udp -t 90 -s 2001:db8:1:2::$n -d 2001:db8:9::9 --sport 5000 --dport 53\"; done";
    let large = "for n in $(seq 900); do echo \"-I -p udp -t 90 -s 10.0.0.1 -d 192.0.2.9 --sport 5000 --dport $((2000 + n))\"; done";
    let in_a_zone = "for n in $(seq 300); do echo \"-I -p udp -t 90 -w 7 -s 10.0.0.1 -d 192.0.2.9 --sport 5000 --dport $((2000 + n))\"; done";
    let tunnels = "for n in $(seq 300); do echo \"-I -p gre -t 90 -s 10.0.0.1 -d 192.0.2.9 --srckey 0 --dstkey $n\"; done";
    let associations = "for n in $(seq 300); do echo \"-I -p sctp -t 90 --state COOKIE_WAIT --orig-vtag 1 --reply-vtag 2 -s 2001:db8:1::1 -d 2001:db8:9::9 --sport $((2000 + n)) --dport 2905\"; done";
    let pings = "for n in $(seq 300); do echo \"-I -p icmp -t 90 -s 10.0.0.1 -d 192.0.2.9 --icmp-type 8 --icmp-code 0 --icmp-id $n\"; done";
    let half_open = "for n in $(seq 300); do echo \"-I -p tcp --state SYN_SENT -t 90 -s 10.0.0.1 -d 192.0.2.9 --sport $((2000 + n)) --dport 80\"; echo \"-I -p udp -t 90 -s 10.0.0.1 -d 192.0.2.9 --sport $((2000 + n)) --dport 53\"; done";
    let many_idle = "for n in $(seq 300); do echo \"-I -p tcp --state ESTABLISHED -u ASSURED,SEEN_REPLY -t 5000 -s 2001:db8:$n::1 -d 2001:db8:9::9 --sport 5000 --dport 5228\"; done";
    for (flows, arguments, parts) in [
        (
            one_host,
            &["--by", "proto,src"][..],
            &[
                "it stopped 50.0 % of them",
                "ct original ip saddr 10.0.0.1 ct state new goto limit4",
                "ct count over 200",
            ][..],
        ),
        (
            one_host,
            &[
                "--by",
                "src",
                "--match",
                "proto=udp,dport=27000-27100",
                "--keep",
                "dst=192.0.2.1",
            ],
            &[
                "meta l4proto udp ct original proto-dst 27000-27100 ct original ip saddr 10.0.0.1",
                "ct original ip daddr 192.0.2.1 accept",
            ],
        ),
        (
            own,
            &["--by", "proto,src,sport"],
            &[
                "ct original proto-src 6881",
                "it stopped 50.0 % of them",
                "hook output",
            ],
        ),
        (
            behind_nat,
            &["--by", "proto,src,dst,dport"],
            &[
                "ct original ip daddr 192.0.2.9 ct original proto-dst 80",
                "stopped 50.0 %",
            ],
        ),
        (
            one_net,
            &[],
            &[
                "ip6 saddr and ffff:ffff:ffff:ffff:: ct count over 150",
                "stopped 50.0 %",
            ],
        ),
        (
            large,
            &["--sample", "300"],
            &[
                "ct count over 450",
                "a copy of 300 flows of 900, with a limit in proportion: it stopped 50.0 %",
            ],
        ),
        (
            in_a_zone,
            &["--by", "zone,src"],
            &[
                "ct zone 7 ct original ip saddr 10.0.0.1 ct state new goto limit4",
                "it stopped 50.0 %",
            ],
        ),
        (
            tunnels,
            &[],
            &[
                "are GRE from 10.0.0.1 to 192.0.2.9; if idle",
                "it stopped 50.0 %",
            ],
        ),
        (
            associations,
            &[],
            &["meta l4proto sctp", "it stopped 50.0 %"],
        ),
        (
            pings,
            &[],
            &[
                "are ICMP from 10.0.0.1 to 192.0.2.9; if idle",
                "it stopped 50.0 %",
            ],
        ),
        // A flow that meets two rules counts once.
        (
            half_open,
            &[
                "--by",
                "src",
                "--match",
                "src=10.0.0.1",
                "--match",
                "proto=udp",
            ],
            &["ct count over 300", "it stopped 50.0 %"],
        ),
        (
            half_open,
            &["--by", "src", "--match", "state=syn_sent"],
            &["meta l4proto tcp", "it stopped 50.0 %"],
        ),
        (
            many_idle,
            &[],
            &[
                "established : 7440, syn_sent : 120",
                "it shortened 100.0 % of them",
                "ct original ip6 daddr 2001:db8:9::9",
            ],
        ),
    ] {
        restore(flows);
        let (fragment, told) = remedy(arguments);
        for part in parts {
            assert!(
                fragment.contains(part),
                "{part} is not in: {fragment}{told}"
            );
        }
        std::fs::write("/run/fragment", &fragment).unwrap();
        sh("nft -c -f /run/fragment");
        let told = json(&[&["--remedy"], arguments].concat());
        let marks = '\u{f8f0}'..='\u{f8ff}';
        let shown = told["remedy"].as_str().unwrap();
        assert!(!shown.contains(|c: char| marks.contains(&c)), "{shown}");
        // What a narrow screen shows loads the same rules.
        sh(&format!(
            "COLUMNS=40 cttune top --remedy {} >/run/folded",
            arguments.join(" ")
        ));
        let loaded = |file: &str| {
            sh(&format!(
                "unshare -n sh -c 'nft -f {file}; nft list ruleset'"
            ))
        };
        let rules = loaded("/run/fragment");
        assert!(rules.contains("cttune_remedy"), "{rules}");
        assert_eq!(loaded("/run/folded"), rules);
    }
}

#[test]
fn where_no_rule_helps_it_prints_none_and_says_what_does() {
    if goes_inside("where_no_rule_helps_it_prints_none_and_says_what_does") {
        return;
    }
    let forged = |protocol: &str| {
        format!(
            "for n in $(seq 500); do echo \"-I -p {protocol} -t 90 -s 10.$((n / 200)).$((n % 200)).7 -d 192.0.2.9 --sport $((2000 + n)) --dport 443\"; done"
        )
    };
    for (flows, said) in [
        (forged("tcp --state SYN_SENT"), "nft `synproxy`"),
        (forged("udp"), "nft `notrack`"),
        (
            "for n in $(seq 400); do echo \"-I -p tcp --state CLOSE_WAIT -u ASSURED,SEEN_REPLY -t 3000 -s 10.0.0.$((n % 9)) -d 192.0.2.9 --sport $((2000 + n)) --dport 443\"; done".to_owned(),
            "cttune expire",
        ),
        (
            "for n in $(seq 60); do echo \"-I -p udp -u SEEN_REPLY -t 60 -s 10.0.0.$n -d 192.0.2.9 --sport 9 --dport 53\"; done".to_owned(),
            "many hosts hold a few flows each",
        ),
    ] {
        restore(&flows);
        let (fragment, told) = remedy(&[]);
        assert_eq!(fragment, "", "{told}");
        assert!(told.contains(said), "{said} is not in {told}");
    }
    sh("conntrack -F >/dev/null 2>&1");
    let (fragment, told) = remedy(&[]);
    assert_eq!(
        (fragment.as_str(), told.as_str()),
        ("", "the table is empty\n")
    );
}

#[test]
fn hostile_tables_do_not_make_it_grow() {
    // Every flow a group of its own, by every field; peak memory from the kernel's own account.
    let text = in_sandbox(
        "200000",
        "cat > /run/peak <<'END'
cttune top --exact --by $1 --prefix 128,32 --format json -n 5 >/run/out &
pid=$!
while [ -e /proc/$pid/status ]; do grep -s VmHWM /proc/$pid/status || true; done | sort -u | tail -1
grep uncounted /run/out
END
         sh /run/peak family
         sh /run/peak src,sport,dst,dport
         sh /run/peak family,proto,state,src,sport,dst,dport,reply-src,reply-dst,zone,mark,status",
    );
    let number = |line: &str| -> u64 {
        let digits: String = line.chars().filter(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    };
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 6, "{text}");
    let pairs: Vec<[u64; 2]> = lines
        .chunks(2)
        .map(|pair| [pair[0], pair[1]].map(number))
        .collect();
    let [few, rest @ ..] = pairs.as_slice() else {
        panic!("{text}");
    };
    assert_eq!(few[1], 0, "{text}");
    for [peak, uncounted] in rest {
        assert!((1..=20).contains(uncounted), "{text}");
        // Two threads may count 32,768 groups each, with at most twelve values of 24 bytes.
        assert!(peak - few[0] < 32 * 1024, "{text}");
    }
}

/// Where processes are limited a thread cannot be started either: the reading thread does the work.
#[test]
fn where_no_thread_is_to_be_had_nothing_is_missing() {
    let script = r#"
        nobody() {
            setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=+net_admin,+dac_read_search \
                --ambient-caps=+net_admin,+dac_read_search "$@"
        }
        alone() { nobody prlimit --nproc=1 "$@"; }
        check() { "$1" cttune check --keys --format json || [ $? = 2 ]; }
        top() { "$1" cttune top --exact --threads "$2" --by proto --match "$match" --format json; }
        ! alone sh -c '(:) & wait $!' 2>/dev/null
        echo net.netfilter.nf_conntrack_udp_timeout=77 >/etc/sysctl.d/99-of-the-test.conf
        check nobody; check alone
        for match in proto!=icmp status=assured; do
            top nobody 1; top alone 2; top nobody 1
        done"#;
    let text = in_sandbox("30000", script);
    let answers = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let answers: Vec<Value> = answers.map(Result::unwrap).collect();
    let [check, check_alone, tops @ ..] = answers.as_slice() else {
        panic!("{text}");
    };
    assert_eq!(check["settings"], check_alone["settings"]);
    assert!(
        check["settings"].to_string().contains("99-of-the-test"),
        "{text}"
    );
    assert_eq!(tops.len(), 6, "{text}");
    for tops in tops.chunks(3) {
        let counts = |top: &Value| -> BTreeMap<String, u64> {
            let groups = top["groups"].as_array().unwrap().iter();
            groups
                .map(|group| (group["by"].to_string(), group["flows"].as_u64().unwrap()))
                .collect()
        };
        let [before, alone, after] = [0, 1, 2].map(|at| counts(&tops[at]));
        assert!(alone.len() >= 2, "{text}");
        // Flows end meanwhile, and none begins.
        for (by, count) in &after {
            assert!((*count..=before[by]).contains(&alone[by]), "{by}: {text}");
        }
        assert!(alone.keys().all(|by| before.contains_key(by)), "{text}");
    }
}

#[test]
fn what_cannot_be_is_a_wrong_command_line_and_says_what_can() {
    for (arguments, said) in [
        (
            &["--by", "destination"][..],
            "cannot be grouped by `destination`",
        ),
        (&["--by", "dst,dst"], "comes twice"),
        (&["--by", ""], "one of family, proto"),
        (&["--prefix", "64"], "write 64,24"),
        (&["--prefix", "129,24"], "not a pair of prefix lengths"),
        (&["--budget", "5"], "write 200ms or 2s"),
        (&["--budget", "0ms"], "write 200ms or 2s"),
        (&["--sample", "0"], "--sample"),
        (&["--exact", "--sample", "5"], "cannot be used with"),
        (&["--match", "dprt=1"], "did you mean `dport`?"),
        (&["--keep", "dprt=1"], "--keep dprt=1: "),
        (&["--root", "/"], "--root cannot go with top"),
    ] {
        let output = cttune(&[&["top"], arguments].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
}

#[test]
fn an_empty_table_and_a_missing_right_are_told() {
    assert_eq!(in_sandbox("0", "cttune top"), "the table is empty\n");
    assert_eq!(in_sandbox("0", "cttune top --remedy"), "");
    assert_eq!(
        in_sandbox("0", "cttune top --match proto=tcp"),
        "no flow matches\n"
    );
    let output = cttune(&[
        "sandbox",
        "--flows",
        "0",
        "--",
        "setpriv",
        "--bounding-set=-all",
        "--inh-caps=-all",
        "cttune",
        "top",
    ]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("CAP_NET_ADMIN"), "{stderr}");
}

#[test]
fn another_namespace_is_read_by_its_process() {
    let text = in_sandbox(
        "0",
        "unshare -n sh -c '
            PATH=$PATH:/usr/sbin
            conntrack -I -p udp -t 60 -s 10.0.0.1 -d 192.0.2.1 --sport 1 --dport 53
            touch /run/ready; exec sleep 5' &
         while [ ! -e /run/ready ]; do sleep 0.01; done
         cttune top --netns pid:$! --by proto,dport --format json | grep -c '\"flows\": 1'
         cttune top
         kill $!",
    );
    assert!(text.ends_with("1\nthe table is empty\n"), "{text}");
}
