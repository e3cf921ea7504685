//! What is gathered of flows before anything is done to them: who may be idle, and what would change.

use std::time::Duration;

use super::Expiry;
use crate::change::flows::Since;
use crate::flow::expire::{KeptWhy, Rules, Tally, Verdict};
use crate::flow::{Flow, Gather, Sightings};

/// Notes the flows that may turn out to be idle.
pub(super) struct Looker<'a> {
    pub(super) rules: &'a Rules,
    pub(super) since: Since,
    pub(super) sightings: Sightings,
}

impl Gather for Looker<'_> {
    fn add(&mut self, flow: &Flow<'_>, at: Duration) {
        let moment = self.since.moment(at);
        if self.rules.is_candidate(flow, moment.now) {
            self.sightings.add(flow, moment.at, 0);
        }
    }

    fn part(&self) -> Self {
        Looker {
            sightings: self.sightings.alike(),
            ..*self
        }
    }

    fn merge(&mut self, part: Self) {
        self.sightings.merge(part.sightings);
    }
}

/// Counts what would be done.
pub(super) struct Counter<'a> {
    pub(super) expiry: &'a Expiry,
    pub(super) since: Since,
    pub(super) tally: Tally,
    /// Flows that would be changed.
    pub(super) selected: u64,
}

impl Gather for Counter<'_> {
    fn add(&mut self, flow: &Flow<'_>, at: Duration) {
        let moment = self.since.moment(at);
        match self.expiry.verdict(flow, moment) {
            Verdict::Keep(why) => {
                let is_likely =
                    why == KeptWhy::NotProven && self.expiry.rules.is_likely_idle(flow, moment.now);
                self.tally.likely_idle += u64::from(is_likely);
                self.tally.keep(why);
            }
            Verdict::Unknown => self.tally.unknown += 1,
            Verdict::Shorten(one) | Verdict::Delete(one) => {
                self.tally.select(one);
                self.selected += 1;
            }
        }
    }

    fn part(&self) -> Self {
        Counter {
            tally: Tally::default(),
            selected: 0,
            ..*self
        }
    }

    fn merge(&mut self, part: Self) {
        self.tally.merge(&part.tally);
        self.selected += part.selected;
    }
}
