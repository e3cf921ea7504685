//! The question that `cttune apply` asks, and every way to answer it or not to.
//!
//! After each the terminal is as it was (its modes, the cursor), and so is everything that was not
//! agreed to.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use nix::sys::signal::Signal;
use support::terminal::{SHOW_CURSOR, Terminal};
use support::{World, assert_same};

/// Colour would stand between the words that are waited for.
const APPLY: [&str; 6] = [
    "apply",
    "--profile",
    "campus-fw",
    "--adopt",
    "--color",
    "never",
];
const QUESTION: &str = "Apply? [y/N/e to choose/?]";
const DOWN: &str = "\u{1b}[B";
const ESCAPE: &str = "\u{1b}";
const CTRL_C: &str = "\u{3}";

/// An apply that has just asked.
fn asked(world: &World) -> Terminal {
    let mut terminal = Terminal::start(world.command("cttune").args(APPLY));
    terminal.wait_for(QUESTION);
    terminal
}

/// An apply that lets steps be chosen.
fn choosing(world: &World) -> Terminal {
    let mut terminal = asked(world);
    terminal.send("e\r");
    terminal.wait_for("Enter applies");
    // The list is there once its last step is.
    terminal.wait_for("/etc/cttune/active.toml");
    terminal
}

#[test]
fn yes_does_it() {
    for yes in ["y\r", "Y\r", "yes\r", " y \r"] {
        let world = World::new();
        let mut terminal = asked(&world);
        assert!(
            terminal
                .screen
                .contains("+net.netfilter.nf_conntrack_max = 1048576")
        );
        terminal.send(yes);
        let (code, screen) = terminal.end();
        assert_eq!(code, 0, "{yes:?}: {screen}");
        assert!(screen.contains("13 changes made"), "{screen}");
        world.cttune(&["check"]).exits(0);
    }
}

#[test]
fn anything_but_yes_does_nothing() {
    let world = World::new();
    let (state, times) = (world.state(), world.times());
    for no in ["n\r", "N\r", "no\r", "\r"] {
        let mut terminal = asked(&world);
        terminal.send(no);
        let (code, screen) = terminal.end();
        assert_eq!(code, 0, "{no:?}: {screen}");
        assert!(screen.contains("nothing was changed"), "{screen}");
        assert!(!screen.contains("error"), "{screen}");
        assert_same(&state, &world.state(), no);
    }
    // Files were rehearsed beside the real ones: only folders' times moved.
    let files = |times: &str| -> String {
        times
            .lines()
            .filter(|line| line.contains(".conf "))
            .collect()
    };
    assert_eq!(files(&times), files(&world.times()));
}

#[test]
fn another_letter_is_asked_again() {
    let world = World::new();
    let state = world.state();
    let mut terminal = asked(&world);
    for wrong in ["x\r", "maybe\r"] {
        terminal.send(wrong);
        terminal.wait_for("y applies all of it, n nothing, e lets you choose the steps");
        terminal.wait_for(QUESTION);
    }
    terminal.send("n\r");
    assert_eq!(terminal.end().0, 0);
    assert_same(&state, &world.state(), "n");
}

#[test]
fn chosen_steps_are_done_and_no_others() {
    let world = World::new();
    let state = world.state();
    let mut terminal = choosing(&world);
    // Leaves the second and the third: max and the established timeout.
    terminal.send(&format!("{DOWN} {DOWN} \r"));
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("11 changes made"), "{screen}");
    for (name, value) in [
        ("buckets", 1_048_576),
        ("max", 76_800),
        ("tcp_timeout_established", 432_000),
        ("udp_timeout", 120),
    ] {
        assert_eq!(world.sysctl(name), value, "{name}");
    }
    assert_ne!(state, world.state());
    world.cttune(&["check"]).exits(2);
}

#[test]
fn choosing_nothing_or_leaving_does_nothing() {
    let world = World::new();
    let state = world.state();
    let none = format!("{} \r", [" "; 13].join(DOWN).trim_end());
    for keys in [ESCAPE, &none] {
        let mut terminal = choosing(&world);
        terminal.send(keys);
        let (code, screen) = terminal.end();
        assert_eq!(code, 0, "{keys:?}: {screen}");
        assert!(screen.contains("nothing was changed"), "{screen}");
        assert_same(&state, &world.state(), "chose nothing");
    }
}

#[test]
fn a_signal_at_the_question_or_the_choice_changes_nothing() {
    let world = World::new();
    let state = world.state();
    for start in [asked, choosing] {
        for (signal, code) in [
            (Signal::SIGINT, 130),
            (Signal::SIGTERM, 143),
            (Signal::SIGHUP, 129),
        ] {
            let terminal = start(&world);
            terminal.signal(signal);
            let (said, screen) = terminal.end();
            assert_eq!(said, code, "{signal}: {screen}");
            assert!(screen.contains("nothing was changed"), "{signal}: {screen}");
            assert!(screen.contains(SHOW_CURSOR), "{signal}");
            assert_same(&state, &world.state(), signal.as_str());
        }
        let mut terminal = start(&world);
        terminal.send(CTRL_C);
        let (code, screen) = terminal.end();
        assert_eq!(code, 130, "Ctrl-C: {screen}");
        assert_same(&state, &world.state(), "Ctrl-C");
        // The lock is free again, and the state directory is no obstacle.
        world.cttune(&["check"]).exits(0);
    }
}

#[test]
fn a_signal_is_heard_where_another_namespace_is_asked_about() {
    // The question is asked in a thread that the signal does not reach by itself.
    let world = World::new();
    let state = world.state();
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let mut command = world.command("cttune");
        // The namespace of the sandbox, by its first process.
        let netns = ["--netns", "/proc/1/ns/net"];
        command
            .args(["apply", "--profile", "campus-fw"])
            .args(netns);
        let mut terminal = Terminal::start(&command);
        terminal.wait_for("[y/N/e to choose/?]");
        terminal.signal(signal);
        let (said, screen) = terminal.end();
        assert_eq!(said, code, "{screen}");
        assert_same(&state, &world.state(), signal.as_str());
    }
}

#[test]
fn what_changes_while_the_question_is_open_is_named_and_nothing_is_applied() {
    let line = "net.netfilter.nf_conntrack_udp_timeout=9";
    for (change, says) in [
        (
            format!("echo {line} >/etc/sysctl.d/99-later.conf"),
            "without the plan: was not set, is 9 now",
        ),
        // The drop-in overrides it, so that the steps stay the same.
        (
            "echo net.netfilter.nf_conntrack_tcp_timeout_established=600000 >/etc/sysctl.d/30-a.conf"
                .to_owned(),
            "without the plan",
        ),
        (
            "echo 31 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout".to_owned(),
            "udp_timeout is 31 now, and was 30 when the plan was made",
        ),
        (
            "echo 60 >/proc/sys/net/netfilter/nf_conntrack_icmp_timeout
             echo '# more' >>/etc/sysctl.conf; mkdir -p /etc/cttune; echo x >/etc/cttune/active.toml"
                .to_owned(),
            "differs from what it was when the plan was made",
        ),
    ] {
        let world = World::new();
        let mut terminal = asked(&world);
        world.sh(&change);
        let state = world.state();
        terminal.send("y\r");
        let (code, screen) = terminal.end();
        assert_eq!(code, 1, "{screen}");
        assert!(screen.contains(says), "{screen}");
        assert!(screen.contains("nothing was changed"), "{screen}");
        assert_same(&state, &world.state(), &change);
    }
}

#[test]
fn flows_that_end_while_the_question_is_open_are_no_reason_to_refuse() {
    let world = World::with_flows(2000);
    let mut terminal = Terminal::start(world.command("cttune").args(APPLY).arg("--expire"));
    terminal.wait_for(QUESTION);
    assert!(
        terminal.screen.contains("14. clamp "),
        "{}",
        terminal.screen
    );
    world.sh("conntrack -F");
    terminal.send("y\r");
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("changes made"), "{screen}");
}

#[test]
fn a_terminal_that_hangs_up_changes_nothing() {
    let world = World::new();
    let state = world.state();
    for start in [asked, choosing] {
        assert_eq!(start(&world).hang_up(), 129);
        assert_same(&state, &world.state(), "hang-up");
    }
}

#[test]
fn yes_asks_nothing_on_a_terminal() {
    let world = World::new();
    let mut command = world.command("cttune");
    let terminal =
        Terminal::start(command.args(["apply", "--profile", "campus-fw", "--adopt", "--yes"]));
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    assert!(!screen.contains("[y/N/e to choose/?]"), "{screen}");
}

#[test]
fn nothing_to_do_is_said_without_asking() {
    let world = World::new();
    world
        .cttune(&["apply", "--profile", "campus-fw", "--adopt", "--yes"])
        .exits(0);
    let mut command = world.command("cttune");
    let (code, screen) = Terminal::start(command.arg("apply")).end();
    assert_eq!(code, 0, "{screen}");
    assert!(
        screen.contains("nothing to do") && !screen.contains("[y/N/e to choose/?]"),
        "{screen}"
    );
}
