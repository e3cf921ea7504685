//! A first look at flows, by which a second one proves that they were silent in between.
//!
//! Rule: 24 bytes a flow, and half a megabyte to find it by. A name of 64 bits may be that of
//! another flow; then its state and its time would have to agree as well, and the price is a flow
//! that is idle by all other rules.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;

use crate::flow::Flow;

/// Milliseconds by which the remaining time may have fallen more or less than time has passed:
/// both times are rounded down to seconds.
const ROUNDING: i64 = 1000;

/// Bits of a name by which it is looked up: a part of a million flows is then a few cache lines.
const PART: u32 = 16;

/// Flows as they were.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    /// Sorted by name once it is sealed.
    flows: Vec<Fingerprint>,
    /// Where each part of the names begins, and after the last one ends; made when it is sealed.
    parts: Vec<usize>,
    hasher: RandomState,
}

/// One flow as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fingerprint {
    /// The tuple as it was dumped, the zone and the id.
    name: u64,
    /// Flags and counters: what a packet changes.
    state: u64,
    /// Seconds.
    remaining: u32,
    /// Milliseconds of the clock that the samples share.
    at: u32,
}

/// What a flow did since the first sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// Nothing: its time fell as the clock went, and nothing else changed.
    Silent,
    /// A packet, or somebody who set its time.
    Spoke,
    /// It was not in the sample, or is told of twice there.
    Unseen,
}

impl Sample {
    /// Adds a flow, dumped at so many milliseconds of the clock that both samples share. A flow
    /// without a time is passed over.
    pub(crate) fn add(&mut self, flow: &Flow<'_>, at: u32) {
        let fingerprint = self.fingerprint(flow, at);
        self.flows.extend(fingerprint);
    }

    /// Makes it ready to be looked up. What a dump told twice stays once, if it agrees.
    #[must_use]
    pub(crate) fn seal(mut self) -> Sample {
        self.flows.sort_unstable();
        self.flows.dedup();
        self.parts.push(0);
        for part in 0..1 << PART {
            let start = self.parts.last().copied().unwrap_or(0);
            let rest = self.flows.get(start..).unwrap_or_default();
            let length = rest.iter().take_while(|flow| flow.part() == part).count();
            self.parts.push(start + length);
        }
        self
    }

    /// What the flow, dumped at `at`, did since.
    pub(crate) fn compare(&self, flow: &Flow<'_>, at: u32) -> Since {
        let Some(now) = self.fingerprint(flow, at) else {
            return Since::Unseen;
        };
        let mut same = self
            .part(now.part())
            .iter()
            .filter(|then| then.name == now.name);
        match (same.next(), same.next()) {
            (Some(then), None) if now.was_silent_since(then) => Since::Silent,
            (Some(_), None) => Since::Spoke,
            _ => Since::Unseen,
        }
    }

    fn part(&self, part: usize) -> &[Fingerprint] {
        match self.parts.get(part..) {
            Some(&[start, end, ..]) => self.flows.get(start..end).unwrap_or_default(),
            _ => &[],
        }
    }

    fn fingerprint(&self, flow: &Flow<'_>, at: u32) -> Option<Fingerprint> {
        let state = (flow.status, flow.tcp, flow.counters);
        Some(Fingerprint {
            name: self.hasher.hash_one(flow.identity()),
            state: self.hasher.hash_one(state),
            remaining: flow.timeout?,
            at,
        })
    }
}

impl Fingerprint {
    /// The first bits of its name.
    fn part(&self) -> usize {
        (self.name >> (u64::BITS - PART)) as usize
    }

    fn was_silent_since(&self, then: &Fingerprint) -> bool {
        let fell = (i64::from(then.remaining) - i64::from(self.remaining)) * 1000;
        let passed = i64::from(self.at) - i64::from(then.at);
        self.state == then.state && (fell - passed).abs() <= ROUNDING
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::captured::TCP;
    use crate::flow::{Counters, StatusBit};

    #[test]
    fn a_flow_takes_at_most_32_bytes() {
        assert!(size_of::<Fingerprint>() <= 32);
    }

    fn since(change: impl FnOnce(&mut Flow<'_>), at: u32) -> Since {
        let flow = Flow::parse(TCP).unwrap();
        let mut first = Sample::default();
        first.add(&flow, 500);
        // A dump under way may tell of a flow twice.
        first.add(&flow, 500);
        let mut second = flow;
        change(&mut second);
        first.seal().compare(&second, at)
    }

    #[test]
    fn only_what_fell_as_the_clock_went_and_changed_nothing_was_silent() {
        for (fell, at, expected) in [
            (10, 10_500, Since::Silent),
            (9, 10_500, Since::Silent),
            (11, 10_500, Since::Silent),
            (8, 10_500, Since::Spoke),
            (12, 10_500, Since::Spoke),
            (10, 10_900, Since::Silent),
            (0, 500, Since::Silent),
            (0, 10_500, Since::Spoke),
        ] {
            let set = |flow: &mut Flow<'_>| flow.timeout = Some(999 - fell);
            assert_eq!(since(set, at), expected, "{fell} {at}");
        }
    }

    #[test]
    fn flags_counters_and_status_tell_of_a_packet() {
        let spoke = |change: &dyn Fn(&mut Flow<'_>)| {
            let all = |flow: &mut Flow<'_>| {
                flow.timeout = Some(989);
                change(flow);
            };
            since(all, 10_500)
        };
        assert_eq!(spoke(&|_| {}), Since::Silent);
        assert_eq!(
            spoke(&|f| f.tcp.as_mut().unwrap().reply_flags |= 0x10),
            Since::Spoke
        );
        assert_eq!(
            spoke(&|f| f.counters = Some(Counters::default())),
            Since::Spoke
        );
        assert_eq!(
            spoke(&|f| f.status.0 |= StatusBit::SrcNat.mask()),
            Since::Spoke
        );
    }

    #[test]
    fn another_flow_of_the_same_tuple_was_not_seen() {
        assert_eq!(since(|flow| flow.id += 1, 500), Since::Unseen);
        assert_eq!(since(|flow| flow.both_zone = None, 500), Since::Unseen);
        assert_eq!(since(|flow| flow.timeout = None, 500), Since::Unseen);
        let flow = Flow::parse(TCP).unwrap();
        assert_eq!(Sample::default().compare(&flow, 0), Since::Unseen);
    }

    #[test]
    fn each_of_many_is_found_and_no_other() {
        let numbered = |id| Flow {
            id,
            ..Flow::parse(TCP).unwrap()
        };
        let mut sample = Sample::default();
        (0..200_000).for_each(|id| sample.add(&numbered(2 * id), 0));
        let sample = sample.seal();
        for id in 0..200_000 {
            assert_eq!(sample.compare(&numbered(2 * id), 0), Since::Silent);
            assert_eq!(sample.compare(&numbered(2 * id + 1), 0), Since::Unseen);
        }
    }

    #[test]
    fn two_that_disagree_prove_nothing() {
        let flow = Flow::parse(TCP).unwrap();
        let mut other = flow;
        other.timeout = Some(5);
        let mut sample = Sample::default();
        sample.add(&flow, 0);
        sample.add(&other, 0);
        let sample = sample.seal();
        assert_eq!(sample.compare(&flow, 0), Since::Unseen);
        assert_eq!(sample.flows.len(), 2);
    }
}
