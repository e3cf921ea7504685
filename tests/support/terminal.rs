//! A terminal with a program on it, from the side of the person who types.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;
use rustix::termios::{tcgetwinsize, tcsetwinsize};

const PATIENCE: Duration = Duration::from_secs(60);

/// What hides the cursor, and what shows it again (DECTCEM).
pub const HIDE_CURSOR: &str = "\u{1b}[?25l";
pub const SHOW_CURSOR: &str = "\u{1b}[?25h";

/// A pseudo terminal and the program that it controls.
#[derive(Debug)]
pub struct Terminal {
    master: std::fs::File,
    /// Kept open, so that modes can be read after the program has ended.
    slave: std::fs::File,
    child: Child,
    /// Everything that was shown so far.
    pub screen: String,
    /// How much of it was waited for already.
    seen: usize,
    modes: Termios,
}

impl Terminal {
    /// Starts a command as the leader of a session on a new terminal of unknown size.
    pub fn start(command: &Command) -> Self {
        Terminal::with_size(command, None)
    }

    /// Starts it on a terminal of this size, which no variable overrides.
    pub fn sized(command: &Command, columns: u16, rows: u16) -> Self {
        Terminal::with_size(command, Some((columns, rows)))
    }

    fn with_size(command: &Command, size: Option<(u16, u16)>) -> Self {
        // No child may inherit the master, or the terminal could not hang up.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let master = posix_openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let slave = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlag::O_NOCTTY.bits())
            .open(ptsname_r(&master).unwrap())
            .unwrap();
        let modes = tcgetattr(&slave).unwrap();
        if let Some(size) = size {
            let mut own = tcgetwinsize(&slave).unwrap();
            (own.ws_col, own.ws_row) = size;
            tcsetwinsize(&slave, own).unwrap();
        }
        let is_kept = |name: &std::ffi::OsStr| size.is_none() || name != "COLUMNS";
        let end = || Stdio::from(slave.try_clone().unwrap());
        let child = Command::new("setsid")
            .arg("--ctty")
            // A test that was started in the background, or by nohup, ignores some of these.
            .args(["env", "--default-signal=HUP,INT,QUIT,TERM"])
            // With nsenter the leader of the session would end, and its terminal hang up, before
            // the program has said what it does about Ctrl-C.
            .args((command.get_program() == "nsenter").then_some("--ignore-signal=INT"))
            .args(size.map(|_| "--unset=COLUMNS"))
            .arg(command.get_program())
            .args(command.get_args())
            .envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?)))
                    .filter(|(name, _)| is_kept(name)),
            )
            .env("TERM", "xterm")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        Terminal {
            master: OwnedFd::from(master).into(),
            slave,
            child,
            screen: String::new(),
            seen: 0,
            modes,
        }
    }

    /// Reads until `text` was shown after what was waited for last.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        self.wait_for_any(&[text]);
    }

    /// Reads until one of `texts` was shown after what was waited for last; gives which.
    #[track_caller]
    pub fn wait_for_any(&mut self, texts: &[&str]) -> usize {
        let end = Instant::now() + PATIENCE;
        loop {
            let new = &self.screen[self.seen..];
            let found = texts.iter().enumerate().filter_map(|(which, text)| {
                let at = new.find(text)?;
                Some((at + text.len(), which))
            });
            if let Some((length, which)) = found.min() {
                self.seen += length;
                return which;
            }
            let goes_on = self.read_more(Duration::from_millis(50))
                || self.child.try_wait().unwrap().is_none();
            assert!(
                goes_on && Instant::now() < end,
                "{texts:?} is not in {:?}",
                self.screen
            );
        }
    }

    /// Reads what there is; waits for it at most that long. Gives whether there was any.
    fn read_more(&mut self, wait: Duration) -> bool {
        let timeout = PollTimeout::try_from(wait).unwrap();
        let mut ready = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, timeout).unwrap() == 0 {
            return false;
        }
        let mut bytes = [0; 4096];
        let number = self.master.read(&mut bytes).unwrap_or(0);
        self.screen
            .push_str(&String::from_utf8_lossy(&bytes[..number]));
        number > 0
    }

    /// Reads what comes in a moment.
    pub fn drain(&mut self) {
        self.read_more(Duration::from_millis(50));
    }

    /// What was shown after what was waited for last.
    pub fn rest(&self) -> &str {
        &self.screen[self.seen..]
    }

    /// Types.
    pub fn send(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Sends the program a signal, whatever programs started it in its namespaces.
    pub fn signal(&self, signal: Signal) {
        let mut id = self.child.id();
        let children = |id: u32| std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        while let Ok(text) = children(id)
            && std::fs::read_to_string(format!("/proc/{id}/comm")).unwrap() == "nsenter\n"
            && let Some(child) = text.split_whitespace().next()
        {
            id = child.parse().unwrap();
        }
        kill(Pid::from_raw(i32::try_from(id).unwrap()), signal).unwrap();
    }

    /// Waits for the program's end, and makes sure that the terminal is as it was before: its
    /// modes, and the cursor. Gives the exit code, and all that was shown.
    #[track_caller]
    pub fn end(mut self) -> (i32, String) {
        let status = self.wait();
        while self.read_more(Duration::ZERO) {}
        assert_eq!(
            self.modes,
            tcgetattr(&self.slave).unwrap(),
            "the terminal's modes"
        );
        if let Some(hidden) = self.screen.rfind(HIDE_CURSOR) {
            let shown = self.screen.rfind(SHOW_CURSOR);
            assert!(
                shown > Some(hidden),
                "the cursor stays hidden: {:?}",
                self.screen
            );
        }
        (code(status), self.screen)
    }

    /// Waits for the end of a program that could not restore the terminal. Gives the exit code.
    #[track_caller]
    pub fn end_as_it_is(mut self) -> i32 {
        code(self.wait())
    }

    /// Hangs up, as when a connection breaks, and waits for the program's end.
    #[track_caller]
    pub fn hang_up(mut self) -> i32 {
        drop((self.master, self.slave));
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return code(status);
            }
            if Instant::now() > end {
                self.child.kill().unwrap();
                panic!("it does not end when its terminal hangs up");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits while what the program shows is read, so that it never waits for us.
    fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it does not end: {:?}", self.screen);
            self.read_more(Duration::from_millis(5));
        }
    }
}

/// As a shell gives it.
fn code(status: ExitStatus) -> i32 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, signal) => 128 + signal.unwrap(),
    }
}
