//! What the benches share: sandboxes of two sizes, contestants in turn, medians and ratios.
//!
//! Absolute times drift with the machine, so contestants run in turn (A B A B …) and a ratio is
//! the median of the rounds' own ratios. A sandbox holds at most the host's max of flows, and
//! several do not add up to one dump: the number that was used is told, and nothing is raised.

#![allow(unreachable_pub, dead_code)] // each bench takes what it needs

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

pub const CTTUNE: &str = env!("CARGO_BIN_EXE_cttune");

/// Sizes of the table that are wanted.
const SIZES: [u32; 2] = [100_000, 1_000_000];

/// What one sandbox measured.
pub struct Measured {
    pub flows: u32,
    /// Milliseconds of each round, or KiB, by the contestant's name.
    rounds: BTreeMap<String, Vec<f64>>,
    names: Vec<String>,
}

/// A contestant. It gives the time that counts, since it may have to set its table up first.
pub type Work<'a> = (&'a str, &'a mut dyn FnMut() -> Duration);

/// The flows that the host allows.
pub fn most() -> u32 {
    let max = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max").unwrap();
    max.trim().parse::<u32>().unwrap() - 1
}

/// The sizes that the host allows, or those of the command line.
pub fn sizes() -> Vec<u32> {
    let allowed = most();
    let typed: Vec<u32> = env::args().filter_map(|text| text.parse().ok()).collect();
    let wanted = if typed.is_empty() {
        SIZES.to_vec()
    } else {
        typed
    };
    wanted.into_iter().map(|size| size.min(allowed)).collect()
}

/// Whether this process was started to do the work of `part`; with what it was given.
pub fn part() -> Option<(String, u32)> {
    let mut arguments = env::args().skip_while(|argument| argument != "inside");
    let (part, flows) = (arguments.nth(1)?, arguments.next()?);
    Some((part, flows.parse().unwrap()))
}

/// Runs this program's `part` in a sandbox with so many of the story's flows; `flows` is the number
/// that it is told.
pub fn in_sandbox(part: &str, story: u32, flows: u32) -> Measured {
    let output = Command::new(CTTUNE)
        .args(["sandbox", "--flows", &story.to_string(), "--"])
        .arg(env::current_exe().unwrap())
        .args(["inside", part, &flows.to_string()])
        .env("PATH", env::var("PATH").unwrap_or_default() + ":/usr/sbin")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let mut measured = Measured {
        flows,
        rounds: BTreeMap::new(),
        names: Vec::new(),
    };
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let Some((name, number)) = line.split_once('\t') else {
            continue;
        };
        if !measured.rounds.contains_key(name) {
            measured.names.push(name.to_owned());
        }
        let rounds = measured.rounds.entry(name.to_owned()).or_default();
        rounds.push(number.parse().unwrap());
    }
    measured
}

/// Lets the contestants work in turn, and tells the process outside.
pub fn contest(rounds: usize, works: &mut [Work<'_>]) {
    for _ in 0..rounds {
        for (name, work) in works.iter_mut().filter(|(name, _)| is_wanted(name)) {
            tell(name, work().as_secs_f64() * 1e3);
        }
    }
}

/// `CTTUNE_BENCH=kill,conntrack` lets those alone work whose names have one of these words.
pub fn is_wanted(name: &str) -> bool {
    env::var("CTTUNE_BENCH").map_or(true, |words| {
        words.split(',').any(|word| name.contains(word))
    })
}

/// Tells the process outside a number.
pub fn tell(name: &str, number: f64) {
    println!("{name}\t{number}");
}

pub fn headline(what: &str) {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let cpus = std::thread::available_parallelism().unwrap();
    let conntrack = Command::new("conntrack").arg("--version").output().unwrap();
    let conntrack = String::from_utf8_lossy(&conntrack.stdout).into_owned();
    println!(
        "{what}: Linux {}, {cpus} CPUs, {}",
        kernel.trim(),
        conntrack.trim()
    );
}

impl Measured {
    /// Prints each contestant's median and spread.
    pub fn print(&self) {
        println!(
            "\n{:<44} {:>9}  {:>17}  {:>8}",
            format!("{} flows", self.flows),
            "ms",
            "least – most",
            "µs/flow"
        );
        for name in &self.names {
            let rounds = &self.rounds[name];
            println!(
                "{name:<44} {:>9.1}  {:>17}  {:>8.3}",
                median(rounds),
                spread(rounds, 1),
                median(rounds) * 1e3 / f64::from(self.flows.max(1))
            );
        }
    }

    /// The median of a contestant.
    pub fn median(&self, name: &str) -> f64 {
        median(&self.rounds[name])
    }

    /// Prints by how much one takes longer than another, and what is wanted of it: the median and
    /// the spread of the rounds, and the least of one by the least of the other, which what else
    /// runs on the machine disturbs least.
    pub fn ratio(&self, one: &str, other: &str, wanted: &str) {
        let (Some(one_rounds), Some(other_rounds)) = (self.rounds.get(one), self.rounds.get(other))
        else {
            return;
        };
        let pairs = one_rounds.iter().zip(other_rounds);
        let ratios: Vec<f64> = pairs.map(|(one, other)| one / other).collect();
        println!(
            "{:<64} {:>6.3} ({}), least {:.3}  {wanted}",
            format!("{one} ÷ {other}"),
            median(&ratios),
            spread(&ratios, 2),
            sorted(one_rounds)[0] / sorted(other_rounds)[0],
        );
    }
}

fn sorted(numbers: &[f64]) -> Vec<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn median(numbers: &[f64]) -> f64 {
    sorted(numbers)[numbers.len() / 2]
}

fn spread(numbers: &[f64], digits: usize) -> String {
    let sorted = sorted(numbers);
    format!(
        "{:.digits$} – {:.digits$}",
        sorted[0],
        sorted[sorted.len() - 1]
    )
}

/// The time that `work` takes.
pub fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// The time that a program takes, which must succeed; 2 says that something differs.
pub fn run(program: &str, arguments: &[&str]) -> Duration {
    timed(|| succeeds(program, arguments))
}

fn succeeds(program: &str, arguments: &[&str]) {
    let mut command = Command::new(program);
    let command = command.args(arguments).stdout(Stdio::null());
    let output = command.stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let is_done = matches!(output.status.code(), Some(0 | 2));
    assert!(is_done, "{program} {arguments:?}: {said}");
}

/// The peak memory of a program in KiB: of a process that has waited for no other.
pub fn peak(program: &str, arguments: &[&str]) -> f64 {
    let mut command = Command::new(env::current_exe().unwrap());
    let command = command.args(["peak", program]).args(arguments);
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    said.trim().parse().expect("the peak that was told")
}

/// Runs what stands behind `peak` on the command line, and tells its peak; false if nothing does.
pub fn told_peak() -> bool {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [word, program, rest @ ..] = arguments.as_slice() else {
        return false;
    };
    if word != "peak" {
        return false;
    }
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    succeeds(program, &rest);
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    println!("{}", usage.max_rss());
    true
}

/// The floor: the same socket and buffer as cttune's own, and nothing looked at.
pub struct Bare {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl Bare {
    pub fn open() -> Self {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkNetFilter,
        );
        Bare {
            fd: fd.unwrap(),
            buffer: vec![0; 65536],
        }
    }

    /// Asks for a dump and receives it, and looks at nothing but its end.
    pub fn dump(&mut self) {
        let request = [20, 0, 0, 0, 1, 1, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        send(self.fd.as_raw_fd(), &request, MsgFlags::empty()).unwrap();
        loop {
            let length = recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::empty()).unwrap();
            // NLMSG_DONE comes in a part of its own, or last behind the flows.
            let last = &self.buffer[length.saturating_sub(20)..length];
            if last.starts_with(&[20, 0, 0, 0, 3, 0]) {
                return;
            }
        }
    }

    /// Sends batches that are made already; after each it asks for errors, and finds none.
    pub fn update(&mut self, batches: &[Vec<u8>]) {
        for batch in batches {
            send(self.fd.as_raw_fd(), batch, MsgFlags::empty()).unwrap();
            let answer = recv(
                self.fd.as_raw_fd(),
                &mut self.buffer,
                MsgFlags::MSG_DONTWAIT,
            );
            assert_eq!(answer, Err(Errno::EAGAIN));
        }
    }
}
