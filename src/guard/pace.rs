//! How often the table is walked: so that the walks take a small part of one processor.

use std::time::Duration;

/// How soon flows may have to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Nothing has to end: at most a hundredth of a processor.
    Calm,
    /// The high mark is near, or was reached: at most a tenth.
    Near,
    /// Flows have to end and none may: at most a thirtieth.
    Helpless,
}

impl Urgency {
    fn divisor(self) -> u32 {
        match self {
            Urgency::Calm => 100,
            Urgency::Near => 10,
            Urgency::Helpless => 30,
        }
    }
}

/// Between two walks at least.
const SHORTEST: Duration = Duration::from_millis(500);

/// When the next walk is due.
#[derive(Debug, Default)]
pub(super) struct WalkPace {
    /// By the time since the guard began.
    next: Duration,
    cost: Duration,
}

impl WalkPace {
    pub(super) fn is_due(&self, now: Duration) -> bool {
        now >= self.next
    }

    /// The time between two walks of a calm table.
    pub(super) fn calm(&self) -> Duration {
        self.cost * Urgency::Calm.divisor()
    }

    /// A walk took so long and ended now. The smallest idle time that is asked for is in
    /// milliseconds; a quarter of it is soon enough.
    pub(super) fn walked(
        &mut self,
        cost: Duration,
        now: Duration,
        urgency: Urgency,
        smallest: u32,
    ) {
        self.cost = cost;
        let quarter = Duration::from_millis(u64::from(smallest) / 4);
        self.next = now + (cost * urgency.divisor()).max(quarter).max(SHORTEST);
    }
}
