//! A journal that cttune did not write, or that somebody changed: nothing of it reaches beyond its
//! root, and no command waits for it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;

use serde_json::{Value, json};
use support::{Told, World, assert_same};

const STATE: &str = "/run/cttune-sandbox/state";
const APPLY: [&str; 5] = ["apply", "--profile", "campus-fw", "--adopt", "--yes"];

/// A sandbox with an image that has an applied change; where its journal is.
fn image() -> (World, String) {
    let world = World::new();
    world.sh("mkdir -p /run/img/etc/sysctl.d /run/outside/empty");
    world
        .cttune(&[&APPLY[..], &["--root", "/run/img"]].concat())
        .exits(0);
    (world, "/run/img/var/lib/cttune/journal".to_owned())
}

/// Changes the record of change 1.
fn edit(world: &World, journal: &str, edit: impl FnOnce(&mut Value)) {
    let path = world.path(&format!("{journal}/000001.json"));
    let mut record: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    edit(&mut record);
    fs::write(&path, serde_json::to_string_pretty(&record).unwrap()).unwrap();
}

/// Runs a command that must end by itself, whatever it says.
#[track_caller]
fn ends(world: &World, args: &[&str]) -> Told {
    let mut command = world.command("timeout");
    let told = Told::by(command.args(["-s", "KILL", "20", "cttune"]).args(args));
    assert!(
        ![124, 137, 101, -1].contains(&told.code),
        "{args:?}: {told}"
    );
    told
}

#[test]
fn the_record_of_an_image_is_obeyed_inside_the_image_alone() {
    let live = json!({"kind": "write-live", "key": "net.netfilter.nf_conntrack_icmp_timeout",
        "from": 7, "to": 30, "why": ""});
    let load = json!({"kind": "load-module", "why": ""});
    let unload = json!({"kind": "unload-module", "why": ""});
    for step in [&live, &load, &unload] {
        let (world, journal) = image();
        world.sh(
            "printf '#!/bin/sh\necho $* >>/run/modprobe.log\n' >/run/modprobe
            install -m 755 /run/modprobe /run/cttune-sandbox/bin/modprobe",
        );
        let state = world.state();
        edit(&world, &journal, |record| record["steps"][0] = step.clone());
        let told = ends(&world, &["rollback", "--root", "/run/img", "--yes"]);
        told.exits(1).says(&[
            "000001.json is damaged",
            "running kernel",
            "nothing was changed",
        ]);
        assert_same(&state, &world.state(), "outside");
        world.sh("! test -e /run/modprobe.log; test -e /run/img/etc/sysctl.d/90-cttune.conf");
    }
    for path in [
        "/../../../../run/outside/file",
        "/etc/../../../run/outside/file",
        "/link/file",
        "/link/../file",
    ] {
        let (world, journal) = image();
        world.sh("ln -s /run/outside /run/img/link; echo kept >/run/outside/file");
        edit(&world, &journal, |record| {
            record["steps"][0] = json!({"kind": "write-file", "path": path, "from": "evil\n",
                "to": "kept\n", "why": ""});
            record["folders"] = json!(["/../../run/outside/empty", "/link/empty"]);
        });
        ends(
            &world,
            &[
                "rollback",
                "--root",
                "/run/img",
                "--yes",
                "--overwrite-changed",
            ],
        );
        let kept = world.sh("cat /run/outside/file; ls /run/outside");
        assert_eq!(kept, "kept\nempty\nfile\n", "{path}");
    }
}

/// What a message says of it, and what somebody did to a record.
type Edit = (&'static str, fn(&mut Value));

#[test]
fn a_record_that_is_not_what_its_name_and_owner_say_is_named() {
    let edits: [Edit; 4] = [
        ("its id is 7", |record| record["id"] = json!(7)),
        ("it undid change 1", |record| record["undoes"] = json!(1)),
        ("format 99", |record| record["schema"] = json!(99)),
        ("its state is about", |record| record["steps"] = json!([])),
    ];
    for (said, change) in edits {
        let world = World::new();
        world.cttune(&APPLY).exits(0);
        edit(&world, &format!("{STATE}/journal"), change);
        let state = world.state();
        ends(&world, &["history"])
            .exits(0)
            .says(&["change 1 is not shown", said]);
        ends(&world, &["rollback"])
            .exits(1)
            .says(&[said, "nothing was changed"]);
        assert_same(&state, &world.state(), said);
    }
    let world = World::new();
    world.cttune(&APPLY).exits(0);
    world.sh(&format!("chmod 666 {STATE}/journal/000001.json"));
    let told = ends(&world, &["rollback"]).exits(1);
    told.says(&["others may write it", "nothing was changed"]);
}

#[test]
fn nothing_waits_for_a_pipe_or_reads_a_device_without_end() {
    for (place, make) in [
        ("journal/000001.json", "mkfifo"),
        ("journal/000001.state", "mkfifo"),
        ("journal/000002.json", "mkfifo"),
        ("journal/000002.json", "ln -s /dev/zero"),
        ("journal/000001.state", "ln -s /dev/zero"),
        ("journal/000002.open", "ln -s /dev/tty"),
        ("lock", "mkfifo"),
        ("lock", "ln -s /dev/zero"),
        ("journal", "mkfifo"),
        ("", "mkfifo"),
    ] {
        let world = World::new();
        world.cttune(&APPLY).exits(0);
        let path = format!("{STATE}/{place}");
        let path = path.trim_end_matches('/');
        world.sh(&format!("rm -rf {path}; {make} {path}"));
        let state = world.state();
        for args in [
            &["check", "--no-profile"][..],
            &["history"],
            &["plan", "--profile", "campus-fw"],
            &["apply", "--profile", "campus-fw", "--adopt", "--yes"],
            &["rollback", "1"],
            &["confirm"],
        ] {
            ends(&world, args);
        }
        let told = ends(&world, &["history"]);
        let rolled_back = told.stdout.contains("rolled back");
        assert!(
            rolled_back || state == world.state(),
            "{place} {make}: {told}"
        );
    }
}

#[test]
fn numbers_without_sense_never_panic() {
    let most = u64::MAX.to_string();
    for (from, to) in [
        ("[0-9]\\{20\\} [0-9]\\{20\\}", format!("{most} {most}")),
        ("[0-9]\\{20\\} [0-9]\\{20\\}", format!("{most} {:020}", 0)),
        ("[0-9]\\{20\\} [0-9]\\{20\\}", format!("{:020} {most}", 0)),
        (
            "[0-9]\\{20\\} [0-9]\\{20\\}",
            "99999999999999999999 00000000000000000001".to_owned(),
        ),
        ("pending", "pendant".to_owned()),
    ] {
        let world = World::new();
        let wait = ["--confirm-within", "10m"];
        Told::by(
            world
                .command_among_processes("cttune")
                .args([&APPLY[..], &wait].concat()),
        )
        .exits(0);
        world.sh(&format!(
            "sed -i 's/{from}/{to}/' {STATE}/journal/000001.open"
        ));
        for args in [
            &["check", "--no-profile"][..],
            &["history"],
            &["history", "1"],
            &[&APPLY[..], &wait].concat(),
            &["confirm"],
            &["rollback"],
            &["history", "--format", "json"],
        ] {
            ends(&world, args);
        }
    }
    let world = World::new();
    world.cttune(&APPLY).exits(0);
    world.sh(&format!(
        "cd {STATE}/journal; sed 's/\"id\": 1,/\"id\": {most},/' 000001.json >{most}.json
        cp 000001.state {most}.state"
    ));
    ends(&world, &["history", &most]).exits(0);
    let told = ends(
        &world,
        &[
            "apply",
            "--profile",
            "kernel-defaults",
            "--set",
            "udp_timeout=41",
            "--only",
            "live",
            "--yes",
        ],
    );
    told.exits(1)
        .says(&["the last number there is", "nothing was changed"]);
}

#[test]
fn a_full_journal_costs_check_nothing_and_history_reads_every_value_once() {
    let world = World::new();
    world.cttune(&APPLY).exits(0);
    let journal = world.path(&format!("{STATE}/journal"));
    let record = fs::read_to_string(journal.join("000001.json")).unwrap();
    for id in 2..=1000 {
        let record = record.replace("\"id\": 1,", &format!("\"id\": {id},"));
        fs::write(journal.join(format!("{id:06}.json")), record).unwrap();
        fs::copy(
            journal.join("000001.state"),
            journal.join(format!("{id:06}.state")),
        )
        .unwrap();
    }
    let opened = |args: &[&str], part: &str| {
        let (told, trace) = world.strace(&["-e", "trace=openat,openat2"], args);
        told.exits(0);
        trace.lines().filter(|line| line.contains(part)).count()
    };
    assert_eq!(opened(&["check"], "000"), 0);
    assert_eq!(opened(&["metrics"], "000999"), 0);
    let reads = opened(&["history"], "nf_conntrack_udp_timeout\"");
    assert!((1..10).contains(&reads), "{reads}");
    let history = world
        .cttune(&["history", "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(history["changes"].as_array().unwrap().len(), 1000);
}
