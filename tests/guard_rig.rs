//! A table of the largest size under a flood, with a guard and without: who loses a connection?
//!
//! Takes minutes and two cores, so it runs on demand, as root:
//! `cargo test --release --test guard_rig -- --ignored --nocapture --test-threads=1 --skip churn`,
//! and `churn` alone for an hour, or CTTUNE_TEST_MINUTES.
//! The table has as many entries as the host's max. Needs conntrack, iproute2, nftables, util-linux.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(dead_code)] // of the network that it shares with tests/harm

#[path = "guard_rig/day.rs"]
mod day;
mod inside;
#[path = "harm/net.rs"]
mod net;
mod support;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{IoSlice, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cttune::internals::{NewFlow, create};
use net::{Connection, End, Net, Outcome, until};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, sendmsg, socket,
};
use nix::unistd::Pid;
use serde_json::Value;
use support::Told;

const FIVE_DAYS: u32 = 432_000;
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// Chains that let the client open connections of any kind.
const OPEN: &str =
    "chain forward { ct state established,related accept; iifname c ct state new accept; }";

/// Established connections end after so many seconds that were watched.
const MINIMUM: u64 = 15;

#[derive(Clone, Copy)]
enum Flood {
    /// Handshakes that are left in silence.
    Assured,
    Syn,
    Udp,
}

/// A firewall whose table is filled, between a flood, clients and talkers.
struct Rig {
    net: Net,
    raw: [OwnedFd; 2],
    max: u64,
}

impl Rig {
    fn new() -> Self {
        // The kernel's max, and not the sandbox's.
        let max = "/proc/sys/net/netfilter/nf_conntrack_max";
        inside::sh(&format!("if mountpoint -q {max}; then umount {max}; fi"));
        let net = Net::new(OPEN);
        net.sh("
            cd /proc/sys/net
            echo 0 >netfilter/nf_conntrack_checksum
            for conf in ipv4/conf/*/rp_filter; do echo 0 >$conf; done
            ip route add 10.8.0.0/15 via 10.0.1.2");
        // The server reaches itself, and does not answer the flood by itself.
        net.on_server(|| inside::sh("ip link set lo up; nft 'table inet silent { chain in { type filter hook input priority 0; ip saddr 10.8.0.0/15 drop; }; }'"));
        let raw = || {
            socket(
                AddressFamily::Inet,
                SockType::Raw,
                SockFlag::empty(),
                SockProtocol::Raw,
            )
            .unwrap()
        };
        let raw = [net.on_client(raw), net.on_server(raw)];
        let max = net
            .sh("cat /proc/sys/net/netfilter/nf_conntrack_max")
            .trim()
            .parse()
            .unwrap();
        Rig { net, raw, max }
    }

    /// Adds stale flows up to a share of the table, each with so much time left.
    fn fill(&self, percent: u64, time_left: u32) {
        let wanted = (self.max * percent / 100).saturating_sub(self.count());
        let flows = (0..u32::try_from(wanted).unwrap()).map(|number| NewFlow {
            src: IpAddr::from(Ipv4Addr::from(0x0a20_0000 + number / 60_000)),
            dst: SERVER.into(),
            is_assured: true,
            ports: (u16::try_from(1 + number % 60_000).unwrap(), 9),
            time_left,
        });
        let made = self.net.on_firewall(|| create(flows));
        assert_eq!(made.unwrap() as u64, wanted);
    }

    /// From then on the journal tells what the timeout was before.
    fn lower_the_timeout(&self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cttune"));
        command.args(["apply", "--set", "tcp_timeout_established=2h11m15s"]);
        command.args(["--only", "live", "--yes", "--netns", &self.net.netns()]);
        let told = Told::by(command.env("CTTUNE_STATE_DIR", self.net.state()));
        told.exits(0);
    }

    fn count(&self) -> u64 {
        let count = self
            .net
            .on_firewall(|| std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count"));
        count.unwrap().trim().parse().unwrap()
    }

    /// SYNs that the client had to send again.
    fn lost_syns(&self) -> u64 {
        let text = self
            .net
            .on_client(|| std::fs::read_to_string("/proc/thread-self/net/netstat"));
        let text = text.unwrap();
        let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
        let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
        let mut both = names.split_whitespace().zip(values.split_whitespace());
        let (_, value) = both.find(|(name, _)| *name == "TCPSynRetrans").unwrap();
        value.parse().unwrap()
    }

    fn send(
        &self,
        end: usize,
        from: (Ipv4Addr, u16),
        to: (Ipv4Addr, u16),
        body: &[u8],
        protocol: u8,
    ) {
        let length = u16::try_from(24 + body.len()).unwrap().to_be_bytes();
        let mut packet = vec![
            0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, protocol, 0, 0,
        ];
        packet.extend(from.0.octets());
        packet.extend(to.0.octets());
        packet.extend(from.1.to_be_bytes());
        packet.extend(to.1.to_be_bytes());
        packet.extend(body);
        let to = SockaddrStorage::from(SocketAddr::new(to.0.into(), 0));
        let whole = [IoSlice::new(&packet)];
        // A full queue loses a packet, as a network does.
        let _ = sendmsg(
            self.raw[end].as_raw_fd(),
            &whole,
            &[],
            MsgFlags::empty(),
            Some(&to),
        );
    }

    fn tcp(
        &self,
        end: usize,
        from: (Ipv4Addr, u16),
        to: (Ipv4Addr, u16),
        numbers: [u32; 2],
        flags: u8,
    ) {
        let mut body = numbers.map(u32::to_be_bytes).concat();
        body.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        self.send(end, from, to, &body, 6);
    }

    fn one_of_the_flood(&self, flood: Flood, number: u32) {
        let client = (
            Ipv4Addr::from(0x0a08_0000 + number / 60_000 + 1),
            u16::try_from(1 + number % 60_000).unwrap(),
        );
        let server = (SERVER, 9);
        match flood {
            Flood::Udp => self.send(0, client, server, &[0, 8, 0, 0], 17),
            Flood::Syn => self.tcp(0, client, server, [1, 0], 0x02),
            Flood::Assured => {
                self.tcp(0, client, server, [1, 0], 0x02);
                self.tcp(1, server, client, [1, 2], 0x12);
                self.tcp(0, client, server, [2, 2], 0x10);
            }
        }
    }
}

/// What became of the clients and the talkers.
#[derive(Debug, Default)]
struct Seen {
    connections: u64,
    failed: u64,
    lost_first_syns: u64,
    broken: usize,
    most: u64,
}

const SLICE: Duration = Duration::from_millis(5);

/// What passes the firewall.
#[derive(Clone, Copy)]
struct Load {
    flood: Flood,
    /// Of the flood, a second.
    rate: u32,
    /// Each opens a connection a second.
    clients: u64,
    seconds: u64,
}

impl Load {
    fn floods(self, rig: &Rig, begun: Instant) {
        let mut number = 0;
        while begun.elapsed() < Duration::from_secs(self.seconds) {
            let due = begun.elapsed().as_millis() * u128::from(self.rate) / 1000;
            while u128::from(number) < due {
                rig.one_of_the_flood(self.flood, number);
                number += 1;
            }
            std::thread::sleep(SLICE);
        }
    }
}

/// A flood, clients, and 50 talkers.
fn traffic(rig: &Rig, load: Load, talkers: &[Connection]) -> Seen {
    let listener = rig.net.listen("10.0.2.2", 80);
    let address = listener.local_addr().unwrap();
    let (over, connections, failed) =
        (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let (begun, time) = (Instant::now(), Duration::from_secs(load.seconds));
    let before = rig.lost_syns();
    let mut seen = Seen::default();
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&listener, &over));
        scope.spawn(|| load.floods(rig, begun));
        rig.net.on_client(|| {
            std::thread::scope(|clients| {
                let (connections, failed) = (&connections, &failed);
                for client in 0..load.clients {
                    clients.spawn(move || {
                        for round in 0..load.seconds {
                            let due =
                                Duration::from_millis(round * 1000 + client * 1000 / load.clients);
                            std::thread::sleep(due.saturating_sub(begun.elapsed()));
                            connections.fetch_add(1, Ordering::Relaxed);
                            if !asks(address) {
                                failed.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    });
                }
                // This thread speaks for the talkers meanwhile.
                let mut next: Vec<u64> = (0..talkers.len() as u64).map(|one| one * 100).collect();
                let mut is_broken = vec![false; talkers.len()];
                while begun.elapsed() < time {
                    for (one, talker) in talkers.iter().enumerate() {
                        let is_due = Duration::from_millis(next[one]) <= begun.elapsed();
                        if is_due && !is_broken[one] {
                            let is_even = (next[one] / 1000).is_multiple_of(2);
                            let end = if is_even { End::Client } else { End::Server };
                            is_broken[one] = talker.speak(end) != Outcome::Answered;
                            next[one] += 1000 * (1 + one as u64 % 10);
                        }
                    }
                    seen.most = seen.most.max(rig.count());
                    std::thread::sleep(Duration::from_millis(50));
                }
                seen.broken = is_broken.iter().filter(|broken| **broken).count();
            });
        });
        over.store(true, Ordering::Relaxed);
        // The one that waits for a client.
        drop(rig.net.on_server(|| TcpStream::connect(address)));
    });
    seen.lost_first_syns = rig.lost_syns() - before;
    seen.connections = connections.into_inner();
    seen.failed = failed.into_inner();
    seen
}

fn serve(listener: &TcpListener, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let Ok((mut stream, _)) = listener.accept() else {
            continue;
        };
        let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
        let mut byte = [0];
        if stream.read_exact(&mut byte).is_ok() {
            let _ = stream.write_all(&byte);
        }
    }
}

/// A question and its answer within five seconds.
fn asks(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<()> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"?")?;
        stream.read_exact(&mut [0])
    };
    ask().is_ok()
}

struct Guard {
    child: Child,
    events: std::path::PathBuf,
}

impl Guard {
    /// One whose events are JSON.
    fn start(rig: &Rig, args: &[&str]) -> Self {
        Guard::run(rig, &[&["--json"], args].concat())
    }

    fn run(rig: &Rig, args: &[&str]) -> Self {
        let events =
            std::path::PathBuf::from(format!("/run/events-{}", rig.net.netns().replace(':', "-")));
        let mut command = Command::new(env!("CARGO_BIN_EXE_cttune"));
        command
            .args(["guard", "--netns", &rig.net.netns()])
            .args(args);
        command.env("CTTUNE_STATE_DIR", rig.net.state());
        let file = std::fs::File::create(&events).unwrap();
        let child = command.stdout(file).stderr(Stdio::null()).spawn().unwrap();
        Guard { child, events }
    }

    fn events(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.events).unwrap();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    fn passes(&self) -> usize {
        self.events()
            .iter()
            .filter(|event| event["what"] == "ended")
            .count()
    }

    /// Seconds of a processor.
    fn processor_time(&self) -> f64 {
        let stat = self.read("stat");
        let after_name: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        let ticks: f64 =
            after_name[11].parse::<f64>().unwrap() + after_name[12].parse::<f64>().unwrap();
        ticks / 100.0
    }

    /// The share of a processor that it takes meanwhile.
    fn load_during(&self, time: Duration) -> f64 {
        let (before, begun) = (self.processor_time(), Instant::now());
        std::thread::sleep(time);
        (self.processor_time() - before) / begun.elapsed().as_secs_f64()
    }

    /// The most memory that it has had, in bytes.
    fn memory(&self) -> u64 {
        self.kibibytes("VmHWM") * 1024
    }

    fn kibibytes(&self, name: &str) -> u64 {
        let status = self.read("status");
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Its memory in KiB and its descriptors, every half a minute until it is over. A walk or a
    /// borrower has a descriptor for a moment, so that the least of some readings counts.
    fn sizes(&self, over: &AtomicBool) -> Vec<(u64, usize)> {
        let mut sizes = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let pause = Duration::from_millis(1500);
            let readings = (0..20).map(|_| {
                std::thread::sleep(pause);
                let fds = std::fs::read_dir(format!("/proc/{}/fd", self.child.id()));
                (self.kibibytes("VmRSS"), fds.unwrap().count())
            });
            let (memory, fds): (Vec<_>, Vec<_>) = readings.unzip();
            sizes.push((*memory.iter().max().unwrap(), *fds.iter().min().unwrap()));
        }
        sizes
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).unwrap()
    }

    fn stop(mut self) {
        kill(
            Pid::from_raw(self.child.id().cast_signed()),
            Signal::SIGTERM,
        )
        .unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

const MARKS: &[&str] = &["--high", "95%", "--low", "90%"];
const SHORT: &[&str] = &[
    "--poll",
    "1s",
    "--min-idle",
    "established-i-accept-broken-connections=15s",
];

fn talkers(rig: &Rig) -> Vec<Connection> {
    let talkers: Vec<Connection> = (0..50).map(|_| rig.net.connect("10.0.2.2")).collect();
    rig.net.settle();
    // Ten look as if they had been silent for 100 minutes.
    for talker in talkers.iter().take(10) {
        let (from, to) = talker.tuple;
        rig.net.sh(&format!(
            "conntrack -U -p tcp -s {} -d {} --sport {} --dport {} -t {} 2>/dev/null",
            from.ip(),
            to.ip(),
            from.port(),
            to.port(),
            FIVE_DAYS - 6000
        ));
    }
    talkers
}

fn guarded(test: &str, flood: Flood, rate: u32, seconds: u64) {
    let load = Load {
        flood,
        rate,
        clients: 100,
        seconds,
    };
    if inside::goes_inside(test) {
        return;
    }
    let rig = Rig::new();
    let talkers = talkers(&rig);
    rig.fill(96, FIVE_DAYS - 1000);
    let guard = Guard::start(&rig, &[MARKS, SHORT].concat());
    // The talkers speak while the guard watches, and until its first pass.
    let begun = Instant::now();
    while guard.passes() == 0 {
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "{:?}",
            guard.events()
        );
        for talker in &talkers {
            assert_eq!(talker.speak(End::Client), Outcome::Answered);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let first = guard.passes();
    let before = guard.processor_time();
    let begun = Instant::now();
    let seen = traffic(&rig, load, &talkers);
    let share = (guard.processor_time() - before) / begun.elapsed().as_secs_f64();
    let passes = guard.passes() - first;
    let memory = guard.memory();
    if seen.lost_first_syns > 0 {
        guard.events().iter().for_each(|event| println!("{event}"));
    }
    println!(
        "{test}: {rate}/s for {seconds} s into {}: {} of {} connections failed, {} first SYNs lost, \
         {} of 50 talkers broken, at most {} entries, {passes} passes, {:.1} % of a processor, {:.1} MiB",
        rig.max,
        seen.failed,
        seen.connections,
        seen.lost_first_syns,
        seen.broken,
        seen.most,
        share * 100.0,
        to_f64(memory) / to_f64(1 << 20)
    );
    guard.stop();
    assert_eq!((seen.lost_first_syns, seen.broken), (0, 0), "{seen:?}");
    assert!(seen.failed * 1000 <= seen.connections, "{seen:?}");
    assert!(memory <= 24 * rig.max + (16 << 20), "{memory}");
    let band = rig.max * 5 / 100;
    let filled = (u64::from(rate) * seconds + seen.connections) / band + 1;
    assert!(
        passes as u64 <= filled,
        "{passes} passes for {filled} bands"
    );
}

#[allow(clippy::cast_precision_loss)]
fn to_f64(number: u64) -> f64 {
    number as f64
}

#[test]
#[ignore = "takes a minute"]
fn assured_2000() {
    guarded("assured_2000", Flood::Assured, 2000, 25);
}

#[test]
#[ignore = "takes a minute"]
fn assured_8000() {
    guarded("assured_8000", Flood::Assured, 8000, 20);
}

#[test]
#[ignore = "takes a minute"]
fn syn_2000() {
    guarded("syn_2000", Flood::Syn, 2000, 25);
}

#[test]
#[ignore = "takes a minute"]
fn udp_2000() {
    guarded("udp_2000", Flood::Udp, 2000, 25);
}

/// So that the rig is known to be able to lose something.
#[test]
#[ignore = "takes half a minute"]
fn without_a_guard_first_syns_are_lost() {
    if inside::goes_inside("without_a_guard_first_syns_are_lost") {
        return;
    }
    let rig = Rig::new();
    let talkers = talkers(&rig);
    rig.fill(99, FIVE_DAYS - 1000);
    let load = Load {
        flood: Flood::Assured,
        rate: 2000,
        clients: 100,
        seconds: 20,
    };
    let seen = traffic(&rig, load, &talkers);
    println!(
        "without a guard, 2000/s for 20 s into {}: {seen:?}",
        rig.max
    );
    assert!(seen.lost_first_syns * 10 > seen.connections, "{seen:?}");
}

#[test]
#[ignore = "takes two minutes"]
fn coming_to_a_full_table_it_relieves_it_at_once_if_the_history_is_trusted() {
    if inside::goes_inside(
        "coming_to_a_full_table_it_relieves_it_at_once_if_the_history_is_trusted",
    ) {
        return;
    }
    let rig = Rig::new();
    let talkers = talkers(&rig);
    rig.fill(100, FIVE_DAYS - 10_800);
    rig.lower_the_timeout();
    let begun = Instant::now();
    let guard = Guard::start(&rig, &["--trust-history"]);
    let low = rig.max * 75 / 100;
    until("the table is relieved", || rig.count() <= low + 500);
    let relief = begun.elapsed();
    // Long enough for several of the slow walks.
    let idle = guard.load_during(Duration::from_secs(60));
    println!(
        "full table with --trust-history: at the low mark after {:.2} s; {:.2} % of a processor \
         afterwards, {:.1} MiB",
        relief.as_secs_f64(),
        idle * 100.0,
        to_f64(guard.memory()) / to_f64(1 << 20)
    );
    // Those that were silent for 100 minutes are among them.
    for talker in &talkers {
        talker.must_work();
    }
    guard.stop();
    assert!(relief <= Duration::from_millis(1500), "{relief:?}");
    assert!(idle <= 0.01, "{idle}");
}

#[test]
#[ignore = "takes three minutes"]
fn a_calm_table_costs_little() {
    if inside::goes_inside("a_calm_table_costs_little") {
        return;
    }
    let rig = Rig::new();
    rig.fill(100, FIVE_DAYS);
    let (high, low) = ((rig.max + 1).to_string(), rig.max.to_string());
    let guard = Guard::start(&rig, &["--high", &high, "--low", &low]);
    // Its first walk is not what is measured.
    std::thread::sleep(Duration::from_secs(10));
    let (begun, most) = (Instant::now(), rig.count());
    let load = guard.load_during(Duration::from_secs(150));
    println!(
        "a calm table of {most} entries for {} s: {:.2} % of a processor",
        begun.elapsed().as_secs(),
        load * 100.0
    );
    guard.stop();
    assert!(load <= 0.01, "{load}");
}

#[test]
#[ignore = "takes half a minute"]
fn a_flood_younger_than_the_minimum_is_said_and_costs_little() {
    if inside::goes_inside("a_flood_younger_than_the_minimum_is_said_and_costs_little") {
        return;
    }
    let rig = Rig::new();
    rig.fill(97, FIVE_DAYS);
    let begun = Instant::now();
    let guard = Guard::start(&rig, &[]);
    until("it says that it is helpless", || {
        guard
            .events()
            .iter()
            .any(|event| event["what"] == "helpless")
    });
    let said = begun.elapsed();
    let load = guard.load_during(Duration::from_secs(20));
    println!(
        "younger than the minimum: helpless after {:.1} s, {:.1} % of a processor",
        said.as_secs_f64(),
        load * 100.0
    );
    guard.stop();
    assert!(said <= Duration::from_secs(10), "{said:?}");
    assert!(load <= 0.05, "{load}");
}

/// Commands that meet the guard, and the codes that each may end with.
const COMMANDS: [(&[&str], &[i32]); 6] = [
    (&["check", "--json"], &[0, 2]),
    (&["metrics"], &[0]),
    (&["top", "--json"], &[0]),
    (&["expire", "--yes", "--wait", "1m"], &[0]),
    (
        &[
            "expire",
            "--mode",
            "delete",
            "--observe",
            "15s",
            "--dry-run",
        ],
        &[0],
    ),
    (
        &["kill", "--match", "state=established,idle>15s", "--dry-run"],
        &[0, 1],
    ),
];

/// A number that nobody foresees.
fn random(below: u64) -> u64 {
    RandomState::new().build_hasher().finish() % below
}

/// Runs one after the other until it is over; how often each ran.
fn commands(rig: &Rig, over: &AtomicBool) -> [u32; COMMANDS.len()] {
    let mut runs = [0; COMMANDS.len()];
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(random(8000)));
        let which = usize::try_from(random(COMMANDS.len() as u64)).unwrap();
        let (args, codes) = COMMANDS[which];
        let mut command = Command::new(env!("CARGO_BIN_EXE_cttune"));
        command.args(args).args(["--netns", &rig.net.netns()]);
        let told = Told::by(command.env("CTTUNE_STATE_DIR", rig.net.state()));
        assert!(codes.contains(&told.code), "{args:?}: {told}");
        assert!(!told.stderr.contains("panicked"), "{args:?}: {told}");
        runs[which] += 1;
    }
    runs
}

#[test]
#[ignore = "takes an hour, or CTTUNE_TEST_MINUTES"]
fn churn() {
    if inside::goes_inside("churn") {
        return;
    }
    let minutes = std::env::var("CTTUNE_TEST_MINUTES").map_or(60, |text| text.parse().unwrap());
    let rig = Rig::new();
    let talkers = talkers(&rig);
    rig.fill(20, FIVE_DAYS - 1000);
    rig.lower_the_timeout();
    let count = rig.count();
    let (high, low) = ((count * 11 / 10).to_string(), count.to_string());
    let guard = Guard::start(&rig, &[SHORT, &["--high", &high, "--low", &low]].concat());
    let load = Load {
        flood: Flood::Assured,
        rate: 200,
        clients: 20,
        seconds: minutes * 60,
    };
    let over = AtomicBool::new(false);
    let (seen, runs, sizes) = std::thread::scope(|scope| {
        let runs = scope.spawn(|| commands(&rig, &over));
        let sizes = scope.spawn(|| guard.sizes(&over));
        let seen = traffic(&rig, load, &talkers);
        over.store(true, Ordering::Relaxed);
        (seen, runs.join().unwrap(), sizes.join().unwrap())
    });
    println!(
        "churn for {minutes} min: {} of {} connections failed, {} first SYNs lost, {} of 50 talkers \
         broken, {} passes, at most {} entries with the mark at {high}; commands ran {runs:?} times; \
         memory in KiB and descriptors: {sizes:?}",
        seen.failed,
        seen.connections,
        seen.lost_first_syns,
        seen.broken,
        guard.passes(),
        seen.most,
    );
    assert!(guard.passes() > 0);
    guard.stop();
    assert_eq!(
        (seen.failed, seen.lost_first_syns, seen.broken),
        (0, 0, 0),
        "{seen:?}"
    );
    let ((early, fds), (late, fds_later)) = (sizes[1], *sizes.last().unwrap());
    assert_eq!(fds, fds_later, "{sizes:?}");
    assert!(late <= early + 2048, "{sizes:?}");
}
