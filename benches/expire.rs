//! How fast flows are changed: `cttune expire` and `cttune kill` beside bare batched updates and
//! `conntrack -D`.
//!
//! `cargo bench --bench expire [-- FLOWS…]`. Needs the package conntrack. The table holds flows
//! of its own, established TCP over IPv6, all of which have to be changed; setting them up is not
//! counted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

mod inside;

use std::fs;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use cttune::internals::{Expire, FlowData, NewFlow, create, dump_chunks};
use inside::{Bare, CTTUNE, contest, in_sandbox, is_wanted, peak, run, tell, timed};

const ROUNDS: usize = 5;

const BARE: &str = "bare dump + bare batched updates";
const BARE_DELETES: &str = "bare dump + bare batched deletes";
const CLAMP: &str = "clamp, first pass";
const WHOLE: &str = "cttune expire --yes";
const CONNTRACK: &str = "conntrack -D -p tcp --state ESTABLISHED";
const KILL: &str = "cttune kill --match proto=tcp --all-flows --yes";
const DELETE: &str = "delete, after its first sample";
const WHOLE_DELETE: &str = "cttune expire --mode delete --trust-history, less the settle";
const RE_AGE: &str = "cttune expire --mode re-age --trust-history, less the settle";
const PEAK: &str = "peak";

/// The kinds of the requests.
const NEW: u8 = 0;
const DELETED: u8 = 2;

/// The current timeout, and what every flow has left.
const TIMEOUT: u32 = 600;
const REMAINING: u32 = 400_000;

/// Every flow of the table.
const DELETE_ALL: &[&str] = &["-D", "-f", "ipv6", "-p", "tcp", "--state", "ESTABLISHED"];

const KILL_ALL: &[&str] = &["kill", "--match", "proto=tcp", "--all-flows", "--yes"];

/// Five days until now, and two samples as close as they can be.
const STALE: [&str; 6] = ["--trust-history", "--was", "5d", "--settle", "1s", "--yes"];
const SETTLE: Duration = Duration::from_secs(1);

fn main() {
    if inside::told_peak() {
        return;
    }
    if let Some((_, flows)) = inside::part() {
        return change(flows);
    }
    inside::headline("changing flows");
    for flows in inside::sizes() {
        let table = in_sandbox("change", 0, flows);
        table.print();
        println!();
        table.ratio(CLAMP, BARE, "at most 0.95");
        table.ratio(WHOLE, BARE, "");
        table.ratio(KILL, BARE_DELETES, "at most 1.10");
        table.ratio(DELETE, BARE_DELETES, "at most 1.10");
        table.ratio(CONNTRACK, DELETE, "at least 2");
        table.ratio(CONNTRACK, KILL, "at least 2");
        table.ratio(CONNTRACK, WHOLE_DELETE, "");
        if is_wanted(PEAK) {
            let peak = table.median(PEAK);
            println!(
                "peak memory of expire --mode re-age: {:.1} MiB, {:.0} bytes a flow, at most 64 MiB at 1 M",
                peak / 1024.0,
                peak * 1024.0 / f64::from(flows)
            );
        }
    }
}

/// How long `cttune expire` takes in a mode, without the time that it watches flows.
fn expire(mode: &str) -> Duration {
    let args = [&["expire", "--mode", mode], &STALE[..]].concat();
    run(CTTUNE, &args).saturating_sub(SETTLE)
}

fn change(flows: u32) {
    let timeout = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established";
    fs::write(timeout, TIMEOUT.to_string()).unwrap();
    fill(flows);
    let [shorten, reset, delete_all] = batches();
    let mut bare = Bare::open();
    let mut bare_changes = || {
        bare.update(&reset);
        timed(|| {
            bare.dump();
            bare.update(&shorten);
        })
    };
    let mut bare_deletes = || {
        let mut bare = Bare::open();
        emptied(&reset, flows, || {
            timed(|| {
                bare.dump();
                bare.update(&delete_all);
            })
        })
    };
    let mut first_pass = || {
        Bare::open().update(&reset);
        clamp(flows)
    };
    let mut whole = || {
        Bare::open().update(&reset);
        run(CTTUNE, &["expire", "--yes"])
    };
    let mut by_conntrack = || emptied(&reset, flows, || run("conntrack", DELETE_ALL));
    let mut killed = || emptied(&reset, flows, || run(CTTUNE, KILL_ALL));
    let mut deleted = || emptied(&reset, flows, || delete(flows));
    let mut deleted_whole = || emptied(&reset, flows, || expire("delete"));
    let mut re_aged = || {
        Bare::open().update(&reset);
        expire("re-age")
    };
    contest(
        ROUNDS,
        &mut [
            (BARE, &mut bare_changes),
            (BARE_DELETES, &mut bare_deletes),
            (CLAMP, &mut first_pass),
            (WHOLE, &mut whole),
            (CONNTRACK, &mut by_conntrack),
            (KILL, &mut killed),
            (DELETE, &mut deleted),
            (WHOLE_DELETE, &mut deleted_whole),
            (RE_AGE, &mut re_aged),
        ],
    );
    if is_wanted(PEAK) {
        Bare::open().update(&reset);
        let re_age = [&["expire", "--mode", "re-age"], &STALE[..]].concat();
        tell(PEAK, peak(CTTUNE, &re_age));
    }
}

/// How long work takes that empties the table, which is filled again.
fn emptied(reset: &[Vec<u8>], flows: u32, work: impl FnOnce() -> Duration) -> Duration {
    Bare::open().update(reset);
    let time = work();
    refill(flows);
    time
}

fn fill(flows: u32) {
    let flow = |n: u32| {
        let [_, high, middle, low] = n.to_be_bytes();
        let host = u16::from_be_bytes([middle, low]);
        let client = Ipv6Addr::new(0x2001, 0xdb8, 0, u16::from(high), 0, 0, 0, host);
        let server = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);
        NewFlow {
            src: client.into(),
            dst: server.into(),
            is_assured: true,
            ports: (1024, 443),
            time_left: REMAINING,
        }
    };
    create((0..flows).map(flow)).unwrap();
}

/// Fills the table again, which must have become empty.
fn refill(flows: u32) {
    let count = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").unwrap();
    assert_eq!(count.trim(), "0", "not all flows were deleted");
    fill(flows);
}

/// Changes of every flow, 128 in a batch: to the timeout, back to what was left, and its end.
fn batches() -> [Vec<Vec<u8>>; 3] {
    let mut messages: [Vec<Vec<u8>>; 3] = Default::default();
    dump_chunks(|chunk| {
        for flow in &chunk {
            let [shorten, reset, delete] = &mut messages;
            shorten.push(request(flow, NEW, &timeout(TIMEOUT)));
            reset.push(request(flow, NEW, &timeout(REMAINING)));
            delete.push(request(flow, DELETED, &[]));
        }
    })
    .unwrap();
    messages.map(|messages| messages.chunks(128).map(<[_]>::concat).collect())
}

/// `CTA_TIMEOUT`.
fn timeout(seconds: u32) -> Vec<u8> {
    let head = [8_u16.to_ne_bytes(), 7_u16.to_ne_bytes()].concat();
    [&head[..], &seconds.to_be_bytes()].concat()
}

/// `IPCTNL_MSG_CT_NEW` without `NLM_F_CREATE`, or `IPCTNL_MSG_CT_DELETE`: the tuple as it was
/// dumped, and another attribute.
fn request(flow: &FlowData, kind: u8, more: &[u8]) -> Vec<u8> {
    let tuple = &flow.raw_original[..];
    let size = |length: usize| u16::try_from(length).unwrap();
    let length = 16 + 4 + 4 + tuple.len() + more.len();
    [
        &u32::from(size(length)).to_ne_bytes()[..],
        &[kind, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[flow.family, 0, 0, 0],
        &size(4 + tuple.len()).to_ne_bytes(),
        &(0x8000_u16 | 1).to_ne_bytes(),
        tuple,
        more,
    ]
    .concat()
}

/// Clamps every flow, and gives the time of the first pass; a second one follows, and finds nothing.
fn clamp(flows: u32) -> Duration {
    let start = Instant::now();
    let (mut looked_at, mut first_pass) = (0, Duration::ZERO);
    let expire = Expire::prepare("clamp", None, None).unwrap();
    let counts = expire.run(None, |number| {
        if number > looked_at {
            (looked_at, first_pass) = (number, start.elapsed());
        }
    });
    assert_eq!(counts.broken_off, None);
    assert_eq!(counts.clamped, u64::from(flows));
    first_pass
}

/// Deletes every flow, and gives the time of all that follows the first sample and the settle.
fn delete(flows: u32) -> Duration {
    let mut expire = Expire::prepare("delete", Some((432_000, None)), Some(1)).unwrap();
    expire.look().unwrap();
    timed(|| {
        let counts = expire.run(None, |_| {});
        assert_eq!(counts.deleted, u64::from(flows));
    })
}
