//! How often the table is walked: so that the walks take a small part of one processor.

use std::time::Duration;

/// How soon flows may have to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Nothing has to end: at most a two-hundredth of a processor.
    Calm,
    /// The high mark is near, or was reached: at most a tenth.
    Near,
    /// Flows have to end and none may: at most a thirtieth.
    Helpless,
}

impl Urgency {
    fn divisor(self) -> u32 {
        match self {
            Urgency::Calm => 200,
            Urgency::Near => 10,
            Urgency::Helpless => 30,
        }
    }
}

/// Between two walks at least.
const SHORTEST: Duration = Duration::from_millis(500);

/// When the next walk is due.
#[derive(Debug, Default)]
pub(super) struct WalkPace(Option<Walked>);

/// The last walk.
#[derive(Debug)]
struct Walked {
    /// By the time since the guard began.
    ended: Duration,
    cost: Duration,
    /// The rest after it at least.
    rest: Duration,
}

impl WalkPace {
    /// Whether a walk is due now, if flows may have to end so soon: that changes between two walks.
    pub(super) fn is_due(&self, now: Duration, urgency: Urgency) -> bool {
        self.0.as_ref().is_none_or(|last| {
            now.saturating_sub(last.ended) >= (last.cost * urgency.divisor()).max(last.rest)
        })
    }

    /// The time between two walks of a calm table.
    pub(super) fn calm(&self) -> Duration {
        let cost = self.0.as_ref().map(|last| last.cost);
        cost.unwrap_or_default() * Urgency::Calm.divisor()
    }

    /// A walk took so long and ended now. The smallest idle time that is asked for is in
    /// milliseconds; a quarter of it is soon enough.
    pub(super) fn walked(&mut self, cost: Duration, now: Duration, smallest: u32) {
        let quarter = Duration::from_millis(u64::from(smallest) / 4);
        self.0 = Some(Walked {
            ended: now,
            cost,
            rest: quarter.max(SHORTEST),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_comes_sooner_where_flows_may_have_to_end() {
        let mut pace = WalkPace::default();
        assert!(pace.is_due(Duration::ZERO, Urgency::Calm));
        let end = Duration::from_secs(50);
        pace.walked(Duration::from_millis(200), end, 1000);
        for (urgency, seconds) in [
            (Urgency::Near, 2),
            (Urgency::Helpless, 6),
            (Urgency::Calm, 40),
        ] {
            let due = end + Duration::from_secs(seconds);
            assert!(pace.is_due(due, urgency), "{urgency:?}");
            assert!(
                !pace.is_due(due.saturating_sub(SHORTEST), urgency),
                "{urgency:?}"
            );
        }
        // A quarter of the smallest idle time.
        pace.walked(Duration::ZERO, end, 8000);
        assert!(!pace.is_due(end + Duration::from_secs(1), Urgency::Near));
        assert!(pace.is_due(end + Duration::from_secs(2), Urgency::Near));
    }
}
