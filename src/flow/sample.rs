//! How much of the table is looked at, and how far a share of it can be off.
//!
//! A dump is a random sample read in order: flows sit in buckets by a keyed hash, so the first k
//! of them are a uniform sample of the table. The margin is that of Wilson's interval at 95 %,
//! which stays honest for shares near 0 and 1, with the correction for a finite table.

use std::time::Duration;

/// Tables below this are read in full.
const FULL_BELOW: u64 = 200_000;
/// Flows of a sample.
const SAMPLE: u64 = 50_000;

/// How much of the table is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it.
    Exact,
    /// This many flows.
    Sample(u64),
    /// As many flows as can be read in this time.
    Budget(Duration),
}

impl Extent {
    /// What suits a table with `count` entries: all of it below 200,000, else 50,000 flows.
    pub(crate) fn for_table(count: u64) -> Extent {
        if count < FULL_BELOW {
            Extent::Exact
        } else {
            Extent::Sample(SAMPLE)
        }
    }

    /// Whether so much time is enough.
    pub(crate) fn is_over(self, elapsed: Duration) -> bool {
        matches!(self, Extent::Budget(time) if elapsed >= time)
    }
}

/// A sample and the table that it was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Flows that were looked at, those that did not match included.
    pub(crate) looked_at: u64,
    /// Entries in the table.
    pub(crate) table: u64,
}

impl Sample {
    /// Whether there is more in the table than was looked at.
    pub(super) fn is_part(self) -> bool {
        self.looked_at < self.table
    }

    /// How many flows of the table each flow of the sample represents.
    pub(super) fn scale(self) -> f64 {
        as_f64(self.table) / as_f64(self.looked_at.max(1))
    }
}

/// The number in the table, from the number in the sample.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // both are positive and small
pub(super) fn scaled(flows: u64, scale: f64) -> u64 {
    (as_f64(flows) * scale).round() as u64
}

/// How far `share`, found in a sample of `sampled` out of `total` flows, can be off at 95 %.
pub(super) fn margin(share: f64, sampled: u64, total: u64) -> f64 {
    margin_at(1.96, share, sampled, total)
}

/// The same for some twenty shares of one sample: all of them are right in 95 of 100 samples.
pub(super) fn margin_of_all(share: f64, sampled: u64, total: u64) -> f64 {
    margin_at(3.02, share, sampled, total)
}

fn margin_at(z: f64, share: f64, sampled: u64, total: u64) -> f64 {
    if sampled >= total {
        return 0.0;
    }
    if sampled == 0 {
        return 1.0;
    }
    let (sampled, total) = (as_f64(sampled), as_f64(total));
    // A sample of half the table knows more than one of as many flows out of an endless one.
    let weight = sampled * (total - 1.0).max(1.0) / (total - sampled);
    let square = z * z / weight;
    let middle = (share + square / 2.0) / (1.0 + square);
    let spread = (share * (1.0 - share) * square + square * square / 4.0).sqrt() / (1.0 + square);
    let (low, high) = (middle - spread, middle + spread);
    (share - low).max(high - share).clamp(0.0, 1.0)
}

/// The least share of all flows that `part` of `whole` flows, drawn at random, makes likely at 95 %.
pub(super) fn lower_bound(part: f64, whole: f64) -> f64 {
    const Z: f64 = 1.96;
    let (share, square) = (part / whole, Z * Z / whole);
    let middle = share + square / 2.0;
    let spread = (share * (1.0 - share) * square + square * square / 4.0).sqrt();
    ((middle - spread) / (1.0 + square)).max(0.0)
}

#[expect(clippy::cast_precision_loss)] // a table holds far less than 2^52 flows
pub(super) fn as_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_tables_are_read_in_full_and_large_ones_sampled() {
        for (count, extent) in [
            (0, Extent::Exact),
            (199_999, Extent::Exact),
            (200_000, Extent::Sample(50_000)),
            (10_000_000, Extent::Sample(50_000)),
        ] {
            assert_eq!(Extent::for_table(count), extent);
        }
    }

    #[test]
    fn only_a_budget_ends_by_time() {
        let budget = Extent::Budget(Duration::from_millis(5));
        for (extent, millis, is_over) in [
            (Extent::Exact, 9, false),
            (Extent::Sample(10), 9, false),
            (budget, 1, false),
            (budget, 9, true),
        ] {
            assert_eq!(extent.is_over(Duration::from_millis(millis)), is_over);
        }
    }

    #[test]
    fn a_margin_shrinks_with_the_sample_and_is_none_for_the_whole_table() {
        let near = |found: f64, expected: f64| (found - expected).abs() < 0.0002;
        assert!(near(margin(0.5, 10_000, 1_000_000_000), 0.0098));
        assert!(near(margin(0.5, 10_000, 20_000), 0.0069));
        assert!((margin(0.5, 20_000, 20_000)).abs() < f64::EPSILON);
        // Seeing none in 10,000 does not prove that there is none.
        let none = margin(0.0, 10_000, 1_000_000);
        assert!((0.0003..0.0005).contains(&none), "{none}");
        assert!(near(margin(1.0, 10_000, 1_000_000), none));
    }
}
