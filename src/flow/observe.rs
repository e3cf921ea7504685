//! Two looks at a table, some time apart: which flows are new, and after how long an idle
//! time the others sent again.
//!
//! Rule: an idle time is what the history of the timeout tells; where that leaves a choice, or cttune
//! set the time itself, it is not known. Of a table of more than a million flows one in so many is
//! followed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use super::expire::{History, Timeouts};
use super::sightings::{Compared, Sightings};
use super::{Flow, Gather, Protocol, StatusBit, TcpState};
use crate::tunable::Key;

/// Flows that are followed at most; 24 bytes each.
const MOST: u64 = 1 << 20;

/// Idle times that are kept of one port.
const MOST_IDLE_TIMES: usize = 4096;

/// The flows that were there at first.
#[derive(Debug)]
pub(crate) struct FirstLook {
    /// One in so many flows is followed.
    one_in: u64,
    timeouts: Timeouts,
    past: PastTimeouts,
    flows: Sightings,
}

/// What the two timeouts were, as of `now` of the wall clock.
#[derive(Debug, Clone)]
pub(crate) struct PastTimeouts {
    pub(crate) established: History,
    pub(crate) stream: History,
    pub(crate) now: i64,
}

/// Which timeout each packet of a flow brings it back to, as a tag of its sighting.
const ESTABLISHED: u8 = 1;
const STREAM: u8 = 2;

/// What two looks tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Observed {
    /// Flows at the second look.
    pub(crate) flows: u64,
    /// Those of them that were not there at the first: as many as began and did not end meanwhile.
    pub(crate) new: u64,
    /// Those of them that are translated.
    pub(crate) translated: u64,
    /// TCP connections that are established and whose idle time is known.
    pub(crate) established: IdleTimes,
    /// UDP flows that went both ways, likewise.
    pub(crate) stream: IdleTimes,
    /// Both by the port that they go to.
    pub(crate) ports: BTreeMap<Port, PortTimes>,
}

/// A protocol and the port of its servers.
pub(crate) type Port = (Protocol, u16);

/// The flows to one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortTimes {
    pub(crate) times: IdleTimes,
    /// For how long those that sent again had been idle at the first look, in seconds.
    pub(crate) idle: Vec<u32>,
}

/// How long flows had been idle at the first look, and which of them sent again before the second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdleTimes {
    /// All whose idle time is known.
    pub(crate) flows: u64,
    /// Those whose idle time is not known: several timeouts may have set their time, or cttune did.
    pub(crate) unknown: u64,
    /// By idle time, the shortest first.
    pub(crate) steps: Vec<Step>,
}

/// Flows that had been idle for longer than a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// Seconds.
    pub(crate) after: u32,
    /// How many there were.
    pub(crate) idle: u64,
    /// How many of them sent again before the second look.
    pub(crate) spoke: u64,
}

impl Gather for FirstLook {
    fn add(&mut self, flow: &Flow<'_>, at: Duration) {
        FirstLook::add(self, flow, millis(at));
    }

    fn part(&self) -> Self {
        FirstLook {
            flows: self.flows.alike(),
            timeouts: self.timeouts.clone(),
            past: self.past.clone(),
            ..*self
        }
    }

    fn merge(&mut self, part: Self) {
        self.flows.merge(part.flows);
    }
}

impl FirstLook {
    /// An empty one, of a table with about so many entries.
    pub(crate) fn new(timeouts: Timeouts, past: PastTimeouts, entries: u64) -> Self {
        FirstLook {
            one_in: entries / MOST + 1,
            timeouts,
            past,
            flows: Sightings::default(),
        }
    }

    /// Adds a flow, dumped at so many milliseconds of the clock that both looks share.
    fn add(&mut self, flow: &Flow<'_>, at: u32) {
        if self.follows(flow) {
            let tag = match speaker(flow) {
                Some(Key::TcpTimeoutEstablished) => ESTABLISHED,
                Some(_) => STREAM,
                None => 0,
            };
            self.flows.add(flow, at, tag);
        }
    }

    /// Makes it ready to be compared with.
    #[must_use]
    pub(crate) fn seal(mut self) -> Self {
        self.flows = self.flows.seal();
        self
    }

    /// For how many seconds a flow with so many left had been idle; none where that is not known.
    fn idle(&self, key: Key, remaining: u32) -> Option<u32> {
        if key != Key::TcpTimeoutEstablished {
            return self.past.stream.known_idle(remaining, self.past.now);
        }
        let full = self.timeouts.get(key)?;
        // A flow with less may have been bounded by one of them.
        let bounds = [Key::TcpTimeoutUnacknowledged, Key::TcpTimeoutMaxRetrans];
        let bounds = bounds.iter().filter_map(|key| self.timeouts.get(*key));
        let is_bounded = bounds
            .max()
            .is_none_or(|bound| full > bound && remaining <= bound + 2);
        let idle = self.past.established.known_idle(remaining, self.past.now);
        idle.filter(|_| !is_bounded)
    }

    /// Ids are hashes, so that one in so many of them is a fair choice.
    fn follows(&self, flow: &Flow<'_>) -> bool {
        u64::from(flow.id).is_multiple_of(self.one_in)
    }
}

/// The second look, while it is taken.
#[derive(Debug)]
pub(crate) struct SecondLook<'a> {
    first: &'a FirstLook,
    observed: Observed,
}

impl Gather for SecondLook<'_> {
    fn add(&mut self, flow: &Flow<'_>, at: Duration) {
        SecondLook::add(self, flow, millis(at));
    }

    fn part(&self) -> Self {
        let steps =
            |times: &IdleTimes| -> Vec<u32> { times.steps.iter().map(|step| step.after).collect() };
        let observed = &self.observed;
        SecondLook::new(
            self.first,
            &steps(&observed.established),
            &steps(&observed.stream),
        )
    }

    fn merge(&mut self, part: Self) {
        let (all, part) = (&mut self.observed, part.observed);
        all.flows += part.flows;
        all.new += part.new;
        all.translated += part.translated;
        all.established.merge(&part.established);
        all.stream.merge(&part.stream);
        for (port, more) in part.ports {
            match all.ports.entry(port) {
                Entry::Vacant(place) => drop(place.insert(more)),
                Entry::Occupied(mut place) => {
                    place.get_mut().times.merge(&more.times);
                    place.get_mut().idle.extend(more.idle);
                }
            }
        }
    }
}

impl IdleTimes {
    /// None yet, for these steps.
    fn none(steps: impl Iterator<Item = u32>) -> Self {
        let step = |after| Step {
            after,
            idle: 0,
            spoke: 0,
        };
        IdleTimes {
            flows: 0,
            unknown: 0,
            steps: steps.map(step).collect(),
        }
    }

    fn leave_out(&mut self, some: &IdleTimes) {
        self.flows = self.flows.saturating_sub(some.flows);
        for (step, less) in self.steps.iter_mut().zip(&some.steps) {
            step.idle = step.idle.saturating_sub(less.idle);
            step.spoke = step.spoke.saturating_sub(less.spoke);
        }
    }

    fn count(&mut self, idle: u32, spoke: bool) {
        self.flows += 1;
        for step in self.steps.iter_mut().filter(|step| step.after < idle) {
            step.idle += 1;
            step.spoke += u64::from(spoke);
        }
    }

    fn scale(&mut self, one_in: u64) {
        self.flows *= one_in;
        self.unknown *= one_in;
        for step in &mut self.steps {
            step.idle *= one_in;
            step.spoke *= one_in;
        }
    }

    fn merge(&mut self, part: &IdleTimes) {
        self.flows += part.flows;
        self.unknown += part.unknown;
        for (step, more) in self.steps.iter_mut().zip(&part.steps) {
            step.idle += more.idle;
            step.spoke += more.spoke;
        }
    }
}

impl Observed {
    /// Counts some flows of a port no more among all.
    pub(crate) fn leave_out(&mut self, (protocol, _): Port, some: &IdleTimes) {
        let all = match protocol {
            Protocol::TCP => &mut self.established,
            _ => &mut self.stream,
        };
        all.leave_out(some);
    }

    /// The timeouts changed between the two looks: which flows sent, and when, is not known.
    pub(crate) fn forget_idle_times(&mut self) {
        for idle_times in [&mut self.established, &mut self.stream] {
            idle_times.unknown += std::mem::take(&mut idle_times.flows);
            for step in &mut idle_times.steps {
                (step.idle, step.spoke) = (0, 0);
            }
        }
        self.ports.clear();
    }
}

fn millis(at: Duration) -> u32 {
    u32::try_from(at.as_millis()).unwrap_or(u32::MAX)
}

impl<'a> SecondLook<'a> {
    /// One that groups idle times by these steps, in seconds, the shortest first.
    pub(crate) fn new(first: &'a FirstLook, established: &[u32], stream: &[u32]) -> Self {
        let observed = Observed {
            flows: 0,
            new: 0,
            translated: 0,
            established: IdleTimes::none(established.iter().copied()),
            stream: IdleTimes::none(stream.iter().copied()),
            ports: BTreeMap::new(),
        };
        SecondLook { first, observed }
    }

    /// Adds a flow, dumped at so many milliseconds of the same clock.
    fn add(&mut self, flow: &Flow<'_>, at: u32) {
        if !self.first.follows(flow) {
            return;
        }
        self.observed.flows += 1;
        self.observed.translated += u64::from(flow.is_translated());
        let (seen, spoke) = match self.first.flows.compare(flow, at) {
            Compared::Same(seen, _) => (seen, false),
            Compared::Moved(seen) => (seen, true),
            Compared::Unclear => return,
            Compared::Unseen => {
                // An offloaded flow has no time, and was passed over at first.
                self.observed.new += u64::from(flow.timeout.is_some());
                return;
            }
        };
        let (key, idle_times) = match seen.tag {
            ESTABLISHED => (Key::TcpTimeoutEstablished, &mut self.observed.established),
            STREAM => (Key::UdpTimeoutStream, &mut self.observed.stream),
            _ => return,
        };
        let Some(idle) = self.first.idle(key, seen.left) else {
            idle_times.unknown += 1;
            return;
        };
        idle_times.count(idle, spoke);
        if let Some((_, port)) = flow.original.ports() {
            let steps = idle_times.steps.iter().map(|step| step.after);
            let port = (flow.original.protocol, port);
            let of_port = self.observed.ports.entry(port);
            let of_port = of_port.or_insert_with(|| PortTimes {
                times: IdleTimes::none(steps),
                idle: Vec::new(),
            });
            of_port.times.count(idle, spoke);
            if spoke && of_port.idle.len() < MOST_IDLE_TIMES {
                of_port.idle.push(idle);
            }
        }
    }

    /// What was seen, for the whole table.
    pub(crate) fn finish(self) -> Observed {
        let (mut observed, one_in) = (self.observed, self.first.one_in);
        for number in [
            &mut observed.flows,
            &mut observed.new,
            &mut observed.translated,
        ] {
            *number *= one_in;
        }
        let Observed {
            established,
            stream,
            ports,
            ..
        } = &mut observed;
        let ports = ports.values_mut().map(|port| &mut port.times);
        for idle_times in [established, stream].into_iter().chain(ports) {
            idle_times.scale(one_in);
        }
        observed
    }
}

/// The timeout that each packet of such a flow brings it back to; none where it is another's.
fn speaker(flow: &Flow<'_>) -> Option<Key> {
    let is_assured = flow.status.has(StatusBit::Assured);
    let is_fixed = flow.status.has(StatusBit::FixedTimeout);
    match flow.original.protocol {
        _ if !is_assured || is_fixed || flow.has_master || flow.helper.is_some() => None,
        Protocol::TCP if flow.tcp_state() == Some(TcpState::Established) => {
            let waits = flow.tcp.is_some_and(super::Tcp::has_unacknowledged_data);
            (!waits).then_some(Key::TcpTimeoutEstablished)
        }
        Protocol::UDP => Some(Key::UdpTimeoutStream),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::captured::TCP;
    use crate::tunable::{Access, Reading, Snapshot};

    /// The captured connection has 999 s left; its timeout is 2000 s, so it was idle for 1000 s, or
    /// a second more.
    fn first(flows: &[Flow<'_>]) -> FirstLook {
        let values = [
            (Key::TcpTimeoutEstablished, 2000),
            (Key::TcpTimeoutUnacknowledged, 300),
            (Key::TcpTimeoutMaxRetrans, 300),
        ];
        let access = Access::Writable;
        let readings = values.map(|(key, value)| (key, Reading::Value { value, access }));
        let timeouts = Timeouts::of(&Snapshot::new(readings, None));
        let past = PastTimeouts {
            established: History::unchanged(2000, 1_000_000),
            stream: History::default(),
            now: 1_000_000,
        };
        let mut look = FirstLook::new(timeouts, past, 1);
        for flow in flows {
            look.add(flow, 0);
        }
        look.seal()
    }

    fn second(first: &FirstLook, flow: &Flow<'_>) -> Observed {
        let mut look = SecondLook::new(first, &[999, 1000], &[]);
        look.add(flow, 10_000);
        look.finish()
    }

    /// How many had been idle for over 999 s, and how many of them sent again.
    fn idle_and_spoke(left: u32, change: impl FnOnce(&mut Flow<'_>)) -> (u64, u64) {
        let flow = Flow::parse(TCP).unwrap();
        let first = first(&[flow, flow]);
        let mut later = flow;
        later.timeout = Some(left);
        change(&mut later);
        let observed = second(&first, &later);
        assert_eq!((observed.flows, observed.new), (1, 0));
        let [over, not_over] = observed.established.steps[..] else {
            panic!("{observed:?}");
        };
        assert_eq!((not_over.idle, not_over.spoke), (0, 0));
        (over.idle, over.spoke)
    }

    #[test]
    fn a_flow_that_fell_as_the_clock_went_did_not_speak() {
        for (left, spoke) in [(989, 0), (988, 0), (990, 0), (1999, 1), (991, 1), (50, 1)] {
            assert_eq!(idle_and_spoke(left, |_| ()), (1, spoke), "{left}");
        }
    }

    #[test]
    fn a_flow_that_closes_or_waits_spoke() {
        let closes =
            |flow: &mut Flow<'_>| flow.tcp.as_mut().unwrap().state = Some(TcpState::FinWait);
        assert_eq!(idle_and_spoke(989, closes), (1, 1));
        let waits = |flow: &mut Flow<'_>| flow.tcp.as_mut().unwrap().reply_flags |= 0x10;
        assert_eq!(idle_and_spoke(989, waits), (1, 1));
    }

    #[test]
    fn a_flow_that_was_not_there_is_new() {
        let flow = Flow::parse(TCP).unwrap();
        let observed = second(&first(&[]), &flow);
        assert_eq!((observed.flows, observed.new), (1, 1));
        assert_eq!(observed.established.flows, 0);
    }

    #[test]
    fn of_a_flow_that_another_timeout_may_have_bounded_nothing_is_known() {
        let mut flow = Flow::parse(TCP).unwrap();
        for (left, known) in [(303, 1), (302, 0), (1, 0), (2001, 0), (2000, 1)] {
            flow.timeout = Some(left);
            let observed = second(&first(&[flow]), &flow);
            assert_eq!(observed.established.flows, known, "{left}");
        }
    }

    #[test]
    fn of_a_large_table_one_flow_in_so_many_is_followed() {
        let mut look = first(&[]);
        look.one_in = 3;
        let mut flow = Flow::parse(TCP).unwrap();
        for id in 0..300 {
            flow.id = id;
            look.add(&flow, 0);
        }
        let look = look.seal();
        let mut again = SecondLook::new(&look, &[], &[]);
        for id in 0..600 {
            flow.id = id;
            again.add(&flow, 0);
        }
        let observed = again.finish();
        assert_eq!((observed.flows, observed.new), (600, 300));
    }
}
