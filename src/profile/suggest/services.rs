//! Services of a suggested profile: ports whose flows keep alive in a rhythm of their own.
//!
//! In: for how long the flows to each port had been idle, and which of them sent again. Out: a
//! timeout for the port, and the reason. Rule: it is longer than every idle time that was seen to
//! end; a rhythm is most of the flows that sent again after nearly the same idle time.

use toml_edit::{Array, Item, Table};

use super::{ESTABLISHED, STREAM};
use crate::flow::{Observed, Port, PortTimes, Protocol};
use crate::tunable::{format_count, format_seconds, plural};

/// Flows that must have sent again.
const FEWEST: usize = 10;
/// Seconds below which it may be talk, and no keepalive.
const SHORTEST: u32 = 240;
/// Services that are suggested, at most.
const MOST: usize = 8;
/// A timeout is a multiple of so many seconds.
const ROUND: u32 = 300;

/// A service, and the flows that it is for.
pub(super) struct Proposal<'a> {
    pub(super) port: Port,
    seconds: u32,
    why: String,
    pub(super) flows: &'a PortTimes,
}

/// The ports that deserve one after watching for so many seconds, the most flows first.
pub(super) fn proposals(seen: &Observed, watched: u64) -> Vec<Proposal<'_>> {
    let watched = u32::try_from(watched).unwrap_or(u32::MAX);
    let ports = seen.ports.iter();
    let mut proposals: Vec<Proposal<'_>> = ports
        .filter_map(|(port, flows)| propose(*port, flows, seen, watched))
        .collect();
    proposals.sort_by_key(|one| std::cmp::Reverse(one.flows.times.flows));
    proposals.truncate(MOST);
    proposals
}

fn propose<'a>(
    port: Port,
    flows: &'a PortTimes,
    seen: &Observed,
    watched: u32,
) -> Option<Proposal<'a>> {
    let longest = *flows.idle.iter().max()?;
    // Whoever keeps alive sends while it is watched after about one idle time, less that time.
    let near = flows.idle.iter();
    let near =
        near.filter(|idle| idle.saturating_add(watched).saturating_add(longest / 20) >= longest);
    let near: Vec<u32> = near.copied().collect();
    let has_rhythm = flows.idle.len() >= FEWEST
        && longest >= SHORTEST.max(watched.saturating_mul(3))
        && near.len() * 2 > flows.idle.len();
    let seconds = (longest + longest / 15).div_ceil(ROUND) * ROUND;
    let (all, least) = if port.0 == Protocol::TCP {
        (&seen.established, ESTABLISHED[0])
    } else {
        (&seen.stream, STREAM[0])
    };
    // One for many flows that need less than the others, or for any that need more.
    let many = flows.times.flows.saturating_mul(10) >= all.flows;
    let deserves = seconds > least || many && seconds.saturating_mul(2) <= least;
    let every = format_seconds(longest.into());
    let why = format!(
        "flows to {} port {} speak every {every}: {} of {} spoke again while it watched, most idle for {} \
         to {every}",
        port.0.to_string().to_uppercase(),
        port.1,
        plural(flows.idle.len(), "flow"),
        format_count(flows.times.flows),
        format_seconds(near.into_iter().min()?.into()),
    );
    (has_rhythm && deserves).then_some(Proposal {
        port,
        seconds,
        why,
        flows,
    })
}

/// `[service.*]` of the profile; none without proposals.
pub(super) fn tables(proposals: &[Proposal<'_>]) -> Option<Item> {
    let mut services = Table::new();
    services.set_implicit(true);
    for Proposal {
        port: (protocol, port),
        seconds,
        why,
        ..
    } in proposals
    {
        let mut service = Table::new();
        let terms = format!("proto={protocol},dport={port}");
        service.insert("match", Array::from_iter([terms]).into());
        let time = format_seconds((*seconds).into());
        let states: &[&str] = if *protocol == Protocol::TCP {
            &["established"]
        } else {
            // Until two seconds have passed an answered flow has the first.
            &["unreplied", "replied"]
        };
        for state in states {
            service.insert(state, time.as_str().into());
        }
        service.insert("why", why.as_str().into());
        services.insert(&format!("{protocol}-{port}"), Item::Table(service));
    }
    (!proposals.is_empty()).then_some(Item::Table(services))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::IdleTimes;
    use crate::flow::observe::Step;

    fn times(flows: u64) -> IdleTimes {
        let steps = ESTABLISHED.map(|after| Step {
            after,
            idle: 0,
            spoke: 0,
        });
        IdleTimes {
            flows,
            unknown: 0,
            steps: steps.into(),
        }
    }

    fn proposed(protocol: Protocol, flows: u64, idles: &[u32]) -> Option<(u32, String)> {
        let port = PortTimes {
            times: times(flows),
            idle: idles.to_vec(),
        };
        let seen = Observed {
            flows: 20_000,
            new: 0,
            translated: 0,
            established: times(10_000),
            stream: times(10_000),
            ports: [((protocol, 5228), port)].into(),
        };
        let proposals = proposals(&seen, 60);
        proposals.first().map(|one| (one.seconds, one.why.clone()))
    }

    #[test]
    fn a_port_with_a_rhythm_of_its_own_has_a_service() {
        let rhythm = |every: u32, number: u32| -> Vec<u32> {
            (0..number).map(|n| every - n * 60 / number).collect()
        };
        let (tcp, udp) = (Protocol::TCP, Protocol::UDP);
        for (protocol, flows, idles, seconds) in [
            (tcp, 5000, rhythm(1680, 100), Some(1800)),
            // Some of them send in between.
            (
                tcp,
                5000,
                [rhythm(1680, 60), vec![5; 40]].concat(),
                Some(1800),
            ),
            (tcp, 5000, [rhythm(1680, 40), vec![5; 60]].concat(), None),
            (tcp, 5000, rhythm(1680, 9), None),
            // Talk, and a time that is nearly that of all.
            (tcp, 5000, rhythm(200, 100), None),
            (tcp, 5000, rhythm(7000, 100), Some(7500)),
            (tcp, 5000, rhythm(5000, 100), None),
            // Few flows that need less change nothing, and those that need more would raise all.
            (tcp, 500, rhythm(1680, 100), None),
            (tcp, 50, rhythm(21_600, 20), Some(23_100)),
            (udp, 50, rhythm(840, 20), Some(900)),
        ] {
            let found = proposed(protocol, flows, &idles);
            assert_eq!(found.map(|(seconds, _)| seconds), seconds, "{idles:?}");
        }
        let (_, why) = proposed(tcp, 5000, &rhythm(1680, 60)).unwrap();
        assert_eq!(
            why,
            "flows to TCP port 5228 speak every 28m: 60 flows of 5,000 spoke again while it \
             watched, most idle for 27m1s to 28m"
        );
    }
}
