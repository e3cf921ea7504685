//! `cttune sandbox` against the kernel that runs, as root and as an ordinary user.
//!
//! Run by root, every promise is tried as root and as nobody; run by an ordinary user, as that one.
//! Needs the packages conntrack and util-linux. Whatever a test mounts, it mounts in a mount
//! namespace of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod contains;
mod process;
mod refusals;
#[path = "../support/terminal.rs"]
#[allow(dead_code, unreachable_pub)]
mod support_terminal;
mod table;
mod terminal;
mod world;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;

/// A directory that anybody may enter, with the program in it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = TempDir::new().unwrap();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = place.path().join("cttune");
        // Not by us: another test's child would inherit the file open for writing (ETXTBSY).
        let mut install = Command::new("install");
        install.args(["-m", "755", env!("CARGO_BIN_EXE_cttune")]);
        assert!(install.arg(&program).status().unwrap().success());
        Place(place)
    }

    fn program(&self) -> String {
        self.0.path().join("cttune").to_str().unwrap().to_owned()
    }
}

/// Who calls: a prefix to the command line.
const NOBODY: &[&str] = &[
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
];

fn callers() -> &'static [&'static [&'static str]] {
    if geteuid().is_root() {
        &[&["env"], NOBODY]
    } else {
        &[&["env"]]
    }
}

fn sandbox(place: &Place, caller: &[&str], args: &[&str]) -> Command {
    let mut command = Command::new(caller[0]);
    command
        .args(&caller[1..])
        .arg(place.program())
        .arg("sandbox")
        .args(args)
        .current_dir(place.0.path());
    command
}

fn output(mut command: Command) -> (i32, String, String) {
    told(&command.output().unwrap())
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code().expect("no signal ends the caller"),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// Runs a shell script in a sandbox; it must succeed.
fn script(place: &Place, caller: &[&str], flows: &str, script: &str) -> String {
    let (code, stdout, stderr) = output(sandbox(
        place,
        caller,
        &["--flows", flows, "--", "sh", "-ec", script],
    ));
    assert_eq!(code, 0, "{caller:?}: {stdout}{stderr}");
    stdout
}

/// Runs a shell script as root of a mount namespace of its own, in the place.
fn on_a_host_of_its_own(place: &Place, script: &str) -> (i32, String, String) {
    let flags = if geteuid().is_root() { "-m" } else { "-Urm" };
    let mut command = Command::new("unshare");
    command
        .args([flags, "sh", "-ec", script])
        .current_dir(place.0.path());
    output(command)
}

/// A duration for `sleep` that no other process has.
fn marker() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("9{:07}{next:02}", std::process::id())
}

/// Whether a process sleeps for the marker.
fn sleeps(marker: &str) -> bool {
    state(marker).is_some()
}

/// The state of the process that sleeps for the marker, as ps(1) has it: `S`, or `T` if stopped.
fn state(marker: &str) -> Option<char> {
    fs::read_dir("/proc").unwrap().find_map(|entry| {
        let process = entry.unwrap().path();
        let command = fs::read(process.join("cmdline")).ok()?;
        if command != format!("sleep\0{marker}\0").as_bytes() {
            return None;
        }
        let status = fs::read_to_string(process.join("stat")).ok()?;
        status.rsplit_once(") ")?.1.chars().next()
    })
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}
