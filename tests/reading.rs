//! Two threads that read the table side by side, beside one that reads it alone, in sandboxes.
//!
//! Needs the package conntrack.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod inside;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use cttune::internals::{FlowData, NewFlow, Requests, create, read};
use inside::{goes_inside, sh};

/// More than enough for a second thread.
const FLOWS: u32 = 30_000;

/// Whether flow `n` is IPv6, and whether it is assured.
type Kind = fn(u32) -> (bool, bool);

/// What names a flow.
type Name = (Vec<u8>, u16, u32);

/// How often each flow was told of.
fn counted(flows: &[FlowData]) -> BTreeMap<Name, u32> {
    let mut counted = BTreeMap::new();
    for flow in flows {
        let name = (flow.raw_original.clone(), flow.zone, flow.id);
        *counted.entry(name).or_default() += 1;
    }
    counted
}

/// Flow `n`, in one family of `net`.
fn flow(n: u32, net: u8, is_v6: bool, is_assured: bool) -> NewFlow {
    let (src, dst) = if is_v6 {
        let host = u16::try_from(n).unwrap();
        let address = |host| Ipv6Addr::new(0x2001, 0xdb8, net.into(), 0, 0, 0, 0, host);
        (address(host).into(), address(0).into())
    } else {
        let [_, _, high, low] = n.to_be_bytes();
        let address = |high, low| Ipv4Addr::new(10, net, high, low);
        (address(high, low).into(), address(255, 255).into())
    };
    NewFlow {
        src,
        dst,
        is_assured,
        ports: (1024, 443),
        time_left: 100_000,
    }
}

#[test]
fn at_rest_two_threads_read_the_same_flows_as_one() {
    if goes_inside("at_rest_two_threads_read_the_same_flows_as_one") {
        return;
    }
    // Split by family, by a bit of the status, and not at all.
    let tables: [(u8, Kind); 4] = [
        (1, |n| (n % 2 == 0, true)),
        (2, |n| (n % 3 == 0, n % 5 == 0)),
        (3, |n| (false, n % 4 == 0)),
        (4, |_| (false, true)),
    ];
    for (net, kind) in tables {
        let flows = (0..FLOWS).map(|n| {
            let (is_v6, is_assured) = kind(n);
            flow(n, net, is_v6, is_assured)
        });
        create(flows).unwrap();
        let one = counted(&read(1).unwrap());
        let two = counted(&read(2).unwrap());
        assert_eq!(one.len(), FLOWS as usize);
        assert!(one.values().all(|times| *times == 1));
        assert!(one == two, "{} flows of {}", two.len(), one.len());
        sh("conntrack -F");
    }
}

#[test]
fn while_others_come_go_and_change_each_flow_that_stays_is_read_once() {
    if goes_inside("while_others_come_go_and_change_each_flow_that_stays_is_read_once") {
        return;
    }
    for is_v6 in [true, false] {
        create((0..FLOWS).map(|n| flow(n, 1, is_v6 && n % 2 == 0, n % 3 == 0))).unwrap();
        create((0..1000).map(|n| flow(n, 3, false, false))).unwrap();
        let stays = |flow: &&FlowData| {
            flow.src
                .to_string()
                .starts_with(["10.1.", "2001:db8:1:"][usize::from(flow.family == 10)])
        };
        let expected: Vec<Name> = {
            let all = read(1).unwrap();
            all.iter()
                .filter(stays)
                .map(|flow| (flow.raw_original.clone(), flow.zone, flow.id))
                .collect()
        };
        assert_eq!(expected.len(), FLOWS as usize);
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| churn(&is_over));
            scope.spawn(|| assure(&is_over));
            for _ in 0..8 {
                let counted = counted(&read(2).unwrap());
                let missing = expected.iter().filter(|name| counted.get(name) != Some(&1));
                assert_eq!(missing.count(), 0);
                // Of the others no more than there ever were, each twice at most.
                assert!(counted.values().all(|times| *times <= 2));
            }
            is_over.store(true, Ordering::Relaxed);
        });
        sh("conntrack -F");
    }
}

/// Flows that come and go.
fn churn(is_over: &AtomicBool) {
    let terms = "src=10.2.0.0/16";
    while !is_over.load(Ordering::Relaxed) {
        create((0..500).map(|n| flow(n, 2, false, n % 2 == 0))).unwrap();
        let mut requests = Requests::open().unwrap();
        requests.delete_all(terms, |_| ()).unwrap();
        requests.send(|(), _| ()).unwrap();
    }
}

/// Flows that become assured, one after the other.
fn assure(is_over: &AtomicBool) {
    for n in 0..1000_u32 {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let [_, _, high, low] = n.to_be_bytes();
        let source = format!("10.3.{high}.{low}");
        let update = ["-U", "-s", &source, "-u", "ASSURED,SEEN_REPLY"];
        Command::new("conntrack").args(update).output().unwrap();
    }
}
