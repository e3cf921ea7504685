//! The main job on the host itself: its real max and buckets, which no namespace can set.
//!
//! Only /etc and the state directory are private, in a mount namespace of the test's own. Every
//! sysctl is put back when the test ends, however it ends; that is why it needs root, and says so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stderr)] // from a guard that must not panic

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::unistd::geteuid;
use support::{Keeper, Place, Told, World, assert_same, live_steps};

const SYSCTLS: &str = "/proc/sys/net/netfilter";
const APPLY: [&str; 4] = ["apply", "--profile", "campus-fw", "--yes"];

/// Every sysctl that can be written, with its text.
fn readings() -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(SYSCTLS).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let settable = paths.filter(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("nf_conntrack_") && name != "nf_conntrack_count"
    });
    let read = |path: PathBuf| (path.clone(), fs::read_to_string(path).unwrap());
    settable.map(read).collect()
}

/// The same, to be compared.
fn sysctls() -> String {
    let mut lines: Vec<String> = readings()
        .iter()
        .map(|(path, text)| format!("{} {text}", path.display()))
        .collect();
    lines.sort();
    lines.concat()
}

/// Every sysctl as it was, put back at the end.
struct Values(Vec<(PathBuf, String)>);

impl Values {
    fn keep() -> Self {
        Values(readings())
    }
}

impl Drop for Values {
    fn drop(&mut self) {
        for (path, text) in &self.0 {
            if fs::read_to_string(path).ok().as_ref() != Some(text) {
                let written = fs::write(path, text.trim());
                // No panic here: the others are to be put back as well.
                if let Err(error) = written {
                    eprintln!("{} is not as it was: {error}", path.display());
                }
            }
        }
    }
}

/// The host with a private /etc, in which the story's admin was.
struct Host {
    place: Place,
    keeper: Keeper,
    /// One test at a time, of all that run on this machine.
    _one: File,
}

const SET_UP: &str = "
    mount -t tmpfs tmpfs \"$1\"
    mkdir \"$1/upper\" \"$1/work\" \"$1/state\"
    mount -t overlay overlay -o \"lowerdir=/etc,upperdir=$1/upper,workdir=$1/work\" /etc
    rm -rf /etc/cttune /etc/sysctl.d/90-cttune.conf /etc/sysctl.d/99-sysctl.conf
    echo '# by hand' >/etc/sysctl.conf
    echo net.netfilter.nf_conntrack_max=131072 >>/etc/sysctl.conf
    ln -s ../sysctl.conf /etc/sysctl.d/99-sysctl.conf
    echo ready; exec cat";

impl Host {
    fn new() -> Self {
        assert!(
            geteuid().is_root(),
            "this test sets the host's own max and buckets: run it as root"
        );
        let one = File::open(Path::new(SYSCTLS).join("nf_conntrack_max")).unwrap();
        one.lock().unwrap();
        let place = Place::new();
        let private = place.path().join("private");
        fs::create_dir(&private).unwrap();
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-ec", SET_UP, "sh"]);
        let keeper = Keeper::start(command.arg(&private));
        Host {
            place,
            keeper,
            _one: one,
        }
    }

    fn enter(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &self.keeper.id().to_string(), "-m", "--", program])
            .env("CTTUNE_STATE_DIR", self.place.path().join("private/state"));
        command
    }

    fn cttune(&self, args: &[&str]) -> Told {
        Told::by(
            self.enter(self.place.program().to_str().unwrap())
                .args(args),
        )
    }

    fn sh(&self, script: &str) -> String {
        Told::by(self.enter("sh").args(["-ec", script]))
            .exits(0)
            .stdout
    }

    fn times(&self) -> String {
        self.sh("find /etc -printf '%p %i %T@ %C@\\n' | sort")
    }
}

fn value(name: &str) -> i64 {
    let path = format!("{SYSCTLS}/nf_conntrack_{name}");
    fs::read_to_string(path).unwrap().trim().parse().unwrap()
}

fn write(name: &str, value: i64) {
    fs::write(format!("{SYSCTLS}/nf_conntrack_{name}"), value.to_string()).unwrap();
}

#[test]
fn campus_fw_holds_on_the_host_itself_now_and_after_a_boot() {
    let host = Host::new();
    let (as_it_was, values) = (sysctls(), Values::keep());
    // Off, whatever the host has.
    write("max", 131_072);
    write("buckets", 65_536);
    write("tcp_timeout_established", 432_000);
    let before = sysctls();

    host.cttune(&["check", "--profile", "campus-fw"]).exits(2);
    let told = host.cttune(&APPLY).exits(1).briefly();
    told.says(&[
        "/etc/sysctl.conf:2 sets net.netfilter.nf_conntrack_max = 131072",
        "nothing was changed",
        "--adopt",
    ]);
    assert_same(&before, &sysctls(), "refused");
    host.sh("test ! -e /etc/sysctl.d/90-cttune.conf; test ! -e /etc/cttune");

    let planned = host
        .cttune(&["plan", "--profile", "campus-fw", "--format", "json"])
        .exits(2);
    let wanted = live_steps(&planned.json());
    let adopt = [&APPLY[..], &["--adopt", "--format", "json"]].concat();
    let applied = host.cttune(&adopt).exits(0).json();
    assert_eq!(applied["changed"], true);
    for (name, wanted) in &wanted {
        assert_eq!(value(name), *wanted, "{name}");
    }
    assert!(value("max") >= 1 << 16 && value("buckets") >= value("max"));
    assert_eq!(value("tcp_timeout_established"), 7440);
    let told = host.cttune(&["check"]).exits(0);
    assert!(told.stdout.contains(" match, "), "{told}");
    let conf = host.sh("cat /etc/sysctl.conf");
    let by_hand = "net.netfilter.nf_conntrack_max=131072\n";
    assert!(
        conf.starts_with("# by hand\n#") && conf.ends_with(by_hand),
        "{conf}"
    );

    let (now, times) = (sysctls(), host.times());
    let again = host.cttune(&adopt).exits(0).json();
    assert_eq!(again["changed"], false);
    assert_same(&now, &sysctls(), "again");
    assert_same(&times, &host.times(), "again");

    drop(values);
    assert_same(&as_it_was, &sysctls(), "put back");
}

#[test]
fn the_kernel_rounds_buckets_to_what_was_planned() {
    let host = Host::new();
    let _values = Values::keep();
    let max = value("max");
    write("buckets", 65_536);
    let small = [
        "--profile",
        "kernel-defaults",
        "--set",
        "buckets=65537",
        "--only",
        "live",
    ];
    let planned = host
        .cttune(&[&["plan", "--format", "json"], &small[..]].concat())
        .exits(2);
    assert_eq!(
        live_steps(&planned.json()),
        [("buckets".to_owned(), 66_048)]
    );
    host.cttune(&[&["apply", "--yes"], &small[..]].concat())
        .exits(0);
    assert_eq!(value("buckets"), 66_048);
    // A resize never changes max; and what was rounded is no difference.
    assert_eq!(value("max"), max);
    host.cttune(&[&["plan"], &small[..]].concat()).exits(0);
}

#[test]
fn a_refusal_after_the_limits_puts_the_host_s_limits_back() {
    let host = Host::new();
    let (before, _values) = (sysctls(), Values::keep());
    // The longest time that any kernel takes; this one, with another HZ, does not.
    let refused = ["--adopt", "--set", "tcp_timeout_established=21474836"];
    let more = ["--set", "max=300000", "--set", "buckets=300032"];
    let told = host
        .cttune(&[&APPLY[..], &refused, &more].concat())
        .exits(1);
    let told = told.says(&["the kernel refused 21474836", "everything is as it was"]);
    assert!(told.stdout.contains("done max: "), "{told}");
    assert_same(&before, &sysctls(), "undone");
    host.sh("test ! -e /etc/sysctl.d/90-cttune.conf");
}

#[test]
fn a_hash_table_that_finds_no_memory_leaves_max_at_what_suits_the_present_one() {
    let host = Host::new();
    let _values = Values::keep();
    write("max", 131_072);
    write("buckets", 65_536);
    // The kernel answers ENOMEM to more than 4 GiB of bucket heads without trying.
    let set = [
        "--set",
        "buckets=2147483136",
        "--set",
        "max=2147483647",
        "--only",
        "live",
    ];
    let told = host.cttune(&[&APPLY[..], &set].concat());
    let told = told
        .exits(3)
        .says(&["found no memory for net.netfilter.nf_conntrack_buckets"]);
    assert_eq!(
        (value("buckets"), value("max")),
        (65_536, 4 * 65_536),
        "{told}"
    );
    assert_eq!(value("udp_timeout_stream"), 180, "the rest went on");
}

/// The shortest of many runs, so that another process on the machine does not count.
fn shortest(program: &Path, args: &[&str]) -> Duration {
    let run = |_| {
        let since = Instant::now();
        let output = Command::new(program).args(args).output().unwrap();
        assert!(output.status.success());
        since.elapsed()
    };
    (0..60).map(run).min().unwrap()
}

#[test]
fn it_starts_within_two_milliseconds() {
    let place = Place::new();
    let most = Duration::from_millis(if cfg!(debug_assertions) { 20 } else { 2 });
    for args in [&["--version"][..], &["profile", "show", "campus-fw"]] {
        let took = shortest(&place.program(), args);
        let process = shortest(Path::new("true"), &[]);
        assert!(
            took <= process + most,
            "{args:?}: {took:?}, true: {process:?}"
        );
    }
}

/// Descriptors that a check may open, and how often the same name.
const OPENS: usize = 600;
const OPENS_OF_ONE: usize = 30;

#[test]
fn check_opens_few_files_and_none_of_them_often() {
    let world = World::new();
    let options = ["-e", "trace=open,openat,openat2", "-e", "signal=none"];
    for args in [&["check"][..], &["check", "--profile", "campus-fw"]] {
        let (_, trace) = world.strace(&options, args);
        let mut opened: BTreeMap<&str, usize> = BTreeMap::new();
        for line in trace.lines().filter(|line| !line.contains("ENOENT")) {
            // Of a call that another thread's came into, the second line has no name.
            if let Some(name) = line.split('"').nth(1) {
                *opened.entry(name).or_default() += 1;
            }
        }
        let total: usize = opened.values().sum();
        assert!((1..=OPENS).contains(&total), "{total}: {opened:#?}");
        let most = opened.iter().max_by_key(|(_, number)| **number).unwrap();
        assert!(*most.1 <= OPENS_OF_ONE, "{most:?}");
    }
}
