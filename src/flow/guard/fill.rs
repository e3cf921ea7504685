//! The fill of the table against its marks, and how soon to read it again.

use std::time::Duration;

use super::GuardParameters;

/// The table's fill at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) count: u64,
    pub(crate) max: u64,
}

impl Fill {
    /// The count and max that were read, if a table has such a max.
    pub(crate) fn new(count: i64, max: i64) -> Option<Fill> {
        let (count, max) = (u64::try_from(count).ok()?, u64::try_from(max).ok()?);
        (max > 0).then_some(Fill { count, max })
    }

    /// How many flows have to end; none below the high mark.
    pub(crate) fn excess(self, marks: &GuardParameters) -> u64 {
        if self.count < marks.high.of(self.max) {
            return 0;
        }
        self.count - marks.low.of(self.max).min(self.count)
    }

    /// A share of the table, 0 to 1.
    pub(crate) fn share(self) -> f64 {
        self.count as f64 / self.max as f64
    }
}

/// How fast the table fills.
#[derive(Debug, Clone, Default)]
pub(crate) struct Growth {
    last: Option<(Duration, u64)>,
    /// Flows a second.
    rate: f64,
}

/// Between two polls at least.
const SHORTEST: Duration = Duration::from_millis(50);

impl Growth {
    /// Notes a count at a time of the guard's clock. A fast growth is believed at once and
    /// forgotten slowly.
    pub(crate) fn note(&mut self, at: Duration, count: u64) {
        if let Some((then, before)) = self.last {
            let seconds = at.saturating_sub(then).as_secs_f64();
            if seconds <= 0.0 {
                return;
            }
            let rate = (count as f64 - before as f64).max(0.0) / seconds;
            self.rate = rate.max(0.8 * self.rate);
        }
        self.last = Some((at, count));
    }

    /// When to read the count again, so that the next mark is not overrun: half the time that the
    /// growth takes to get there.
    pub(crate) fn next_poll(&self, fill: Fill, marks: &GuardParameters) -> Duration {
        let high = marks.high.of(fill.max);
        let room = if fill.count < high {
            high - fill.count
        } else {
            fill.max.saturating_sub(fill.count)
        };
        if self.rate <= 0.0 {
            return marks.poll;
        }
        let half = room as f64 / self.rate / 2.0;
        Duration::from_secs_f64(half.min(marks.poll.as_secs_f64())).max(SHORTEST)
    }

    /// Whether the high mark is reached within this time, if the growth goes on.
    pub(crate) fn reaches_high_within(
        &self,
        fill: Fill,
        marks: &GuardParameters,
        time: Duration,
    ) -> bool {
        let room = marks.high.of(fill.max).saturating_sub(fill.count);
        room as f64 <= self.rate * time.as_secs_f64()
    }
}
