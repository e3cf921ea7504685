//! What a person at a terminal sees.

use std::process::Command;
use std::time::Duration;

use rexpect::session::{PtySession, spawn_command};

use super::{Place, callers, sandbox};

fn start(place: &Place, caller: &[&str], command: &[&str]) -> PtySession {
    let args = [&["--flows", "0", "--"], command].concat();
    spawn_command(sandbox(place, caller, &args), Some(10_000)).unwrap()
}

#[test]
fn an_interactive_shell_has_job_control() {
    let place = Place::new();
    for caller in callers() {
        let mut shell = start(&place, caller, &["bash", "--norc", "--noprofile", "-i"]);
        shell.send_line("PS1='rea''dy> '").unwrap();
        let greeting = shell.exp_string("ready> ").unwrap();
        assert!(!greeting.contains("job control"), "{greeting}");
        shell.send_line("sleep 99").unwrap();
        std::thread::sleep(Duration::from_millis(200));
        shell.send_control('z').unwrap();
        shell.exp_string("Stopped").unwrap();
        shell.exp_string("ready> ").unwrap();
        shell.send_line("fg").unwrap();
        shell.exp_string("sleep 99").unwrap();
        std::thread::sleep(Duration::from_millis(200));
        shell.send_control('c').unwrap();
        shell.exp_string("ready> ").unwrap();
        shell.send_line("echo code=$?; exit 4").unwrap();
        shell.exp_string("code=130").unwrap();
        shell.exp_eof().unwrap();
        let status = format!("{:?}", shell.process().status());
        assert!(
            status.contains("Exited") && status.contains(", 4)"),
            "{status}"
        );
    }
}

#[test]
fn ctrl_c_reaches_the_command_once() {
    let place = Place::new();
    for caller in callers() {
        let body = "trap 'echo got-it' INT; echo up; for i in 1 2 3 4 5 6 7 8; do sleep 0.1; done; echo done";
        let mut session = start(&place, caller, &["sh", "-c", body]);
        session.exp_string("up").unwrap();
        session.send_control('c').unwrap();
        let seen = session.exp_string("done").unwrap();
        assert_eq!(seen.matches("got-it").count(), 1, "{seen}");
    }
}

#[test]
fn the_terminal_is_given_back() {
    // A script that goes on reading after a shell in the sandbox has had the terminal.
    let place = Place::new();
    let script = format!(
        "{} sandbox --flows 0 -- bash --norc -ic 'true'; read -r line; echo \"read:$line\"",
        place.program()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    let mut session = spawn_command(command, Some(10_000)).unwrap();
    session.exp_string("stand-ins").unwrap();
    session.send_line("words").unwrap();
    session.exp_string("read:words").unwrap();
}

#[test]
fn ctrl_z_stops_the_whole_sandbox_and_fg_goes_on_with_it() {
    let place = Place::new();
    let mut command = Command::new("bash");
    command.args(["--norc", "--noprofile", "-i"]);
    let mut shell = spawn_command(command, Some(10_000)).unwrap();
    shell
        .send_line(&format!(
            "{} sandbox --flows 0 -- sh -c 'echo u''p; sleep 99'",
            place.program()
        ))
        .unwrap();
    shell.exp_string("up").unwrap();
    shell.send_control('z').unwrap();
    shell.exp_string("Stopped").unwrap();
    shell.send_line("fg").unwrap();
    shell.exp_string("sleep 99").unwrap();
    std::thread::sleep(Duration::from_millis(200));
    shell.send_control('c').unwrap();
    shell.send_line("echo code=$?; exit").unwrap();
    shell.exp_string("code=130").unwrap();
}
