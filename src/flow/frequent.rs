//! Counting in bounded memory: exact up to a limit of keys, the frequent ones beyond it.
//!
//! The sketch is "space saving" (Metwally, Agrawal, El Abbadi, 2005) with its replacements done
//! many at a time. A hostile table, where every flow is a group of its own, cannot make it grow.

use std::hash::{BuildHasher, Hash};
use std::hint::black_box;

use foldhash::quality::RandomState;

/// Keys that are counted before the rare ones are dropped.
const LIMIT: usize = 32_768;

/// From so many keys on there is room for all of them.
const MANY: usize = 1024;

/// The half of a slot that holds a place.
const PLACE: u64 = 0xffff_ffff;

/// How often each key came.
///
/// Most keys of a large table are new, and the kernel's work drives the counts out of the
/// processor's cache all the time: so a new key takes one slot, and the rest is appended.
#[derive(Debug)]
pub(super) struct Frequent<K, S = ()> {
    /// At the place of a key's hash, or next behind it: half of the hash, and one more than the
    /// key's place in the lists below. 0 where there is none.
    slots: Vec<u64>,
    counts: Vec<Count<S>>,
    keys: Vec<K>,
    /// With a seed of its own: the flows of a stranger cannot be made to collide.
    hasher: RandomState,
    limit: usize,
    /// A key that is not counted came this often at most.
    floor: u32,
}

/// A table holds fewer than 2³¹ flows.
#[derive(Debug, Clone, Copy)]
struct Count<S> {
    hash: u64,
    /// How often the key came since it is counted.
    seen: u32,
    /// How often it may have come before.
    before: u32,
    sums: S,
}

/// What is added up for a key beside its number.
pub(super) trait Summed: Copy + Default {
    fn add(&mut self, other: Self);
}

impl Summed for () {
    fn add(&mut self, (): ()) {}
}

/// What flows of a key add up to since it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sums {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    /// Flows that had counters.
    pub(super) counted: u32,
    /// Seconds left, and the flows that had a time.
    pub(super) left: u64,
    pub(super) timed: u32,
}

impl Summed for Sums {
    fn add(&mut self, other: Sums) {
        self.packets = self.packets.saturating_add(other.packets);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.counted = self.counted.saturating_add(other.counted);
        self.left = self.left.saturating_add(other.left);
        self.timed = self.timed.saturating_add(other.timed);
    }
}

impl<K, S: Summed> Default for Frequent<K, S> {
    fn default() -> Self {
        Self::with_limit(LIMIT)
    }
}

impl<K: Hash + Clone> Frequent<K> {
    /// Counts a key once.
    #[inline]
    pub(super) fn add(&mut self, key: &K) {
        let hash = self.hasher.hash_one(key);
        self.add_hashed(hash, || key.clone(), ());
    }
}

impl<K, S: Summed> Frequent<K, S> {
    pub(super) fn with_limit(limit: usize) -> Self {
        Frequent {
            slots: vec![0; 64],
            counts: Vec::new(),
            keys: Vec::new(),
            hasher: RandomState::default(),
            limit,
            floor: 0,
        }
    }

    /// The same without keys.
    pub(super) fn part(&self) -> Self {
        Frequent {
            hasher: self.hasher.clone(),
            ..Frequent::with_limit(self.limit)
        }
    }

    /// Adds what a part has counted.
    pub(super) fn merge(&mut self, mut part: Self) {
        if part.counts.len() > self.counts.len() {
            std::mem::swap(self, &mut part);
        }
        for count in &mut self.counts {
            count.before = count.before.saturating_add(part.floor);
        }
        self.keys.reserve_exact(part.keys.len());
        self.counts.reserve_exact(part.counts.len());
        for (key, mut other) in part.keys.into_iter().zip(part.counts) {
            if let Some(count) = self.find(other.hash) {
                count.seen = count.seen.saturating_add(other.seen);
                count.before = count.before.saturating_sub(part.floor) + other.before;
                count.sums.add(other.sums);
            } else {
                // No key of the part is there twice: they need no slots before all are there.
                other.before = other.before.saturating_add(self.floor);
                self.keys.push(key);
                self.counts.push(other);
            }
        }
        self.floor = self.floor.saturating_add(part.floor);
        while self.counts.len() > self.limit {
            self.drop_the_rarer_half();
        }
        self.fill_slots();
    }

    /// What makes the hashes of keys.
    pub(super) fn hasher(&self) -> &RandomState {
        &self.hasher
    }

    /// Counts the key with this hash once, and what else is added up for it. The key is made where
    /// it is not counted already: only their seeded hash tells keys apart.
    #[inline(always)]
    pub(super) fn add_hashed(&mut self, hash: u64, key: impl FnOnce() -> K, sums: S) {
        if let Some(count) = self.find(hash) {
            count.seen = count.seen.saturating_add(1);
            count.sums.add(sums);
            return;
        }
        if self.counts.len() >= self.limit {
            self.drop_the_rarer_half();
            self.fill_slots();
        }
        let count = Count {
            hash,
            seen: 1,
            before: self.floor,
            sums,
        };
        self.push(key(), count);
    }

    /// Reads where keys with these hashes would be found, so that the memory is on its way into the
    /// processor's cache for all of them at once: to look for one after the other waits for each.
    pub(super) fn fetch(&self, hashes: impl Iterator<Item = u64>) {
        let mask = self.slots.len() - 1;
        let slots = hashes.map(|hash| self.slots.get(start(hash, mask)).copied());
        black_box(slots.fold(0, |all, slot| all ^ slot.unwrap_or(0)));
    }

    #[inline(always)]
    fn find(&mut self, hash: u64) -> Option<&mut Count<S>> {
        let mask = self.slots.len() - 1;
        let mut slot = start(hash, mask);
        loop {
            let found = *self.slots.get(slot)?;
            let place = usize::try_from(found & PLACE).ok()?.checked_sub(1)?;
            if found & !PLACE == hash & !PLACE && self.counts.get(place)?.hash == hash {
                return self.counts.get_mut(place);
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Appends a key that is not there.
    fn push(&mut self, key: K, count: Count<S>) {
        if self.counts.len() == MANY {
            // They will be more: to grow by and by copies them again and again.
            self.keys.reserve_exact(self.limit.saturating_sub(MANY));
            self.counts.reserve_exact(self.limit.saturating_sub(MANY));
        }
        self.keys.push(key);
        self.counts.push(count);
        if self.counts.len() * 2 > self.slots.len() {
            self.fill_slots();
        } else {
            self.fill_slot(self.counts.len(), count.hash);
        }
    }

    /// Gives each key its slot anew. At least half of the slots stay free.
    fn fill_slots(&mut self) {
        let mut slots = self.slots.len();
        while self.counts.len() * 2 > slots {
            slots *= 4;
        }
        self.slots.clear();
        self.slots.resize(slots, 0);
        for place in 0..self.counts.len() {
            self.fill_slot(place + 1, self.counts[place].hash);
        }
    }

    fn fill_slot(&mut self, number: usize, hash: u64) {
        let mask = self.slots.len() - 1;
        let mut slot = start(hash, mask);
        while self.slots[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = (hash & !PLACE) | number as u64;
    }

    /// Leaves the slots as they were: fill them before a key is looked for.
    fn drop_the_rarer_half(&mut self) {
        let mut most: Vec<u32> = self.counts.iter().map(Count::most).collect();
        let middle = most.len() / 2;
        let (_, &mut floor, _) = most.select_nth_unstable(middle);
        let mut counts = self.counts.iter();
        let mut stays = || counts.next().is_some_and(|count| count.most() > floor);
        self.keys.retain(|_| stays());
        self.counts.retain(|count| count.most() > floor);
        self.floor = floor;
    }

    /// Every key with how often it came at least and what was added up, in no order.
    pub(super) fn sums(&self) -> impl Iterator<Item = (&K, u64, &S)> + Clone {
        let counts = self.keys.iter().zip(&self.counts);
        counts.map(|(key, count)| (key, u64::from(count.seen), &count.sums))
    }

    /// By how much a count may be too low; 0 while all keys are counted.
    pub(super) fn floor(&self) -> u64 {
        u64::from(self.floor)
    }

    /// How many keys are counted.
    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }

    /// How often the most frequent key came at least.
    pub(super) fn largest(&self) -> u64 {
        let most = self.counts.iter().map(|count| count.seen).max();
        u64::from(most.unwrap_or(0))
    }
}

/// Where a key with this hash is, if its place is free.
#[inline]
fn start(hash: u64, mask: usize) -> usize {
    usize::try_from(hash & mask as u64).unwrap_or(0)
}

impl<S> Count<S> {
    fn most(&self) -> u32 {
        self.seen.saturating_add(self.before)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn up_to_the_limit_counts_are_exact() {
        let mut frequent = Frequent::<_, ()>::with_limit(4);
        for key in [3, 1, 3, 2, 3, 4, 1] {
            frequent.add(&key);
        }
        assert_eq!(
            (frequent.floor(), frequent.len(), frequent.largest()),
            (0, 4, 3)
        );
        let mut counted: Vec<_> = frequent
            .sums()
            .map(|(key, seen, ())| (*key, seen))
            .collect();
        counted.sort_unstable();
        assert_eq!(counted, [(1, 2), (2, 1), (3, 3), (4, 1)]);
    }

    #[test]
    fn a_frequent_key_stands_out_of_a_flood_of_others() {
        let mut frequent = Frequent::<_, ()>::with_limit(64);
        for n in 0..100_000_u32 {
            frequent.add(&(1_000_000 + n));
            if n % 4 == 0 {
                frequent.add(&7);
            }
            assert!(frequent.len() <= 64);
        }
        let floor = frequent.floor();
        assert!(floor > 0);
        assert!(frequent.sums().any(|counted| counted == (&7, 25_000, &())));
    }

    proptest! {
        #[test]
        fn a_count_is_never_too_high_and_too_low_by_the_floor_at_most(
            keys in proptest::collection::vec(0..40_u8, 0..400),
            others in proptest::collection::vec(20..60_u8, 0..400),
            limit in 2..30_usize,
        ) {
            let mut frequent = Frequent::<_, ()>::with_limit(limit);
            let mut part = frequent.part();
            let mut exact: HashMap<u8, u64> = HashMap::new();
            for (frequent, keys) in [(&mut frequent, &keys), (&mut part, &others)] {
                for key in keys {
                    frequent.add(key);
                    *exact.entry(*key).or_default() += 1;
                    prop_assert!(frequent.len() <= limit);
                }
            }
            frequent.merge(part);
            prop_assert!(frequent.len() <= limit);
            let floor = frequent.floor();
            let counted: HashMap<u8, u64> = frequent.sums().map(|(key, seen, ())| (*key, seen)).collect();
            for (key, times) in exact {
                let said = counted.get(&key).copied().unwrap_or(0);
                prop_assert!(said <= times && times <= said + floor);
            }
        }
    }
}
