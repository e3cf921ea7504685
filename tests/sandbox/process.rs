//! Exit codes, signals, and what is left running.

use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Place, callers, marker, output, sandbox, script, signal, sleeps, wait_until};

#[test]
fn the_exit_code_is_the_command_s() {
    let place = Place::new();
    for caller in callers() {
        for (command, code) in [
            (&["true"][..], 0),
            (&["sh", "-c", "exit 7"], 7),
            (&["sh", "-c", "kill -TERM $$"], 143),
            (&["sh", "-c", "kill -KILL $$"], 137),
            (&["sh", "-c", "kill -34 $$"], 162),
            (&["/etc/passwd"], 126),
            (&["/etc"], 126),
            (&["/no/such/program"], 127),
            (&["no-such-program"], 127),
            (&["sh", "-c", "sh -c 'kill -35 $$' & wait; exit 3"], 3),
        ] {
            let args = [&["--flows", "0", "--"], command].concat();
            let (said, _, stderr) = output(sandbox(&place, caller, &args));
            assert_eq!(said, code, "{caller:?} {command:?}: {stderr}");
        }
    }
}

#[test]
fn arguments_arrive_as_they_are() {
    let place = Place::new();
    let args = ["--flows", "0", "--", "printf", "%s|", "--", "-x", "", "a b"];
    let (_, stdout, _) = output(sandbox(&place, callers()[0], &args));
    assert_eq!(stdout, "--|-x||a b|");
}

#[test]
fn signals_are_as_outside() {
    let place = Place::new();
    let look = "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status";
    let outside = Command::new("sh").args(["-c", look]).output().unwrap();
    let inside = script(&place, callers()[0], "0", look);
    assert_eq!(inside, String::from_utf8(outside.stdout).unwrap());
}

#[test]
fn a_signal_to_the_caller_reaches_the_command() {
    let place = Place::new();
    for caller in callers() {
        for (which, name) in [
            (Signal::SIGTERM, "TERM"),
            (Signal::SIGHUP, "HUP"),
            (Signal::SIGINT, "INT"),
        ] {
            let body =
                format!("trap 'echo {name}; exit 5' {name}; echo up; while :; do sleep 0.02; done");
            let mut command = sandbox(&place, caller, &["--flows", "0", "--", "sh", "-c", &body]);
            let mut child = command
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
            let mut line = String::new();
            std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
            signal(&child, which);
            std::io::Read::read_to_string(&mut stdout, &mut line).unwrap();
            assert_eq!(line, format!("up\n{name}\n"));
            assert_eq!(child.wait().unwrap().code(), Some(5));
        }
    }
}

#[test]
fn a_signal_at_any_moment_of_the_set_up_ends_the_sandbox() {
    let place = Place::new();
    for delay in [0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89] {
        let marker = marker();
        let args = ["--flows", "20000", "--", "sleep", &marker];
        let mut child = sandbox(&place, callers()[0], &args)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        signal(&child, Signal::SIGTERM);
        let status = child.wait().unwrap();
        assert!(!status.success());
        assert!(!sleeps(&marker), "after {delay} ms");
    }
}

#[test]
fn what_the_command_left_running_ends_with_it() {
    let place = Place::new();
    for caller in callers() {
        let marker = marker();
        let left = format!(
            "sleep {marker} & setsid sleep {marker} & (sleep {marker} &)
             until [ $(grep -lsx sleep /proc/[0-9]*/comm | wc -l) = 3 ]; do :; done"
        );
        let args = ["--flows", "0", "--", "sh", "-c", &left];
        let status = sandbox(&place, caller, &args)
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(0));
        assert!(!sleeps(&marker));
    }
}

#[test]
fn a_caller_that_is_killed_takes_everything_along() {
    let place = Place::new();
    for caller in callers() {
        let marker = marker();
        let args = ["--flows", "0", "--", "setsid", "-w", "sleep", &marker];
        let mut child = sandbox(&place, caller, &args)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("the command runs", || sleeps(&marker));
        signal(&child, Signal::SIGKILL);
        child.wait().unwrap();
        wait_until("the command is gone", || !sleeps(&marker));
    }
}

#[test]
fn orphans_are_taken_in_and_leave_no_zombie() {
    let place = Place::new();
    script(
        &place,
        callers()[0],
        "0",
        // A zombie keeps its name.
        "for i in 1 2 3; do (sleep 0.05 &); done
         end=$(($(date +%s) + 10))
         while grep -qsx sleep /proc/[0-9]*/comm; do [ $(date +%s) -lt $end ]; done",
    );
}
