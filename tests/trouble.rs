//! What can keep `cttune` from its work, each with the message, the exit code and the state after.
//!
//! Every trouble is a real one: a file system that is full, a kernel that refuses, a signal between
//! two steps. Where the kernel cannot be made to fail, strace(1) makes a system call fail for it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use support::terminal::Terminal;
use support::{Place, Told, World, assert_same, live_steps, ordinary_user};

const APPLY: [&str; 5] = ["apply", "--profile", "campus-fw", "--adopt", "--yes"];
/// The same without its service, whose proof takes a while: for hundreds of them.
const PLAIN: [&str; 5] = ["apply", "--profile", "plain", "--adopt", "--yes"];
/// The steps of that in an empty sandbox: five sysctls and three files.
const STEPS: usize = 8;
/// More than a small apply makes of any system call that is tried in turn: each costs a run.
const MOST_CALLS: usize = 150;
const UNTOUCHED: &str = "nothing was changed";
const UNDONE: &str = "everything is as it was";

/// Runs a script that makes the trouble, then apply; nothing may have changed after it.
#[track_caller]
fn refused_after(world: &World, trouble: &str, says: &[&str]) {
    world.sh(trouble);
    let state = world.state();
    let told = world.cttune(&APPLY).exits(1).briefly();
    told.says(&[says, &[UNTOUCHED]].concat());
    assert_same(&state, &world.state(), trouble);
}

#[test]
fn a_file_system_that_is_read_only_or_full_stops_apply() {
    let read_only = "mount --bind /etc /etc; mount -o remount,bind,ro /etc";
    let full = "
        cp /etc/sysctl.conf /run/kept; mount -t tmpfs -o size=64k tmpfs /etc
        mkdir -p /etc/sysctl.d /etc/cttune /etc/modules-load.d /etc/udev/rules.d
        cp /run/kept /etc/sysctl.conf
        cat /dev/zero >/etc/fill 2>/run/full || grep -q 'No space' /run/full";
    for (trouble, said) in [
        (read_only, "Read-only file system"),
        (full, "No space left"),
    ] {
        let world = World::new();
        let file = "/etc/sysctl.d/90-cttune.conf";
        refused_after(
            &world,
            trouble,
            &["cannot write", file, said, "--only live"],
        );
        world
            .cttune(&[&APPLY[..], &["--only", "live"]].concat())
            .exits(0);
        assert_eq!(world.sysctl("udp_timeout"), 120);
    }
}

#[test]
fn sysctls_that_are_mounted_read_only_stop_apply() {
    let world = World::new();
    let protect = "
        cd /proc/sys/net/netfilter
        for path in nf_conntrack_max nf_conntrack_buckets /proc/sys/net; do
            mount -o remount,bind,ro $path
        done";
    let names = [
        "net.netfilter.nf_conntrack_max and 4 more keys are read-only",
        "--only persist",
    ];
    refused_after(&world, protect, &names);
    world
        .cttune(&[&APPLY[..], &["--only", "persist"]].concat())
        .exits(0);
    world.cttune(&["check"]).exits(2);
    // What holds already stops nobody.
    let profile = world
        .place
        .write("small.toml", "[sysctl]\nudp_timeout = 30\n");
    world
        .cttune(&["apply", "--profile", &profile, "--yes"])
        .exits(0);
}

#[test]
fn a_file_of_ours_with_foreign_lines_is_left_alone() {
    let ours = "cttune apply --profile campus-fw --adopt --yes >/dev/null; cd /etc/sysctl.d";
    for (trouble, line) in [
        (
            "echo net.core.somaxconn = 4096 >/etc/sysctl.d/90-cttune.conf".to_owned(),
            ":1",
        ),
        (
            format!("{ours}; sed -i '3i kernel.panic = 10' 90-cttune.conf"),
            ":3",
        ),
        (
            format!("{ours}; echo 'kernel.panic = 10' >>90-cttune.conf"),
            ":",
        ),
    ] {
        let world = World::new();
        world.sh(&trouble);
        // Something to do, or apply would not come to look at the file.
        world.sh("echo 31 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout");
        let place = format!("/etc/sysctl.d/90-cttune.conf{line}");
        refused_after(
            &world,
            "true",
            &[&place, "was not written by cttune", "a file of their own"],
        );
    }
}

#[test]
fn a_link_in_our_place_is_not_followed() {
    for (trouble, link) in [
        (
            "echo kept >/run/elsewhere; ln -s /run/elsewhere /etc/sysctl.d/90-cttune.conf",
            "/etc/sysctl.d/90-cttune.conf",
        ),
        (
            "ln -s /run/nowhere /etc/cttune/active.toml",
            "/etc/cttune/active.toml",
        ),
        (
            "rmdir /etc/cttune; mkdir /run/elsewhere; ln -s /run/elsewhere /etc/cttune",
            "/etc/cttune",
        ),
    ] {
        let world = World::new();
        refused_after(
            &world,
            trouble,
            &[&format!("{link} is a symbolic link"), "a real file"],
        );
        let kept = world
            .sh("cat /run/elsewhere 2>/dev/null || ls -A /run/elsewhere /run/nowhere 2>&1 || true");
        assert!(!kept.contains("cttune"), "{trouble}: {kept}");
    }
}

#[test]
fn a_folder_in_our_place_is_named() {
    let world = World::new();
    let file = "/etc/sysctl.d/90-cttune.conf";
    refused_after(&world, &format!("mkdir {file}"), &[file, "is a directory"]);
}

#[test]
fn without_rights_apply_says_what_it_lacks() {
    let place = Place::new();
    // The host's own value and one: there is something to do, and no permission to do it.
    let value = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_udp_timeout").unwrap();
    let other = value.trim().parse::<i64>().unwrap() + 1;
    let profile = place.write("other.toml", &format!("[sysctl]\nudp_timeout = {other}\n"));
    for (only, says) in [
        (
            "live",
            ["net.netfilter.nf_conntrack_udp_timeout", "as root"],
        ),
        ("persist", ["/etc/sysctl.d/90-cttune.conf", "as root"]),
    ] {
        let mut command = ordinary_user();
        command.arg(place.program()).current_dir(place.path());
        command.args(["apply", "--profile", &profile, "--only", only, "--yes"]);
        let told = Told::by(&mut command).exits(1).briefly();
        told.says(&says).says(&[UNTOUCHED]);
    }
    let now = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_udp_timeout").unwrap();
    assert_eq!(now, value);
}

#[test]
fn a_namespace_that_cannot_be_entered_is_named() {
    let world = World::new();
    for (netns, code, says) in [
        (
            "no-such-name",
            1,
            &["no network namespace is named \"no-such-name\""][..],
        ),
        ("/no/such/file", 1, &["/no/such/file", "no such file"]),
        (
            "/etc/sysctl.conf",
            1,
            &["/etc/sysctl.conf is not a network namespace"],
        ),
        ("pid:4194305", 1, &["no process has the id 4194305"]),
        ("pid:x", 64, &["\"x\" is not a process id"]),
        ("", 64, &["is not the name of a network namespace"]),
    ] {
        for command in [&["check"][..], &APPLY, &["plan", "--profile", "campus-fw"]] {
            let told = world.cttune(&[command, &["--netns", netns]].concat());
            told.exits(code).briefly().says(says);
        }
    }
}

#[test]
fn a_profile_that_cannot_be_trusted_or_read_is_refused() {
    let world = World::new();
    let write = |name: &str, mode: u32| {
        let path = world.place.write(name, "[sysctl]\nudp_timeout = 45\n");
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    };
    let (others, group) = (write("others.toml", 0o666), write("group.toml", 0o664));
    fs::create_dir(world.place.path().join("folder.toml")).unwrap();
    fs::write(world.place.path().join("bytes.toml"), [0xff, 0xfe, 0]).unwrap();
    let path = |name: &str| world.place.path().join(name).to_str().unwrap().to_owned();
    let state = world.state();
    for (profile, says) in [
        (
            others.as_str(),
            &["refusing the profile", "others.toml", "chmod"][..],
        ),
        (&group, &["refusing the profile", "group.toml", "chmod"]),
        (
            &path("folder.toml"),
            &["folder.toml is a directory, not a file"],
        ),
        (&path("bytes.toml"), &["bytes.toml", "UTF-8"]),
        (
            "/no/such.toml",
            &["cannot read /no/such.toml: no such file"],
        ),
        (
            "campus-wf",
            &["no profile `campus-wf`", "did you mean `campus-fw`?"],
        ),
        ("zzz", &["no profile `zzz`", "campus-fw"]),
    ] {
        for command in ["check", "plan", "apply"] {
            let told = world.cttune(&[command, "--profile", profile]).exits(1);
            told.briefly().says(says);
        }
    }
    assert_same(&state, &world.state(), "no profile");
}

#[test]
fn a_module_that_is_not_loaded_is_no_trouble_to_read() {
    let world = World::new();
    let before = world.cttune(&["check", "--format", "json"]).json();
    assert!(before["table"].is_object());
    world.sh("mount -t tmpfs tmpfs /proc/sys/net/netfilter");
    let told = world.cttune(&["check", "--format", "json"]).exits(0);
    assert!(told.json()["table"].is_null(), "{told}");
    let findings = told.json()["findings"].as_array().unwrap().clone();
    assert!(
        findings.iter().any(|finding| finding["id"] == "not-loaded"),
        "{told}"
    );
    let told = world.cttune(&["check", "--profile", "campus-fw"]).exits(2);
    assert!(told.stdout.contains("nf_conntrack is not loaded"), "{told}");

    let planned = world
        .cttune(&["plan", "--profile", "campus-fw", "--format", "json"])
        .exits(2);
    let planned = planned.json();
    assert_eq!(planned["steps"][0]["kind"], "load-module");
    for step in &planned["steps"].as_array().unwrap()[1..6] {
        assert_eq!(
            (&step["kind"], step["from"].is_null()),
            (&"write-live".into(), true),
            "{step}"
        );
    }
}

/// A `modprobe` that loads what `mount` above unloaded, and the other way round.
const MODPROBE: &str = "#!/bin/sh
echo \"modprobe $*\" >>/run/modprobe.log
case $1 in
    -r) exec mount -t tmpfs tmpfs /proc/sys/net/netfilter ;;
    nf_conntrack) exec umount /proc/sys/net/netfilter ;;
esac
echo 'unknown module' >&2; exit 1
";

fn unload(world: &World) {
    let script = world.place.write("modprobe", MODPROBE);
    world.sh(&format!(
        "install -m 755 {script} /run/cttune-sandbox/bin/modprobe
         mount -t tmpfs tmpfs /proc/sys/net/netfilter"
    ));
}

#[test]
fn a_module_that_is_not_loaded_is_loaded_now_and_at_boot() {
    let world = World::new();
    unload(&world);
    let told = world
        .cttune(&[&APPLY[..], &["--format", "json"]].concat())
        .exits(0);
    let applied = told.json();
    assert_eq!(
        (&applied["steps"][0]["kind"], &applied["steps"][0]["result"]),
        (&"load-module".into(), &"done".into())
    );
    assert_eq!(live_steps(&applied).len(), 5);
    assert_eq!(world.sysctl("udp_timeout"), 120);
    assert_eq!(world.read("/run/modprobe.log"), "modprobe nf_conntrack\n");
    assert!(
        world
            .read("/etc/modules-load.d/cttune.conf")
            .contains("\nnf_conntrack\n")
    );
    assert!(
        world
            .read("/etc/udev/rules.d/90-cttune.rules")
            .contains("nf_conntrack")
    );
}

#[test]
fn a_module_that_was_loaded_for_nothing_is_unloaded_again() {
    let world = World::new();
    unload(&world);
    let state = world.state();
    // The longest time that any kernel takes; this one, with another HZ, does not.
    let told = world.cttune(&[&APPLY[..], &["--set", "tcp_timeout_established=21474836"]].concat());
    told.exits(1).says(&["Invalid argument", UNDONE]);
    assert_same(&state, &world.state(), "undone");
    assert_eq!(
        world.read("/run/modprobe.log"),
        "modprobe nf_conntrack\nmodprobe -r nf_conntrack\n"
    );
}

#[test]
fn a_module_that_cannot_be_loaded_is_told_with_modprobe_s_words() {
    let world = World::new();
    unload(&world);
    let state = world.state();
    world.sh("printf '#!/bin/sh\necho \"no such module here\" >&2; exit 1' >/run/cttune-sandbox/bin/modprobe");
    let told = world.cttune(&APPLY).exits(1).briefly();
    told.says(&[
        "modprobe nf_conntrack failed: no such module here",
        UNDONE,
        "modinfo nf_conntrack",
    ]);
    assert_same(&state, &world.state(), "undone");
}

#[test]
fn a_value_that_the_kernel_refuses_undoes_those_before_it() {
    let world = World::new();
    let state = world.state();
    // In the middle: after the limits, before two more timeouts and the files.
    let told = world.cttune(&[&APPLY[..], &["--set", "tcp_timeout_established=21474836"]].concat());
    let told = told.exits(1).briefly();
    let told = told.says(&[
        "the kernel refused 21474836 for net.netfilter.nf_conntrack_tcp_timeout_established",
        "Invalid argument",
        UNDONE,
    ]);
    assert!(told.stdout.contains("done max: "), "{told}");
    assert_same(&state, &world.state(), "undone");

    let told = world.cttune(
        &[
            &APPLY[..],
            &[
                "--format",
                "json",
                "--set",
                "tcp_timeout_established=21474836",
            ],
        ]
        .concat(),
    );
    let applied = told.exits(1).json();
    assert_eq!(applied["changed"], false);
    let results: Vec<_> = applied["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| &step["result"])
        .collect();
    assert_eq!(
        results
            .iter()
            .filter(|result| ***result == "failed")
            .count(),
        1
    );
    assert!(
        results.iter().all(|result| **result != "done"),
        "{applied:#}"
    );
}

#[test]
fn a_system_call_that_fails_wherever_it_is_leaves_everything_as_it_was() {
    let world = plain();
    let state = world.state();
    for (call, errno, fewest) in [
        ("write", "EINVAL", 10),
        ("write", "EIO", 10),
        ("write", "ENOSPC", 10),
        ("ftruncate", "EIO", 2),
        ("renameat", "EIO", 3),
        ("fsync", "EIO", 6),
        ("fchmod", "EPERM", 6),
    ] {
        let mut failed = 0;
        for nth in 1.. {
            assert!(
                nth <= MOST_CALLS,
                "an apply makes too many {call} calls to try them all"
            );
            let inject = format!("inject={call}:error={errno}:when={nth}");
            let (told, trace) =
                world.strace(&["-e", &format!("trace={call}"), "-e", &inject], &PLAIN);
            let when = format!("{call} number {nth} is {errno}: {told}");
            if !trace.contains("(INJECTED)") {
                assert_eq!(told.code, 0, "{when}");
                break;
            }
            if told.code == 0 {
                // Only a line for people was lost, or a file that is of no use any more.
                world.cttune(&["check"]).exits(0);
                undo_by_hand(&world);
            } else {
                failed += 1;
                assert!(
                    told.code == 1 && told.stderr.starts_with("error: "),
                    "{when}"
                );
                assert!(
                    told.stderr.contains(UNDONE) || told.stderr.contains(UNTOUCHED),
                    "{when}"
                );
            }
            assert_same(&state, &world.state(), &when);
        }
        undo_by_hand(&world);
        assert!(failed >= fewest, "only {failed} of {call} {errno} did harm");
    }
}

/// A sandbox with that profile.
fn plain() -> World {
    let world = World::new();
    let profile = "extends = \"campus-fw\"\n[service.push]\nmatch = []\n";
    world.sh("mkdir -p /etc/cttune/profiles");
    fs::write(world.path("/etc/cttune/profiles/plain.toml"), profile).unwrap();
    world
}

/// Puts a sandbox back into the state that it was made in.
fn undo_by_hand(world: &World) {
    world.sh("
        cd /proc/sys/net/netfilter
        echo 76800 >nf_conntrack_max; echo 65536 >nf_conntrack_buckets
        echo 432000 >nf_conntrack_tcp_timeout_established
        echo 30 >nf_conntrack_udp_timeout; echo 120 >nf_conntrack_udp_timeout_stream
        rm -f /etc/sysctl.d/90-cttune.conf /etc/cttune/active.toml
        sed -i 's/^# commented out by cttune: //' /etc/sysctl.conf");
}

/// A signal after each write and rename in turn: between any two steps, and within them.
fn a_signal_between_any_two_steps_undoes_all(name: &str, code: i32) {
    let world = plain();
    let state = world.state();
    let mut steps_done = BTreeSet::new();
    for call in ["write", "renameat"] {
        for nth in 1.. {
            assert!(
                nth <= MOST_CALLS,
                "an apply makes too many {call} calls to try them all"
            );
            let inject = format!("inject={call}:signal={name}:when={nth}");
            let (told, trace) =
                world.strace(&["-e", &format!("trace={call}"), "-e", &inject], &PLAIN);
            let when = format!("{name} after {call} number {nth}: {told}");
            if told.code == 0 {
                // It came after the last step, if it came.
                assert_eq!(told.stdout.matches("   done ").count(), STEPS, "{when}");
                undo_by_hand(&world);
                assert_same(&state, &world.state(), &when);
                if trace.contains(&format!("--- {name} ")) {
                    continue;
                }
                break;
            }
            assert_eq!(told.code, code, "{when}");
            assert!(
                told.stderr
                    .contains(&format!("stopped by {name}; {UNDONE}")),
                "{when}"
            );
            steps_done.insert(told.stdout.matches("   done ").count());
            assert_same(&state, &world.state(), &when);
        }
    }
    let every: BTreeSet<usize> = (0..STEPS).collect();
    assert_eq!(steps_done, every, "{name} did not come between all steps");
}

#[test]
fn sigint_between_any_two_steps_undoes_all() {
    a_signal_between_any_two_steps_undoes_all("SIGINT", 130);
}

#[test]
fn sigterm_between_any_two_steps_undoes_all() {
    a_signal_between_any_two_steps_undoes_all("SIGTERM", 143);
}

#[test]
fn sighup_between_any_two_steps_undoes_all() {
    a_signal_between_any_two_steps_undoes_all("SIGHUP", 129);
}

#[test]
fn a_hang_up_that_nohup_ignores_stops_nothing() {
    let world = World::new();
    for (ignored, code) in [("HUP", 0), ("USR1", 129)] {
        let mut command = world.command_among_processes("sh");
        let script = format!(
            "trap '' {ignored}; exec strace -o /dev/null -e inject=write:signal=SIGHUP:when=20 \
             cttune {}",
            APPLY.join(" ")
        );
        Told::by(command.args(["-c", &script])).exits(code);
        undo_by_hand(&world);
    }
}

#[test]
fn nobody_who_reads_stdout_or_stderr_changes_nothing() {
    for redirected in [
        "cttune $APPLY | head -n1 >/dev/null",
        "cttune $APPLY | true",
        "cttune $APPLY >&-",
        "cttune $APPLY >&- 2>&-",
        "cttune $APPLY <&- >&- 2>&-",
        "cttune $APPLY >/dev/full 2>/dev/full",
        "cttune $APPLY --format json | true",
    ] {
        let world = World::new();
        let script = format!("set -o pipefail; APPLY='{}'; {redirected}", APPLY.join(" "));
        Told::by(world.command("bash").args(["-c", &script])).exits(0);
        world.cttune(&["check"]).exits(0);
    }
}

#[test]
fn a_refusal_keeps_its_code_where_nobody_reads_it() {
    let world = World::new();
    let script = "set -o pipefail; cttune apply --profile campus-fw --yes >&- 2>&-";
    Told::by(world.command("bash").args(["-c", script])).exits(1);
    let script = "set -o pipefail; cttune check --profile campus-fw | true";
    Told::by(world.command("bash").args(["-c", script])).exits(2);
}

#[test]
fn without_a_terminal_and_without_yes_nothing_is_done() {
    let world = World::new();
    let state = world.state();
    let told = world
        .cttune(&["apply", "--profile", "campus-fw", "--adopt"])
        .exits(1)
        .briefly();
    told.says(&["there is no terminal to ask on", UNTOUCHED, "--yes"]);
    assert_same(&state, &world.state(), "not asked");
}

#[test]
fn a_folder_that_is_gone_matters_only_to_a_path_from_there() {
    let world = World::new();
    let from_nowhere = |args: &str| {
        let script = format!("mkdir /tmp/gone; cd /tmp/gone; rmdir /tmp/gone; exec cttune {args}");
        world.try_sh(&script)
    };
    from_nowhere("check --profile campus-fw").exits(2);
    from_nowhere("check --profile ./mine.toml")
        .exits(1)
        .briefly()
        .says(&["./mine.toml", "full path"]);
}

#[test]
fn only_one_apply_is_at_work_at_a_time() {
    let world = World::new();
    let state = world.state();
    let mut first = world.command("cttune");
    let mut first = Terminal::start(first.args(["apply", "--profile", "campus-fw", "--adopt"]));
    first.wait_for("[y/N/e to choose/?]");
    let told = world.cttune(&APPLY).exits(1).briefly();
    told.says(&[
        "another cttune is at work: pid ",
        "apply --profile campus-fw --adopt",
        UNTOUCHED,
    ]);
    assert_same(&state, &world.state(), "locked");
    first.send("n\r");
    assert_eq!(first.end().0, 0);
    world.cttune(&APPLY).exits(0);
}
