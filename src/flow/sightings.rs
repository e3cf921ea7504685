//! The same flow, seen twice: what moved?
//!
//! In: flows of a dump with the milliseconds of a clock that stands still when the machine sleeps,
//! as the kernel's own times do. Out: whether a flow of a later dump is [`Compared::Same`]. The
//! expected end of a flow (the clock plus its time left) moves at its next packet and when somebody
//! sets its time, and at nothing else. So a flow of the same tuple, zone and id whose expected end,
//! status, flags and counters are the same was silent in between; nothing longer is proven.
//! Rule: 24 bytes a flow, and half a megabyte to find it by. A name of 64 bits may be that of
//! another flow; then its state and its expected end would have to agree as well.

use std::hash::{BuildHasher, Hash};
use std::ops::Range;

use foldhash::quality::{FixedState, RandomState};

use super::Flow;

/// Milliseconds by which an expected end may seem to move: both times left are rounded down to
/// seconds.
const ROUNDING: i64 = 1000;

/// Bits of a name by which it is looked up: a part of a million flows is then a few cache lines.
const PART: u32 = 16;

/// Bytes of a flow between two processes.
const ROW: usize = 24;

/// Flows as they were seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sightings {
    /// Sorted by name once it is sealed.
    flows: Vec<Sighting>,
    /// Where each part of the names begins, and where the last one ends; made when it is sealed.
    parts: Vec<usize>,
    /// Flows that a later round saw for the first time.
    fresh: Vec<Sighting>,
    /// Flows that are noted at most, where that is limited.
    most: Option<usize>,
    /// Flows that the last round, or the one that goes on, could not note.
    missed: u64,
    hasher: Hasher,
}

/// The hash of a process: nobody can guess its seed, but another process can be told.
#[derive(Debug, Clone)]
struct Hasher {
    seed: u64,
    state: FixedState,
}

impl Hasher {
    fn of(seed: u64) -> Self {
        let state = FixedState::with_seed(seed);
        Hasher { seed, state }
    }

    fn hash_one<T: Hash>(&self, value: T) -> u64 {
        self.state.hash_one(value)
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Hasher::of(RandomState::default().hash_one(0_u8))
    }
}

/// One flow as it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sighting {
    /// The tuple as it was dumped, the zone and the id.
    name: u64,
    /// Status, flags and counters: what a packet changes.
    state: u32,
    /// Seconds.
    pub(crate) left: u32,
    /// Milliseconds.
    at: u32,
    /// What the one who looks wants to know later.
    pub(crate) tag: u8,
    /// Whether the round that goes on saw it.
    is_seen: bool,
}

/// A flow, and how it was seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compared<'a> {
    /// Nothing moved for so many milliseconds.
    Same(&'a Sighting, u32),
    /// It had a packet, or somebody set its time.
    Moved(&'a Sighting),
    /// It was seen twice, and the two disagree.
    Unclear,
    /// It was not seen.
    Unseen,
}

impl Sightings {
    /// An empty one that notes so many flows at most.
    pub(crate) fn limited(most: usize) -> Self {
        Sightings {
            most: Some(most),
            ..Sightings::default()
        }
        .seal()
    }

    /// Notes so many flows at most from now on; those that are noted stay.
    pub(crate) fn limit(&mut self, most: usize) {
        self.most = Some(most);
    }

    /// Flows that the last round could not note.
    pub(crate) fn missed(&self) -> u64 {
        self.missed
    }

    /// Adds a flow. One without a time (offloaded) is passed over.
    pub(crate) fn add(&mut self, flow: &Flow<'_>, at: u32, tag: u8) {
        let sighting = self.sighting(flow, at, tag);
        self.flows.extend(sighting);
    }

    /// An empty one, for other flows of the same dump.
    pub(crate) fn alike(&self) -> Self {
        Sightings {
            hasher: self.hasher.clone(),
            ..Sightings::default()
        }
    }

    /// Adds the flows of a part.
    pub(crate) fn merge(&mut self, mut part: Self) {
        self.flows.append(&mut part.flows);
    }

    /// Makes it ready to be compared with. A flow that a dump told twice stays once, if both agree.
    #[must_use]
    pub(crate) fn seal(mut self) -> Self {
        self.flows.sort_unstable();
        self.flows
            .dedup_by(|one, other| one.name == other.name && one.is_same(other));
        self.parts.clear();
        self.parts.resize((1 << PART) + 1, 0);
        for flow in &self.flows {
            if let Some(length) = self.parts.get_mut(flow.part() + 1) {
                *length += 1;
            }
        }
        let mut end = 0;
        for part in &mut self.parts {
            end += *part;
            *part = end;
        }
        self
    }

    /// Compares a flow of a later dump.
    pub(crate) fn compare(&self, flow: &Flow<'_>, at: u32) -> Compared<'_> {
        let Some(now) = self.sighting(flow, at, 0) else {
            return Compared::Unseen;
        };
        let part = self.part(now.part()).iter();
        let mut same = part.filter(|then| then.name == now.name);
        match (same.next(), same.next()) {
            (Some(then), None) if now.is_same(then) => {
                Compared::Same(then, at.saturating_sub(then.at))
            }
            (Some(then), None) => Compared::Moved(then),
            (Some(_), Some(_)) => Compared::Unclear,
            (None, _) => Compared::Unseen,
        }
    }

    /// Sees a flow in a later round. One that did not move keeps its first sighting and its tag,
    /// and is returned; another is seen for the first time, or as if it had been seen `before`
    /// milliseconds ago if it is new, and is returned then.
    pub(crate) fn see(
        &mut self,
        flow: &Flow<'_>,
        at: u32,
        tag: u8,
        before: u32,
    ) -> Option<&mut Sighting> {
        let mut now = self.sighting(flow, at, tag)?;
        now.is_seen = true;
        let part = self.place(now.part());
        let before_it = self
            .part(now.part())
            .partition_point(|then| then.name < now.name);
        let start = part.start + before_it;
        let noted = self.flows.len() + self.fresh.len();
        let is_full = self.most.is_some_and(|most| noted >= most);
        let known = self.flows.get_mut(start..part.end).unwrap_or_default();
        let same = known
            .iter()
            .take_while(|then| then.name == now.name)
            .count();
        match known.get_mut(..same).unwrap_or_default() {
            [] if is_full => self.missed += 1,
            [] => {
                self.fresh.push(now.earlier(before));
                return self.fresh.last_mut().filter(|_| before > 0);
            }
            [then] if then.is_same(&now) => {
                then.is_seen = true;
                return self.flows.get_mut(start);
            }
            moved => moved.fill(now),
        }
        None
    }

    /// Begins a round.
    pub(crate) fn begin_round(&mut self) {
        self.missed = 0;
    }

    /// Gives up a round: nothing is forgotten, and nothing is new.
    pub(crate) fn give_up_round(&mut self) {
        self.fresh = Vec::new();
        for flow in &mut self.flows {
            flow.is_seen = false;
        }
    }

    /// Ends a round: forgets the flows that it did not see.
    #[must_use]
    pub(crate) fn end_round(mut self) -> Self {
        self.flows.retain(|flow| flow.is_seen);
        self.fresh.retain(|flow| flow.is_seen);
        if self.flows.capacity() > 2 * (self.flows.len() + self.fresh.len()) {
            self.flows.shrink_to_fit();
        }
        // What is empty is not copied into: both would take memory at once.
        if self.flows.is_empty() {
            self.flows = std::mem::take(&mut self.fresh);
            self.flows.shrink_to_fit();
        } else {
            self.flows.reserve_exact(self.fresh.len());
            self.flows.append(&mut self.fresh);
            self.fresh = Vec::new();
        }
        for flow in &mut self.flows {
            flow.is_seen = false;
        }
        self.seal()
    }

    /// The seed of the names, then the flows, a thousand or so at a time: [`Sightings::from_bytes`]
    /// reads all of it in another process.
    pub(crate) fn to_bytes(&self) -> impl Iterator<Item = Vec<u8>> {
        let rows = self.flows.chunks(1024).map(|flows| {
            let mut bytes = Vec::with_capacity(flows.len() * ROW);
            for flow in flows {
                bytes.extend(flow.name.to_le_bytes());
                for number in [flow.state, flow.left, flow.at, flow.tag.into()] {
                    bytes.extend(number.to_le_bytes());
                }
            }
            bytes
        });
        std::iter::once(self.hasher.seed.to_le_bytes().to_vec()).chain(rows)
    }

    /// Reads what [`Sightings::to_bytes`] wrote.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (seed, rows) = bytes.split_first_chunk::<8>()?;
        let (rows, rest) = rows.as_chunks::<ROW>();
        if !rest.is_empty() {
            return None;
        }
        let row = |row: &[u8; ROW]| {
            let (name, numbers) = row.split_first_chunk::<8>()?;
            let (numbers, _) = numbers.as_chunks::<4>();
            let [state, left, at, tag] = *numbers else {
                return None;
            };
            Some(Sighting {
                name: u64::from_le_bytes(*name),
                state: u32::from_le_bytes(state),
                left: u32::from_le_bytes(left),
                at: u32::from_le_bytes(at),
                tag: u8::try_from(u32::from_le_bytes(tag)).ok()?,
                is_seen: false,
            })
        };
        let flows: Option<Vec<Sighting>> = rows.iter().map(row).collect();
        let sightings = Sightings {
            flows: flows?,
            hasher: Hasher::of(u64::from_le_bytes(*seed)),
            ..Sightings::default()
        };
        Some(sightings.seal())
    }

    /// Those of one tag.
    #[must_use]
    pub(crate) fn of_tag(mut self, tag: u8) -> Self {
        self.flows.retain(|flow| flow.tag == tag);
        self.seal()
    }

    /// Every flow, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Sighting> {
        self.flows.iter()
    }

    /// Brings the clock back by so many milliseconds. What was seen before its beginning counts as
    /// seen at its beginning.
    pub(crate) fn turn_back(&mut self, millis: u32) {
        for flow in &mut self.flows {
            let end = flow.expected_end() - i64::from(millis);
            flow.at = flow.at.saturating_sub(millis);
            let left = (end - i64::from(flow.at)) / 1000;
            flow.left = u32::try_from(left).unwrap_or(0);
        }
    }

    fn part(&self, part: usize) -> &[Sighting] {
        self.flows.get(self.place(part)).unwrap_or_default()
    }

    fn place(&self, part: usize) -> Range<usize> {
        match self.parts.get(part..) {
            Some(&[start, end, ..]) => start..end,
            _ => 0..0,
        }
    }

    fn sighting(&self, flow: &Flow<'_>, at: u32, tag: u8) -> Option<Sighting> {
        let state = (flow.status, flow.tcp, flow.sctp, flow.counters);
        let state = self.hasher.hash_one(state);
        Some(Sighting {
            name: self.hasher.hash_one(flow.identity()),
            state: u32::try_from(state >> 32).unwrap_or(0),
            left: flow.timeout?,
            at,
            tag,
            is_seen: false,
        })
    }
}

impl Sighting {
    /// The first bits of its name.
    fn part(&self) -> usize {
        (self.name >> (u64::BITS - PART)) as usize
    }

    /// Milliseconds of the clock at which it was seen.
    pub(crate) fn at(&self) -> u32 {
        self.at
    }

    /// Forgets it at the end of the round.
    pub(crate) fn forget(&mut self) {
        self.is_seen = false;
    }

    /// The same flow as it would have been seen so many milliseconds earlier.
    fn earlier(self, millis: u32) -> Self {
        let seconds = (millis / 1000).min(self.at / 1000);
        Sighting {
            at: self.at - 1000 * seconds,
            left: self.left.saturating_add(seconds),
            ..self
        }
    }

    /// For how many milliseconds it was silent for sure, if it is the same at `at`. A packet that
    /// came just when it had one of these timeouts left did not move its expected end.
    pub(crate) fn silent(&self, at: u32, timeouts: &[u32]) -> u32 {
        let now = i64::from(at);
        let passed = timeouts
            .iter()
            .map(|timeout| self.expected_end() - 1000 * i64::from(*timeout))
            .filter(|passed| *passed <= now + ROUNDING)
            .map(|passed| passed + 2 * ROUNDING);
        let since = passed.fold(i64::from(self.at), i64::max);
        u32::try_from(now - since).unwrap_or(0)
    }

    /// Whether nothing moved between the two.
    fn is_same(&self, other: &Sighting) -> bool {
        self.state == other.state && (self.expected_end() - other.expected_end()).abs() <= ROUNDING
    }

    /// Milliseconds of the clock.
    pub(crate) fn expected_end(&self) -> i64 {
        i64::from(self.at) + 1000 * i64::from(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::captured::TCP;
    use crate::flow::{Counters, StatusBit};

    #[test]
    fn a_flow_takes_24_bytes() {
        assert_eq!(size_of::<Sighting>(), 24);
    }

    /// The captured flow with 999 s left at 500 ms, and what becomes of it.
    fn compared(change: impl FnOnce(&mut Flow<'_>), at: u32) -> String {
        let flow = Flow::parse(TCP).unwrap();
        let mut first = Sightings::default();
        first.add(&flow, 500, 0);
        // A dump under way may tell of a flow twice.
        first.add(&flow, 500, 0);
        let first = first.seal();
        assert_eq!(first.flows.len(), 1);
        let mut second = flow;
        change(&mut second);
        match first.compare(&second, at) {
            Compared::Same(_, millis) => format!("same for {millis}"),
            Compared::Moved(_) => "moved".to_owned(),
            other => format!("{other:?}").to_lowercase(),
        }
    }

    #[test]
    fn an_expected_end_moves_by_more_than_a_second_or_not_at_all() {
        for (fell, at, expected) in [
            (10, 10_500, "same for 10000"),
            (9, 10_500, "same for 10000"),
            (11, 10_500, "same for 10000"),
            (8, 10_500, "moved"),
            (12, 10_500, "moved"),
            (10, 10_900, "same for 10400"),
            (0, 500, "same for 0"),
            (0, 10_500, "moved"),
        ] {
            let set = |flow: &mut Flow<'_>| flow.timeout = Some(999 - fell);
            assert_eq!(compared(set, at), expected, "{fell} {at}");
        }
    }

    #[test]
    fn flags_counters_and_status_tell_of_a_packet() {
        let after = |change: &dyn Fn(&mut Flow<'_>)| {
            let all = |flow: &mut Flow<'_>| {
                flow.timeout = Some(989);
                change(flow);
            };
            compared(all, 10_500)
        };
        assert_eq!(after(&|_| {}), "same for 10000");
        assert_eq!(
            after(&|f| f.tcp.as_mut().unwrap().reply_flags |= 0x10),
            "moved"
        );
        assert_eq!(after(&|f| f.counters = Some(Counters::default())), "moved");
        assert_eq!(after(&|f| f.status.0 |= StatusBit::SrcNat.mask()), "moved");
    }

    #[test]
    fn another_flow_of_the_same_tuple_was_not_seen() {
        assert_eq!(compared(|flow| flow.id += 1, 500), "unseen");
        assert_eq!(compared(|flow| flow.timeout = None, 500), "unseen");
        let flow = Flow::parse(TCP).unwrap();
        assert_eq!(Sightings::default().compare(&flow, 0), Compared::Unseen);
    }

    #[test]
    fn each_of_many_is_found_and_no_other() {
        let numbered = |id| {
            let mut flow = Flow::parse(TCP).unwrap();
            flow.id = id;
            flow
        };
        let mut sightings = Sightings::default();
        (0..200_000).for_each(|id| sightings.add(&numbered(2 * id), 0, 7));
        let sightings = sightings.seal();
        for id in 0..200_000 {
            let found = sightings.compare(&numbered(2 * id), 0);
            assert!(matches!(found, Compared::Same(one, 0) if one.tag == 7));
            let other = sightings.compare(&numbered(2 * id + 1), 0);
            assert_eq!(other, Compared::Unseen);
        }
    }

    /// The captured flow, seen in rounds at these milliseconds with these seconds left.
    fn rounds(looks: &[(u32, u32)]) -> Sightings {
        let mut flow = Flow::parse(TCP).unwrap();
        let mut sightings = Sightings::default().seal();
        for (at, left) in looks {
            flow.timeout = Some(*left);
            sightings.see(&flow, *at, 7, 0);
            sightings = sightings.end_round();
        }
        sightings
    }

    #[test]
    fn a_flow_keeps_its_first_sighting_until_it_moves() {
        for (looks, at, left) in [
            (&[(0, 900)][..], 0, 900),
            (&[(0, 900), (10_000, 890), (20_400, 879)], 0, 900),
            // It spoke between the second look and the third.
            (&[(0, 900), (10_000, 890), (20_000, 900)], 20_000, 900),
            (&[(0, 900), (10_000, 900), (20_000, 890)], 10_000, 900),
        ] {
            let sightings = rounds(looks);
            let all: Vec<_> = sightings.iter().map(|one| (one.at, one.left)).collect();
            assert_eq!(all, [(at, left)], "{looks:?}");
        }
    }

    #[test]
    fn a_round_forgets_what_it_did_not_see() {
        let sightings = rounds(&[(0, 900), (10_000, 890)]).end_round();
        assert_eq!(sightings.iter().count(), 0);
    }

    #[test]
    fn idle_time_begins_after_the_last_packet_that_no_look_could_see() {
        let sightings = rounds(&[(50_000, 900)]);
        let flow = sightings.iter().next().unwrap();
        for (at, timeouts, silent) in [
            (80_000, &[][..], 30_000),
            // It has 900 s left when it is seen: a packet of that second is not seen.
            (80_000, &[900], 28_000),
            // It came down to 880 s at 70 s.
            (80_000, &[7440, 880], 8000),
            (70_000, &[880], 0),
            (69_500, &[880], 0),
            (68_000, &[880], 18_000),
            (50_000, &[], 0),
        ] {
            assert_eq!(flow.silent(at, timeouts), silent, "{at} {timeouts:?}");
        }
    }

    #[test]
    fn what_was_idle_before_counts_if_it_is_said() {
        let flow = Flow::parse(TCP).unwrap();
        let mut sightings = Sightings::default().seal();
        assert!(sightings.see(&flow, 500_000, 0, 0).is_none());
        sightings.give_up_round();
        let new = sightings.see(&flow, 500_000, 0, 400_000);
        new.unwrap().forget();
        sightings = sightings.end_round();
        assert_eq!(sightings.iter().count(), 0);
        sightings.see(&flow, 500_000, 0, 400_000);
        let mut sightings = sightings.end_round();
        let silent = |sightings: &Sightings| sightings.iter().next().unwrap().silent(510_000, &[]);
        assert_eq!(silent(&sightings), 410_000);
        let Compared::Same(..) = sightings.compare(&flow, 500_000) else {
            panic!("it did not move");
        };
        sightings.turn_back(300_000);
        let kept = sightings.iter().next().unwrap();
        assert_eq!(kept.silent(210_000, &[]), 210_000);
    }

    #[test]
    fn no_more_flows_are_noted_than_memory_allows_and_the_others_are_counted() {
        let mut flow = Flow::parse(TCP).unwrap();
        let mut sightings = Sightings::limited(2);
        for (ids, missed) in [(0..5, 3), (1..5, 3), (9..10, 0)] {
            sightings.begin_round();
            for id in ids {
                flow.id = id;
                sightings.see(&flow, 0, 7, 0);
            }
            sightings = sightings.end_round();
            assert_eq!(sightings.missed(), missed);
            assert!(sightings.flows.len() <= 2);
        }
        sightings.begin_round();
        sightings.see(&flow, 0, 7, 0);
        assert_eq!(sightings.end_round().flows.len(), 1);
    }

    #[test]
    fn another_process_finds_the_same_flows() {
        let sightings = rounds(&[(50_000, 900), (60_000, 890)]);
        let bytes = sightings.to_bytes().collect::<Vec<_>>().concat();
        let read = Sightings::from_bytes(&bytes).unwrap();
        let mut flow = Flow::parse(TCP).unwrap();
        flow.timeout = Some(880);
        let same = read.compare(&flow, 70_000);
        assert!(matches!(same, Compared::Same(one, 20_000) if one.tag == 7));
        for length in 0..bytes.len() {
            let cut = Sightings::from_bytes(&bytes[..length]);
            assert!(cut.is_none_or(|cut| cut.iter().count() == 0), "{length}");
        }
    }

    #[test]
    fn two_that_disagree_are_unclear() {
        let flow = Flow::parse(TCP).unwrap();
        let mut other = flow;
        other.timeout = Some(5);
        let mut sightings = Sightings::default();
        sightings.add(&flow, 0, 0);
        sightings.add(&other, 0, 0);
        let sightings = sightings.seal();
        assert_eq!(sightings.compare(&flow, 0), Compared::Unclear);
    }
}
