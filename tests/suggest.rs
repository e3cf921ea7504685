//! `cttune profile suggest`: a profile for what a host was seen to do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use support::{Told, World, ordinary_user};

/// What the suggested profile wants of a key.
fn wanted(world: &World, profile: &str, key: &str) -> Value {
    let checked = world
        .cttune(&["check", "--profile", profile, "--format", "json"])
        .json();
    let key = format!("net.netfilter.nf_conntrack_{key}");
    let settings = checked["settings"].as_array().unwrap().iter();
    let setting = settings
        .clone()
        .find(|setting| setting["key"] == key.as_str());
    setting.unwrap_or_else(|| panic!("no {key} in {checked:#}"))["wanted"].clone()
}

#[test]
fn the_story_gets_a_profile_that_ends_it() {
    let world = World::story();
    let file = world.place.path().join("mine.toml");
    let file = file.to_str().unwrap();
    let told = world
        .cttune(&["profile", "suggest", "--observe", "2s", file])
        .exits(0);
    assert!(told.stdout.starts_with("wrote "), "{told}");
    world.cttune(&["profile", "check", file]).exits(0);
    // Twice what there is; nobody spoke, so RFC 5382's minimum will do.
    assert_eq!(wanted(&world, file, "max"), 262_144);
    assert_eq!(wanted(&world, file, "buckets"), 262_144);
    assert_eq!(wanted(&world, file, "tcp_timeout_established"), 7440);
    let text = std::fs::read_to_string(file).unwrap();
    for part in [
        "the table was nearly full",
        "RFC 5382 REQ-5",
        "Arrivals: ",
        "spoke again)",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    world.cttune(&["plan", "--profile", file]).exits(2);
    // A second run does not overwrite the file.
    let told = world
        .cttune(&["profile", "suggest", "--observe", "60s", file])
        .exits(1);
    told.briefly().says(&["exists already"]);
    assert_eq!(std::fs::read_to_string(file).unwrap(), text);
}

#[test]
fn flows_that_begin_and_speak_meanwhile_are_seen() {
    let world = World::new();
    // One silent for 20,000 s, one for 90,000 s.
    world.sh("
        for n in 1 2; do
          conntrack -I -p tcp -s 10.0.0.$n -d 10.0.0.9 --sport 5000 --dport 80 \\
            --state ESTABLISHED -u SEEN_REPLY,ASSURED -t $((482000 - n * 70000))
        done");
    let mut command = world.command("cttune");
    command.args([
        "profile",
        "suggest",
        "--observe",
        "4s",
        "--headroom",
        "1",
        "--format",
        "json",
    ]);
    let watching = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Well inside the four seconds: it takes its first look at once.
    std::thread::sleep(Duration::from_secs(1));
    world.sh("
        conntrack -U -p tcp -s 10.0.0.1 -d 10.0.0.9 --sport 5000 --dport 80 -t 432000
        for n in $(seq 40); do
          conntrack -I -p udp -s 10.0.1.$n -d 10.0.0.9 --sport 5000 --dport 53 -t 100
        done");
    let told = Told::from(&watching.wait_with_output().unwrap()).exits(0);
    let profile = told.json()["profile"].as_str().unwrap().to_owned();
    for part in [
        "at most 42 of",
        "Arrivals: 10.0 flows a second",
        // The one that spoke had been silent for over 4 h, the other one for over a day.
        "[sysctl.nf_conntrack_tcp_timeout_established]\nvalue = \"8h\"",
    ] {
        assert!(profile.contains(part), "{part:?} is not in {profile}");
    }
}

#[test]
fn what_an_apply_or_an_expire_set_is_not_told_as_idle_time() {
    let world = World::new();
    // Among its processes it can tell in which namespace it is, and so which changes were made here.
    let sh = |script: &str| {
        let mut command = world.command_among_processes("sh");
        Told::by(command.args(["-ec", script])).exits(0).stdout
    };
    // 30 idle for 1,000 s; then a lower timeout, and cttune sets their time.
    sh("
        for n in $(seq 30); do
          conntrack -I -p tcp -s 10.0.0.$n -d 10.0.0.9 --sport 5000 --dport 80 \\
            --state ESTABLISHED -u SEEN_REPLY,ASSURED -t 431000
        done
        printf '[sysctl]\ntcp_timeout_established = 7440\n' > /run/p.toml
        cttune apply --profile /run/p.toml --only live --yes");
    let suggest = || sh("cttune profile suggest --observe 1s | grep '^# TCP:'");
    // The journal tells what the timeout was.
    let line = suggest();
    let known = "30 established connections; none of them idle for long";
    assert!(line.contains(known), "{line}");
    for expire in ["--spread 1h", "--mode re-age --observe 1s --grace 2m"] {
        sh(&format!("cttune expire --yes {expire}"));
        let line = suggest();
        let unknown = "30 established connections; how long they were idle is not known";
        assert!(line.contains(unknown), "{expire}: {line}");
    }
}

#[test]
fn without_rights_limits_are_suggested_alone() {
    let place = support::Place::new();
    let mut command = ordinary_user();
    command
        .arg(place.program())
        .args(["profile", "suggest", "--observe", "1s"]);
    let told = Told::by(&mut command)
        .exits(0)
        .says(&["note: reading flows: permission denied"]);
    assert!(told.stdout.contains("at-least = "), "{told}");
    assert!(!told.stdout.contains("tcp_timeout"), "{told}");
}

#[test]
fn what_cannot_be_is_refused_before_the_watch() {
    let world = World::new();
    for (args, part) in [
        (&["--headroom", "0.5"][..], "from 1 to 100"),
        (&["--headroom", "NaN"], "from 1 to 100"),
        (&["--observe", "0s"], "--observe 0s: a time of zero"),
        (&["--observe", "soon"], "--observe soon"),
        (&["--root", "/"], "--root cannot go with"),
    ] {
        let args = [&["profile", "suggest"][..], args].concat();
        world.cttune(&args).exits(64).says(&[part]);
    }
    // Ten minutes would be lost.
    for (file, part) in [
        ("/no/such.toml", "/no: No such"),
        ("/proc/x.toml", "/proc/x.toml"),
    ] {
        let args = ["profile", "suggest", "--observe", "10m", file];
        world
            .cttune(&args)
            .exits(1)
            .briefly()
            .says(&["cannot", part]);
    }
}
