//! A day of traffic in fast motion, the same on two firewalls: a guard's dry run names the very flows
//! that a real one ends, hour by hour, and they are those that have to end.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::{Guard, Rig, SERVER, inside};

const HOUR: Duration = Duration::from_secs(10);

/// How long both guards may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Flows of each class but the last that an hour brings.
const EACH: u16 = 6;

/// Established flows that an hour brings, and that fall silent in one.
const GROUP: u16 = 20;

/// Such groups at the start; those that never fall silent.
const GROUPS: u16 = 8;
const STEADY: u16 = 10;

/// The low mark, which the flows of the start reach, and the high one.
const LOW: u64 = 200;
const HIGH: u64 = 250;

/// In the first hours nothing comes.
const FIRST: usize = 3;

const ARGS: &[&str] = &[
    "-v",
    "--poll",
    "1s",
    "--high",
    "250",
    "--low",
    "200",
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

/// The first ones end first.
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
    /// How many of those that were named were compared.
    compared: usize,
}

impl Day {
    fn flows(&mut self, class: &'static str, number: u16) -> Vec<One> {
        self.port += number;
        (self.port - number..self.port)
            .map(|port| (class, port))
            .collect()
    }

    /// What comes in an hour, and two flows of the hour before the last one that speak again.
    fn comes(&mut self, hour: usize) {
        let mut others = Vec::new();
        for class in &CLASSES[..5] {
            let mut number = EACH;
            if *class == "answered" && hour > FIRST + 2 {
                others.extend_from_slice(&self.others[hour - 2][usize::from(4 * EACH)..][..2]);
                number -= 2;
            }
            others.extend(self.flows(class, number));
        }
        // Those that speak again come first: the last flow of all reaches the high mark.
        others.sort_by_key(|(_, port)| *port);
        let group = self.flows("established", GROUP);
        send(&self.rigs, &[others.as_slice(), &group].concat());
        others.sort_by_key(|(class, _)| CLASSES.iter().position(|one| one == class));
        self.others.push(others);
        self.groups.push(group);
    }

    /// The established flows that fall silent in an hour: not in the order in which they came.
    fn falls_silent(hour: usize) -> usize {
        hour ^ 1
    }

    /// Those that have not fallen silent speak every second, until the hour is over and both guards
    /// have named as many flows.
    fn passes(&self, hour: usize, named: usize) {
        let silent: BTreeSet<usize> = (0..=hour).map(Day::falls_silent).collect();
        let groups = self.groups.iter().enumerate();
        let speak = groups.filter(|(number, _)| !silent.contains(number));
        let speak = speak.flat_map(|(_, group)| group).chain(&self.steady);
        let speak: Vec<One> = speak.copied().collect();
        let begun = Instant::now();
        let is_named = || self.guards.iter().all(|guard| guard.named().len() >= named);
        while begun.elapsed() < HOUR || !is_named() {
            for (_, port) in &speak {
                let ends = [(Ipv4Addr::new(10, 8, 0, 1), *port), (SERVER, 9)];
                for rig in &self.rigs {
                    rig.tcp(0, ends[0], ends[1], [2, 2], 0x10);
                    rig.tcp(1, ends[1], ends[0], [2, 2], 0x10);
                }
            }
            std::thread::sleep(Duration::from_secs(1));
            let told = || {
                self.guards
                    .each_ref()
                    .map(|guard| std::fs::read_to_string(&guard.events).unwrap())
            };
            let counts = self.rigs.each_ref().map(Rig::count);
            assert!(
                begun.elapsed() < LIMIT,
                "hour {hour}: {counts:?} {}",
                told().join("\n")
            );
        }
    }

    /// Both named those of the hour before that are harmless, and the group that is silent longest.
    fn compare(&mut self, hour: usize) {
        let expected = [
            self.others[hour - 1].as_slice(),
            &self.groups[Day::falls_silent(hour - FIRST)],
        ];
        let mut expected = expected.concat();
        expected.sort_unstable();
        for (guard, which) in self.guards.iter().zip(["dry", "real"]) {
            let mut named = guard.named().split_off(self.compared);
            named.sort_unstable();
            assert_eq!(named, expected, "{which}, hour {hour}");
        }
        self.compared += expected.len();
        assert_eq!(self.rigs[1].count(), LOW, "hour {hour}");
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
#[ignore = "takes four minutes"]
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
    let (groups, others) = (Vec::new(), Vec::new());
    let mut day = Day {
        rigs,
        guards,
        port: 1000,
        steady: Vec::new(),
        groups,
        others,
        compared: 0,
    };
    day.steady = day.flows("established", STEADY);
    send(&day.rigs, &day.steady);
    for hour in 0..24 {
        match hour {
            0 => {
                for _ in 1..GROUPS {
                    let group = day.flows("established", GROUP);
                    send(&day.rigs, &group);
                    day.groups.push(group);
                }
                day.comes(hour);
                let counts: Vec<u64> = day.rigs.iter().map(Rig::count).collect();
                assert_eq!(counts, [LOW; 2]);
            }
            1 | 2 => {
                let same = day.others[0].clone();
                day.others.push(same);
            }
            _ => day.comes(hour),
        }
        let is_full = hour >= FIRST;
        let named = day.compared + usize::from(is_full) * usize::try_from(HIGH - LOW).unwrap();
        day.passes(hour, named);
        if is_full {
            day.compare(hour);
        }
    }
    println!(
        "a day in fast motion: the dry run named the {} flows that the real one ended",
        day.compared
    );
    day.guards.into_iter().for_each(Guard::stop);
}
