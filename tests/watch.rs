//! `cttune watch` on terminals: what it shows while the table changes, what keys do, and that the
//! terminal is as it was after any end.
//!
//! Needs the packages conntrack and tmux. `CTTUNE_BLESS=1` records the screens anew, in
//! tests/fixtures/watch.txt; digits are recorded as 0.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fmt::Write;
use std::process::Command;

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use support::terminal::Terminal;
use support::{Told, World};

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/watch.txt");

/// xterm's sequences for the alternate screen.
const ENTER: &str = "\u{1b}[?1049h";
const LEAVE: &str = "\u{1b}[?1049l";

/// A tmux of its own, and one window in it.
struct Tmux {
    socket: String,
}

impl Tmux {
    fn start(world: &World, width: u16, height: u16, program: &str, args: &[&str]) -> Self {
        let mut command = world.command(program);
        command.args(args).env("NO_COLOR", "1");
        let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_str().unwrap());
        let mut line = "exec env -u COLUMNS".to_owned();
        for (name, value) in command.get_envs().filter(|(name, _)| *name != "COLUMNS") {
            let name = name.to_str().unwrap();
            write!(line, " {name}={}", quoted(value.unwrap())).unwrap();
        }
        for word in std::iter::once(command.get_program()).chain(command.get_args()) {
            write!(line, " {}", quoted(word)).unwrap();
        }
        let socket = world.place.path().join(format!("tmux-{width}-{height}"));
        let tmux = Tmux {
            socket: socket.to_str().unwrap().to_owned(),
        };
        let (width, height) = (width.to_string(), height.to_string());
        tmux.run(&["new-session", "-d", "-x", &width, "-y", &height, &line]);
        tmux
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command
            .args(["-u", "-f", "/dev/null", "-S", &self.socket])
            .args(args);
        Told::by(command.env("LC_ALL", "C.UTF-8").env("TERM", "xterm"))
            .exits(0)
            .stdout
    }

    fn keys(&self, keys: &[&str]) {
        self.run(&[&["send-keys"], keys].concat());
    }

    fn screen(&self) -> String {
        self.run(&["capture-pane", "-p"])
    }

    /// Waits for a screen that is as it should be, and gives it.
    #[track_caller]
    fn wait(&self, what: &str, is_right: impl Fn(&str) -> bool) -> String {
        let mut screen = String::new();
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            screen = self.screen();
            if is_right(&screen) {
                return screen;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("never {what}:\n{screen}")
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let kill = ["-S", &self.socket, "kill-server"];
        let _ = Command::new("tmux").args(kill).output();
    }
}

fn world(flows: u32) -> World {
    let world = World::with_flows(flows);
    world.agree();
    world.sh("hostname fw");
    world
}

/// Whether the findings were read, and a second reading was compared with the first.
fn is_whole(screen: &str) -> bool {
    screen.contains("in 0/s   out 0/s") && !screen.contains("findings: not read")
}

/// Without what varies: digits, and how far sparklines reach.
fn masked(screen: &str) -> String {
    let mut text = String::new();
    for line in screen.lines() {
        let is_spark = line.contains(", last 1m");
        let masked = line.chars().map(|c| match c {
            '0'..='9' => '0',
            '▁'..='▇' if is_spark => ' ',
            c => c,
        });
        text.push_str(masked.collect::<String>().trim_end());
        text.push('\n');
    }
    text
}

const FAST: [&str; 3] = ["watch", "--interval", "300ms"];
const BY_SERVICE: [&str; 5] = ["watch", "--interval", "300ms", "--by", "dst,dport"];

#[test]
fn screens_are_as_they_were_recorded() {
    let world = world(0);
    world.sh(SERVICES);
    let mut text = String::new();
    for (width, height) in [(80, 24), (60, 24), (160, 40)] {
        let tmux = Tmux::start(&world, width, height, "cttune", &FAST);
        let screen = tmux.wait("whole", is_whole);
        writeln!(text, "──── {width} x {height}: cttune watch").unwrap();
        text.push_str(&masked(&screen));
        tmux.keys(&["?"]);
        // The last line is drawn last.
        let screen = tmux.wait("help", |screen| {
            screen.contains("any key goes back") && !screen.contains("? help  q quit")
        });
        writeln!(text, "──── {width} x {height}: ?").unwrap();
        text.push_str(&masked(&screen));
    }
    if std::env::var_os("CTTUNE_BLESS").is_some() {
        std::fs::write(RECORDED, &text).unwrap();
    }
    let recorded = std::fs::read_to_string(RECORDED).unwrap();
    assert!(
        text == recorded,
        "shown now:\n{text}\nrecorded:\n{recorded}"
    );
}

/// Flows that do not end while they are looked at.
const SERVICES: &str = "{
    for port in $(seq 1 60); do
        conntrack -I -p tcp --state ESTABLISHED -t 400000 -s 2001:db8::1 -d 2001:db8:ffff::bc \
            --sport $port --dport 5228
    done
    for port in $(seq 1 25); do
        conntrack -I -p udp -t 40000 -s 10.0.0.1 -d 192.0.2.9 --sport $port --dport 53
    done
    for port in $(seq 1 9); do
        conntrack -I -p tcp --state TIME_WAIT -t 40000 -s 10.0.0.1 -d 192.0.2.2 \
            --sport $port --dport 443
    done
} >/dev/null 2>&1";

const MAKE: &str = "for port in $(seq 40); do
    conntrack -I -p udp -t 300 -s 10.9.0.1 -d 192.0.2.77 --sport $port --dport 7777
done >/dev/null 2>&1";

#[test]
fn a_group_comes_and_fades_and_the_rates_are_seen() {
    let world = world(60);
    let tmux = Tmux::start(&world, 80, 24, "cttune", &BY_SERVICE);
    tmux.wait("whole", is_whole);
    world.sh(MAKE);
    tmux.wait("shown", |screen| {
        let row = screen.lines().find(|line| line.contains("192.0.2.77"));
        row.is_some_and(|row| row.contains(" 40 ")) && !screen.contains("max 0/s\nin, last")
    });
    let peak = |screen: &str| {
        let line = screen
            .lines()
            .find(|line| line.starts_with("in, last"))
            .unwrap();
        !line.ends_with("max 0/s")
    };
    assert!(peak(&tmux.screen()), "{}", tmux.screen());
    world.sh("conntrack -D -p udp --dport 7777 >/dev/null 2>&1");
    tmux.wait("faded", |screen| {
        let row = screen.lines().find(|line| line.contains("192.0.2.77"));
        row.is_some_and(|row| row.contains(" -  "))
    });
    tmux.wait("gone", |screen| !screen.contains("192.0.2.77"));
}

#[test]
fn it_follows_the_size_of_the_terminal_and_leaves_it_as_it_was() {
    let world = world(100);
    let tmux = Tmux::start(
        &world,
        80,
        24,
        "sh",
        &["-c", "echo before; cttune watch; echo code=$?; exec cat"],
    );
    let gauge = |width: usize| {
        move |screen: &str| {
            let line = screen.lines().nth(1).unwrap_or_default();
            line.ends_with('░') && line.chars().count() == width
        }
    };
    tmux.wait("80 columns", gauge(80));
    for width in [60, 160] {
        tmux.run(&["resize-window", "-x", &width.to_string(), "-y", "30"]);
        let is_whole =
            |screen: &str| gauge(width)(screen) && screen.trim_end().lines().count() == 30;
        tmux.wait("resized", is_whole);
    }
    tmux.run(&["resize-window", "-x", "30", "-y", "8"]);
    tmux.wait("too small", |screen| {
        screen.contains("too small: needs 40 x 12")
    });
    tmux.keys(&["q"]);
    let screen = tmux.wait("left", |screen| screen.contains("code=0"));
    assert!(screen.starts_with("before\ncode=0\n"), "{screen}");
}

#[test]
fn a_group_is_killed_from_the_screen_only_after_a_yes() {
    let world = world(60);
    world.sh(MAKE);
    let count = || {
        world
            .sh("conntrack -L -p udp --dport 7777 2>/dev/null | wc -l")
            .trim()
            .to_owned()
    };
    let tmux = Tmux::start(&world, 80, 24, "cttune", &FAST);
    tmux.wait("whole", is_whole);
    tmux.keys(&["/"]);
    tmux.keys(&["-l", "dport=7777"]);
    tmux.keys(&["Enter"]);
    tmux.wait("filtered", |screen| {
        screen.contains(" of dport=7777") && screen.contains("10.9.0.")
    });
    for (key, answer, left) in [("K", "n", "40"), ("E", "y", "40"), ("K", "y", "0")] {
        tmux.keys(&[key]);
        // What was asked before is still above.
        let command = if key == "K" { "kill" } else { "expire" };
        let part = |screen: &str| {
            let (_, part) = screen.rsplit_once(&format!("cttune {command} --match "))?;
            Some(part.to_owned())
        };
        let asked = |screen: &str| part(screen).is_some_and(|part| part.contains("[y/N]"));
        let screen = part(&tmux.wait("asked", asked)).unwrap();
        assert!(screen.starts_with("dport=7777,"), "{screen}");
        assert!(screen.contains("\n40 flows would be "), "{screen}");
        tmux.keys(&[answer, "Enter"]);
        tmux.wait("done", |screen| {
            part(screen).is_some_and(|part| part.contains("Enter goes back"))
        });
        assert_eq!(count(), left, "{key} {answer}");
        tmux.keys(&["Enter"]);
        tmux.wait("back", |screen| screen.contains("? help"));
    }
    tmux.wait("empty", |screen| screen.contains("no flow matches"));
}

#[test]
fn a_frozen_screen_does_not_change() {
    let world = world(60);
    let tmux = Tmux::start(&world, 80, 24, "cttune", &BY_SERVICE);
    tmux.wait("whole", is_whole);
    tmux.keys(&["Space"]);
    let frozen = tmux.wait("frozen", |screen| screen.contains("FROZEN"));
    world.sh(MAKE);
    tmux.keys(&["C-l"]);
    tmux.keys(&["?"]);
    tmux.wait("help", |screen| screen.contains("any key goes back"));
    tmux.keys(&["x"]);
    tmux.wait("as it was", |screen| screen == frozen);
    tmux.keys(&["Space"]);
    tmux.wait("goes on", |screen| screen.contains("192.0.2.77"));
}

fn on_terminal(world: &World) -> Terminal {
    let mut command = world.command("cttune");
    command.args(FAST);
    let mut terminal = Terminal::sized(&command, 80, 24);
    terminal.wait_for(ENTER);
    terminal.wait_for("fw");
    terminal
}

/// Ends it, and makes sure that the screen is left before anything else is printed.
#[track_caller]
fn ends(terminal: Terminal, expected: i32) {
    let (code, shown) = terminal.end();
    assert_eq!(code, expected, "{shown}");
    let left = shown.rfind(LEAVE).unwrap();
    assert!(left > shown.rfind(ENTER).unwrap(), "{shown:?}");
    let after = &shown[left + LEAVE.len()..];
    assert_eq!(
        after.replace(support::terminal::SHOW_CURSOR, ""),
        "",
        "{shown:?}"
    );
}

#[test]
fn the_terminal_is_as_it_was_after_quit_ctrl_c_and_signals() {
    let world = world(100);
    for (keys, code) in [("q", 0), ("\u{3}", 130), ("?q\u{3}", 130)] {
        let mut terminal = on_terminal(&world);
        terminal.send(keys);
        ends(terminal, code);
    }
    let signals = [
        (Signal::SIGTERM, 143),
        (Signal::SIGHUP, 129),
        (Signal::SIGINT, 130),
    ];
    for (signal, code) in signals {
        let terminal = on_terminal(&world);
        terminal.signal(signal);
        ends(terminal, code);
    }
    for _ in 0..5 {
        assert_eq!(on_terminal(&world).hang_up(), 129);
    }
}

#[test]
fn it_is_suspended_and_goes_on() {
    let world = world(100);
    let mut command = world.command("bash");
    command.args(["--norc", "--noprofile", "-i"]);
    let mut shell = Terminal::sized(&command, 80, 24);
    shell.send("PS1='rea''dy> '\r");
    shell.wait_for("ready> ");
    shell.send("cttune watch\r");
    shell.wait_for(ENTER);
    shell.wait_for("fw");
    shell.send("\u{1a}");
    shell.wait_for(LEAVE);
    shell.wait_for("Stopped");
    shell.wait_for("ready> ");
    shell.send("fg\r");
    shell.wait_for(ENTER);
    shell.wait_for("fw");
    shell.send("q");
    shell.wait_for("ready> ");
    shell.send("exit 5\r");
    assert_eq!(shell.end().0, 5);
}

#[test]
fn the_terminal_is_as_it_was_after_a_panic() {
    const CHILD: &str = "CTTUNE_TEST_PANICS";
    if std::env::var_os(CHILD).is_some() {
        cttune::internals::panic_on_a_live_screen().unwrap();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        "--nocapture",
        "the_terminal_is_as_it_was_after_a_panic",
    ]);
    command.env(CHILD, "yes");
    let (code, shown) = Terminal::sized(&command, 80, 24).end();
    assert_eq!(code, 101, "{shown}");
    let [entered, drawn, left, told] =
        [ENTER, "drawn", LEAVE, "a panic on a live screen"].map(|part| shown.find(part).unwrap());
    assert!(entered < drawn && drawn < left && left < told, "{shown:?}");
    assert_eq!(shown.matches(LEAVE).count(), 1, "{shown:?}");
}

/// What is sent while nothing changes fits a slow link: the clock, and where a sparkline grows.
#[test]
fn only_what_differs_is_sent() {
    let world = world(3000);
    let mut terminal = on_terminal(&world);
    terminal.wait_for("last 1m");
    terminal.wait_for_any(&["no finding", "warning"]);
    // Twenty readings later, as the clock shows: six seconds.
    let begun = Instant::now();
    let first = terminal.screen.len();
    while begun.elapsed() < Duration::from_secs(6) {
        terminal.drain();
    }
    let sent = terminal.screen.len() - first;
    assert!((1..20 * 250).contains(&sent), "{sent} bytes in 6 s");
    terminal.send("q");
    ends(terminal, 0);
}

#[test]
fn the_locale_and_no_color_are_obeyed() {
    let world = world(100);
    for (variables, is_ascii, has_color) in [
        (&[("LC_ALL", "C")][..], true, true),
        (&[("NO_COLOR", "1")], false, false),
        (&[("LC_ALL", "C"), ("NO_COLOR", "1")], true, false),
    ] {
        let mut command = world.command("cttune");
        command.args(FAST).envs(variables.iter().copied());
        let mut terminal = Terminal::sized(&command, 80, 24);
        terminal.wait_for("expire");
        terminal.send("q");
        let (code, shown) = terminal.end();
        assert_eq!(code, 0);
        assert_eq!(shown.is_ascii(), is_ascii, "{variables:?}: {shown:?}");
        assert_eq!(
            shown.contains("\u{1b}[38;"),
            has_color,
            "{variables:?}: {shown:?}"
        );
    }
}

#[test]
fn one_frame_needs_neither_terminal_nor_root() {
    let world = world(300);
    let once = ["watch", "--once", "--interval", "200ms"];
    let told = world.cttune(&once).exits(0);
    assert!(
        told.stdout.starts_with("fw: 300 of 76,800 flows (0.4 %)"),
        "{told}"
    );
    assert!(told.stdout.contains("in 0/s   out 0/s"), "{told}");
    assert!(
        told.stdout.contains("2a00:1450:400b:c02::bc  5228"),
        "{told}"
    );
    let (_keeper, netns) = world.netns();
    let mut command = world.command_among_processes("cttune");
    let told = Told::by(command.args(once).args(["--netns", &netns])).exits(0);
    assert!(told.stdout.contains("the table is empty"), "{told}");
    let told = Told::by(
        world
            .command("setpriv")
            .args(["--bounding-set=-all", "--inh-caps=-all", "cttune"])
            .args(once),
    );
    assert!(told.stdout.contains("needs root (CAP_NET_ADMIN)"), "{told}");
    assert!(told.stdout.contains("of 76,800 flows"), "{told}");
}

#[test]
fn what_cannot_be_watched_is_refused_with_what_to_do() {
    let world = world(0);
    for (args, code, says) in [
        (&["watch"][..], 1, "--once prints one frame"),
        (&["watch", "--once", "--json"], 64, "cttune top --json"),
        (
            &["watch", "--root", "/"],
            64,
            "an image has no running kernel",
        ),
        (
            &["watch", "--once", "--interval", "10ms"],
            64,
            "200ms is the shortest",
        ),
        (
            &["watch", "--once", "--by", "sorce"],
            64,
            "grouped by `sorce`",
        ),
        (
            &["watch", "--once", "--match", "dport=x"],
            64,
            "is not a port",
        ),
    ] {
        world.cttune(args).exits(code).says(&[says]);
    }
}

/// However large the table is: the sample is as large as its time allows.
#[test]
fn it_takes_a_few_percent_of_a_core() {
    let world = world(60_000);
    let tmux = Tmux::start(&world, 80, 24, "cttune", &["watch", "--interval", "1s"]);
    tmux.wait("whole", is_whole);
    let (before, begun) = (ticks(&tmux), Instant::now());
    std::thread::sleep(Duration::from_secs(12));
    let took = Duration::from_millis(10 * (ticks(&tmux) - before));
    let share = took.as_secs_f64() / begun.elapsed().as_secs_f64();
    assert!(share < 0.05, "{share}");
}

/// Clock ticks of the processor that the program took.
fn ticks(tmux: &Tmux) -> u64 {
    let id = tmux.run(&["display-message", "-p", "#{pane_pid}"]);
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", id.trim())).unwrap();
    assert!(stat.contains("(cttune)"), "{stat}");
    let fields: Vec<&str> = stat.split_whitespace().collect();
    fields[13..15]
        .iter()
        .map(|field| field.parse::<u64>().unwrap())
        .sum()
}

#[test]
fn top_is_repeated_until_ctrl_c_or_until_nobody_reads() {
    let world = World::with_flows(300);
    let mut command = world.command("cttune");
    command.args(["top", "--watch", "--interval", "200ms", "-n", "1"]);
    let mut terminal = Terminal::sized(&command, 80, 24);
    for _ in 0..3 {
        terminal.wait_for(" flows (");
    }
    terminal.send("\u{3}");
    let (code, screen) = terminal.end();
    assert_eq!(code, 130, "{screen}");
    let lines = world.sh("cttune top --watch --interval 200ms --json | head -n 3");
    let objects: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(objects.len(), 3);
    assert!(objects.iter().all(|one| one["total"].is_u64()), "{lines}");
    world.cttune(&["top", "--watch", "--remedy"]).exits(64);
    world.cttune(&["top", "--interval", "5s"]).exits(64);
}
