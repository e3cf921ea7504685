//! Worlds in which the real program is driven: a sandbox that stays up while a test works in it.
//!
//! A [`World`] is `cttune sandbox` around a process that waits; every command of a test is run in
//! its namespaces with nsenter(1), and what is asked about it is asked through them. It ends with
//! the test, and nothing of it stays. Works as root and as an ordinary user.

// Each file of tests/ is a crate of its own and needs another part of this.
#![allow(dead_code, unreachable_pub)]

pub mod terminal;

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The user that has no rights at all.
pub const NOBODY: [&str; 4] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
];

/// A terminal that is wide enough for any line.
pub const WIDE: &str = "1000";

/// What a command told.
#[derive(Debug)]
pub struct Told {
    /// What was typed behind `cttune`, as far as that is known.
    args: Vec<String>,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Longer than any command of a test takes, on a slow machine too.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a command prints; one that does not end is ended, and fails the test.
fn output(command: &mut Command) -> Output {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = child.unwrap();
    let id = Pid::from_raw(child.id().cast_signed());
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let ended = ended.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        let _ = kill(id, Signal::SIGKILL);
        panic!("{command:?} does not end")
    });
    ended.unwrap()
}

impl Told {
    /// Runs a command to its end.
    pub fn by(command: &mut Command) -> Self {
        let told = Told::from(&output(command.stdin(Stdio::null())));
        let is_cttune = |arg: &String| arg == "cttune" || arg.ends_with("/cttune");
        let typed = std::iter::once(command.get_program()).chain(command.get_args());
        let typed = typed.map(|arg| arg.to_string_lossy().into_owned());
        let args = typed.skip_while(|arg| !is_cttune(arg)).skip(1).collect();
        Told { args, ..told }
    }

    /// Makes sure of the exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// Makes sure that each of `parts` is said on stderr.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Self {
        // Whatever the width of the terminal that it is laid out for.
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let said = flat(&self.stderr);
        for part in parts {
            assert!(said.contains(&flat(part)), "{part:?} is not in {self}");
        }
        self
    }

    /// Makes sure that an error was told as design.md has it: in one or two lines, the first says
    /// what, the second what next.
    #[track_caller]
    pub fn briefly(self) -> Self {
        let lines: Vec<&str> = self.stderr.lines().collect();
        let well_formed = match lines[..] {
            [error] => error.starts_with("error: "),
            [error, hint] => error.starts_with("error: ") && hint.starts_with("hint: "),
            _ => false,
        };
        assert!(well_formed, "{self}");
        self
    }

    /// The object on stdout, which must be all that is there.
    #[track_caller]
    pub fn json(&self) -> Value {
        let parsed = serde_json::from_str(&self.stdout);
        let parsed = parsed.unwrap_or_else(|error| panic!("{error} in {self}"));
        collect(&self.args, &parsed);
        parsed
    }

    /// The error object on stderr, which must be all that is there.
    #[track_caller]
    pub fn error(&self) -> Value {
        let parsed = serde_json::from_str(&self.stderr);
        let parsed: Value = parsed.unwrap_or_else(|error| panic!("{error} in {self}"));
        collect(&self.args, &parsed);
        parsed["error"].clone()
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Told {
            args: _,
            code,
            stdout,
            stderr,
        } = self;
        write!(f, "exit {code}\n-- stdout\n{stdout}-- stderr\n{stderr}")
    }
}

impl From<&Output> for Told {
    fn from(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Told {
            args: Vec::new(),
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

/// Keeps an output for tests/schemas, which compares all with contrib/schema, where `tests/run` asks
/// for it.
pub fn collect(args: &[String], output: &Value) {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let Some(folder) = std::env::var_os("CTTUNE_OUTPUTS").filter(|_| !args.is_empty()) else {
        return;
    };
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("{}-{number}.json", std::process::id());
    let record = json!({ "args": args, "output": output });
    fs::write(Path::new(&folder).join(name), record.to_string()).unwrap();
}

/// A directory that anybody may enter, with the program in it.
#[derive(Debug)]
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        let place = Place(TempDir::new().unwrap());
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // Not by us: another test's child would inherit the file open for writing (ETXTBSY).
        let mut install = Command::new("install");
        install.args(["-m", "755", env!("CARGO_BIN_EXE_cttune")]);
        assert!(install.arg(place.program()).status().unwrap().success());
        place
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn program(&self) -> PathBuf {
        self.path().join("cttune")
    }

    /// Writes a file that nobody but its owner may write, and gives its path.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// A process that stands in namespaces of its own until it is dropped.
#[derive(Debug)]
pub struct Keeper {
    child: Child,
    first_line: String,
}

impl Keeper {
    /// Starts a command that prints a line once it is set up, then lives as long as its stdin.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first_line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut first_line)
            .unwrap();
        if first_line.is_empty() {
            let mut stderr = String::new();
            let mut pipe = child.stderr.take().unwrap();
            pipe.read_to_string(&mut stderr).unwrap();
            panic!("{command:?} was not set up: {stderr}");
        }
        Keeper { child, first_line }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // It ends by itself, in its own order, when its stdin does.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A sandbox that stays up.
#[derive(Debug)]
pub struct World {
    pub place: Place,
    keeper: Keeper,
    /// The first process of its namespaces, as the host numbers it.
    init: u32,
    path: OsString,
}

/// The script that a keeper runs: a line, then as long as its stdin lasts.
const WAIT: &str = "echo $$; exec cat";

impl World {
    /// One whose table is empty.
    pub fn new() -> Self {
        World::with_flows(0)
    }

    /// One whose table is as full as the story's.
    pub fn story() -> Self {
        World::with_flows(76_768)
    }

    pub fn with_flows(flows: u32) -> Self {
        let place = Place::new();
        let mut command = Command::new(place.program());
        command.args(["sandbox", "--flows", &flows.to_string(), "--"]);
        let keeper = Keeper::start(command.args(["sh", "-c", WAIT]));
        let children = format!("/proc/{0}/task/{0}/children", keeper.id());
        let init = fs::read_to_string(children).unwrap();
        let mut path = OsString::from("/run/cttune-sandbox/bin:/usr/sbin:/sbin:");
        path.push(std::env::var_os("PATH").unwrap());
        World {
            place,
            keeper,
            init: init.trim().parse().unwrap(),
            path,
        }
    }

    /// Makes `/etc/sysctl.conf` set what the table has, so that nothing differs after a boot.
    pub fn agree(&self) {
        self.sh("sed -i s/nf_conntrack_max=131072/nf_conntrack_max=76800/ /etc/sysctl.conf");
    }

    /// A command inside, its process seen from outside: signals and terminals reach it directly.
    pub fn command(&self, program: &str) -> Command {
        self.enter(&["-U", "-m", "-n", "-i", "-u"], program)
    }

    /// A command that also sees the processes of the sandbox.
    pub fn command_among_processes(&self, program: &str) -> Command {
        self.enter(&["-U", "-m", "-n", "-i", "-u", "-p"], program)
    }

    fn enter(&self, namespaces: &[&str], program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &self.init.to_string(), "--preserve-credentials"])
            .args(namespaces)
            // A terminal keeps Ctrl-C from nsenter, which waits for the program, not from this.
            .args(["--", "env", "--default-signal=INT", program])
            .env("PATH", &self.path)
            // Words are looked for in lines that are not wrapped; tests/screens.rs sets a width.
            .env("COLUMNS", WIDE)
            .env("LC_ALL", "C.UTF-8")
            .env("CTTUNE_STATE_DIR", "/run/cttune-sandbox/state");
        command
    }

    /// `cttune` inside.
    pub fn cttune(&self, args: &[&str]) -> Told {
        Told::by(self.command("cttune").args(args))
    }

    /// A shell script inside, whatever comes of it.
    pub fn try_sh(&self, script: &str) -> Told {
        Told::by(self.command("sh").args(["-ec", script]))
    }

    /// A shell script inside that must succeed; gives what it printed.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        self.try_sh(script).exits(0).stdout
    }

    /// `cttune` under strace with these options; the trace goes to the file that is given back.
    pub fn strace(&self, options: &[&str], args: &[&str]) -> (Told, String) {
        let trace = tempfile::NamedTempFile::new_in(self.place.path()).unwrap();
        let mut command = self.command("strace");
        command.args(["-f", "-o", trace.path().to_str().unwrap()]);
        let told = Told::by(command.args(options).arg("cttune").args(args));
        (told, fs::read_to_string(trace.path()).unwrap())
    }

    /// A file inside, as a path outside. Not for /proc, which is the reader's own.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.init))
    }

    /// The text of a file inside.
    pub fn read(&self, inside: &str) -> String {
        fs::read_to_string(self.path(inside)).unwrap()
    }

    /// A sysctl of the sandbox.
    pub fn sysctl(&self, name: &str) -> i64 {
        let text = self.sh(&format!("cat /proc/sys/net/netfilter/nf_conntrack_{name}"));
        text.trim().parse().unwrap()
    }

    /// Everything that cttune could have changed: sysctls, and names, owners, modes and bytes of
    /// the files in /etc that it writes to. Not the state directory, which only it reads.
    pub fn state(&self) -> String {
        self.sh("
            cd /proc/sys/net/netfilter
            grep -H . $(ls | grep -v nf_conntrack_count) || true
            find /etc -printf '%p %y %m %U:%G %l\\n' | sort
            cd /etc
            grep -rH '' sysctl.conf sysctl.d modules-load.d udev/rules.d cttune || true")
    }

    /// When anything in /etc was last touched, folders included.
    pub fn times(&self) -> String {
        self.sh("find /etc -printf '%p %i %T@ %C@\\n' | sort")
    }

    /// The line of /etc/sysctl.conf that the story's admin appended, the last one.
    pub fn line_by_hand(&self) -> usize {
        let text = self.read("/etc/sysctl.conf");
        assert!(text.ends_with("net.netfilter.nf_conntrack_max=131072\n"));
        text.lines().count()
    }

    /// Another network namespace in the sandbox; the number is its process's in there.
    pub fn netns(&self) -> (Keeper, String) {
        let mut command = self.command_among_processes("unshare");
        let keeper = Keeper::start(command.args(["-n", "sh", "-c", WAIT]));
        let pid = format!("pid:{}", keeper.first_line.trim());
        (keeper, pid)
    }
}

/// Waits for a condition.
///
/// # Panics
/// If it does not come true in a minute: no machine is so loaded.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !condition() {
        assert!(
            std::time::Instant::now() < end,
            "it never came true: {what}"
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Makes sure that nothing changed; names the lines that did.
#[track_caller]
pub fn assert_same(before: &str, after: &str, when: &str) {
    let missing = |from: &str, other: &str| -> Vec<String> {
        let other: std::collections::HashSet<&str> = other.lines().collect();
        let lines = from.lines().filter(|line| !other.contains(line));
        lines.map(str::to_owned).collect()
    };
    assert!(
        before == after,
        "{when}: gone {:#?}, come {:#?}",
        missing(before, after),
        missing(after, before)
    );
}

/// The keys of the steps that are about sysctls, in order, each with what it will be.
pub fn live_steps(plan: &Value) -> Vec<(String, i64)> {
    let steps = plan["steps"].as_array().unwrap().iter();
    let live = steps.filter(|step| step["kind"] == "write-live");
    live.map(|step| {
        let key = step["key"].as_str().unwrap();
        let name = key.strip_prefix("net.netfilter.nf_conntrack_").unwrap();
        (name.to_owned(), step["to"].as_i64().unwrap())
    })
    .collect()
}

/// What the command line needs in front to run as an ordinary user.
pub fn ordinary_user() -> Command {
    if !geteuid().is_root() {
        return Command::new("env");
    }
    let mut command = Command::new(NOBODY[0]);
    command.args(&NOBODY[1..]);
    command
}
