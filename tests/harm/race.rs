//! What happens to flows between the moments in which `cttune expire` looks at them and acts.
//!
//! The steps are taken through the library, so that nothing is left to chance.

use std::time::{SystemTime, UNIX_EPOCH};

use cttune::internals::{Counts, Expire};

use crate::inside::goes_inside;
use crate::net::{Connection, Net, SERVERS, until};

/// `cttune expire --mode MODE --was 5d@10s --settle 2s`, prepared.
fn prepare(mode: &str) -> Expire {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_secs()).unwrap();
    Expire::prepare(mode, Some((432_000, Some(now - 10))), Some(2)).unwrap()
}

/// Acts; `after_chunk` comes between the chunks of a dump, with how many flows they held so far.
fn run(expire: &Expire, threads: usize, after_chunk: impl FnMut(u64)) -> Counts {
    let counts = expire.run(Some(threads), after_chunk);
    assert_eq!(counts.broken_off, None);
    counts
}

/// More than two chunks of 32 KiB hold.
const FLOWS: usize = 300;

/// The kernel dumps a chunk when it hands out the one before. Connections that close while the
/// first is acted upon are still established in the second: what is sent for them gives a closing
/// flow the time of a live one, and a later pass has to put that right.
fn no_closing_flow_is_left_with_the_time_of_a_live_one(mode: &str, threads: usize) {
    let net = Net::syn_only();
    let connections: Vec<Connection> = (0..FLOWS).map(|n| net.connect(SERVERS[n % 2])).collect();
    net.settle();
    net.set("tcp_timeout_established", 7440);
    let mut connections = Some(connections);
    let mut chunks = Vec::new();
    let tally = net.on_firewall(|| {
        let mut expire = prepare(mode);
        expire.look().unwrap();
        run(&expire, threads, |looked_at| {
            chunks.push(looked_at);
            if connections.take().is_some() {
                until("all are closing", || {
                    let flows = net.flows();
                    flows.values().all(|(state, _)| state != "ESTABLISHED")
                });
            }
        })
    });
    let flows = net.flows();
    assert_eq!(flows.len(), FLOWS);
    for ((client, _), (state, seconds)) in &flows {
        assert!(*seconds <= 120, "{client} {state} has {seconds} s");
    }
    // The first chunk was acted upon in time, the second too late, and once more. Another thread may
    // still be at the first one when its connections close.
    let (first, second) = (chunks[0], chunks[1] - chunks[0]);
    let in_time = first + 2 * second;
    let most = if threads > 1 {
        in_time + first
    } else {
        in_time
    };
    assert!((in_time..=most).contains(&tally.selected), "{tally:?}");
    assert_eq!(tally.failed, 0, "{tally:?}");
}

#[test]
fn clamp_brings_down_what_it_raised_while_it_closed() {
    if goes_inside("race::clamp_brings_down_what_it_raised_while_it_closed") {
        return;
    }
    for threads in [1, 2] {
        no_closing_flow_is_left_with_the_time_of_a_live_one("clamp", threads);
    }
}

#[test]
fn re_age_brings_down_what_it_raised_while_it_closed() {
    if goes_inside("race::re_age_brings_down_what_it_raised_while_it_closed") {
        return;
    }
    for threads in [1, 2] {
        no_closing_flow_is_left_with_the_time_of_a_live_one("re-age", threads);
    }
}

/// A flow without a connection, which was silent for five days less `seconds`.
fn silent(net: &Net, port: u16, seconds: u32) {
    net.sh(&format!(
        "conntrack -I -p tcp -s 10.0.1.9 -d 10.0.2.9 --sport {port} --dport 80 \
         --state ESTABLISHED -u ASSURED,SEEN_REPLY -t {seconds}"
    ));
}

#[test]
fn who_speaks_between_the_samples_and_who_takes_the_place_of_another_is_kept() {
    if goes_inside(
        "race::who_speaks_between_the_samples_and_who_takes_the_place_of_another_is_kept",
    ) {
        return;
    }
    for mode in ["re-age", "delete"] {
        let net = Net::syn_only();
        net.set("timestamp", 1);
        let spoke = SERVERS.map(|server| net.connect(server));
        net.settle();
        net.set("timestamp", 0);
        // Idle for long, and idle for less than the timeout that holds now.
        silent(&net, 1, 300_000);
        silent(&net, 4, 431_700);
        // To be ended and made anew, with the time of a new flow and with that of the old one.
        silent(&net, 2, 300_000);
        silent(&net, 3, 300_000);
        net.set("tcp_timeout_established", 600);
        let tally = net.on_firewall(|| {
            let mut expire = prepare(mode);
            expire.look().unwrap();
            for connection in &spoke {
                connection.must_work();
            }
            net.settle();
            net.set("timestamp", 1);
            net.sh("conntrack -D -p tcp --sport 2; conntrack -D -p tcp --sport 3");
            silent(&net, 2, 432_000);
            silent(&net, 3, 299_998);
            run(&expire, 2, |_| ())
        });
        let not_stale = u64::from(mode == "delete");
        assert_eq!(tally.selected, 2 - not_stale, "{tally:?}");
        assert_eq!(tally.unknown, 0, "{tally:?}");
        let kept = |why| tally.kept_why.get(why).copied().unwrap_or_default();
        assert_eq!(kept("not-stale"), not_stale, "{tally:?}");
        assert_eq!(kept("younger"), 1, "{tally:?}");
        // The new flow may have the name of the old one, down to the kernel's id.
        assert!(kept("spoke") >= 2, "{tally:?}");
        assert_eq!(kept("spoke") + kept("unseen"), 3, "{tally:?}");
        for connection in &spoke {
            connection.must_work();
        }
    }
}
