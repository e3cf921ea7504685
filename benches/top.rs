//! How fast the table is read: `cttune top` beside the bare receive loop on one socket,
//! `conntrack -L` and /proc/net/nf_conntrack.
//!
//! `cargo bench --bench top [-- FLOWS…]`. Needs the package conntrack. The story's table has few
//! groups; the others have 200,000 among 262,144 flows, in both families or in one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod inside;

use std::net::{Ipv4Addr, Ipv6Addr};

use cttune::internals::{NewFlow, create};
use inside::{Bare, CTTUNE, Measured, contest, in_sandbox, peak, run, tell, timed};

const ROUNDS: usize = 9;

const BARE: &str = "bare receive loop";
const EXACT: &str = "cttune top --exact";
const ONE: &str = "cttune top --exact --threads 1";
const MANY: &str = "cttune top --exact --by dst,dport";
const MANY_ONE: &str = "cttune top --exact --by dst,dport --threads 1";
const SAMPLED: &str = "cttune top --sample 50000";
const METRICS: &str = "cttune metrics --flows all";
const LIST: &str = "conntrack -L";
const CAT: &str = "cat /proc/net/nf_conntrack";
const CHECK: &str = "cttune check";
const VERSION: &str = "cttune --version";
const PEAK: &str = "peak";

/// Flows of a table with many groups.
const FLOWS: u32 = 262_144;
/// Destinations and ports.
const GROUPS: u32 = 200_000;

/// What a table with many groups consists of.
const TABLES: [(&str, &str); 3] = [
    ("half", "half IPv6, 200,000 groups"),
    ("v4", "all IPv4, half of them assured, 200,000 groups"),
    ("same", "all IPv4, all assured, 200,000 groups"),
];

fn main() {
    if inside::told_peak() {
        return;
    }
    if let Some((part, flows)) = inside::part() {
        return match part.as_str() {
            "check" => check(),
            "read" => read(),
            table => read_many(table, flows),
        };
    }
    inside::headline("reading the table");
    let empty = in_sandbox("check", 0, 0);
    empty.print();
    for (part, what) in TABLES {
        let table = in_sandbox(part, 0, FLOWS.min(inside::most()));
        println!("\n{what}");
        table.print();
        println!();
        let wanted = if part == "half" {
            "at most 0.75"
        } else {
            "at most 0.95"
        };
        table.ratio(MANY, BARE, if part == "same" { "" } else { wanted });
        table.ratio(MANY_ONE, BARE, "at most 1.10");
        table.ratio(METRICS, BARE, "");
    }
    read_story(&empty);
}

fn read_story(empty: &Measured) {
    let measured: Vec<_> = inside::sizes()
        .into_iter()
        .map(|flows| in_sandbox("read", flows, flows))
        .collect();
    for table in &measured {
        println!("\nthe story");
        table.print();
        println!();
        table.ratio(EXACT, BARE, "at most 1.08");
        table.ratio(ONE, BARE, "at most 1.08");
        table.ratio(LIST, EXACT, "at least 2; it formats text as well");
        table.ratio(CAT, EXACT, "");
        table.ratio(LIST, SAMPLED, "at least 25 at 1 M");
        let check = table.median(CHECK) / empty.median(CHECK);
        println!("{CHECK} ÷ {CHECK} of an empty table: {check:.2}, about 1 is wanted");
        let peak = table.median(PEAK) / 1024.0;
        println!("peak memory of {EXACT}: {peak:.1} MiB, at most 16");
    }
    if let [small, .., large] = measured.as_slice() {
        println!(
            "\n{SAMPLED}, {} ÷ {} flows: {:.2}, at most 1.5",
            large.flows,
            small.flows,
            large.median(SAMPLED) / small.median(SAMPLED)
        );
    }
}

fn read() {
    contest(
        ROUNDS,
        &mut [
            (BARE, &mut || timed(|| Bare::open().dump())),
            (EXACT, &mut || run(CTTUNE, &["top", "--exact"])),
            (ONE, &mut || {
                run(CTTUNE, &["top", "--exact", "--threads", "1"])
            }),
            (LIST, &mut || run("conntrack", &["-L"])),
            (CAT, &mut || run("cat", &["/proc/net/nf_conntrack"])),
            (SAMPLED, &mut || run(CTTUNE, &["top", "--sample", "50000"])),
        ],
    );
    check();
    tell(PEAK, peak(CTTUNE, &["top", "--exact"]));
}

fn read_many(table: &str, flows: u32) {
    create((0..flows).map(|n| flow(table, n))).unwrap();
    let many = ["top", "--exact", "--by", "dst,dport"];
    let one = [&many[..], &["--threads", "1"]].concat();
    let metrics = ["metrics", "--flows", "all"];
    contest(
        ROUNDS,
        &mut [
            (BARE, &mut || timed(|| Bare::open().dump())),
            (MANY, &mut || run(CTTUNE, &many)),
            (MANY_ONE, &mut || run(CTTUNE, &one)),
            (METRICS, &mut || run(CTTUNE, &metrics)),
        ],
    );
}

/// A flow of a table; no two are the same.
fn flow(table: &str, n: u32) -> NewFlow {
    let group = n % GROUPS;
    let (host, port) = (group / 8, group % 8);
    let (src, dst) = if table == "half" && n.is_multiple_of(2) {
        let host = u16::try_from(host).unwrap();
        let address = |net, host| Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, host);
        (address(1, 0).into(), address(2, host).into())
    } else {
        let address = |net: u32, host| Ipv4Addr::from_bits((net << 24) + host);
        (address(10, host % 1000).into(), address(100, host).into())
    };
    NewFlow {
        src,
        dst,
        is_assured: table == "same" || (n / 2).is_multiple_of(2),
        ports: (
            u16::try_from(1024 + n % 60_000).unwrap(),
            u16::try_from(8000 + port).unwrap(),
        ),
        time_left: 100_000 + n,
    }
}

fn check() {
    let mut check = || run(CTTUNE, &["check"]);
    // Too short for few rounds, and the first one warms up.
    check();
    contest(
        3 * ROUNDS,
        &mut [
            (CHECK, &mut check),
            (VERSION, &mut || run(CTTUNE, &["--version"])),
        ],
    );
}
