//! `cttune forecast` against the truth: flows that the test made, in sandboxes.
//!
//! Needs the package conntrack. The table that ages in fast motion is run once here; twenty times by
//! `cargo test --test forecast -- --ignored`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod inside;

use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use cttune::internals::{NewFlow, create};
use inside::{goes_inside, goes_inside_with, path, sh};
use serde_json::Value;

/// Five days, the timeout of established TCP in a sandbox.
const FIVE_DAYS: u32 = 432_000;
const CANDIDATES: [u32; 7] = [300, 600, 1800, 3600, 7440, 28_800, 86_400];

fn cttune(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cttune"));
    command.arg("forecast").args(arguments).env("PATH", path());
    command.output().unwrap()
}

#[track_caller]
fn json(arguments: &[&str]) -> Value {
    let output = cttune(&[&["--format", "json"], arguments].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Times left of `number` flows. None is near a time that a forecast speaks of.
fn times(number: u32, seed: u32) -> Vec<u32> {
    let mut state = u64::from(seed) + 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        u32::try_from(state >> 40).unwrap()
    };
    // Evenly spread over four orders of magnitude, from now and from five days.
    let mut time = |_| {
        let size = 10_u32.pow(next() % 5 + 1);
        let part = next() % size / 100 * 100 + 250;
        if next() % 2 == 0 {
            FIVE_DAYS - part
        } else {
            part
        }
    };
    (0..number).map(&mut time).collect()
}

fn make(times: &[u32], net: u16) {
    let flow = |(number, time): (usize, &u32)| {
        let number = u16::try_from(number).unwrap();
        NewFlow {
            src: Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, number).into(),
            dst: "2001:db8:ffff::1".parse().unwrap(),
            ports: (1024 + number % 60_000, 443),
            time_left: *time,
            is_assured: true,
        }
    };
    assert_eq!(
        create(times.iter().enumerate().map(flow)).unwrap(),
        times.len()
    );
}

/// Kept, dropped and unknown under a timeout, as the rule has it: a flow with at most 302 s left may
/// have stalled.
fn truth(times: &[u32], timeout: u32) -> [u64; 3] {
    let mut split = [0; 3];
    for time in times {
        let idle = FIVE_DAYS - time;
        let place = match (idle < timeout, *time <= 302) {
            (true, _) => 0,
            (false, false) => 1,
            (false, true) => 2,
        };
        split[place] += 1;
    }
    split
}

fn split(told: &Value) -> [u64; 3] {
    ["kept", "dropped", "unknown"].map(|name| told[name].as_u64().unwrap())
}

#[test]
fn a_forecast_is_the_truth_of_flows_whose_time_left_is_known() {
    if goes_inside("a_forecast_is_the_truth_of_flows_whose_time_left_is_known") {
        return;
    }
    let times = times(20_000, 7);
    make(&times, 1);
    // Others, to which the timeout does not apply.
    sh("for port in 1 2 3; do
        conntrack -I -p udp -t 100 -s 10.0.0.1 -d 192.0.2.1 --sport $port --dport 53
    done");
    let told = json(&["--after", "10m,2h4m,1d,3d", "--to", "2h4m"]);
    assert_eq!(
        (&told["total"], &told["flows"]),
        (&20_003.into(), &20_000.into())
    );
    for (place, timeout) in CANDIDATES.iter().enumerate() {
        let line = &told["timeouts"][place];
        assert_eq!(line["timeout"], *timeout);
        assert_eq!(split(line), truth(&times, *timeout), "{timeout}");
        assert_eq!(line["margin"], 0.0);
    }
    for (place, after) in [600, 7440, 86_400, 259_200].into_iter().enumerate() {
        let left = |limit: u32| {
            let left = times.iter().filter(|time| **time.min(&&limit) > after);
            u64::try_from(left.count()).unwrap()
        };
        let age = &told["ageing"][place];
        assert_eq!(age["after"], after);
        assert_eq!(age["untouched"], left(u32::MAX), "{after}");
        assert_eq!(age["clamp"], left(7440), "{after}");
    }
    assert!(told["full_in"].is_null() && told["arrivals"].is_null());
}

#[test]
fn a_plan_says_what_its_timeouts_would_have_ended() {
    if goes_inside("a_plan_says_what_its_timeouts_would_have_ended") {
        return;
    }
    let plan = |program: &str| {
        let command = format!("{program} plan --no-profile --set tcp_timeout_established=2h4m");
        let mut words = command.split(' ');
        let mut command = Command::new(words.next().unwrap());
        let output = command.args(words).env("PATH", path()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let program = env!("CARGO_BIN_EXE_cttune");
    assert!(!plan(program).contains("would have ended"));
    let times = times(3000, 3);
    make(&times, 1);
    let [_, dropped, unknown] = truth(&times, 7440);
    let told = plan(program).replace(',', "");
    let line = format!(
        "  tcp_timeout_established 2h4m: {dropped} of 3000 flows would have ended; of {unknown} it is unknown\n"
    );
    assert!(told.contains(&line), "{line}{told}");
    let json = |program: &str| -> Value {
        serde_json::from_str(&plan(&format!("{program} --json"))).unwrap()
    };
    let told = &json(program)["forecast"]["timeouts"][0];
    assert_eq!(
        told["key"],
        "net.netfilter.nf_conntrack_tcp_timeout_established"
    );
    assert_eq!(told["timeout"], 7440);
    assert_eq!(split(told), truth(&times, 7440));
    // Without the right to read flows there is a plan all the same.
    let powerless = format!("setpriv --bounding-set=-all --inh-caps=-all {program}");
    assert!(json(&powerless)["forecast"]["unread"].is_string());
    let told = plan(&powerless);
    assert!(told.contains("would have ended is not known"), "{told}");
    assert!(told.contains("1 live value"), "{told}");
}

#[test]
fn a_sample_is_right_within_its_margin_in_95_of_100_tables() {
    if goes_inside("a_sample_is_right_within_its_margin_in_95_of_100_tables") {
        return;
    }
    let mut right = 0;
    for round in 0..100 {
        sh("conntrack -F 2>&1");
        let times = times(3000, round);
        make(&times, u16::try_from(round).unwrap());
        let told = json(&["--sample", "600"]);
        assert_eq!(told["sampled"], 600);
        let mut is_right = true;
        for (place, timeout) in CANDIDATES.iter().enumerate() {
            let line = &told["timeouts"][place];
            let margin = line["margin"].as_f64().unwrap() * told["flows"].as_f64().unwrap();
            assert!((0.0..700.0).contains(&margin), "{line}");
            for (told, true_one) in split(line).into_iter().zip(truth(&times, *timeout)) {
                let off = told.abs_diff(true_one);
                // Numbers are rounded to whole flows.
                is_right &= f64::from(u32::try_from(off).unwrap()) <= margin + 1.0;
            }
        }
        right += u32::from(is_right);
    }
    assert!(right >= 95, "{right} of 100");
}

#[test]
fn what_nobody_knows_is_said_to_be_unknown() {
    if goes_inside("what_nobody_knows_is_said_to_be_unknown") {
        return;
    }
    make(&times(1000, 3), 1);
    // The old timeout is written down nowhere.
    sh("echo 600 > /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established");
    let told = json(&["--timeouts", "5m"]);
    let unknown = told["timeouts"][0]["unknown"].as_u64().unwrap();
    assert!(unknown > 900, "{told}");
    // The operator tells it.
    let told = json(&["--timeouts", "2h4m", "--was", "5d"]);
    let split = split(&told["timeouts"][0]);
    assert!(split[1] > 300 && split[2] < 300, "{told}");
}

#[test]
fn a_watched_flow_is_proven_silent_or_active() {
    if goes_inside("a_watched_flow_is_proven_silent_or_active") {
        return;
    }
    make(&[400_000; 50], 1);
    let told = json(&["--observe", "3s", "--timeouts", "2s,1h"]);
    let proven = &told["timeouts"][0]["proven"];
    assert_eq!(
        (&proven["kept"], &proven["dropped"]),
        (&0.into(), &50.into())
    );
    assert_eq!(told["timeouts"][1]["proven"]["dropped"], 0);
    assert!(told["observed"].as_u64().unwrap() >= 3);
    assert_eq!(told["ageing"][0]["untouched"], 50);
    assert!(told["full_in"].is_null());
}

#[test]
fn pictures_are_files_of_their_own_and_replace_no_link() {
    if goes_inside_with(
        "pictures_are_files_of_their_own_and_replace_no_link",
        "5000",
    ) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (svg, csv) = (at("one.svg"), at("one.csv"));
    let output = cttune(&["--svg", &svg, "--csv", &csv]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let picture = std::fs::read_to_string(&svg).unwrap();
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
    assert_eq!(picture.matches("role=\"img\"").count(), 4);
    let rows = std::fs::read_to_string(&csv).unwrap();
    assert_eq!(rows.lines().next(), Some("picture,series,x,y"));
    assert!(rows.lines().skip(1).all(|row| row.split(',').count() == 4));
    let link = at("link.svg");
    std::os::unix::fs::symlink(&svg, &link).unwrap();
    for refused in [
        link,
        folder.path().display().to_string(),
        at("none/one.svg"),
    ] {
        let output = cttune(&["--svg", &refused]);
        assert_eq!(output.status.code(), Some(1), "{refused}: {output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
    assert_eq!(std::fs::read_to_string(&svg).unwrap(), picture);
}

#[test]
fn wrong_options_are_refused() {
    if goes_inside("wrong_options_are_refused") {
        return;
    }
    for (arguments, part) in [
        (&["--timeouts", "5x"][..], "--timeouts 5x"),
        (&["--timeouts", "0"], "--timeouts 0"),
        (&["--key", "max"], "no timeout"),
        (&["--key", "tcp_timeout_establishd"], "established"),
        (&["--observe", "5s", "--sample", "9"], "cannot be used with"),
        (&["--match", "idle>5m"], "idle"),
        (&["--to", "never"], "--to never"),
    ] {
        let output = cttune(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
    let output = cttune(&[]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "the table is empty\n"
    );
}

/// Connections over the loopback interface: some are silent, some go on to send.
struct Talk {
    silent: Vec<(TcpStream, TcpStream)>,
    active: Vec<(TcpStream, TcpStream)>,
}

const SILENT: usize = 150;
const ACTIVE: usize = 50;
/// The timeout of established TCP while the table ages, in seconds.
const FAST: u64 = 24;

impl Talk {
    /// Opens the silent ones over the whole timeout, while the active ones send.
    fn start() -> Talk {
        sh(&format!(
            "ip link set lo up
            nft add table inet t
            nft add chain inet t o '{{ type filter hook output priority 0; }}'
            nft add rule inet t o ct state new counter
            cd /proc/sys/net/netfilter
            echo {FAST} > nf_conntrack_tcp_timeout_established"
        ));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || {
            let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (one, listener.accept().unwrap().0)
        };
        let mut talk = Talk {
            silent: Vec::new(),
            active: (0..ACTIVE).map(|_| connect()).collect(),
        };
        let pause = Duration::from_millis(FAST * 1000 / SILENT as u64);
        for number in 0..SILENT {
            talk.silent.push(connect());
            if number.is_multiple_of(SILENT / 24) {
                talk.send();
            }
            std::thread::sleep(pause);
        }
        talk
    }

    fn send(&mut self) {
        use std::io::Write;
        for (one, _) in &mut self.active {
            one.write_all(b"x").unwrap();
        }
    }

    /// Goes on to send until then.
    fn send_until(&mut self, end: Instant) {
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            self.send();
            std::thread::sleep(left.min(Duration::from_secs(1)));
        }
    }
}

/// A table that ages in seconds, with connections that stay alive: how far the forecast was off at
/// each of five later times, as a share of all flows.
fn fast_motion() -> Vec<f64> {
    let mut talk = Talk::start();
    let mut forecast = Command::new(env!("CARGO_BIN_EXE_cttune"))
        .args(["forecast", "--observe", "4s", "--format", "json"])
        .args(["--after", "3s,6s,10s,14s,22s"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while forecast.try_wait().unwrap().is_none() {
        talk.send();
        std::thread::sleep(Duration::from_millis(200));
    }
    let output = forecast.wait_with_output().unwrap();
    let start = Instant::now();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut off = Vec::new();
    for age in told["ageing"].as_array().unwrap() {
        let after = Duration::from_secs(age["after"].as_u64().unwrap());
        talk.send_until(start + after);
        let now = sh("conntrack -L 2>/dev/null | grep -c ESTABLISHED || true");
        let now: f64 = now.trim().parse().unwrap();
        let expected = age["untouched"].as_f64().unwrap();
        off.push((now - expected) / told["total"].as_f64().unwrap());
    }
    off
}

#[test]
fn a_table_in_fast_motion_ages_as_forecast() {
    if goes_inside("a_table_in_fast_motion_ages_as_forecast") {
        return;
    }
    let off = fast_motion();
    assert!(
        off.len() == 5 && off.iter().all(|off| off.abs() <= 0.05),
        "{off:?}"
    );
}

#[test]
#[ignore = "takes 20 minutes"]
fn twenty_tables_in_fast_motion_age_as_forecast() {
    for run in 0..20 {
        let is_done = goes_inside("a_table_in_fast_motion_ages_as_forecast");
        assert!(is_done, "run {run}");
    }
}
