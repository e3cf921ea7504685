//! Counting in bounded memory: exact up to a limit of keys, the frequent ones beyond it.
//!
//! The sketch is "space saving" (Metwally, Agrawal, El Abbadi, 2005) with its replacements done
//! many at a time. A hostile table, where every flow is a group of its own, cannot make it grow.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use foldhash::quality::RandomState;

/// Keys that are counted before the rare ones are dropped.
const LIMIT: usize = 32_768;

/// How often each key came.
#[derive(Debug)]
pub(super) struct Frequent<K, S = ()> {
    /// With a seed of its own: the flows of a stranger cannot be made to collide.
    counts: HashMap<K, Count<S>, RandomState>,
    limit: usize,
    /// A key that is not counted came this often at most.
    floor: u32,
}

/// A table holds fewer than 2³¹ flows.
#[derive(Debug, Clone, Copy)]
struct Count<S> {
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

impl<K: Hash + Eq, S: Summed> Frequent<K, S> {
    pub(super) fn new() -> Self {
        Self::with_limit(LIMIT)
    }

    pub(super) fn with_limit(limit: usize) -> Self {
        Frequent {
            counts: HashMap::default(),
            limit,
            floor: 0,
        }
    }

    /// Counts a key once; nothing is allocated for one that is counted already.
    #[inline]
    pub(super) fn add<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.add_with(key, S::default());
    }

    /// The same with what else is added up for the key.
    #[inline]
    pub(super) fn add_with<Q>(&mut self, key: &Q, sums: S)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(count) = self.counts.get_mut(key) {
            count.seen = count.seen.saturating_add(1);
            count.sums.add(sums);
            return;
        }
        if self.counts.len() >= self.limit {
            self.drop_the_rarer_half();
        }
        let before = self.floor;
        self.counts.insert(
            key.to_owned(),
            Count {
                seen: 1,
                before,
                sums,
            },
        );
    }

    fn drop_the_rarer_half(&mut self) {
        let mut most: Vec<u32> = self.counts.values().map(Count::most).collect();
        let middle = most.len() / 2;
        let (_, &mut floor, _) = most.select_nth_unstable(middle);
        self.counts.retain(|_, count| count.most() > floor);
        self.floor = floor;
    }

    /// Every key with how often it came at least, in no order.
    pub(super) fn into_counted(self) -> Vec<(K, u64)> {
        let counts = self.counts.into_iter();
        counts
            .map(|(key, count)| (key, u64::from(count.seen)))
            .collect()
    }

    /// The same with what was added up.
    pub(super) fn into_sums(self) -> Vec<(K, u64, S)> {
        let counts = self.counts.into_iter();
        counts
            .map(|(key, count)| (key, u64::from(count.seen), count.sums))
            .collect()
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
        self.counts
            .values()
            .map(|count| u64::from(count.seen))
            .max()
            .unwrap_or(0)
    }
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
        let mut counted = frequent.into_counted();
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
        assert!(frequent.into_counted().contains(&(7, 25_000)));
    }

    proptest! {
        #[test]
        fn a_count_is_never_too_high_and_too_low_by_the_floor_at_most(
            keys in proptest::collection::vec(0..40_u8, 0..400),
            limit in 2..30_usize,
        ) {
            let mut frequent = Frequent::<_, ()>::with_limit(limit);
            let mut exact: HashMap<u8, u64> = HashMap::new();
            for key in &keys {
                frequent.add(key);
                *exact.entry(*key).or_default() += 1;
                prop_assert!(frequent.len() <= limit);
            }
            let floor = frequent.floor();
            let counted: HashMap<u8, u64> = frequent.into_counted().into_iter().collect();
            for (key, times) in exact {
                let said = counted.get(&key).copied().unwrap_or(0);
                prop_assert!(said <= times && times <= said + floor);
            }
        }
    }
}
