//! What a person at a terminal sees.

use std::process::Command;

use super::support_terminal::Terminal;
use super::{Place, callers, marker, sandbox, state, wait_until};

const CTRL_C: &str = "\u{3}";
const CTRL_Z: &str = "\u{1a}";

fn start(place: &Place, caller: &[&str], command: &[&str]) -> Terminal {
    let args = [&["--flows", "0", "--"], command].concat();
    Terminal::start(&sandbox(place, caller, &args))
}

/// Waits until the process that sleeps for the marker runs, and is neither starting nor stopped.
fn wait_until_it_sleeps(marker: &str) {
    wait_until("the command sleeps", || state(marker) == Some('S'));
}

#[test]
fn an_interactive_shell_has_job_control() {
    let place = Place::new();
    for caller in callers() {
        let marker = marker();
        let command = format!("sleep {marker}");
        let mut shell = start(&place, caller, &["bash", "--norc", "--noprofile", "-i"]);
        shell.send("PS1='rea''dy> '\r");
        shell.wait_for("ready> ");
        assert!(!shell.screen.contains("job control"), "{}", shell.screen);
        shell.send(&format!("{command}\r"));
        wait_until_it_sleeps(&marker);
        shell.send(CTRL_Z);
        shell.wait_for("Stopped");
        shell.wait_for("ready> ");
        shell.send("fg\r");
        shell.wait_for(&command);
        wait_until_it_sleeps(&marker);
        shell.send(CTRL_C);
        shell.wait_for("ready> ");
        shell.send("echo code=$?; exit 4\r");
        shell.wait_for("code=130");
        let (code, screen) = shell.end();
        assert_eq!(code, 4, "{screen}");
    }
}

#[test]
fn ctrl_c_reaches_the_command_once() {
    let place = Place::new();
    for caller in callers() {
        // A second SIGINT would come within the three tenths of a second.
        let body = "n=0; trap 'echo got-it; n=1' INT; echo up
            while [ $n = 0 ]; do sleep 0.05; done; sleep 0.3; echo done";
        let mut session = start(&place, caller, &["sh", "-c", body]);
        session.wait_for("up");
        session.send(CTRL_C);
        session.wait_for("done");
        let screen = &session.screen;
        assert_eq!(screen.matches("got-it").count(), 1, "{screen}");
    }
}

#[test]
fn the_terminal_is_given_back() {
    // A script that goes on reading after a shell in the sandbox has had the terminal.
    let place = Place::new();
    let script = format!(
        "{} sandbox --flows 0 -- bash --norc -ic 'true'
         echo and now; read -r line; echo \"read:$line\"",
        place.program()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    let mut session = Terminal::start(&command);
    session.wait_for("and now");
    session.send("words\r");
    session.wait_for("read:words");
}

#[test]
fn ctrl_z_stops_the_whole_sandbox_and_fg_goes_on_with_it() {
    let place = Place::new();
    let marker = marker();
    let mut command = Command::new("bash");
    command.args(["--norc", "--noprofile", "-i"]);
    let mut shell = Terminal::start(&command);
    shell.send(&format!(
        "{} sandbox --flows 0 -- sh -c 'echo u''p; sleep {marker}; true'\r",
        place.program()
    ));
    shell.wait_for("up");
    wait_until_it_sleeps(&marker);
    shell.send(CTRL_Z);
    shell.wait_for("Stopped");
    wait_until("the command stops", || state(&marker) == Some('T'));
    shell.send("fg\r");
    shell.wait_for(&format!("sleep {marker}"));
    wait_until_it_sleeps(&marker);
    shell.send(CTRL_C);
    shell.send("echo code=$?; exit\r");
    shell.wait_for("code=130");
}
