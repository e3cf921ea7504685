//! The flow engine against the kernel that runs, in a sandbox of its own.
//!
//! Each test starts itself again under `cttune sandbox --flows 0`, and does its work there.
//! Needs the packages conntrack and nftables.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::too_many_lines)] // tables of cases

mod inside;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::process::Command;

use cttune::internals::{
    Answer, FlowData, Requests, count_dumped, dump_chunks, listeners, policies, walk,
};
use inside::{FLOWS, goes_inside, sh};

/// How many flows match one of these selections.
fn count(matching: &str) -> usize {
    let mut count = 0;
    walk(matching, |_| {
        count += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    count
}

/// What a flow is, as `conntrack -L -o extended` would put it in short.
fn in_short(flow: &FlowData) -> String {
    let FlowData { protocol, src, .. } = flow;
    let state = flow.state.unwrap_or_default();
    format!(
        "{protocol} {src} {} {state} z{} m{}",
        flow.ends, flow.zone, flow.mark
    )
}

#[test]
fn every_protocol_zone_and_mark_is_told_as_it_was_made() {
    if goes_inside("every_protocol_zone_and_mark_is_told_as_it_was_made") {
        return;
    }
    sh(FLOWS);
    let mut seen = Vec::new();
    walk("", |flow| {
        seen.push(in_short(flow));
        if flow.src.to_string() == "10.0.0.3" {
            assert!(flow.is_translated);
            assert_eq!(flow.reply_src.to_string(), "203.0.113.9");
        } else {
            assert!(!flow.is_translated, "{}", in_short(flow));
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    seen.sort();
    let mut expected = [
        "tcp 10.0.0.1 1025>80 established z0 m0",
        "tcp 10.0.0.1 1025>80 established z3 m7",
        "tcp 2001:db8::1 1025>80 established z0 m0",
        "tcp 2001:db8::1 1027>80 established z5 m0",
        "tcp 2001:db8::1 1026>80 established z6 m0",
        "tcp 10.0.0.2 1>443 syn_sent z0 m0",
        "tcp 10.0.0.2 2>443 close_wait z0 m0",
        "tcp 10.0.0.3 1025>80 established z0 m0",
        "udp 10.0.0.1 1025>53  z0 m0",
        "udp 2001:db8::1 1025>53  z0 m0",
        "udplite 10.0.0.1 1025>53  z0 m0",
        "sctp 10.0.0.1 7>8  z0 m0",
        "icmp 10.0.0.1 8/0#77  z0 m0",
        "icmpv6 2001:db8::1 128/0#78  z0 m0",
        "gre 10.0.0.1 9>10  z0 m0",
        "esp 10.0.0.1   z0 m0",
    ];
    expected.sort_unstable();
    assert_eq!(seen, expected);
}

#[test]
fn a_filter_pushed_to_the_kernel_leaves_out_and_loses_nothing() {
    if goes_inside("a_filter_pushed_to_the_kernel_leaves_out_and_loses_nothing") {
        return;
    }
    sh(FLOWS);
    let mut all = 0;
    dump_chunks(|chunk| all += chunk.len()).unwrap();
    for (terms, flows) in [
        ("", 16),
        ("proto=tcp", 8),
        ("proto=tcp family=ipv6", 10),
        ("proto=tcp,dport=80", 6),
        ("proto=udp,sport=1025,dport=53", 2),
        ("proto=tcp,sport=2", 1),
        ("proto=udplite,dport=53", 1),
        ("proto=sctp,dport=8", 1),
        ("proto=sctp,dport=9", 0),
        ("proto=icmp", 1),
        ("proto=icmpv6", 1),
        ("proto=gre", 1),
        ("proto=esp", 1),
        ("state=established", 6),
        ("state=established,family=ipv6", 3),
        ("family=ipv4", 11),
        ("family=ipv6", 5),
        ("zone=0", 13),
        ("zone=3", 1),
        ("zone=5", 1),
        ("zone=6", 1),
        ("zone=5,proto=tcp,dport=80", 1),
        ("mark=7", 1),
        ("mark=0x1/0x1", 1),
        ("mark=0", 15),
        ("status=assured", 6),
        ("status!=assured", 10),
        ("status=assured,status!=seen-reply", 0),
        ("src=2001:db8::1", 5),
        ("src=2001:db8::/32,dst=2001:db8::2", 5),
        ("src!=2001:db8::/32", 11),
        ("reply-src=203.0.113.9", 1),
        ("reply-dst=10.0.0.0/8", 11),
        ("dport=80", 6),
        ("dport=53,zone=0 dport=443", 5),
    ] {
        assert_eq!(count(terms), flows, "{terms}");
    }
    assert_eq!(all, 16);
    // The kernel did some of the work: it told of fewer flows than there are.
    for (terms, told) in [
        ("proto=tcp,dport=443", 2),
        ("zone=3", 1),
        ("mark=7", 1),
        ("status=assured", 6),
    ] {
        assert_eq!(count_dumped(terms).unwrap(), told, "{terms}");
    }
}

/// The remaining time of each flow, by what it is.
fn times() -> BTreeMap<String, u32> {
    let mut times = BTreeMap::new();
    walk("", |flow| {
        times.insert(in_short(flow), flow.time_left.unwrap());
        ControlFlow::Continue(())
    })
    .unwrap();
    times
}

#[test]
fn each_flow_is_shortened_and_none_gets_more_than_it_had() {
    if goes_inside("each_flow_is_shortened_and_none_gets_more_than_it_had") {
        return;
    }
    sh(FLOWS);
    let before = times();
    let mut requests = Requests::open().unwrap();
    let mut answers = Vec::new();
    requests.shorten_all("", 600, in_short).unwrap();
    requests
        .send(|tag, answer| answers.push((tag, answer)))
        .unwrap();
    assert_eq!(requests.waiting(), 0);
    assert_eq!(answers.len(), 16);
    for (flow, answer) in &answers {
        assert_eq!(*answer, Answer::Done, "{flow}");
    }
    let after = times();
    assert_eq!(after.len(), 16);
    for (flow, time) in &after {
        assert!(
            time <= before.get(flow).unwrap() && *time <= 600,
            "{flow}: {time}"
        );
        assert!(*time >= 55, "{flow}: {time}");
    }
}

#[test]
fn each_refusal_is_answered_to_its_own_request() {
    if goes_inside("each_refusal_is_answered_to_its_own_request") {
        return;
    }
    sh("
        for port in $(seq 1 300); do
            echo \"-I -p tcp --state ESTABLISHED -u ASSURED,SEEN_REPLY -t 5000 -s 10.0.0.1 -d 192.0.2.1 --sport $port --dport 80\"
        done | conntrack -R - >/dev/null
        conntrack -U -p tcp -s 10.0.0.1 -d 192.0.2.1 --sport 200 --dport 80 -u FIXED_TIMEOUT
    ");
    let mut requests = Requests::open().unwrap();
    requests
        .shorten_all("", 600, |flow| flow.ports.unwrap().0)
        .unwrap();
    sh("
        conntrack -D -p tcp -s 10.0.0.1 -d 192.0.2.1 --sport 100 --dport 80
        conntrack -D -p tcp -s 10.0.0.1 -d 192.0.2.1 --sport 300 --dport 80
    ");
    let mut answered = 0;
    requests
        .send(|port, answer| {
            answered += 1;
            let expected = match port {
                100 | 300 => Answer::Gone,
                200 => Answer::Refused(nix::errno::Errno::EPERM),
                _ => Answer::Done,
            };
            assert_eq!(answer, expected, "{port}");
        })
        .unwrap();
    assert_eq!(answered, 300);
    assert_eq!(
        count(""),
        298,
        "an update of a flow that ended brings it back"
    );
}

#[test]
fn a_delete_ends_the_flow_that_was_dumped_and_no_other() {
    if goes_inside("a_delete_ends_the_flow_that_was_dumped_and_no_other") {
        return;
    }
    sh(FLOWS);
    // Same tuple, other zone: each of them alone.
    for (terms, left) in [
        ("proto=tcp,src=10.0.0.1,zone=3", 15),
        ("src=2001:db8::1,zone=5", 14),
        ("src=2001:db8::1,zone=6", 13),
        ("proto=esp", 12),
        ("proto=icmpv6", 11),
        ("proto=gre", 10),
        ("zone=0", 0),
    ] {
        let mut requests = Requests::open().unwrap();
        requests.delete_all(terms, in_short).unwrap();
        requests
            .send(|flow, answer| assert_eq!(answer, Answer::Done, "{flow}"))
            .unwrap();
        assert_eq!((count(terms), count("")), (0, left), "{terms}");
    }
}

#[test]
fn a_flow_that_came_again_is_not_deleted_for_the_one_before() {
    if goes_inside("a_flow_that_came_again_is_not_deleted_for_the_one_before") {
        return;
    }
    let flow = "-p udp -s 10.0.0.1 -d 192.0.2.1 --sport 1 --dport 53";
    sh(&format!("conntrack -I {flow} -t 60"));
    // Another one holds the memory of the first, so that the second gets a place of its own.
    let mut requests = Requests::open().unwrap();
    requests.delete_all("", |flow| flow.id).unwrap();
    let mut again = 0;
    walk("", |flow| {
        again = flow.id;
        ControlFlow::Continue(())
    })
    .unwrap();
    sh(&format!(
        "conntrack -D {flow}; conntrack -I {flow} -t 60 -u SEEN_REPLY; conntrack -C"
    ));
    let mut now = 0;
    walk("", |flow| {
        now = flow.id;
        ControlFlow::Continue(())
    })
    .unwrap();
    let mut answer = None;
    requests.send(|_, given| answer = Some(given)).unwrap();
    // An id can come again with its memory; only then may the kernel take the one for the other.
    let expected = if now == again {
        Answer::Done
    } else {
        Answer::Gone
    };
    assert_eq!(answer, Some(expected));
}

#[test]
fn policies_are_read_with_their_values_and_the_flows_that_rules_attach_them_to() {
    if goes_inside("policies_are_read_with_their_values_and_the_flows_that_rules_attach_them_to") {
        return;
    }
    assert_eq!(policies().unwrap(), []);
    sh("nft -f - <<'END'
        table inet a {
            ct timeout t {
                protocol tcp; l3proto ip
                policy = { established: 100 }
            }
            ct timeout u {
                protocol tcp
                policy = { established: 7500 }
            }
            chain c {
                type filter hook prerouting priority -150
                ip saddr 10.1.0.0/16 tcp dport 5228-5230 ct timeout set \"u\"
                meta l4proto tcp ct original proto-dst 22 ct timeout set \"u\"
            }
        }
        table ip6 b {
            ct timeout v {
                protocol udp
                policy = { unreplied: 10, replied: 99 }
            }
            chain c {
                type filter hook output priority 0
                ip6 daddr 2001:db8::/32 udp dport 53 ct timeout set \"v\"
            }
            counter c { packets 0 bytes 0 }
        }
END");
    let found = policies().unwrap();
    let told: Vec<_> = found
        .iter()
        .map(|policy| {
            let value = |state: usize| policy.seconds[state].unwrap();
            let matching = policy.matching.join(" ");
            match policy.protocol.as_str() {
                "tcp" => format!("{:?} tcp {} {matching}", policy.family, value(3)),
                _ => format!(
                    "{:?} udp {} {} {matching}",
                    policy.family,
                    value(1),
                    value(2)
                ),
            }
        })
        .collect();
    assert_eq!(
        told,
        [
            "None tcp 100 ",
            "None tcp 7500 proto=tcp,src=10.1.0.0/16,dport=5228-5230 \
             proto=tcp,src=10.1.0.0/16,reply-sport=5228-5230 \
             proto=tcp,reply-dst=10.1.0.0/16,dport=5228-5230 \
             proto=tcp,reply-dst=10.1.0.0/16,reply-sport=5228-5230 proto=tcp,dport=22",
            "Some(\"ipv6\") udp 10 99 proto=udp,dst=2001:db8::/32,dport=53 \
             proto=udp,reply-src=2001:db8::/32,reply-sport=53",
        ]
    );
}

#[test]
fn a_listener_is_seen_while_it_listens() {
    if goes_inside("a_listener_is_seen_while_it_listens") {
        return;
    }
    assert_eq!(listeners().unwrap(), (false, false));
    let mut listener = Command::new("conntrack")
        .args(["-E", "-e", "UPDATES"])
        .spawn()
        .unwrap();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !listeners().unwrap().0 {
        assert!(std::time::Instant::now() < end, "the listener is not seen");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(!listeners().unwrap().1);
    listener.kill().unwrap();
    listener.wait().unwrap();
}
