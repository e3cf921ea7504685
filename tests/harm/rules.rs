//! The rules by which `cttune expire` leaves flows alone, on flows that real packets made.

use std::io::Write;
use std::net::TcpListener;

use nix::sys::socket::{setsockopt, sockopt};

use crate::inside::goes_inside;
use crate::net::{Connection, End, Net, SERVERS, until};

/// Told that the timeout was six days, a flow of five looks as if it had been silent for one.
const RE_AGE: [&str; 7] = [
    "--mode",
    "re-age",
    "--trust-history",
    "--was",
    "6d",
    "--settle",
    "2s",
];
const DELETE: [&str; 7] = [
    "--mode",
    "delete",
    "--trust-history",
    "--was",
    "6d",
    "--settle",
    "2s",
];

/// One that does not give up.
fn patient(net: &Net) -> Connection {
    let connection = net.connect(SERVERS[0]);
    for end in [&connection.client, &connection.server] {
        setsockopt(end, sockopt::TcpUserTimeout, &0).unwrap();
    }
    connection
}

#[test]
fn a_connection_that_waits_for_the_other_end_is_not_idle() {
    if goes_inside("rules::a_connection_that_waits_for_the_other_end_is_not_idle") {
        return;
    }
    let net = Net::syn_only();
    let [unanswered, full] = [(); 2].map(|()| patient(&net));
    net.settle();
    net.sh(&format!(
        "nft 'add chain inet fw lost {{ type filter hook prerouting priority -400; }}
        add rule inet fw lost iifname s tcp dport {} drop'",
        unanswered.tuple.0.port()
    ));
    (&unanswered.client).write_all(b"?").unwrap();
    full.client.set_nonblocking(true).unwrap();
    let mut written = 0;
    let waiting = || net.unacknowledged() == 1;
    until("the window is closed", || {
        while let Ok(more) = (&full.client).write(&[b'.'; 4096]) {
            written += more;
        }
        waiting() && net.flows()[&full.tuple].1 <= 300
    });
    full.client.set_nonblocking(false).unwrap();
    for mode in [RE_AGE, DELETE] {
        net.set("tcp_timeout_established", 432_000);
        let idle = net.connect(SERVERS[1]);
        until("the idle one is acknowledged", waiting);
        net.set("tcp_timeout_established", 600);
        let told = net.expire(&mode);
        let why = serde_json::json!({"unacknowledged-data": 1, "ends-soon": 1});
        assert_eq!(told["kept_why"], why, "{told}");
        assert_eq!(told["selected"], 1, "{told}");
        let port = idle.tuple.0.port();
        net.sh(&format!(
            "conntrack -D -f ipv6 -p tcp --sport {port} || true"
        ));
    }
    net.sh("nft flush chain inet fw lost");
    full.hear(written, End::Server);
    unanswered.hear(1, End::Server);
    for connection in [&unanswered, &full] {
        connection.must_work();
    }
}

#[test]
fn after_a_raise_a_connection_that_just_spoke_is_not_idle() {
    if goes_inside("rules::after_a_raise_a_connection_that_just_spoke_is_not_idle") {
        return;
    }
    let net = Net::syn_only();
    net.set("tcp_timeout_established", 600);
    let connections = SERVERS.map(|server| net.connect(server));
    net.settle();
    net.set("tcp_timeout_established", 432_000);
    for mode in ["re-age", "delete"] {
        let mode = ["--mode", mode, "--trust-history", "--settle", "1s"];
        let told = net.expire(&mode);
        assert_eq!(told["unknown"], 2, "{told}");
        let told = net.expire(&[&mode[..], &["--was", "10m"]].concat());
        assert_eq!(told["kept_why"]["ambiguous"], 2, "{told}");
    }
    for connection in connections {
        connection.must_work();
    }
}

#[test]
fn what_a_helper_follows_and_what_it_announced_keep_their_time() {
    if goes_inside("rules::what_a_helper_follows_and_what_it_announced_keep_their_time") {
        return;
    }
    let net = Net::syn_only();
    net.sh("nft 'table inet fw {
            ct helper f { type \"ftp\" protocol tcp; }
            chain helpers {
                type filter hook prerouting priority filter
                tcp dport 21 ct helper set \"f\"
            }
        }'");
    let say = |control: &Connection, line: &str| {
        (&control.server).write_all(line.as_bytes()).unwrap();
        control.hear(line.len(), End::Client);
    };
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let followed = SERVERS.map(|server| {
        let control = net.connect_to(&net.listen(server, 21));
        let listener = net.listen(server, 0);
        say(&control, "220 welcome\r\n");
        let port = port(&listener);
        say(
            &control,
            &format!("229 Entering Extended Passive Mode (|||{port}|)\r\n"),
        );
        let data = net.connect_to(&listener);
        data.must_work();
        [control, data]
    });
    let plain = SERVERS.map(|server| net.connect(server));
    net.settle();
    net.set("tcp_timeout_established", 600);
    let told = net.expire(&["--mode", "clamp"]);
    let why = serde_json::json!({"helper": 2, "master": 2});
    assert_eq!(told["kept_why"], why, "{told}");
    assert_eq!(told["clamped"], 2, "{told}");
    let told = net.expire(&RE_AGE);
    assert_eq!(told["kept_why"]["helper"], 2, "{told}");
    assert_eq!(told["kept_why"]["master"], 2, "{told}");
    let flows = net.flows();
    for connection in followed.as_flattened() {
        assert!(flows[&connection.tuple].1 > 400_000, "{flows:?}");
    }
    for connection in &plain {
        assert!(flows[&connection.tuple].1 <= 600, "{flows:?}");
    }
    for [control, _] in &followed {
        control.must_work();
    }
}
