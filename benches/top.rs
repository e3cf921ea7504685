//! How fast the table is read: `cttune top` beside the bare receive loop, `conntrack -L` and
//! /proc/net/nf_conntrack.
//!
//! `cargo bench --bench top [-- FLOWS…]`. Needs the package conntrack.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod inside;

use inside::{Bare, CTTUNE, contest, in_sandbox, peak, run, tell, timed};

const ROUNDS: usize = 9;

const BARE: &str = "bare receive loop";
const EXACT: &str = "cttune top --exact";
const SAMPLED: &str = "cttune top --sample 50000";
const LIST: &str = "conntrack -L";
const CAT: &str = "cat /proc/net/nf_conntrack";
const CHECK: &str = "cttune check";
const PEAK: &str = "peak";

fn main() {
    if inside::told_peak() {
        return;
    }
    if let Some((part, _)) = inside::part() {
        return match part.as_str() {
            "check" => check(),
            _ => read(),
        };
    }
    inside::headline("reading the table");
    let empty = in_sandbox("check", 0, 0);
    empty.print();
    let measured: Vec<_> = inside::sizes()
        .into_iter()
        .map(|flows| in_sandbox("read", flows, flows))
        .collect();
    for table in &measured {
        table.print();
        println!();
        table.ratio(EXACT, BARE, "at most 1.08");
        table.ratio(LIST, EXACT, "at least 2");
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
    let mut bare = || timed(|| Bare::open().dump());
    contest(
        ROUNDS,
        &mut [
            (BARE, &mut bare),
            (EXACT, &mut || run(CTTUNE, &["top", "--exact"])),
            (LIST, &mut || run("conntrack", &["-L"])),
            (CAT, &mut || run("cat", &["/proc/net/nf_conntrack"])),
            (SAMPLED, &mut || run(CTTUNE, &["top", "--sample", "50000"])),
        ],
    );
    check();
    tell(PEAK, peak(CTTUNE, &["top", "--exact"]));
}

fn check() {
    let mut check = || run(CTTUNE, &["check"]);
    // Too short for few rounds, and the first one warms up.
    check();
    contest(3 * ROUNDS, &mut [(CHECK, &mut check)]);
}
