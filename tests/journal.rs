//! The journal of the real program: whatever stops a command at any step, the state before is there
//! or can be restored.
//!
//! A dry run under strace counts the system calls by which anything changes; then each is in turn
//! the one at which a signal comes or that fails. A sandbox for each fault; every case begins and
//! has to end with the same state.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use support::{Told, World, assert_same};

const APPLY: [&str; 5] = ["apply", "--profile", "campus-fw", "--adopt", "--yes"];
/// Every system call by which cttune changes a value, a file or the journal. The first ones change
/// what can be seen: between any two of those it makes no difference when a signal comes.
const CHANGING: [&str; 11] = [
    "write",
    "pwrite64",
    "ftruncate",
    "renameat",
    "rename",
    "mkdir",
    "mkdirat",
    "unlinkat",
    "fsync",
    "fdatasync",
    "fchmod",
];
const SEEN: usize = 8;
const TIMEOUTS: [&str; 6] = [
    "tcp_timeout_established",
    "tcp_timeout_close",
    "udp_timeout",
    "udp_timeout_stream",
    "icmp_timeout",
    "generic_timeout",
];
const SWITCHES: [&str; 4] = ["tcp_loose", "tcp_be_liberal", "acct", "checksum"];
/// One of them, and what it is to be.
type Drawn = (prop::sample::Index, (&'static str, i64));
const STATE: &str = "/run/cttune-sandbox/state";

/// A sandbox in which a plan has seven steps: values, files, a line of somebody else's, and a
/// folder that has to be created. Its name, its state, and what applies the plan.
///
/// None of the keys is one that the sandbox has a plain file for: a kill can leave that empty,
/// where the kernel takes a number whole or not at all.
fn world() -> (World, String, [String; 5]) {
    let world = World::new();
    world
        .sh("rmdir /etc/cttune; echo net.netfilter.nf_conntrack_udp_timeout=33 >>/etc/sysctl.conf");
    let text = "[sysctl]\ntcp_timeout_established = \"2h4m\"\nudp_timeout = 120\n\
        udp_timeout_stream = 180\ntcp_loose = false\n";
    let profile = world.place.write("seven.toml", text);
    let state = world.state();
    let apply = ["apply", "--profile", &profile, "--adopt", "--yes"].map(str::to_owned);
    (world, state, apply)
}

/// How often each of the changing system calls is made by a command.
fn count(world: &World, args: &[impl AsRef<str>]) -> BTreeMap<&'static str, usize> {
    let filter = format!("trace={}", CHANGING.join(","));
    let args: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
    let (told, trace) = world.strace(&["-e", &filter], &args);
    told.exits(0);
    let made = |call: &str| trace.matches(&format!(" {call}(")).count();
    let counts = CHANGING.map(|call| (call, made(call)));
    counts.into_iter().filter(|(_, times)| *times > 0).collect()
}

/// Runs a command once for every changing system call that it makes, with that call met by a
/// fault, and gives each to `judge` with its output and its name.
fn at_calls(
    world: &World,
    counts: &BTreeMap<&'static str, usize>,
    args: &[String],
    fault: &str,
    judge: &mut dyn FnMut(&Told, &str),
) {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    for (call, times) in counts {
        if fault.starts_with("signal") && !CHANGING[..SEEN].contains(call) {
            continue;
        }
        for number in 1..=*times {
            let inject = format!("inject={call}:{fault}:when={number}");
            let filter = format!("trace={call}");
            let (told, _) = world.strace(&["-e", &filter, "-e", &inject], &args);
            judge(&told, &format!("{fault} at {call} {number} of {times}"));
        }
    }
}

fn newest(world: &World) -> Option<Value> {
    let told = world.cttune(&["history", "--format", "json"]).exits(0);
    told.json()["changes"].as_array().unwrap().last().cloned()
}

/// Counts what apply does, and rolls it back.
fn counts_of_apply(world: &World, apply: &[String]) -> BTreeMap<&'static str, usize> {
    let counts = count(world, apply);
    world.cttune(&["rollback"]).exits(0);
    counts
}

fn every_fault_is_undone(fault: &str, code: Option<i32>) {
    let (world, state, apply) = world();
    let counts = counts_of_apply(&world, &apply);
    assert_same(&state, &world.state(), "rolled back");
    let mut undone = 0;
    at_calls(&world, &counts, &apply, fault, &mut |told, when| {
        if told.code == 0 {
            // It came when everything was done, or where nothing depended on the call.
            assert_eq!(world.sysctl("udp_timeout"), 120, "{when}: {told}");
            world.cttune(&["rollback"]).exits(0);
        } else {
            undone += 1;
            assert_same(&state, &world.state(), when);
            // -1: ended by a signal that came before any was listened to.
            let as_told = [Some(-1).filter(|_| code.is_some()), Some(1), code];
            assert!(as_told.contains(&Some(told.code)), "{when}: {told}");
        }
        assert_same(&state, &world.state(), when);
    });
    assert!(undone > 15, "only {undone} were undone");
}

#[test]
fn no_space_at_any_call_leaves_the_state_before() {
    every_fault_is_undone("error=ENOSPC", None);
}

#[test]
fn a_file_system_that_turns_read_only_at_any_call_leaves_the_state_before() {
    every_fault_is_undone("error=EROFS", None);
}

#[test]
fn ctrl_c_at_any_call_leaves_the_state_before() {
    every_fault_is_undone("signal=INT", Some(130));
}

#[test]
fn being_asked_to_end_at_any_call_leaves_the_state_before() {
    every_fault_is_undone("signal=TERM", Some(143));
}

#[test]
fn killed_at_any_call_rollback_brings_the_state_before() {
    let (world, state, apply) = world();
    let counts = counts_of_apply(&world, &apply);
    let mut interrupted = 0;
    at_calls(&world, &counts, &apply, "signal=KILL", &mut |_, when| {
        let check = world.cttune(&["check", "--no-profile"]);
        let newest = newest(&world);
        let status = newest.as_ref().map(|newest| newest["status"].clone());
        if status == Some("started".into()) {
            interrupted += 1;
            let check = check.says(&["an apply was interrupted at step ", " of 7 ("]);
            check.says(&["to undo it: cttune rollback", "to finish it: cttune apply"]);
            world.cttune(&["rollback"]).exits(0);
        } else {
            assert!(!check.stderr.contains("interrupted"), "{when}: {check}");
            if status == Some("applied".into()) && newest.unwrap()["origin"] == "apply" {
                world.cttune(&["rollback"]).exits(0);
            }
        }
        assert_same(&state, &world.state(), when);
        let check = world.cttune(&["check", "--no-profile"]);
        assert!(!check.stderr.contains("interrupted"), "{when}: {check}");
    });
    assert!(interrupted > 20, "only {interrupted} were interrupted");
}

#[test]
fn killed_at_any_call_apply_finishes_it() {
    let (world, state, apply) = world();
    let counts = counts_of_apply(&world, &apply);
    let again: Vec<&str> = apply.iter().map(String::as_str).collect();
    world.cttune(&again).exits(0);
    let after = world.state();
    world.cttune(&["rollback"]).exits(0);
    at_calls(&world, &counts, &apply, "signal=KILL", &mut |_, when| {
        let begun = newest(&world).is_some_and(|newest| newest["status"] == "started");
        // The interrupted one is meant where no profile is named.
        let args = if begun {
            &["apply", "--yes"]
        } else {
            &again[..]
        };
        world.cttune(args).exits(0);
        assert_same(&after, &world.state(), when);
        let check = world.cttune(&["check"]).exits(0);
        assert!(!check.stderr.contains("interrupted"), "{when}: {check}");
        // What was interrupted and what finished it are two changes.
        for _ in 0..2 {
            if world.state() != state {
                world.cttune(&["rollback"]).exits(0);
            }
        }
        assert_same(&state, &world.state(), when);
    });
}

#[test]
fn killed_at_any_call_of_a_rollback_another_one_finishes_it() {
    let (world, state, apply) = world();
    let apply: Vec<&str> = apply.iter().map(String::as_str).collect();
    world.cttune(&apply).exits(0);
    for (call, times) in count(&world, &["rollback"]) {
        for number in 1..=times {
            world.cttune(&apply).exits(0);
            let inject = format!("inject={call}:signal=KILL:when={number}");
            let filter = format!("trace={call}");
            world.strace(&["-e", &filter, "-e", &inject], &["rollback"]);
            let told = world.cttune(&["rollback"]);
            let when = format!("killed at {call} {number} of {times}: {told}");
            assert_same(&state, &world.state(), &when);
            let check = world.cttune(&["check", "--no-profile"]);
            assert!(!check.stderr.contains("interrupted"), "{when}: {check}");
        }
    }
}

#[test]
fn a_state_directory_that_is_really_full_stops_apply_but_no_rollback() {
    let (world, state, _) = world();
    let small = world.place.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let small = small.to_str().unwrap();
    let fill = format!("dd if=/dev/zero of={small}/fill bs=4k 2>/dev/null || true");
    world.sh(&format!(
        "mount -t tmpfs -o size=32k,mode=700 none {small}; {fill}"
    ));
    let cttune = |args: &[&str]| {
        let mut command = world.command("cttune");
        Told::by(command.args(args).env("CTTUNE_STATE_DIR", small))
    };
    let told = cttune(&APPLY).exits(1);
    told.says(&["No space left", "nothing was changed", "free some space"]);
    assert_same(&state, &world.state(), "refused");

    world.sh(&format!("rm {small}/fill"));
    cttune(&APPLY).exits(0);
    world.sh(&fill);
    cttune(&["rollback"]).exits(0);
    assert_same(&state, &world.state(), "rolled back on a full disk");
    let history = cttune(&["history", "--format", "json"]).exits(0).json();
    assert_eq!(history["changes"][0]["status"], "rolled-back");
}

#[test]
fn a_value_that_somebody_else_changed_since_is_not_overwritten_unasked() {
    let world = World::new();
    let state = world.state();
    world.cttune(&APPLY).exits(0);
    world.sh("echo 77 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout");
    let before = world.state();
    let told = world.cttune(&["rollback"]).exits(1);
    told.says(&["udp_timeout", "30", "120", "77", "--overwrite-changed"]);
    assert_same(&before, &world.state(), "refused");
    world.cttune(&["rollback", "--overwrite-changed"]).exits(0);
    assert_same(&state, &world.state(), "overwritten");
}

#[test]
fn max_stays_above_what_the_table_holds_and_both_numbers_are_named() {
    let world = World::with_flows(300);
    world.sh("echo 400 >/proc/sys/net/netfilter/nf_conntrack_max");
    world.cttune(&APPLY).exits(0);
    let raised = world.sysctl("max");
    // The table grows past the max that it had.
    world.sh("for port in $(seq 1000 1199); do
             conntrack -I -p udp -s 10.9.0.1 -d 10.9.0.2 --sport $port --dport 9 -t 600 2>/dev/null
         done");
    let count = world.sysctl("count");
    assert!(count > 400, "{count}");
    let told = world.cttune(&["rollback"]).exits(3);
    told.says(&[&raised.to_string(), "400", "stays at", "buckets stays at"]);
    assert_eq!(world.sysctl("max"), raised);
    // Of which there were far too few for such a max.
    assert_eq!(world.sysctl("buckets"), raised);
    assert_eq!(world.sysctl("udp_timeout"), 30);
}

#[test]
fn changes_are_undone_one_by_one_together_and_again() {
    let world = World::new();
    let first = world.state();
    let set = |value: &str| {
        let set = format!("udp_timeout={value}");
        let told = world.cttune(&[&APPLY[..], &["--set", &set]].concat());
        told.exits(0);
        world.state()
    };
    let (one, two, _three) = (set("61"), set("62"), set("63"));
    world.cttune(&["rollback", "9"]).exits(1);
    world.cttune(&["rollback", "1"]).exits(1);
    world.cttune(&["rollback", "--to", "2"]).exits(0);
    assert_same(&two, &world.state(), "--to 2");
    world.cttune(&["rollback", "--to", "1"]).exits(0);
    assert_same(&one, &world.state(), "--to 1");
    let redo = newest(&world).unwrap()["id"].to_string();
    world.cttune(&["rollback", &redo]).exits(0);
    assert_same(&two, &world.state(), "redone");
    world.cttune(&["rollback"]).exits(0);
    world.cttune(&["rollback"]).exits(0);
    assert_same(&first, &world.state(), "all undone");
    world.cttune(&["rollback"]).exits(1);
}

#[test]
fn a_fault_in_a_rollback_of_several_is_told_as_it_is() {
    let mut left = 0;
    for nth in 1..60 {
        let world = World::new();
        let mut states = vec![world.state()];
        for value in ["61", "62", "63"] {
            let set = format!("udp_timeout={value}");
            let told = world.cttune(&[&APPLY[..], &["--set", &set]].concat());
            told.exits(0);
            states.push(world.state());
        }
        let inject = format!("inject=renameat:error=EIO:when={nth}");
        let options = ["-e", "trace=renameat", "-e", &inject];
        let (told, trace) = world.strace(&options, &["rollback", "--to", "1"]);
        if !trace.contains("(INJECTED)") {
            assert!(left > 0, "no fault came between two of them");
            return;
        }
        let state = world.state();
        match told.code {
            0 => assert_same(&states[1], &state, "all are undone"),
            1 if told.stderr.contains("nothing was changed") => {
                assert_same(&states[3], &state, "nothing was changed");
            }
            3 => left += 1,
            _ => panic!("{nth}: {told}"),
        }
        world.cttune(&["rollback", "--to", "1"]);
        assert_same(&states[1], &world.state(), &format!("{nth}: {told}"));
    }
}

#[test]
fn rollback_needs_no_profile() {
    let world = World::new();
    let state = world.state();
    let profile = world
        .place
        .write("mine.toml", "[sysctl]\nudp_timeout = 45\n");
    world
        .cttune(&["apply", "--profile", &profile, "--yes"])
        .exits(0);
    std::fs::remove_file(profile).unwrap();
    world.cttune(&["rollback"]).exits(0);
    assert_same(&state, &world.state(), "rolled back");
}

#[test]
fn whatever_the_profile_rollback_returns_the_state_bit_for_bit() {
    let world = World::new();
    let state = world.state();
    let value = prop_oneof![
        (1..8_000_000i64).prop_map(|seconds| ("timeout", seconds)),
        (0..2i64).prop_map(|switch| ("switch", switch)),
    ];
    let settings = proptest::collection::vec((any::<prop::sample::Index>(), value), 1..12);
    let mut runner = TestRunner::new(Config::with_cases(24));
    let law = |(settings, adopt): (Vec<Drawn>, bool)| {
        let mut profile = BTreeMap::new();
        for (index, (kind, value)) in settings {
            let key = index.get(match kind {
                "timeout" => &TIMEOUTS[..],
                _ => &SWITCHES[..],
            });
            profile.insert(*key, value);
        }
        let lines = profile
            .iter()
            .map(|(key, value)| format!("{key} = {value}\n"));
        let text = format!("[sysctl]\n{}", lines.collect::<String>());
        let path = world.place.write("random.toml", &text);
        let adopt = if adopt {
            "--adopt"
        } else {
            "--allow-overridden"
        };
        let apply = ["apply", "--profile", &path, "--yes", adopt];
        world.cttune(&apply).exits(0);
        for (key, value) in profile {
            assert_eq!(world.sysctl(key), value, "{text}");
        }
        world.cttune(&["rollback"]).exits(0);
        assert_same(&state, &world.state(), &text);
        Ok(())
    };
    runner.run(&(settings, any::<bool>()), law).unwrap();
}

#[test]
fn a_change_in_another_namespace_is_undone_there_alone() {
    let world = World::new();
    let state = world.state();
    let run = |args: &[&str]| Told::by(world.command_among_processes("cttune").args(args));
    let (keeper, there) = world.netns();
    let apply = [
        "apply",
        "--profile",
        "kernel-defaults",
        "--set",
        "udp_timeout=61",
        "--yes",
    ];
    run(&[&apply[..], &["--netns", &there]].concat()).exits(0);
    assert_same(&state, &world.state(), "applied elsewhere");
    let told = run(&["rollback", "1"]).exits(1);
    told.says(&[
        "another network namespace",
        "--netns pid:",
        "nothing was changed",
    ]);
    run(&["rollback"]).exits(1).says(&["no change to undo"]);
    let value = || {
        let pid = there.strip_prefix("pid:").unwrap();
        let read = "cat /proc/sys/net/netfilter/nf_conntrack_udp_timeout";
        let mut nsenter = world.command_among_processes("nsenter");
        Told::by(nsenter.args(["-n", "-t", pid, "sh", "-c", read])).stdout
    };
    assert_eq!(value(), "61\n");
    let confirm = ["--set", "udp_timeout=62", "--confirm-within", "2s"];
    run(&[&apply[..3], &confirm, &["--yes", "--netns", &there]].concat()).exits(0);
    assert_eq!(value(), "62\n");
    run(&["confirm"])
        .exits(1)
        .says(&["another network namespace"]);
    support::wait_until("its watcher acts there", || value() == "61\n");
    run(&["rollback", "--netns", &there]).exits(0);
    assert_eq!(value(), "30\n");
    drop(keeper);

    // One of the same name that is not the same.
    let (_other, elsewhere) = world.netns();
    let told = run(&["rollback", "1", "--netns", &elsewhere]).exits(1);
    told.says(&["nothing was changed"]);
}

#[test]
fn the_journal_of_a_root_stays_in_it() {
    let world = World::new();
    world.place.write("image/etc/sysctl.conf", "# site\n");
    let image = world.place.path().join("image");
    let root = ["--root", image.to_str().unwrap()];
    world.cttune(&[&APPLY[..], &root].concat()).exits(0);
    assert!(image.join("var/lib/cttune/journal/000001.json").exists());
    assert!(image.join("etc/sysctl.d/90-cttune.conf").exists());
    world
        .cttune(&["rollback"])
        .exits(1)
        .says(&["no change to undo"]);
    world.cttune(&[&["rollback"][..], &root].concat()).exits(0);
    let left = std::fs::read_dir(image.join("etc")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["sysctl.conf"]);
}

#[test]
fn the_journal_is_its_owners_and_one_that_others_may_write_is_refused() {
    let world = World::new();
    world.cttune(&APPLY).exits(0);
    let modes = world.sh(&format!("cd {STATE}; stat -c %a journal journal/* lock"));
    assert_eq!(modes, "700\n600\n600\n600\n");
    for place in ["", "/journal"] {
        world.sh(&format!("chmod 777 {STATE}{place}"));
        let state = world.state();
        let told = world.cttune(&["rollback"]).exits(1).briefly();
        told.says(&["others may write it", "nothing was changed", "chmod"]);
        assert_same(&state, &world.state(), "refused");
        world.sh(&format!("chmod 700 {STATE}{place}"));
    }
}

#[test]
fn a_damaged_record_is_in_the_way_of_what_came_before_it_alone() {
    let world = World::new();
    let apply = |value: &str| {
        let set = format!("udp_timeout={value}");
        let args = [
            "apply",
            "--profile",
            "kernel-defaults",
            "--only",
            "live",
            "--yes",
        ];
        world
            .cttune(&[&args[..], &["--set", &set]].concat())
            .exits(0);
    };
    let before = world.sysctl("udp_timeout");
    for value in ["41", "42", "43"] {
        apply(value);
    }
    std::fs::write(
        world.path(&format!("{STATE}/journal/000002.json")),
        "{\"half",
    )
    .unwrap();
    let told = world.cttune(&["history"]).exits(0);
    assert!(told.stdout.contains("kernel-defaults"), "{told}");
    told.says(&["note: change 2 is not shown", "000002.json is damaged"]);
    for args in [
        &["history", "2"][..],
        &["rollback", "2"],
        &["rollback", "1"],
    ] {
        world
            .cttune(args)
            .exits(1)
            .says(&["000002.json is damaged", "move that file"]);
        assert_eq!(world.sysctl("udp_timeout"), 43);
    }
    world
        .cttune(&["rollback", "--to", "1"])
        .exits(1)
        .says(&["000002.json is damaged"]);
    world.cttune(&["rollback"]).exits(0);
    assert_eq!(world.sysctl("udp_timeout"), 42);
    // Whoever moves it away decides that nothing of it matters any more.
    world.sh(&format!("rm {STATE}/journal/000002.json"));
    world
        .cttune(&["rollback", "--yes", "--overwrite-changed", "1"])
        .exits(0);
    assert_eq!(world.sysctl("udp_timeout"), before);
}

#[test]
fn a_relative_state_directory_is_taken_from_where_we_are() {
    let world = World::new();
    let state = "cd /run; CTTUNE_STATE_DIR=here cttune";
    world.sh(&format!("{state} apply --profile campus-fw --adopt --yes"));
    world.sh(&format!(
        "cd /; ls /run/here/journal/000001.json; {state} rollback"
    ));
}

#[test]
fn a_held_lock_names_its_holder_and_can_be_waited_for() {
    let world = World::new();
    world.sh(&format!("mkdir -pm 700 {STATE}; : >{STATE}/lock"));
    let apply = APPLY.join(" ");
    let told = world.try_sh(&format!(
        "cd {STATE}; printf 'pid 7, `cttune apply`\\n' >lock
        mkfifo /run/held; flock lock sh -c 'echo >/run/held; read end </run/held' &
        read held </run/held; ! cttune {apply} 2>said; cat said >&2
        cttune {apply} --wait 60s & echo >/run/held; wait $!"
    ));
    told.exits(0)
        .says(&["another cttune is at work: pid 7, `cttune apply`", "--wait"]);
    assert_eq!(world.sysctl("udp_timeout"), 120);
}

#[test]
fn applies_that_alternate_leave_one_of_the_two_and_a_journal_that_can_always_be_read() {
    // CTTUNE_TEST_APPLIES=1000 is the full number.
    let number = std::env::var("CTTUNE_TEST_APPLIES").unwrap_or_else(|_| "100".to_owned());
    let world = World::new();
    let told = world.try_sh(&format!(
        "apply() {{ n={number}; while [ $n -gt 0 ]; do n=$((n - 2))
            cttune apply --profile campus-fw --set udp_timeout=$1 --adopt --yes --wait 30s -q
        done; }}
        apply 61 & one=$!
        apply 62 & two=$!
        reads=0
        while kill -0 $one 2>/dev/null || kill -0 $two 2>/dev/null; do
            cttune history -q --format json >/dev/null; reads=$((reads + 1))
        done
        wait $one; wait $two; echo $reads"
    ));
    let told = told.exits(0);
    assert!(told.stdout.trim().parse::<u32>().unwrap() > 10, "{told}");
    let value = world.sysctl("udp_timeout");
    assert!([61, 62].contains(&value), "{value}");
    let set = format!("udp_timeout={value}");
    world
        .cttune(&["check", "--profile", "campus-fw", "--set", &set])
        .exits(0);
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_the_rest_is_restored() {
    let file = "/etc/sysctl.d/90-cttune.conf";
    for (replace, repair, said) in [
        (
            format!("rm {file}; mkdir {file}"),
            format!("rmdir {file}"),
            "is a directory",
        ),
        (
            format!("rm {file}; mkfifo {file}"),
            format!("rm {file}"),
            "is a FIFO",
        ),
    ] {
        let world = World::new();
        let state = world.state();
        world.cttune(&APPLY).exits(0);
        world.sh(&replace);
        let told = world.cttune(&["rollback"]).exits(3);
        told.says(&[file, said, "not restored", "cttune rollback 1"]);
        assert_eq!(world.sysctl("udp_timeout"), 30, "the rest");
        world.sh(&repair);
        world.cttune(&["rollback"]).exits(0);
        assert_same(&state, &world.state(), "once it could be read");
    }
}

#[test]
fn a_file_that_does_not_hold_what_was_written_undoes_the_change() {
    let world = World::new();
    let state = world.state();
    // The file is said to be in its place, and is not.
    // The first two are the journal's.
    for number in 3..=5 {
        let inject = format!("inject=renameat:retval=0:when={number}");
        let (told, trace) = world.strace(&["-e", "trace=renameat", "-e", &inject], &APPLY);
        assert!(trace.contains("INJECTED"), "{trace}");
        told.exits(1)
            .says(&["was written, but it", "everything is as it was"]);
        world.sh("find /etc -name '.*cttune-*' -delete");
        assert_same(&state, &world.state(), &inject);
    }
}
