//! Numbers counted between thresholds: exact at each of them, whatever their number.

use std::sync::Arc;

/// How many numbers reach each of some thresholds.
#[derive(Debug, Clone)]
pub(super) struct Steps {
    /// In rising order.
    thresholds: Arc<[u32]>,
    /// By how many thresholds a number reaches.
    counts: Vec<u64>,
}

impl Steps {
    pub(super) fn new(thresholds: &Arc<[u32]>) -> Self {
        Steps {
            thresholds: Arc::clone(thresholds),
            counts: vec![0; thresholds.len() + 1],
        }
    }

    pub(super) fn add(&mut self, number: u32) {
        let reached = self.thresholds.partition_point(|at| *at <= number);
        if let Some(count) = self.counts.get_mut(reached) {
            *count += 1;
        }
    }

    /// Adds what was counted between the same thresholds.
    pub(super) fn merge(&mut self, part: &Steps) {
        for (count, more) in self.counts.iter_mut().zip(&part.counts) {
            *count += more;
        }
    }

    /// How many numbers are no less than a threshold; one that is none counts as the next.
    pub(super) fn at_least(&self, threshold: u32) -> u64 {
        let place = self.thresholds.partition_point(|at| *at < threshold);
        let reaching = self.counts.get(place + 1..).unwrap_or_default();
        reaching.iter().sum()
    }
}

/// Thresholds for pictures, 3 % apart, and those that must be exact.
pub(super) fn thresholds(exact: impl IntoIterator<Item = u32>) -> Arc<[u32]> {
    /// A hundred days; no timeout of use is longer.
    const LONGEST: u32 = 8_640_000;
    let mut all: Vec<u32> = exact.into_iter().collect();
    let mut at: u32 = 1;
    while at < LONGEST {
        all.push(at);
        at += (at * 3 / 100).max(1);
    }
    all.sort_unstable();
    all.dedup();
    all.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_reaches_a_threshold_is_counted_exactly(
            numbers in proptest::collection::vec(0_u32..1_000_000, 0..50),
            exact in proptest::collection::vec(0_u32..1_000_000, 1..5),
        ) {
            let mut steps = Steps::new(&thresholds(exact.clone()));
            for number in &numbers {
                steps.add(*number);
            }
            for threshold in exact {
                let reaching = numbers.iter().filter(|number| **number >= threshold).count();
                prop_assert_eq!(steps.at_least(threshold), reaching as u64);
            }
        }
    }
}
