//! Random tables and selections: `cttune kill` ends the flows that `conntrack -D` ends.

use std::fmt::Write;

use crate::support::World;
use crate::{flush, listed};

/// Numbers that look random, the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    fn is(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

const PORTS: [u16; 4] = [53, 80, 443, 5060];
const STATES: [&str; 4] = ["ESTABLISHED", "SYN_SENT", "CLOSE_WAIT", "TIME_WAIT"];
const MARKS: [u32; 4] = [0, 1, 3, 0xc9];

/// An address of a family, one of a few.
fn host(random: &mut Random, v6: bool, net: u16) -> String {
    let host = random.below(4) + 1;
    if v6 {
        format!("2001:db8:{net}::{host}")
    } else {
        format!("10.{net}.0.{host}")
    }
}

/// A line for `conntrack -R`.
fn flow(random: &mut Random, number: u64) -> String {
    let v6 = random.is(40);
    let (src, dst) = (host(random, v6, 1), host(random, v6, 2));
    let mut line = format!("-A -t {} -s {src} -d {dst}", 1000 + random.below(9000));
    // conntrack 1.4.7 writes what -u says over the mark that stands before it.
    line.push_str(random.one(&[" -u UNSET", " -u SEEN_REPLY", " -u SEEN_REPLY,ASSURED"]));
    if random.is(40) {
        write!(line, " -m {}", random.one(&MARKS)).unwrap();
    }
    match random.below(6) {
        0 | 1 => write!(line, " -w {}", random.below(4)).unwrap(),
        2 => write!(line, " --orig-zone {}", 1 + random.below(3)).unwrap(),
        _ => {}
    }
    let mut ports = format!("--dport {}", random.one(&PORTS));
    if random.is(30) {
        // With a port of its own, or the kernel chooses another at random.
        write!(
            ports,
            " --sport {} -n {}",
            2000 + number,
            host(random, v6, 3)
        )
        .unwrap();
    } else {
        write!(ports, " --sport {}", 1024 + random.below(6)).unwrap();
    }
    match random.below(10) {
        0..4 => write!(line, " -p tcp {ports} --state {}", random.one(&STATES)).unwrap(),
        4..7 => write!(line, " -p udp {ports}").unwrap(),
        7 => write!(
            line,
            " -p sctp {ports} --state ESTABLISHED --orig-vtag 1 --reply-vtag 2"
        )
        .unwrap(),
        8 => write!(line, " -p gre --srckey {} --dstkey 9", random.below(9)).unwrap(),
        _ => {
            let (name, kind) = if v6 { ("icmpv6", 128) } else { ("icmp", 8) };
            let id = random.below(9);
            write!(
                line,
                " -p {name} --{name}-type {kind} --{name}-code 0 --{name}-id {id}"
            )
            .unwrap();
        }
    }
    line
}

/// Adds a term, as cttune and as conntrack write it.
type Ask<'a> = dyn FnMut(String, String) + 'a;

/// A selection, as cttune and as conntrack write it. conntrack asks one family at a time.
fn selection(random: &mut Random) -> (String, String) {
    let v6 = random.is(40);
    let family = if v6 { "ipv6" } else { "ipv4" };
    let (mut terms, mut options) = (format!("family={family}"), format!("-D -f {family}"));
    let mut ask = |term: String, option: String| {
        write!(terms, ",{term}").unwrap();
        write!(options, " {option}").unwrap();
    };
    if random.is(50) {
        protocol(random, &mut ask);
    }
    others(random, v6, &mut ask);
    (terms, options)
}

fn protocol(random: &mut Random, ask: &mut Ask<'_>) {
    let protocol = random.one(&["tcp", "udp", "TCP", "17"]);
    let (is_tcp, name) = match protocol {
        "tcp" | "TCP" => (true, "tcp"),
        _ => (false, "udp"),
    };
    ask(format!("proto={protocol}"), format!("-p {name}"));
    if random.is(40) {
        let port = random.one(&PORTS);
        ask(format!("dport={port}"), format!("--dport {port}"));
    }
    if random.is(20) {
        let port = 1024 + random.below(6);
        ask(format!("sport={port}"), format!("--sport {port}"));
    }
    if random.is(20) {
        let port = random.one(&PORTS);
        ask(
            format!("reply-sport={port}"),
            format!("--reply-port-src {port}"),
        );
    }
    if is_tcp && random.is(40) {
        let state = random.one(&STATES);
        ask(
            format!("state={}", state.to_lowercase()),
            format!("--state {state}"),
        );
    }
}

fn others(random: &mut Random, v6: bool, ask: &mut Ask<'_>) {
    if random.is(30) {
        let src = host(random, v6, 1);
        ask(format!("src={src}"), format!("-s {src}"));
    }
    if random.is(20) {
        let (net, length) = if v6 {
            ("2001:db8:2::", 126)
        } else {
            ("10.2.0.0", 30)
        };
        ask(format!("dst={net}/{length}"), format!("-d {net}/{length}"));
    }
    if random.is(20) {
        let dst = host(random, v6, 3);
        ask(format!("reply-dst={dst}"), format!("-q {dst}"));
    }
    // conntrack 1.4.7 deletes nothing where -m stands before -u.
    if random.is(30) {
        let (bit, name) = random.one(&[("assured", "ASSURED"), ("seen-reply", "SEEN_REPLY")]);
        ask(format!("status={bit}"), format!("-u {name}"));
    }
    if random.is(30) {
        let (mark, bits) = random.one(&[(0, 1), (1, 1), (3, 3), (1, 0xff), (0xc9, 0xffff)]);
        ask(
            format!("mark={mark:#x}/{bits:#x}"),
            format!("-m {mark}/{bits}"),
        );
    }
    if random.is(20) {
        let zone = 1 + random.below(3);
        // What conntrack calls the zone is that of both directions.
        let both = format!("orig-zone={zone},reply-zone={zone}");
        ask(both, format!("-w {zone}"));
    }
}

/// `CTTUNE_TEST_TABLES` says how many; the numbers are told with `--nocapture`.
#[test]
#[allow(clippy::print_stdout)]
fn random_selections_end_what_conntrack_ends_flow_by_flow() {
    let tables = std::env::var("CTTUNE_TEST_TABLES").map_or(25, |tables| tables.parse().unwrap());
    let world = World::new();
    let (mut flows, mut ended, mut empty) = (0, 0, 0);
    for seed in 0..tables {
        let mut random = Random(seed + 1);
        let number = 20 + random.below(150);
        let table: String = (0..number).map(|n| flow(&mut random, n) + "\n").collect();
        let selections: Vec<(String, String)> = (0..=random.below(3))
            .map(|_| selection(&mut random))
            .collect();
        let load = format!(
            "cat > /run/table <<'END'\n{table}END\nconntrack -R /run/table 2>/dev/null || :"
        );
        flush(&world);
        world.sh(&load);
        let all = listed(&world);
        let mut args = vec!["kill", "--yes", "--all-flows", "--format", "json"];
        args.extend(selections.iter().flat_map(|(terms, _)| ["--match", terms]));
        let told = world.cttune(&args);
        let left = listed(&world);
        flush(&world);
        world.sh(&load);
        assert_eq!(
            all,
            listed(&world),
            "table {seed}: the same is loaded twice"
        );
        for (_, options) in &selections {
            world.sh(&format!("conntrack {options} >/dev/null 2>&1 || :"));
        }
        let by_conntrack = listed(&world);
        let other: Vec<_> = left.symmetric_difference(&by_conntrack).collect();
        assert!(other.is_empty(), "table {seed}: {selections:?}: {other:?}");
        let gone = all.len() - left.len();
        if gone == 0 {
            told.exits(1).says(&["no flow matches --match"]);
            empty += 1;
        } else {
            assert_eq!(
                told.exits(0).json()["deleted"],
                gone,
                "table {seed}: {selections:?}"
            );
        }
        flows += all.len();
        ended += gone;
    }
    println!("{tables} tables, {flows} flows, {ended} ended, {empty} selections matched none");
    assert!(ended * 50 > flows && empty * 2 < usize::try_from(tables).unwrap());
}
