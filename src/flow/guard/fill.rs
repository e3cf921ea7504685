//! The fill of the table against its marks, and how soon to read it again.

use std::time::Duration;

use super::GuardParameters;
use crate::flow::sample::as_f64;

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

    /// The share of the table that is full, 0 to 1.
    pub(crate) fn share(self) -> f64 {
        self.share_of(self.count)
    }

    /// The share of the table that so many flows are.
    pub(crate) fn share_of(self, flows: u64) -> f64 {
        as_f64(flows) / as_f64(self.max)
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
            let rate = as_f64(count.saturating_sub(before)) / seconds;
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
        let half = as_f64(room) / self.rate / 2.0;
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
        as_f64(room) <= self.rate * time.as_secs_f64()
    }
}
