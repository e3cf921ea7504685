//! How flows age: those of one timeout, untouched, clamped and re-aged.

use std::sync::Arc;

use super::steps::Steps;
use super::watch::Turnover;
use crate::flow::sample::as_f64;

/// What may be done with the flows: nothing, clamp, re-age.
pub(super) const WAYS: usize = 3;

/// The flows of one timeout.
#[derive(Debug, Clone)]
pub(super) struct Ages {
    /// The time left of flows that end when it is over.
    idle: [Steps; WAYS],
    /// The same of flows that began while they were watched.
    began: [Steps; WAYS],
    /// Flows that go on.
    lasting: u64,
    pub(super) turnover: Turnover,
    /// Flows that would have lasted unless they closed, and did.
    pub(super) lasted: u64,
    flows: u64,
    /// The timeout of new flows.
    timeouts: [u32; WAYS],
}

/// What becomes of one flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It sends, or no packet counts its time.
    Lasts,
    /// It began while the table was watched, and has so much time left.
    Began([u32; WAYS]),
    /// It ends when this is over.
    Ends([u32; WAYS]),
}

impl Ages {
    pub(super) fn new(thresholds: &Arc<[u32]>, timeouts: [u32; WAYS]) -> Self {
        let steps = || std::array::from_fn(|_| Steps::new(thresholds));
        Ages {
            idle: steps(),
            began: steps(),
            lasting: 0,
            turnover: Turnover::default(),
            lasted: 0,
            flows: 0,
            timeouts,
        }
    }

    pub(super) fn add(&mut self, fate: Fate) {
        self.flows += 1;
        let (steps, times) = match fate {
            Fate::Lasts => {
                self.lasting += 1;
                return;
            }
            Fate::Began(times) => {
                self.turnover.began += 1;
                (&mut self.began, times)
            }
            Fate::Ends(times) => (&mut self.idle, times),
        };
        for (steps, time) in steps.iter_mut().zip(times) {
            // One with 600 s left has ended after 600 s.
            steps.add(time.saturating_sub(1));
        }
    }

    /// Adds what a part has counted.
    pub(super) fn merge(&mut self, part: &Ages) {
        let parts = part.idle.iter().chain(&part.began);
        for (steps, part) in self.idle.iter_mut().chain(&mut self.began).zip(parts) {
            steps.merge(part);
        }
        self.lasting += part.lasting;
        self.turnover.began += part.turnover.began;
        self.lasted += part.lasted;
        self.flows += part.flows;
    }

    /// How many flows there are after so many seconds, if they were watched for `watched`.
    pub(super) fn after(&self, seconds: u32, watched: Option<f64>) -> [f64; WAYS] {
        let began = self
            .began
            .iter()
            .map(|steps| as_f64(steps.at_least(seconds)));
        let idle = self
            .idle
            .iter()
            .map(|steps| as_f64(steps.at_least(seconds)));
        let closing = self.turnover.closing();
        let mut after = [0.0; WAYS];
        let ways = after.iter_mut().zip(idle.zip(began)).zip(self.timeouts);
        for ((after, (idle, began)), timeout) in ways {
            let mut lasting = as_f64(self.lasting) + closing * as_f64(self.turnover.began);
            let mut coming = 0.0;
            if let Some(watched) = watched {
                let lost = self.turnover.decline(watched) * f64::from(seconds);
                lasting = (lasting - lost).max(0.0);
                let rate = (1.0 - closing) * as_f64(self.turnover.began) / watched;
                coming = rate * f64::from(seconds.min(timeout));
            }
            *after = lasting + (1.0 - closing) * began + idle + coming;
        }
        after
    }

    pub(super) fn flows(&self) -> u64 {
        self.flows
    }
}
