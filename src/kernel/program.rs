//! How a program is run that takes part in a change or its undo: nft, ip, systemctl, modprobe.
//!
//! In: a command and its input. Out: what it said, and how it ended.
//! Rule: Ctrl-C and the end of the terminal are for cttune alone. They go to a whole process group,
//! and a program that they ended would leave the undo of a change half done.

use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::Signal;

/// The signals of a terminal.
const TERMINALS: [Signal; 3] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT];

/// How often it is started when a terminal's signal ends it.
const STARTS: usize = 5;

/// Runs it in a process group of its own.
///
/// A signal that comes before the group is made ends it before it begins; then it is started again.
pub(crate) fn run(command: &mut Command, input: &str) -> io::Result<Output> {
    command
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut output = once(command, input)?;
    for _ in 1..STARTS {
        let ended_by = output.status.signal();
        if !TERMINALS.iter().any(|one| ended_by == Some(*one as i32)) {
            break;
        }
        output = once(command, input)?;
    }
    Ok(output)
}

fn once(command: &mut Command, input: &str) -> io::Result<Output> {
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // It may end before it has read all: what it says tells why.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output()
}

/// What it said; where it said nothing, how it ended.
pub(crate) fn said(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if said.is_empty() {
        output.status.to_string()
    } else {
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Output {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        run(command.args(["-ec", script]).current_dir(&folder), "text\n").unwrap()
    }

    #[test]
    fn it_has_a_group_and_is_started_again_after_a_signal_of_the_terminal() {
        let output = shell("test $(cut -d' ' -f5 /proc/$$/stat) = $$; cat; echo no >&2; exit 3");
        assert_eq!(
            (said(&output), output.stdout),
            ("no".into(), b"text\n".into())
        );
        for signal in ["HUP", "INT", "QUIT"] {
            let script = format!("test -e once || {{ : >once; kill -{signal} $$; }}; cat");
            let output = shell(&script);
            assert!(output.status.success(), "{signal}: {output:?}");
            assert_eq!(output.stdout, b"text\n");
        }
        let script = "echo >>starts; test $(wc -l <starts) = 1 && kill -TERM $$; exit 0";
        assert!(said(&shell(script)).contains("signal: 15"));
        assert!(said(&shell("kill -HUP $$")).contains("signal: 1"));
    }
}
