//! `apply --confirm-within`: what nobody confirms is taken back, whatever became of who asked.
//!
//! Without systemd: a sandbox is none of systemd's namespaces, so that the detached watcher acts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use serde_json::Value;
use support::terminal::Terminal;
use support::{Told, World, assert_same};

const PROMPT: &str = "Press Enter to keep it";

/// The arguments of an apply with so much time.
fn within(time: &str) -> Vec<&str> {
    let apply = ["apply", "--profile", "campus-fw", "--adopt"];
    [&apply[..], &["--confirm-within", time]].concat()
}

fn at_once(time: &str) -> Vec<&str> {
    [&within(time)[..], &["--yes"]].concat()
}

/// `cttune` where its own process is to be seen in /proc: the watcher is started from there.
fn cttune(world: &World, args: &[&str]) -> Told {
    Told::by(world.command_among_processes("cttune").args(args))
}

fn newest(world: &World) -> Value {
    let history = cttune(world, &["history", "--format", "json"]).exits(0);
    let history = history.json();
    history["changes"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone()
}

/// Waits for the state before; gives how long it took.
#[track_caller]
fn wait_for(world: &World, state: &str, patience: Duration) -> Duration {
    let since = Instant::now();
    while world.state() != state {
        if since.elapsed() > patience {
            assert_same(state, &world.state(), "after its time");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    since.elapsed()
}

/// A prompt that stands open in a terminal.
fn prompt(world: &World, time: &str) -> Terminal {
    let mut terminal = Terminal::start(world.command_among_processes("cttune").args(within(time)));
    terminal.wait_for("[y/N/e]");
    terminal.send("y\r");
    terminal.wait_for(PROMPT);
    assert_eq!(world.sysctl("udp_timeout"), 120);
    terminal
}

#[test]
fn unconfirmed_it_is_taken_back_and_confirm_says_so() {
    let world = World::new();
    let state = world.state();
    let since = Instant::now();
    // Told::by reads stdout and stderr to their end: the watcher holds neither.
    cttune(&world, &at_once("3s")).exits(0);
    assert!(since.elapsed() < Duration::from_millis(2500));
    assert_eq!(world.sysctl("udp_timeout"), 120);
    let files = |state: &str| -> Vec<String> {
        let of_etc = |line: &&str| line.starts_with("/etc") || line.contains(".conf:");
        state.lines().filter(of_etc).map(str::to_owned).collect()
    };
    assert_eq!(files(&state), files(&world.state()));
    assert_eq!(newest(&world)["standing"], "pending");
    wait_for(&world, &state, Duration::from_secs(6));
    assert!(since.elapsed() > Duration::from_secs(3));
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(newest(&world)["standing"], "expired");
    cttune(&world, &["confirm"])
        .exits(1)
        .says(&["not confirmed in time"]);
}

#[test]
fn confirmed_it_stays_and_its_files_are_written() {
    let world = World::new();
    cttune(&world, &at_once("3s")).exits(0);
    cttune(&world, &["confirm"]).exits(0);
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(world.sysctl("udp_timeout"), 120);
    cttune(&world, &["check"]).exits(0);
    cttune(&world, &["confirm"])
        .exits(1)
        .says(&["no change waits"]);
    assert_eq!(newest(&world)["standing"], "complete");
    // Nothing watches any more.
    let watchers = Told::by(
        world
            .command_among_processes("pgrep")
            .args(["-f", "watch-pending"]),
    );
    watchers.exits(1);
}

#[test]
fn a_terminal_that_hangs_up_takes_it_back() {
    let world = World::new();
    let state = world.state();
    let terminal = prompt(&world, "4s");
    assert_eq!(terminal.hang_up(), 129);
    assert_eq!(world.sysctl("udp_timeout"), 120);
    wait_for(&world, &state, Duration::from_secs(7));
}

#[test]
fn the_death_of_who_asked_takes_it_back() {
    let world = World::new();
    let state = world.state();
    let terminal = prompt(&world, "4s");
    Told::by(
        world
            .command_among_processes("pkill")
            .args(["-KILL", "-f", "^cttune apply"]),
    )
    .exits(0);
    wait_for(&world, &state, Duration::from_secs(7));
    drop(terminal);
}

#[test]
fn enter_at_the_prompt_keeps_it_and_ctrl_c_takes_it_back_at_once() {
    let world = World::new();
    let state = world.state();
    let mut terminal = prompt(&world, "60s");
    terminal.send("\u{3}");
    terminal.wait_for("taken back; everything is as it was");
    terminal.end();
    assert_same(&state, &world.state(), "Ctrl-C");

    let mut terminal = prompt(&world, "60s");
    terminal.send("\r");
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    cttune(&world, &["check"]).exits(0);
    cttune(&world, &["rollback"]).exits(0);
    assert_same(&state, &world.state(), "rolled back");
}

#[test]
fn while_it_waits_the_same_apply_gives_it_more_time_and_another_is_refused() {
    let world = World::new();
    let state = world.state();
    cttune(&world, &at_once("3s")).exits(0);
    let held = world.state();
    for other in [
        &["apply", "--profile", "campus-fw", "--adopt", "--yes"][..],
        &[
            "apply",
            "--profile",
            "rfc-nat",
            "--adopt",
            "--yes",
            "--confirm-within",
            "9s",
        ],
    ] {
        let told = cttune(&world, other).exits(1);
        told.says(&[
            "change 1 of campus-fw waits to be confirmed",
            "cttune confirm",
        ]);
    }
    assert_same(&held, &world.state(), "refused");
    cttune(&world, &at_once("8s")).exits(0);
    std::thread::sleep(Duration::from_secs(4));
    assert_same(&held, &world.state(), "given more time");
    cttune(&world, &["rollback"]).exits(0);
    assert_same(&state, &world.state(), "rolled back");
    cttune(&world, &["confirm"])
        .exits(1)
        .says(&["no change waits"]);
    // The watcher finds nothing to do, not even what somebody changes meanwhile.
    world.sh("echo 77 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout");
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(world.sysctl("udp_timeout"), 77);
    assert_eq!(newest(&world)["origin"], "rollback");
}

#[test]
fn a_reboot_takes_it_back_and_is_written_down() {
    let world = World::new();
    cttune(&world, &at_once("60s")).exits(0);
    world.sh("cd /run/cttune-sandbox/state/journal
        sed -i 's/\"boot_id\": \"[^\"]*\"/\"boot_id\": \"another\"/' 000001.json");
    assert_eq!(newest(&world)["standing"], "rebooted");
    let told = cttune(&world, &["confirm"]).exits(1);
    told.says(&["change 1 was never confirmed, and a reboot took it back"]);
    let text = world.read("/run/cttune-sandbox/state/journal/000001.json");
    assert!(text.starts_with("{\n  \"standing\": \"rebooted"), "{text}");
}

#[test]
fn a_kill_while_it_is_confirmed_is_taken_back_when_its_time_is_over() {
    let world = World::new();
    let state = world.state();
    cttune(&world, &at_once("4s")).exits(0);
    let inject = ["-f", "-o", "/dev/null", "-e", "trace=renameat", "-e"];
    let mut strace = world.command_among_processes("strace");
    strace
        .args(inject)
        .arg("inject=renameat:signal=KILL:when=2");
    Told::by(strace.args(["cttune", "confirm"]));
    let check = cttune(&world, &["check", "--no-profile"]);
    check.says(&["an apply was interrupted at step 7 of 8"]);
    wait_for(&world, &state, Duration::from_secs(7));
}

#[test]
fn a_file_that_was_edited_meanwhile_is_not_overwritten() {
    let world = World::new();
    cttune(&world, &at_once("60s")).exits(0);
    world.sh("echo '# by hand' >>/etc/sysctl.conf");
    let told = cttune(&world, &["confirm"]).exits(1);
    told.says(&["/etc/sysctl.conf changed since", "still waits"]);
    assert!(world.read("/etc/sysctl.conf").ends_with("# by hand\n"));
    cttune(&world, &["rollback"]).exits(0);
}

#[test]
fn the_watcher_inherits_nothing() {
    let world = World::new();
    let apply = at_once("4s").join(" ");
    // A lock that somebody took around it, as with flock(1), is free again at once.
    let script = format!(
        ": >/run/around; flock /run/around cttune {apply} -q 7</dev/null
        flock -n /run/around true
        ls -l /proc/$(pgrep -f '^cttune watch-pending')/fd"
    );
    let mut shell = world.command_among_processes("sh");
    let told = Told::by(shell.args(["-ec", &script])).exits(0);
    let open: Vec<&str> = told.stdout.lines().skip(1).collect();
    assert_eq!(open.len(), 3, "{told}");
    assert!(
        open.iter().all(|line| line.ends_with("/dev/null")),
        "{told}"
    );
    cttune(&world, &["rollback"]).exits(0);
}
