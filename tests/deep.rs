//! `check --deep` about flows that are translated, unanswered or announced, in sandboxes.
//!
//! Needs the packages conntrack, nftables and iproute2.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod inside;

use std::net::UdpSocket;
use std::process::Command;

use inside::{goes_inside, path, sh};
use serde_json::Value;

fn check(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_cttune"))
        .args(["check", "--no-profile", "--format", "json"])
        .args(arguments)
        .env("PATH", path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// The severity and the message of a finding.
fn find(checked: &Value, id: &str) -> Option<(String, String)> {
    let findings = checked["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["id"] == id)?;
    let text = |name: &str| found[name].as_str().unwrap().to_owned();
    Some((text("severity"), text("message")))
}

#[track_caller]
fn finds(id: &str, severity: &str, parts: &[&str]) {
    let checked = check(&["--deep"]);
    let (found, message) = find(&checked, id).unwrap_or_else(|| panic!("no {id} in {checked:#}"));
    assert_eq!(found, severity, "{message}");
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

/// Makes flows from lines of `conntrack -I` that a shell loop prints.
fn restore(lines: &str) {
    sh(&format!(
        "conntrack -F >/dev/null 2>&1; {{ {lines} }} | conntrack -R - >/dev/null"
    ));
}

#[test]
fn ports_run_out_by_the_range_of_the_rule_and_by_the_port_of_the_client() {
    if goes_inside("ports_run_out_by_the_range_of_the_rule_and_by_the_port_of_the_client") {
        return;
    }
    sh("
        ip link set lo up
        for n in $(seq 1 250); do echo addr add 10.1.0.$n/32 dev lo; done | ip -batch -
        for n in $(seq 1 250); do echo addr add 10.2.0.$n/32 dev lo; done | ip -batch -
        for n in 1 2 3 4; do ip addr add 10.9.0.$n/32 dev lo; done
        nft 'table ip t { chain post { type nat hook postrouting priority srcnat;
            ip saddr 10.1.0.0/16 udp dport 443 snat to 10.9.0.3-10.9.0.4:7000-7099;
            ip saddr 10.0.0.0/8 ip daddr 10.9.0.2 masquerade; }; }'");
    let send = |network: u8, number: u8, port: u16, to: &str| {
        for host in 1..=number {
            let socket = UdpSocket::bind(format!("10.{network}.0.{host}:{port}")).unwrap();
            // Without a free port the packet is dropped.
            let _ = socket.send_to(b"x", to);
        }
    };
    send(1, 70, 0, "10.9.0.1:443");
    assert_eq!(find(&check(&["--deep"]), "nat-ports"), None);
    send(1, 250, 0, "10.9.0.1:443");
    finds(
        "nat-ports",
        "critical",
        &["of the 100 ports", "the rule allows (7000-7099)"],
    );
    sh("conntrack -F >/dev/null 2>&1");
    // 600 to 1023 are 424 ports: two clients for each of 180.
    for port in 700..880 {
        send(2, 2, port, "10.9.0.2:99");
    }
    finds("nat-ports", "warning", &["of the 424 ports", "(600-1023)"]);
}

#[test]
fn flows_to_an_address_that_is_gone_are_told_of() {
    if goes_inside("flows_to_an_address_that_is_gone_are_told_of") {
        return;
    }
    sh("ip link set lo up");
    restore(
        "for n in $(seq 40); do echo \"-I -p udp -t 90 -u SEEN_REPLY -s 10.0.0.$n -d 198.51.100.9 --sport 5000 --dport 53 --reply-src 198.51.100.9 --reply-dst 203.0.113.9 --reply-port-src 53 --reply-port-dst $((2000 + n))\"; done",
    );
    finds("nat-address-gone", "warning", &["40 flows", "203.0.113.9"]);
    // Another address of the same network came instead.
    sh(
        "ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up
        ip addr add 203.0.113.50/24 dev v0",
    );
    finds("nat-address-gone", "warning", &["40 flows", "203.0.113.9"]);
    sh("ip route add blackhole 203.0.113.8/29");
    assert_eq!(find(&check(&["--deep"]), "nat-address-gone"), None);
    sh("ip route del blackhole 203.0.113.8/29; ip addr add 203.0.113.9/32 dev lo");
    assert_eq!(find(&check(&["--deep"]), "nat-address-gone"), None);
}

#[test]
fn private_sources_that_leave_untranslated_are_told_of() {
    if goes_inside("private_sources_that_leave_untranslated_are_told_of") {
        return;
    }
    sh("ip link set lo up; ip addr add 203.0.113.9/32 dev lo");
    let translated = "for n in $(seq 60); do echo \"-I -p udp -t 90 -u SEEN_REPLY -s 10.0.0.$n -d 198.51.100.9 --sport 5000 --dport 53 --reply-src 198.51.100.9 --reply-dst 203.0.113.9 --reply-port-src 53 --reply-port-dst $((2000 + n))\"; done";
    for (plain, severity) in [(9, None), (25, Some("warning"))] {
        restore(&format!(
            "{translated}; for n in $(seq {plain}); do echo \"-I -p udp -t 90 -u SEEN_REPLY -s 192.168.7.7 -d 198.51.100.9 --sport $((3000 + n)) --dport 53\"; done"
        ));
        let found = find(&check(&["--deep"]), "untranslated");
        assert_eq!(
            found.as_ref().map(|(severity, _)| severity.as_str()),
            severity
        );
        assert!(found.is_none_or(|(_, message)| message.contains("192.168.7.7")));
    }
}

#[test]
fn flows_to_a_target_that_is_down_are_told_of() {
    if goes_inside("flows_to_a_target_that_is_down_are_told_of") {
        return;
    }
    sh("
        ip link set lo up
        ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up
        ip addr add 10.9.0.1/24 dev v0");
    restore(
        "for n in $(seq 30); do echo \"-I -p tcp --state SYN_SENT -t 90 -s 198.51.100.$n -d 203.0.113.9 --sport 5000 --dport 80 --reply-src 10.9.0.5 --reply-dst 198.51.100.$n --reply-port-src 8080 --reply-port-dst 5000\"; done",
    );
    assert_eq!(find(&check(&["--deep"]), "nat-target-dead"), None);
    // Nobody answers for it.
    let _ = UdpSocket::bind("10.9.0.1:0")
        .unwrap()
        .send_to(b"x", "10.9.0.5:9");
    sh(
        "for n in $(seq 200); do ip neigh show 10.9.0.5 | grep -q FAILED && exit 0; sleep 0.1; done; exit 1",
    );
    finds("nat-target-dead", "warning", &["30 flows", "10.9.0.5"]);
}

#[test]
fn what_was_never_answered_is_told_with_its_cause() {
    if goes_inside("what_was_never_answered_is_told_with_its_cause") {
        return;
    }
    for (flows, cause) in [
        (
            "for n in $(seq 700); do echo \"-I -p udp -t 90 -s 10.0.0.1 -d 198.18.$((n / 200)).$((n % 200)) --sport 6881 --dport 6881\"; done",
            "a scan",
        ),
        (
            "for n in $(seq 700); do echo \"-I -p tcp --state SYN_SENT -t 90 -s 198.18.$((n / 200)).$((n % 200)) -d 203.0.113.9 --sport 5000 --dport 443\"; done",
            "a SYN flood",
        ),
        (
            "for n in $(seq 700); do echo \"-I -p udp -t 90 -s 198.18.$((n / 200)).$((n % 200)) -d 203.0.113.9 --sport 5000 --dport 53\"; done",
            "one destination never answers",
        ),
        (
            "for n in $(seq 700); do echo \"-I -p tcp --state SYN_RECV -u SEEN_REPLY -t 60 -s 198.18.$((n / 200)).$((n % 200)) -d 203.0.113.9 --sport 5000 --dport 443\"; done",
            "the clients never complete the connection",
        ),
        (
            "for n in $(seq 700); do echo \"-I -p tcp --state SYN_SENT -t 90 -s 10.0.0.1 -d 203.0.113.9 --sport 5000 --dport $n\"; done",
            "a scan of its ports",
        ),
    ] {
        restore(flows);
        finds(
            "mostly-unanswered",
            "warning",
            &["700 flows (100.0 %)", cause],
        );
    }
    // As many that were answered, and one more.
    restore(
        "for n in $(seq 699); do echo \"-I -p udp -t 90 -s 10.0.0.1 -d 198.18.$((n / 200)).$((n % 200)) --sport 6881 --dport 6881\"; done; for n in $(seq 700); do echo \"-I -p udp -t 90 -u SEEN_REPLY -s 10.0.0.1 -d 198.19.$((n / 200)).$((n % 200)) --sport 6881 --dport 6881\"; done",
    );
    assert_eq!(find(&check(&["--deep"]), "mostly-unanswered"), None);
}

#[test]
fn the_table_of_expectations_fills_up() {
    if goes_inside("the_table_of_expectations_fills_up") {
        return;
    }
    sh("
        ip link set lo up
        nft 'table ip t {
            ct expectation e { protocol udp; dport 40000; timeout 10m; size 250; l3proto ip; }
            chain out { type filter hook output priority 0; udp dport 5060 ct expectation set \"e\"; }
        }'");
    for (max, expected) in [
        ("20", None),
        ("12", Some("warning")),
        ("10", Some("critical")),
    ] {
        sh(&format!(
            "echo {max} >/proc/sys/net/netfilter/nf_conntrack_expect_max"
        ));
        if max == "20" {
            for host in 1..=10 {
                let socket = UdpSocket::bind(format!("127.0.0.{host}:6000")).unwrap();
                socket.send_to(b"x", "127.0.1.1:5060").unwrap();
            }
        }
        let found = find(&check(&["--deep"]), "expectations-full");
        let severity = found.as_ref().map(|(severity, _)| severity.as_str());
        let severity = severity.filter(|severity| *severity != "info");
        assert_eq!(severity, expected, "{max}: {found:?}");
    }
    let program = env!("CARGO_BIN_EXE_cttune");
    let metrics = sh(&format!("{program} metrics"));
    assert!(metrics.contains("\ncttune_expectations 10\n"), "{metrics}");
    assert!(
        metrics.contains("\ncttune_expectations_max 10\n"),
        "{metrics}"
    );
}

#[test]
fn what_makes_the_kernel_track_is_told_on_request() {
    if goes_inside("what_makes_the_kernel_track_is_told_on_request") {
        return;
    }
    sh(
        "nft 'table ip plain { chain i { type filter hook input priority 0; ip saddr 10.0.0.1 drop; }; }'",
    );
    assert_eq!(find(&check(&["--deep"]), "tracked-by"), None);
    sh("
        nft 'table inet guard { chain i { type filter hook input priority 0; ct state invalid drop; }; }'
        nft 'table ip nat { chain p { type nat hook postrouting priority srcnat; masquerade; }; }'");
    finds("tracked-by", "info", &["inet guard, ip nat"]);
}
