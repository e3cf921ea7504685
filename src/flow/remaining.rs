//! How long flows still live: a histogram of seconds, fine enough for a median.

/// Exact below this many seconds; above, each power of two is cut into half as many pieces, so
/// that a time is off by 0.1 % at most.
const FINE: u32 = 2048;

/// Remaining times, counted.
#[derive(Debug, Default)]
pub(super) struct Remaining {
    counts: Vec<u32>,
    total: u64,
}

impl Remaining {
    pub(super) fn add(&mut self, seconds: u32) {
        let place = place(seconds);
        if place >= self.counts.len() {
            self.counts.resize(place + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(place) {
            *count = count.saturating_add(1);
        }
        self.total += 1;
    }

    pub(super) fn merge(&mut self, other: &Remaining) {
        if other.counts.len() > self.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
        self.total += other.total;
    }

    /// The time that half of the flows reach; none without flows.
    pub(super) fn median(&self) -> Option<u32> {
        let mut left = self.total.div_ceil(2);
        for (place, count) in self.counts.iter().enumerate() {
            left = left.saturating_sub(u64::from(*count));
            if left == 0 && self.total > 0 {
                return Some(seconds(place));
            }
        }
        None
    }
}

/// How far a number must be shifted to be fine.
fn shift(seconds: u32) -> u32 {
    (u32::BITS - seconds.leading_zeros()).saturating_sub(FINE.ilog2())
}

fn place(seconds: u32) -> usize {
    let shift = shift(seconds);
    ((shift * FINE / 2) + (seconds >> shift)) as usize
}

/// The middle of the times that share a place.
fn seconds(place: usize) -> u32 {
    let place = u32::try_from(place).unwrap_or(u32::MAX);
    let half = FINE / 2;
    let shift = (place / half).saturating_sub(1);
    let start = u64::from(place - shift * half) << shift;
    let middle = start + (1_u64 << shift) / 2;
    u32::try_from(middle).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn median(times: impl IntoIterator<Item = u32>) -> Option<u32> {
        let mut remaining = Remaining::default();
        for time in times {
            remaining.add(time);
        }
        remaining.median()
    }

    #[test]
    fn half_of_the_flows_reach_the_median() {
        for (times, expected) in [
            (&[][..], None),
            (&[7], Some(7)),
            (&[0, 0, 0], Some(0)),
            (&[1, 2, 3], Some(2)),
            (&[1, 2, 3, 4], Some(2)),
            (&[600, 10, 600], Some(600)),
        ] {
            assert_eq!(median(times.iter().copied()), expected, "{times:?}");
        }
    }

    #[test]
    fn the_median_of_five_days_is_off_by_minutes_at_most() {
        let found = median(1..=432_000).unwrap();
        assert!(found.abs_diff(216_000) < 216, "{found}");
    }

    proptest! {
        #[test]
        fn a_time_is_off_by_a_thousandth_at_most(time in any::<u32>()) {
            let found = median([time]).unwrap();
            prop_assert!(found.abs_diff(time) <= time / 1000);
        }
    }
}
