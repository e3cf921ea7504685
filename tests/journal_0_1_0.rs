//! Journals that version 0.1.0 wrote: listed, and rolled back.
//!
//! Each fixture is what 0.1.0 left of one kind of change. A test gives it the boot and the namespace
//! of its sandbox, makes what the record says was done, and rolls it back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Told, World};

const JOURNAL: &str = "/run/cttune-sandbox/state/journal";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journal-0.1.0")
}

/// Installs the records of a kind, as if 0.1.0 had written them in this sandbox. Gives them.
fn install(world: &World, kind: &str) -> Vec<Value> {
    world.sh(&format!("mkdir -pm 700 {JOURNAL}"));
    let boot_id = world.sh("cat /proc/sys/kernel/random/boot_id");
    let mut stat = world.command_among_processes("stat");
    let netns = Told::by(stat.args(["-Lc", "%i", "/proc/thread-self/ns/net"]))
        .exits(0)
        .stdout;
    let mut files: Vec<PathBuf> = fs::read_dir(fixtures().join(kind))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| {
            let text = fs::read_to_string(file).unwrap();
            let text = text
                .replace("00000000-0000-4000-8000-000000000000", boot_id.trim())
                .replace("4026531840", netns.trim())
                // A deadline that does not pass during the test.
                .replace("\"boottime\": 3600", "\"boottime\": 9000000000");
            let name = file.file_name().unwrap().to_str().unwrap();
            fs::write(world.path(&format!("{JOURNAL}/{name}")), &text).unwrap();
            serde_json::from_str(&text).unwrap()
        })
        .collect()
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Array(numbers) => {
            let numbers = numbers.iter();
            Some(
                numbers
                    .map(|one| u8::try_from(one.as_u64().unwrap()).unwrap())
                    .collect(),
            )
        }
        _ => None,
    }
}

/// A file's path, and its bytes before and after.
type FileChange = (PathBuf, Option<Vec<u8>>, Option<Vec<u8>>);

/// The files of a record.
fn files(record: &Value) -> Vec<FileChange> {
    let steps = record["steps"].as_array().unwrap().iter();
    steps
        .filter(|step| step["path"].is_string())
        .map(|step| {
            let path = PathBuf::from(step["path"].as_str().unwrap());
            (path, bytes(&step["from"]), bytes(&step["to"]))
        })
        .collect()
}

/// Makes the machine as it was before a record, then does those of its steps that were done.
fn replay(world: &World, record: &Value) {
    let progress = record["progress"].as_str().unwrap();
    let steps = record["steps"].as_array().unwrap();
    for (step, letter) in steps.iter().zip(progress.chars()) {
        let done = letter == 'd';
        if let Some(key) = step["key"].as_str() {
            let key = key.strip_prefix("net.netfilter.").unwrap();
            let to = &step[if done { "to" } else { "from" }];
            world.sh(&format!("echo {to} >/proc/sys/net/netfilter/{key}"));
        }
        if let Some(path) = step["path"].as_str() {
            let path = world.path(path);
            match bytes(&step[if done { "to" } else { "from" }]) {
                Some(bytes) => fs::write(&path, bytes).unwrap(),
                None => drop(fs::remove_file(&path)),
            }
        }
    }
}

/// Makes sure that everything is as a record says that it was before.
#[track_caller]
fn assert_restored(world: &World, record: &Value, kind: &str) {
    for step in record["steps"].as_array().unwrap() {
        if let Some(key) = step["key"].as_str() {
            let name = key.strip_prefix("net.netfilter.nf_conntrack_").unwrap();
            assert_eq!(
                world.sysctl(name),
                step["from"].as_i64().unwrap(),
                "{kind}: {key}"
            );
        }
    }
    for (path, from, _) in files(record) {
        let found = fs::read(world.path(path.to_str().unwrap())).ok();
        assert_eq!(found, from, "{kind}: {}", path.display());
    }
}

fn statuses(world: &World) -> Vec<String> {
    let history = world.cttune(&["history", "--format", "json"]).exits(0);
    let changes = history.json()["changes"].clone();
    let changes = changes.as_array().unwrap().iter();
    changes
        .map(|change| change["status"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn what_is_applied_is_rolled_back() {
    for (kind, status) in [
        ("complete", "applied"),
        ("adopted", "applied"),
        ("not-utf8", "applied"),
        ("expire", "applied"),
        ("begun", "started"),
        ("pending", "pending"),
        ("left", "failed"),
    ] {
        let world = World::new();
        let records = install(&world, kind);
        replay(&world, &records[0]);
        assert_eq!(statuses(&world), [status], "{kind}");
        world.cttune(&["history", "1"]).exits(0);
        let told = world.cttune(&["rollback"]).exits(0);
        assert!(
            told.stdout.contains("undone; to redo: cttune rollback 2"),
            "{told}"
        );
        assert_restored(&world, &records[0], kind);
        assert_eq!(statuses(&world), ["rolled-back", "applied"], "{kind}");
        // The record is as 0.1.0 wrote it; what became of it is beside it.
        let record: Value =
            serde_json::from_str(&world.read(&format!("{JOURNAL}/000001.json"))).unwrap();
        assert_eq!(record, records[0], "{kind}");
    }
}

#[test]
fn a_max_that_was_capped_is_restored_too() {
    let world = World::new();
    let records = install(&world, "partly");
    replay(&world, &records[0]);
    // 65536 buckets allow no more.
    world.sh("echo 262144 >/proc/sys/net/netfilter/nf_conntrack_max");
    assert_eq!(statuses(&world), ["partial"]);
    world.cttune(&["rollback"]).exits(0);
    assert_restored(&world, &records[0], "partly");
}

#[test]
fn what_is_undone_is_listed_and_is_not_rolled_back_again() {
    for (kind, expected) in [
        ("undone", &["undone"][..]),
        ("expired", &["expired"]),
        ("rebooted", &["rebooted"]),
        ("rollback", &["rolled-back", "applied"]),
    ] {
        let world = World::new();
        install(&world, kind);
        let state = world.state();
        assert_eq!(statuses(&world), expected, "{kind}");
        let told = world.cttune(&["rollback"]).exits(1);
        told.says(&["no change to undo", "nothing was changed"]);
        assert_eq!(state, world.state(), "{kind}");
    }
}

#[test]
fn a_rollback_is_redone_and_the_rest_of_an_interrupted_apply_is_known() {
    let world = World::new();
    let records = install(&world, "rollback");
    replay(&world, &records[1]);
    world.cttune(&["rollback", "2"]).exits(0);
    assert_restored(&world, &records[1], "rollback");
    assert_eq!(statuses(&world)[..2], ["applied", "rolled-back"]);

    let world = World::new();
    let records = install(&world, "resumed");
    for record in &records {
        replay(&world, record);
    }
    assert_eq!(statuses(&world), ["resumed", "applied"]);
    for record in records.iter().rev() {
        world.cttune(&["rollback"]).exits(0);
        assert_restored(&world, record, "resumed");
    }
    // A new change counts on, and is of the new format.
    let profile = world
        .place
        .write("one.toml", "[sysctl]\nudp_timeout = 45\n");
    let applied = world.cttune(&["apply", "--profile", &profile, "--yes", "--format", "json"]);
    assert_eq!(applied.exits(0).json()["id"], 5);
}

#[test]
fn what_was_pending_is_confirmed() {
    let world = World::new();
    let records = install(&world, "pending");
    // What confirm compares again: the profile, and what else the next boot reads.
    let profile = "[sysctl]\nnf_conntrack_max = 131072\nnf_conntrack_buckets = 131072\n\
        tcp_timeout_established = \"2h4m\"\nudp_timeout = 120\n";
    fs::write(world.path("/run/small.toml"), profile).unwrap();
    fs::write(world.path("/etc/sysctl.conf"), "# site\n").unwrap();
    replay(&world, &records[0]);
    world.cttune(&["confirm"]).exits(0);
    for (path, _, to) in files(&records[0]) {
        let found = fs::read(world.path(path.to_str().unwrap())).ok();
        assert_eq!(found, to, "{}", path.display());
    }
    assert_eq!(statuses(&world), ["applied"]);
}
