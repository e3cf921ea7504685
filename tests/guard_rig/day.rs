//! A day of traffic in fast motion, the same on two firewalls: a guard's dry run names the very flows
//! that a real one ends, and they are those that were silent.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::{Guard, Rig, SERVER, inside};

const HOUR: Duration = Duration::from_secs(5);

/// How long both guards may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Flows of each class but the last that an hour brings.
const EACH: u16 = 6;

/// Established flows that an hour brings, and that fall silent in one.
const GROUP: u16 = 20;

/// Such groups at the start; those that never fall silent.
const GROUPS: u16 = 8;
const STEADY: u16 = 10;

/// Whatever may end ends: what a mark leaves is decided by flow::guard, whose tests have it.
const ARGS: &[&str] = &[
    "-v",
    "--poll",
    "1s",
    "--high",
    "2",
    "--low",
    "1",
    "--min-idle",
    "established-i-accept-broken-connections=10s",
    "--min-idle",
    "close=4s",
    "--min-idle",
    "time-wait=4s",
    "--min-idle",
    "syn-sent=4s",
    "--min-idle",
    "unanswered=4s",
    "--min-idle",
    "answered=4s",
];

const CLASSES: [&str; 6] = [
    "close",
    "time-wait",
    "syn-sent",
    "unanswered",
    "answered",
    "established",
];

/// Packets of TCP: whether the client sends it, its numbers, its flags.
type Packet = (bool, [u32; 2], u8);
const HANDSHAKE: [Packet; 3] = [
    (true, [1, 0], 0x02),
    (false, [1, 2], 0x12),
    (true, [2, 2], 0x10),
];
const RESET: Packet = (true, [2, 2], 0x04);
const CLOSING: [Packet; 4] = [
    (true, [2, 2], 0x11),
    (false, [2, 3], 0x10),
    (false, [2, 3], 0x11),
    (true, [3, 3], 0x10),
];

/// What makes a flow one of this class.
fn packets(class: &str) -> Vec<Packet> {
    match class {
        "close" => [&HANDSHAKE[..], &[RESET]].concat(),
        "time-wait" => [HANDSHAKE.as_slice(), &CLOSING].concat(),
        "established" => HANDSHAKE.to_vec(),
        "answered" => vec![(true, [0; 2], 0), (false, [0; 2], 0)],
        _ => vec![HANDSHAKE[0]],
    }
}

/// The rest of the head of a packet without data.
const UDP: &[u8] = &[0, 8, 0, 0];

/// A class, and the port of the client.
type One = (&'static str, u16);

/// Sends the packets of these flows, the first one of each before the second one of any.
fn send(rigs: &[Rig; 2], flows: &[One]) {
    for number in 0..7 {
        for ((class, port), rig) in flows
            .iter()
            .flat_map(|flow| rigs.iter().map(move |rig| (*flow, rig)))
        {
            let Some((is_client, numbers, flags)) = packets(class).get(number).copied() else {
                continue;
            };
            let ends = [(Ipv4Addr::new(10, 8, 0, 1), port), (SERVER, 9)];
            let (end, from, to) = if is_client {
                (0, ends[0], ends[1])
            } else {
                (1, ends[1], ends[0])
            };
            if ["unanswered", "answered"].contains(&class) {
                rig.send(end, from, to, UDP, 17);
            } else {
                rig.tcp(end, from, to, numbers, flags);
            }
        }
        // What the firewall has not yet seen would be out of order.
        std::thread::sleep(Duration::from_millis(20));
    }
}

struct Day {
    rigs: [Rig; 2],
    guards: [Guard; 2],
    port: u16,
    /// Established flows that never fall silent, and the others by when they came.
    steady: Vec<One>,
    groups: Vec<Vec<One>>,
    /// Other flows, by hour.
    others: Vec<Vec<One>>,
    /// Those that have to end by then.
    silent: Vec<One>,
}

impl Day {
    fn flows(&mut self, class: &'static str, number: u16) -> Vec<One> {
        self.port += number;
        (self.port - number..self.port)
            .map(|port| (class, port))
            .collect()
    }

    fn group(&mut self) {
        let group = self.flows("established", GROUP);
        send(&self.rigs, &group);
        self.groups.push(group);
    }

    /// What comes in an hour; two flows that ended speak again.
    fn comes(&mut self, hour: usize) {
        let mut others = Vec::new();
        for class in &CLASSES[..5] {
            others.extend(self.flows(class, EACH));
        }
        if let Some(before) = hour.checked_sub(2) {
            others.extend_from_slice(&self.others[before][usize::from(4 * EACH)..][..2]);
        }
        send(&self.rigs, &others);
        self.others.push(others);
        self.group();
    }

    /// A group falls silent, not in the order in which they came. The others speak every second,
    /// until the hour is over and both guards have named what was silent in the hour before.
    fn passes(&mut self, hour: usize) {
        let group = self.groups[hour ^ 1].clone();
        self.groups[hour ^ 1].clear();
        let begun = Instant::now();
        self.speak(|| begun.elapsed() < HOUR);
        self.silent.extend(group);
        self.silent.extend_from_slice(&self.others[hour]);
    }

    /// They speak as long as that, and until both guards have named all that is silent.
    fn speak(&self, is_early: impl Fn() -> bool) {
        let begun = Instant::now();
        while is_early() || !self.is_named() {
            for (_, port) in self.groups.iter().flatten().chain(&self.steady) {
                let ends = [(Ipv4Addr::new(10, 8, 0, 1), *port), (SERVER, 9)];
                for rig in &self.rigs {
                    rig.tcp(0, ends[0], ends[1], [2, 2], 0x10);
                    rig.tcp(1, ends[1], ends[0], [2, 2], 0x10);
                }
            }
            std::thread::sleep(Duration::from_millis(500));
            let named = self.guards.each_ref().map(|guard| guard.named().len());
            let due = self.silent.len();
            assert!(begun.elapsed() < LIMIT, "{named:?} of {due}");
        }
    }

    fn is_named(&self) -> bool {
        let mut guards = self.guards.iter();
        guards.all(|guard| guard.named().len() >= self.silent.len())
    }
}

impl Guard {
    /// The flows that it named, in order.
    fn named(&self) -> Vec<One> {
        let text = std::fs::read_to_string(&self.events).unwrap();
        let flow = |line: &str| {
            let line = line
                .strip_prefix("would end ")
                .or(line.strip_prefix("ends "))?;
            let class = CLASSES.iter().find(|class| line.starts_with(*class))?;
            let (_, port) = line.split_once("10.8.0.1:")?;
            Some((*class, port.split(' ').next()?.parse().ok()?))
        };
        text.lines().filter_map(flow).collect()
    }
}

#[test]
#[ignore = "takes three minutes"]
fn day() {
    if inside::goes_inside("day::day") {
        return;
    }
    let rigs = [Rig::new(), Rig::new()];
    for rig in &rigs {
        for name in ["close", "time_wait", "syn_sent"] {
            rig.net.set(&format!("tcp_timeout_{name}"), 600);
        }
        rig.net.set("udp_timeout", 600);
        rig.net.set("udp_timeout_stream", 600);
    }
    let guards = [["--dry-run"].as_slice(), &[]].into_iter().zip(&rigs);
    let guards = guards.map(|(more, rig)| Guard::run(rig, &[ARGS, more].concat()));
    let guards = guards.collect::<Vec<_>>().try_into().ok().unwrap();
    let mut day = Day {
        rigs,
        guards,
        port: 1000,
        steady: Vec::new(),
        groups: Vec::new(),
        others: Vec::new(),
        silent: Vec::new(),
    };
    day.steady = day.flows("established", STEADY);
    send(&day.rigs, &day.steady);
    (0..GROUPS).for_each(|_| day.group());
    for hour in 0..24 {
        day.comes(hour);
        day.passes(hour);
    }
    day.speak(|| false);
    day.silent.sort_unstable();
    let [dry, mut real] = day.guards.each_ref().map(Guard::named);
    real.sort_unstable();
    assert_eq!(real, day.silent);
    // It may name a flow again that is still there, where the machine told of it so late that the
    // flow may have spoken.
    let once = |flows: &[One]| -> BTreeSet<One> { flows.iter().copied().collect() };
    assert_eq!(once(&dry), once(&real));
    println!(
        "a day in fast motion: the dry run named {} times the {} flows that the real one ended",
        dry.len(),
        once(&real).len()
    );
    day.guards.into_iter().for_each(Guard::stop);
}
