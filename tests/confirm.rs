//! `apply --confirm-within`: what nobody confirms is undone, whatever became of who asked.
//!
//! Without systemd: a sandbox is none of systemd's namespaces, so that the detached watcher acts. No
//! test depends on how long a command takes: a change waits for minutes, or the test waits for what
//! is to happen.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use nix::sys::signal::Signal;
use serde_json::Value;
use support::terminal::Terminal;
use support::{Told, World, assert_same, wait_until};

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

fn status(world: &World) -> String {
    newest(world)["status"].as_str().unwrap().to_owned()
}

/// Gives the pending change so little time that its watcher undoes it now, and waits for that.
#[track_caller]
fn expire(world: &World, state: &str) {
    cttune(world, &at_once("1s")).exits(0);
    wait_until("its watcher undoes it", || status(world) == "expired");
    assert_same(state, &world.state(), "after its deadline");
}

/// As if the deadline of change 1 had passed long ago.
fn pass_the_deadline(world: &World) {
    world.sh("cd /run/cttune-sandbox/state/journal
        sed -i '1s/ [0-9]\\{20\\} / 00000000000000000001 /' 000001.open");
}

/// Ends the watcher, as a machine out of memory does.
fn end_the_watcher(world: &World) {
    let mut pkill = world.command_among_processes("pkill");
    Told::by(pkill.args(["-KILL", "-f", "^cttune watch-pending"])).exits(0);
    wait_for_no_watcher(world);
}

#[track_caller]
fn wait_for_no_watcher(world: &World) {
    wait_until("no watcher is left", || {
        let mut pgrep = world.command_among_processes("pgrep");
        Told::by(pgrep.args(["-f", "^cttune watch-pending"])).code == 1
    });
}

/// A prompt that is open in a terminal.
fn prompt(world: &World) -> Terminal {
    let mut terminal = Terminal::start(world.command_among_processes("cttune").args(within("10m")));
    terminal.wait_for("[y/N/e to choose/?]");
    terminal.send("y\r");
    terminal.wait_for(PROMPT);
    assert_eq!(world.sysctl("udp_timeout"), 120);
    terminal
}

#[test]
fn unconfirmed_it_is_undone_and_confirm_says_so() {
    let world = World::new();
    let state = world.state();
    // Told::by reads stdout and stderr to their end: the watcher holds neither.
    let told = cttune(&world, &at_once("10m")).exits(0);
    assert!(told.stdout.contains("Undone at "), "{told}");
    assert!(
        told.stdout.contains(" unless you run: cttune confirm"),
        "{told}"
    );
    assert_eq!(world.sysctl("udp_timeout"), 120);
    let files = |state: &str| -> Vec<String> {
        let of_etc = |line: &&str| line.starts_with("/etc") || line.contains(".conf:");
        state.lines().filter(of_etc).map(str::to_owned).collect()
    };
    assert_eq!(files(&state), files(&world.state()));
    assert_eq!(status(&world), "pending");
    expire(&world, &state);
    cttune(&world, &["confirm"])
        .exits(1)
        .says(&["not confirmed in time"]);
}

#[test]
fn confirmed_it_stays_its_files_are_written_and_nothing_watches_any_more() {
    let world = World::new();
    cttune(&world, &at_once("10m")).exits(0);
    // What waits for this is not called somebody's change by hand.
    let check = cttune(&world, &["check"]);
    assert!(check.stdout.starts_with("pending: change 1 "), "{check}");
    assert!(!check.stdout.contains("udp_timeout"), "{check}");
    let told = cttune(&world, &["confirm"]).exits(0);
    assert!(told.stdout.contains("confirmed"), "{told}");
    wait_for_no_watcher(&world);
    assert_eq!(world.sysctl("udp_timeout"), 120);
    cttune(&world, &["check"]).exits(0);
    cttune(&world, &["confirm"])
        .exits(1)
        .says(&["no change is pending"]);
    assert_eq!(status(&world), "applied");
}

#[test]
fn a_terminal_that_hangs_up_leaves_it_to_its_watcher() {
    let world = World::new();
    let state = world.state();
    let terminal = prompt(&world);
    assert_eq!(terminal.hang_up(), 129);
    assert_eq!(world.sysctl("udp_timeout"), 120);
    expire(&world, &state);
}

#[test]
fn the_death_of_who_asked_leaves_it_to_its_watcher() {
    let world = World::new();
    let state = world.state();
    let terminal = prompt(&world);
    terminal.signal(Signal::SIGKILL);
    assert_eq!(terminal.end_as_it_is(), 137);
    expire(&world, &state);
}

#[test]
fn enter_at_the_prompt_keeps_it_and_ctrl_c_undoes_it_at_once() {
    let world = World::new();
    let state = world.state();
    let mut terminal = prompt(&world);
    terminal.send("\u{3}");
    terminal.wait_for("undone; everything is as it was");
    assert_eq!(terminal.end().0, 130);
    assert_same(&state, &world.state(), "Ctrl-C");
    assert_eq!(status(&world), "undone");
    wait_for_no_watcher(&world);

    let mut terminal = prompt(&world);
    terminal.send("\r");
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    cttune(&world, &["check"]).exits(0);
    cttune(&world, &["rollback"]).exits(0);
    assert_same(&state, &world.state(), "rolled back");
}

#[test]
fn ctrl_c_at_the_prompt_undoes_it_whatever_other_signal_comes_too() {
    let world = World::new();
    let state = world.state();
    for signals in [
        &[Signal::SIGINT, Signal::SIGHUP][..],
        &[Signal::SIGHUP, Signal::SIGINT],
        &[Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT],
        &[Signal::SIGTERM, Signal::SIGINT],
    ] {
        let terminal = prompt(&world);
        for signal in signals {
            terminal.signal(*signal);
        }
        let (code, screen) = terminal.end();
        assert_eq!(code, 130, "{signals:?}: {screen}");
        assert!(
            screen.contains("undone; everything is as it was"),
            "{signals:?}: {screen}"
        );
        assert_same(&state, &world.state(), "Ctrl-C with other signals");
    }
    let terminal = prompt(&world);
    terminal.signal(Signal::SIGTERM);
    assert_eq!(terminal.end().0, 143);
    assert_same(&state, &world.state(), "SIGTERM");
}

#[test]
fn while_it_waits_the_same_apply_gives_it_more_time_and_another_is_refused() {
    let world = World::new();
    let state = world.state();
    cttune(&world, &at_once("10m")).exits(0);
    let applied = world.state();
    for other in [
        &["apply", "--profile", "campus-fw", "--adopt", "--yes"][..],
        &[
            "apply",
            "--profile",
            "rfc-nat",
            "--adopt",
            "--yes",
            "--confirm-within",
            "10m",
        ],
    ] {
        let told = cttune(&world, other).exits(1);
        told.says(&["change 1 of campus-fw is pending", "cttune confirm"]);
    }
    assert_same(&applied, &world.state(), "refused");
    cttune(&world, &at_once("20m")).exits(0);
    assert_same(&applied, &world.state(), "given more time");
    cttune(&world, &["rollback"]).exits(0);
    assert_same(&state, &world.state(), "rolled back");
    cttune(&world, &["confirm"])
        .exits(1)
        .says(&["no change is pending"]);
    // Neither watcher undoes what somebody changes meanwhile.
    world.sh("echo 77 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout");
    wait_for_no_watcher(&world);
    assert_eq!(world.sysctl("udp_timeout"), 77);
    assert_eq!(newest(&world)["origin"], "rollback");
}

#[test]
fn a_reboot_ends_it_and_is_noted() {
    let world = World::new();
    cttune(&world, &at_once("10m")).exits(0);
    world.sh("cd /run/cttune-sandbox/state/journal
        sed -i 's/\"boot_id\": \"[^\"]*\"/\"boot_id\": \"another\"/' 000001.json");
    assert_eq!(status(&world), "rebooted");
    let told = cttune(&world, &["confirm"]).exits(1);
    told.says(&["change 1 was never confirmed, and a reboot undid it"]);
    let text = world.read("/run/cttune-sandbox/state/journal/000001.state");
    assert!(text.starts_with("rebooted"), "{text}");
}

#[test]
fn a_kill_while_it_is_confirmed_is_undone_at_its_deadline() {
    let world = World::new();
    let state = world.state();
    cttune(&world, &at_once("10m")).exits(0);
    let inject = ["-f", "-o", "/dev/null", "-e", "trace=renameat", "-e"];
    let mut strace = world.command_among_processes("strace");
    strace
        .args(inject)
        .arg("inject=renameat:signal=KILL:when=2");
    Told::by(strace.args(["cttune", "confirm"]));
    let check = cttune(&world, &["check", "--no-profile"]);
    check.says(&["an apply was interrupted at step 8 of 13"]);
    pass_the_deadline(&world);
    wait_until("its watcher undoes it", || status(&world) == "expired");
    assert_same(&state, &world.state(), "after its deadline");
}

#[test]
fn a_file_that_was_edited_meanwhile_is_not_overwritten() {
    let world = World::new();
    cttune(&world, &at_once("10m")).exits(0);
    world.sh("echo '# by hand' >>/etc/sysctl.conf");
    let told = cttune(&world, &["confirm"]).exits(1);
    told.says(&["/etc/sysctl.conf differs", "still pending"]);
    assert!(world.read("/etc/sysctl.conf").ends_with("# by hand\n"));
    cttune(&world, &["rollback"]).exits(0);
}

#[test]
fn the_watcher_inherits_nothing() {
    let world = World::new();
    let apply = at_once("10m").join(" ");
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

#[test]
fn what_came_in_between_is_named_and_nothing_is_confirmed() {
    let world = World::new();
    cttune(&world, &at_once("10m")).exits(0);
    let proc = "/proc/sys/net/netfilter/nf_conntrack";
    for (change, says, repair) in [
        (
            format!("echo 77 >{proc}_udp_timeout_stream"),
            &["udp_timeout_stream", "77", "somebody else"][..],
            format!("echo 180 >{proc}_udp_timeout_stream"),
        ),
        (
            format!("echo 432000 >{proc}_tcp_timeout_established"),
            &["tcp_timeout_established", "432000"],
            format!("echo 7440 >{proc}_tcp_timeout_established"),
        ),
        (
            "echo net.netfilter.nf_conntrack_udp_timeout_stream=9 >/etc/sysctl.d/99-later.conf"
                .to_owned(),
            &["/etc/sysctl.d/99-later.conf:1"],
            "rm /etc/sysctl.d/99-later.conf".to_owned(),
        ),
    ] {
        world.sh(&change);
        let told = cttune(&world, &["confirm"]).exits(1);
        told.says(says)
            .says(&["change 1 is still pending", "cttune rollback"]);
        assert_eq!(status(&world), "pending", "{change}");
        world.sh(&repair);
    }
    cttune(&world, &["confirm"]).exits(0);
    cttune(&world, &["check"]).exits(0);
}

#[test]
fn what_the_operator_knew_to_be_overridden_is_confirmed() {
    let world = World::new();
    let apply = [
        "apply",
        "--profile",
        "campus-fw",
        "--allow-overridden",
        "--yes",
    ];
    world.sh("echo net.netfilter.nf_conntrack_udp_timeout=9 >/etc/sysctl.d/99-known.conf");
    cttune(&world, &[&apply[..], &["--confirm-within", "10m"]].concat()).exits(0);
    cttune(&world, &["confirm"]).exits(0);
    assert_eq!(status(&world), "applied");
}

#[test]
fn the_journal_alone_is_enough_to_confirm() {
    for then in ["rm", "echo '[sysctl' >", "sed -i s/45/46/"] {
        let world = World::new();
        let text = "[sysctl]\nudp_timeout = 45\nmax = { at-least = 90000 }\n";
        let profile = world.place.write("own.toml", text);
        let apply = ["apply", "--profile", &profile, "--adopt", "--yes"];
        cttune(&world, &[&apply[..], &["--confirm-within", "10m"]].concat()).exits(0);
        world.sh(&format!("{then} {profile}"));
        // What overrides it since is still named.
        let later = "/etc/sysctl.d/99-later.conf";
        world.sh(&format!(
            "echo net.netfilter.nf_conntrack_udp_timeout=9 >{later}"
        ));
        cttune(&world, &["confirm"]).exits(1).says(&[later]);
        world.sh(&format!("rm {later}"));
        let told = cttune(&world, &["confirm"]).exits(0);
        assert!(told.stdout.contains("confirmed"), "{then}: {told}");
        assert_eq!(status(&world), "applied", "{then}");
        let drop_in = world.read("/etc/sysctl.d/90-cttune.conf");
        assert!(drop_in.contains("udp_timeout = 45\n"), "{drop_in}");
    }
}

#[test]
fn the_watcher_leaves_what_somebody_else_changed_and_writes_that() {
    let world = World::new();
    cttune(&world, &at_once("10m")).exits(0);
    world.sh("echo 77 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout");
    pass_the_deadline(&world);
    wait_until("its watcher undoes it", || status(&world) == "expired");
    assert_eq!(world.sysctl("udp_timeout"), 77);
    assert_eq!(world.sysctl("udp_timeout_stream"), 120);
    let history = cttune(&world, &["history", "1"]).exits(0);
    assert!(
        history
            .stdout
            .contains("now it is 77: somebody else changed it"),
        "{history}"
    );
    wait_for_no_watcher(&world);
}

#[test]
fn without_its_watcher_the_next_command_undoes_it() {
    let world = World::new();
    let state = world.state();
    cttune(&world, &at_once("10m")).exits(0);
    end_the_watcher(&world);
    pass_the_deadline(&world);
    let told = cttune(&world, &["confirm"]).exits(1);
    told.says(&["change 1 was not confirmed in time and was undone"]);
    assert_same(&state, &world.state(), "confirm");

    let world = World::new();
    cttune(&world, &at_once("10m")).exits(0);
    end_the_watcher(&world);
    pass_the_deadline(&world);
    cttune(
        &world,
        &["apply", "--profile", "rfc-nat", "--adopt", "--yes"],
    )
    .exits(0);
    let history = cttune(&world, &["history", "--format", "json"])
        .exits(0)
        .json();
    let status = |id: usize| history["changes"][id - 1]["status"].clone();
    assert_eq!((status(1), status(2)), ("expired".into(), "applied".into()));
}

#[test]
fn a_boot_id_that_cannot_be_read_is_not_another_boot() {
    for errno in ["EMFILE", "ENOENT", "EACCES"] {
        let world = World::new();
        let state = world.state();
        let run = |args: &[&str]| {
            let mut strace = world.command_among_processes("strace");
            strace.args([
                "-qq",
                "-o",
                "/dev/null",
                "-P",
                "/proc/sys/kernel/random/boot_id",
            ]);
            strace.args(["-e", "trace=openat", "-e"]);
            strace
                .arg(format!("inject=openat:error={errno}"))
                .arg("cttune");
            Told::by(strace.args(args))
        };
        cttune(&world, &at_once("10m")).exits(0);
        run(&["history"]).exits(0);
        run(&["check", "--no-profile"]);
        assert_eq!(status(&world), "pending", "{errno}");
        run(&["confirm"]).exits(0);
        assert_eq!(status(&world), "applied", "{errno}");
        run(&["rollback"]).exits(0);
        assert_same(&state, &world.state(), errno);
        // A change that was made without it has its watcher and its deadline as any other.
        run(&at_once("10m")).exits(0);
        assert_eq!(status(&world), "pending", "{errno}");
        world.sh("cd /run/cttune-sandbox/state/journal
            sed -i '1s/ [0-9]\\{20\\} / 00000000000000000001 /' 000003.open");
        wait_until("its watcher undoes it", || status(&world) == "expired");
        assert_same(&state, &world.state(), errno);
    }
}

#[test]
fn without_memory_for_the_hash_table_a_pending_change_is_partial_and_is_rolled_back() {
    let world = World::new();
    let state = world.state();
    let mut strace = world.command_among_processes("strace");
    strace.args(["-qq", "-o", "/dev/null", "-P"]);
    strace.args(["/proc/sys/net/netfilter/nf_conntrack_buckets", "-e"]);
    strace.args(["inject=ftruncate:error=ENOMEM", "cttune"]);
    let told = Told::by(strace.args(at_once("10m"))).exits(3);
    told.says(&["no memory for net.netfilter.nf_conntrack_buckets"]);
    assert_eq!(status(&world), "pending");
    // What 65536 buckets allow.
    assert_eq!(world.sysctl("max"), 262_144);
    cttune(&world, &["confirm"]).exits(0);
    assert_eq!(status(&world), "partial");
    cttune(&world, &["rollback"]).exits(0);
    assert_same(&state, &world.state(), "rolled back");
    let detailed = [&at_once("10m")[..], &["--detailed-exitcode"]].concat();
    cttune(&world, &detailed).exits(2);
}
