//! Flows that end by their timeout and come back from the same ports: a timeout that is too short
//! for a keepalive.
//!
//! In: flows of dumps that are taken again and again, with the milliseconds of one clock. Out: for
//! each timeout, how many flows came back and after how long an idle time.
//! Rule: a flow came back if its tuple was seen, its expected end passed, and the tuple is there
//! again. One that was ended by hand, or that closed, does not count. Of a table of more than a
//! quarter of a million flows it follows one in so many.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use super::expire::Timeouts;
use super::{Flow, Protocol, StatusBit, TcpState};
use crate::tunable::Key;

/// Flows that are followed at most; 40 bytes each.
const MOST: u64 = 1 << 18;
/// Milliseconds by which an expected end may be off: times left are rounded down to seconds.
const ROUNDING: i64 = 1000;

/// Flows that are followed.
#[derive(Debug)]
pub(crate) struct Returns {
    one_in: u64,
    timeouts: Timeouts,
    hasher: RandomState,
    flows: HashMap<u64, Last, RandomState>,
    found: Vec<Returned>,
}

/// How a flow was seen last; milliseconds of the clock.
#[derive(Debug, Clone, Copy)]
struct Last {
    /// Its timeout.
    key: Key,
    /// When it had its last packet.
    spoke: i64,
    /// When it ends without another packet.
    end: i64,
}

/// Flows that one timeout ended and that came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Returned {
    pub(crate) key: Key,
    /// How often that was seen.
    pub(crate) times: u64,
    /// The longest idle time before a return, in seconds.
    pub(crate) longest: u32,
}

impl Returns {
    /// Nothing seen yet, of a table with about so many entries.
    pub(crate) fn new(timeouts: Timeouts, entries: u64) -> Self {
        Returns {
            one_in: entries / MOST + 1,
            timeouts,
            hasher: RandomState::default(),
            flows: HashMap::default(),
            found: Vec::new(),
        }
    }

    /// Looks at a flow, dumped at so many milliseconds of the clock.
    pub(crate) fn add(&mut self, flow: &Flow<'_>, at: u32) {
        let (Some(key), Some(left)) = (timeout_of(flow), flow.timeout) else {
            return;
        };
        let name = self
            .hasher
            .hash_one((flow.raw_original(), flow.both_zone()));
        let Some(full) = self.timeouts.get(key) else {
            return;
        };
        if !name.is_multiple_of(self.one_in) {
            return;
        }
        let at = i64::from(at);
        let end = at + 1000 * i64::from(left);
        let now = Last {
            key,
            spoke: end - 1000 * i64::from(full),
            end,
        };
        let Some(last) = self.flows.insert(name, now) else {
            return;
        };
        // It lives on if it spoke before its end.
        if now.spoke > last.end + ROUNDING {
            self.note(last.key, now.spoke - last.spoke);
        }
    }

    fn note(&mut self, key: Key, idle: i64) {
        let longest = u32::try_from(idle / 1000).unwrap_or(0);
        let known = self.found.iter().position(|found| found.key == key);
        match known.and_then(|place| self.found.get_mut(place)) {
            Some(found) => {
                found.times += 1;
                found.longest = found.longest.max(longest);
            }
            None => self.found.push(Returned {
                key,
                times: 1,
                longest,
            }),
        }
    }

    /// What came back, for the whole table.
    pub(crate) fn finish(mut self) -> Vec<Returned> {
        for found in &mut self.found {
            found.times *= self.one_in;
        }
        self.found
    }
}

/// The timeout that the flow's last packet gave it; none where another may have.
fn timeout_of(flow: &Flow<'_>) -> Option<Key> {
    let is_answered = flow.status.has(StatusBit::SeenReply);
    let is_assured = flow.status.has(StatusBit::Assured);
    let is_fixed = flow.status.has(StatusBit::FixedTimeout);
    match flow.original.protocol {
        _ if !is_answered || is_fixed || flow.has_master || flow.helper.is_some() => None,
        Protocol::TCP if is_assured && flow.tcp_state() == Some(TcpState::Established) => {
            let waits = flow.tcp.is_some_and(super::Tcp::has_unacknowledged_data);
            (!waits).then_some(Key::TcpTimeoutEstablished)
        }
        Protocol::UDP if is_assured => Some(Key::UdpTimeoutStream),
        Protocol::UDP => Some(Key::UdpTimeout),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::captured::UDP;
    use crate::tunable::{Access, Reading, Snapshot};

    fn returns() -> Returns {
        let values = [(Key::UdpTimeout, 30), (Key::UdpTimeoutStream, 120)];
        let access = Access::Writable;
        let readings = values.map(|(key, value)| (key, Reading::Value { value, access }));
        Returns::new(Timeouts::of(&Snapshot::new(readings, None)), 1)
    }

    /// UDP that was answered, with so many seconds left.
    fn udp(is_assured: bool, left: u32) -> Flow<'static> {
        let mut flow = Flow::parse(UDP).unwrap();
        flow.status.0 |= StatusBit::SeenReply.mask();
        if is_assured {
            flow.status.0 |= StatusBit::Assured.mask();
        }
        flow.timeout = Some(left);
        flow
    }

    /// What is found of a flow that is seen at these seconds with so many left.
    fn found(seen: &[(u32, bool, u32)]) -> Vec<Returned> {
        let mut returns = returns();
        for (at, is_assured, left) in seen {
            returns.add(&udp(*is_assured, *left), at * 1000);
        }
        returns.finish()
    }

    #[test]
    fn a_flow_that_comes_back_after_its_end_is_counted_with_its_idle_time() {
        let stream = |times, longest| Returned {
            key: Key::UdpTimeoutStream,
            times,
            longest,
        };
        for (seen, expected) in [
            // It speaks every 100 s and lives.
            (
                &[(0, true, 110), (100, true, 110), (200, true, 110)][..],
                vec![],
            ),
            // It spoke 5 s before it was seen first, and again 150 s later.
            (&[(0, true, 115), (150, true, 115)], vec![stream(1, 150)]),
            (
                &[
                    (0, true, 115),
                    (100, true, 15),
                    (150, true, 120),
                    (310, true, 118),
                ],
                vec![stream(2, 158)],
            ),
            // A packet just before the end.
            (&[(0, true, 120), (121, true, 119)], vec![]),
            (
                &[(0, false, 29), (41, false, 30)],
                vec![Returned {
                    key: Key::UdpTimeout,
                    times: 1,
                    longest: 42,
                }],
            ),
        ] {
            assert_eq!(found(seen), expected, "{seen:?}");
        }
    }

    #[test]
    fn what_was_never_answered_or_has_a_helper_is_passed_over() {
        let mut returns = returns();
        for at in [0, 500_000] {
            let mut flow = udp(true, 120);
            flow.helper = Some(b"sip");
            returns.add(&flow, at);
            let mut flow = udp(true, 120);
            flow.original.protocol = Protocol::TCP;
            returns.add(&flow, at);
            flow = Flow::parse(UDP).unwrap();
            returns.add(&flow, at);
        }
        assert_eq!(returns.finish(), []);
    }
}
