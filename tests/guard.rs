//! `cttune guard` on a real kernel: it keeps the table below its mark and ends nothing that speaks.
//!
//! Needs the package conntrack.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::Value;
use support::{Told, World};

const SHORT: &str = "--min-idle established-i-accept-broken-connections=2s --min-idle answered=2s
    --min-idle unanswered=2s --min-idle syn-sent=2s --min-idle last-ack=2s";

/// 100 flows of each state that may end and of some that may not.
const FLOWS: &str = "
    for i in $(seq 1 100); do
        tcp=\"conntrack -I -p tcp -s 10.0.0.$i -d 192.0.2.1 --dport 80\"
        $tcp --state ESTABLISHED -u ASSURED,SEEN_REPLY -t 5000 --sport 1
        $tcp --state TIME_WAIT -u ASSURED,SEEN_REPLY -t 600 --sport 2
        $tcp --state CLOSE -u SEEN_REPLY -t 600 --sport 3
        $tcp --state SYN_SENT -t 600 --sport 4
        $tcp --state LAST_ACK -u ASSURED,SEEN_REPLY -t 600 --sport 5
        $tcp --state CLOSE_WAIT -u ASSURED,SEEN_REPLY -t 600 --sport 6
        $tcp --state FIN_WAIT -u ASSURED,SEEN_REPLY -t 600 --sport 7
        $tcp --state SYN_RECV -u SEEN_REPLY -t 600 --sport 8
        udp=\"conntrack -I -p udp -s 10.0.0.$i -d 192.0.2.1 --dport 53 -t 600\"
        $udp --sport 1
        $udp --sport 2 -u SEEN_REPLY,ASSURED
    done >/dev/null 2>&1
";

/// How many flows are left of each state; of UDP by whether they were answered.
fn left(world: &World) -> Vec<(&'static str, usize)> {
    let text = world.sh("conntrack -L 2>/dev/null");
    let of = |what: &str| text.lines().filter(|line| line.contains(what)).count();
    let states = [
        "CLOSE ",
        "TIME_WAIT",
        "SYN_SENT",
        "LAST_ACK",
        "ESTABLISHED",
        "CLOSE_WAIT",
        "FIN_WAIT",
        "SYN_RECV",
    ];
    let mut left: Vec<_> = states.into_iter().map(|state| (state, of(state))).collect();
    let udp = text.lines().filter(|line| line.starts_with("udp"));
    let (unanswered, answered): (Vec<_>, Vec<_>) = udp.partition(|line| line.contains("UNREPLIED"));
    left.push(("unanswered", unanswered.len()));
    left.push(("answered", answered.len()));
    left
}

/// The objects that a guard printed.
fn events(told: &Told) -> Vec<Value> {
    let lines = told.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn ended(events: &[Value]) -> Vec<(String, u64)> {
    let ended = events
        .iter()
        .flat_map(|event| event["ended"].as_array().unwrap());
    ended
        .map(|one| {
            (
                one["class"].as_str().unwrap().to_owned(),
                one["flows"].as_u64().unwrap(),
            )
        })
        .collect()
}

#[test]
fn the_most_harmless_end_first_and_some_never() {
    for (high, low, expected) in [
        (900, 850, "close 100, time-wait 50"),
        (
            900,
            550,
            "close 100, time-wait 100, syn-sent 100, unanswered 100, last-ack 50",
        ),
        (
            900,
            1,
            "close 100, time-wait 100, syn-sent 100, unanswered 100, last-ack 100, answered 100, established 100",
        ),
    ] {
        let world = World::empty();
        world.sh(FLOWS);
        let told = world.try_sh(&format!(
            "cttune guard --once --format json --high {high} --low {low} {}",
            SHORT.replace('\n', " ")
        ));
        let is_above = low == 1;
        assert_eq!(told.code, Some(0), "{told} {is_above}");
        let classes: Vec<_> = ended(&events(&told))
            .into_iter()
            .map(|(class, flows)| format!("{class} {flows}"))
            .collect();
        assert_eq!(classes.join(", "), expected, "{told}");
        for (state, flows) in left(&world) {
            let never = ["CLOSE_WAIT", "FIN_WAIT", "SYN_RECV"].contains(&state);
            assert!(!never || flows == 100, "{state} {flows}");
        }
    }
}
