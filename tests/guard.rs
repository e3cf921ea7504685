//! `cttune guard` on a real kernel: it keeps the table below its mark and ends nothing that speaks.
//!
//! Needs the package conntrack.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::Value;
use support::{Told, World};

/// A test cannot watch for hours.
const SHORT: &str = "--min-idle established-i-accept-broken-connections=2s --min-idle answered=2s \
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
    for (low, expected) in [
        (850, "close 100, time-wait 50"),
        (
            550,
            "close 100, time-wait 100, syn-sent 100, unanswered 100, last-ack 50",
        ),
        (
            100,
            "close 100, time-wait 100, syn-sent 100, unanswered 100, last-ack 100, answered 100, \
             established 100",
        ),
    ] {
        let world = World::new();
        world.sh(FLOWS);
        let told = world.try_sh(&format!(
            "cttune guard --json --high 900 --low {low} {SHORT} & guard=$!
             for i in $(seq 600); do
                 [ $(conntrack -C) -gt $(({low} > 300 ? {low} : 300)) ] || break; sleep 0.1
             done
             kill -TERM $guard; wait $guard"
        ));
        let told = told.exits(0);
        let mut sum = std::collections::BTreeMap::new();
        for (class, flows) in ended(&events(&told)) {
            *sum.entry(class).or_insert(0) += flows;
        }
        let order = [
            "close",
            "time-wait",
            "syn-sent",
            "unanswered",
            "last-ack",
            "answered",
            "established",
        ];
        let classes: Vec<_> = order
            .into_iter()
            .filter_map(|class| Some(format!("{class} {}", sum.get(class)?)))
            .collect();
        assert_eq!(classes.join(", "), expected, "{told}");
        for (state, flows) in left(&world) {
            let never = ["CLOSE_WAIT", "FIN_WAIT", "SYN_RECV"].contains(&state);
            assert!(!never || flows == 100, "{state} {flows}");
        }
    }
}

#[test]
fn nothing_ends_that_was_watched_for_too_short_a_time() {
    let world = World::with_flows(2000);
    // The default minimum of established flows is two hours.
    let told = world.cttune(&["guard", "--once", "--json", "--high", "10", "--low", "5"]);
    let told = told.exits(2);
    let classes: Vec<_> = ended(&events(&told)).into_iter().map(|one| one.0).collect();
    assert!(classes.contains(&"time-wait".to_owned()), "{told}");
    assert!(!classes.contains(&"established".to_owned()), "{told}");
    let told = world.cttune(&["guard", "--once", "--high", "10", "--low", "5"]);
    assert!(told.stdout.contains("no flow may end"), "{told}");
}

#[test]
fn a_flow_that_speaks_outlives_those_that_do_not() {
    let world = World::new();
    world.sh(FLOWS);
    // A talker on the loopback of the sandbox; nobody answers it.
    let told = world.try_sh(&format!(
        "nft add table inet t; nft add chain inet t c '{{ type filter hook output priority 0; }}'
         nft add rule inet t c ct state new counter
         ip link set lo up
         bash -c 'exec 3<>/dev/udp/127.0.0.1/7000
             while :; do echo word >&3 2>/dev/null || :; sleep 0.3; done' 2>/dev/null & talker=$!
         for i in $(seq 100); do conntrack -L 2>/dev/null | grep -q dport=7000 && break; sleep 0.1; done
         cttune guard --json --high 900 --low 200 {SHORT} & guard=$!
         for i in $(seq 600); do [ $(conntrack -C) -gt 310 ] || break; sleep 0.1; done
         kill -TERM $guard; wait $guard; code=$?
         conntrack -L 2>/dev/null | grep dport=7000 >&2
         kill $talker; exit $code"
    ));
    let told = told.exits(0);
    assert!(told.stderr.contains("dport=7000"), "{told}");
    assert!(told.stdout.contains("established"), "{told}");
}

#[test]
fn a_dry_run_names_the_flows_and_ends_none() {
    let world = World::new();
    world.sh(FLOWS);
    let listed = || world.sh("conntrack -C");
    let before = listed();
    let told = world
        .cttune(&[
            "guard",
            "--once",
            "--dry-run",
            "--high",
            "900",
            "--low",
            "850",
        ])
        .exits(0);
    let named = told
        .stdout
        .lines()
        .filter(|line| line.starts_with("would end"));
    assert_eq!(named.count(), 150, "{told}");
    assert_eq!(before, listed());
}

#[test]
fn it_stands_aside_and_there_is_only_one() {
    let world = World::new();
    world.sh(FLOWS);
    let told = world.try_sh(
        "mkdir -pm 700 $CTTUNE_STATE_DIR; : >$CTTUNE_STATE_DIR/lock
         cttune guard --high 900 --low 850 >/run/first 2>&1 & guard=$!
         until grep -q ended /run/first; do sleep 0.1; kill -0 $guard || exit 9; done
         cttune guard --once --high 800 --low 700 || echo second $?
         kill -HUP $guard; sleep 0.2; kill -0 $guard && echo lives
         kill -INT $guard; wait $guard; echo first $?
         flock $CTTUNE_STATE_DIR/lock cttune guard --once --high 800 --low 700 || echo aside $?",
    );
    let told = told.exits(0).says(&["another guard is at work here"]);
    for part in [
        "second 3",
        "lives",
        "first 0",
        "another cttune is at work",
        "aside 2",
    ] {
        assert!(told.stdout.contains(part), "{part}: {told}");
    }
}

#[test]
fn what_it_watched_is_lent_to_expire() {
    let world = World::new();
    world.sh(FLOWS);
    let told = world.try_sh(
        "cttune guard >/run/first 2>&1 & guard=$!
         expire() { cttune expire --mode delete --observe 4s --yes --json; }
         until [ -S /run/cttune/guard-*.sock ]; do sleep 0.1; kill -0 $guard || exit 9; done
         sleep 5; expire; kill -TERM $guard; wait $guard; ls /run/cttune",
    );
    let told = told.exits(0).says(&["the guard has watched the flows"]);
    let end = told.stdout.rfind('}').unwrap() + 1;
    let expired: Value = serde_json::from_str(&told.stdout[..end]).unwrap();
    assert_eq!(expired["deleted"], 100, "{told}");
    assert_eq!(told.stdout[end..].trim(), "", "files are left: {told}");
}

#[test]
fn what_cannot_be_is_refused() {
    let world = World::new();
    for (args, said) in [
        (&["--high", "50%", "--low", "60%"][..], "not below"),
        (&["--high", "many"], "neither a percentage"),
        (
            &["--min-idle", "established=1h"],
            "i-accept-broken-connections",
        ),
        (&["--min-idle", "closed=1h"], "no class of flows"),
        (&["--keep", "dst=nowhere"], "--keep"),
        (&["--root", "/"], "--root"),
    ] {
        let args = [&["guard", "--once"], args].concat();
        let told = world.cttune(&args);
        assert_eq!(told.code, 64, "{told}");
        assert!(told.stderr.contains(said), "{told}");
    }
}
