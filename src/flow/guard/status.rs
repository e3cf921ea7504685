//! What a guard says of itself to `check` and `metrics`, and how they find it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Class, Event, What};

/// Seconds after which a guard that runs has written its status again.
const LATE: u64 = 30;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GuardStatus {
    pub(crate) pid: u32,
    /// RFC 3339, in UTC.
    pub(crate) since: String,
    /// Milliseconds of `CLOCK_MONOTONIC` at which this was written.
    pub(crate) written: u64,
    /// When established flows were watched for their minimum; none where the history is trusted.
    pub(crate) watches_until: Option<String>,
    pub(crate) count: u64,
    pub(crate) max: u64,
    /// Flows.
    pub(crate) high: u64,
    pub(crate) low: u64,
    pub(crate) observed: u64,
    /// Flows that could end and are not watched: memory allows no more.
    #[serde(default)]
    pub(crate) unwatched: u64,
    /// The mark is reached, and no flow may end.
    pub(crate) helpless: bool,
    /// Flows that ended since then, by class.
    pub(crate) ended: BTreeMap<String, u64>,
    pub(crate) passes: u64,
    pub(crate) last: Option<LastPass>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct LastPass {
    pub(crate) time: String,
    pub(crate) flows: u64,
}

/// A status as another process finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GuardSeen {
    pub(crate) status: GuardStatus,
    /// Seconds since it was written.
    pub(crate) age: u64,
    /// Its lock is free: the process has ended.
    pub(crate) has_ended: bool,
}

impl GuardSeen {
    /// Whether the guard works; otherwise it was killed, or hangs.
    pub(crate) fn runs(&self) -> bool {
        !self.has_ended && self.age <= LATE
    }

    /// Whether it runs and no flow may end.
    pub(crate) fn is_helpless(&self) -> bool {
        self.runs() && self.status.helpless
    }

    /// The flows that ended, of each class that there is.
    pub(crate) fn ended(&self) -> impl Iterator<Item = (Class, u64)> {
        let of = |class: Class| self.status.ended.get(class.name()).copied().unwrap_or(0);
        Class::ALL.into_iter().map(move |class| (class, of(class)))
    }

    /// All flows that ended.
    pub(crate) fn ended_flows(&self) -> u64 {
        self.ended().map(|(_, flows)| flows).sum()
    }
}

impl GuardStatus {
    /// Of a guard that begins.
    pub(crate) fn new(pid: u32, since: String) -> Self {
        GuardStatus {
            pid,
            since,
            ..GuardStatus::default()
        }
    }

    /// Notes a step that ended now.
    pub(crate) fn note(&mut self, event: &Event, now: String) {
        self.count = event.fill.count;
        self.max = event.fill.max;
        self.high = event.high;
        self.low = event.low;
        self.observed = event.observed as u64;
        self.unwatched = event.unwatched;
        self.helpless = event.is_helpless;
        let What::Ended { ended, .. } = &event.what else {
            return;
        };
        self.passes += 1;
        for (class, flows) in ended.iter() {
            *self.ended.entry(class.name().to_owned()).or_default() += flows;
        }
        self.last = Some(LastPass {
            time: now,
            flows: ended.total(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_that_was_silent_for_long_or_has_let_its_lock_go_does_not_run() {
        for (age, has_ended, runs) in [
            (0, false, true),
            (30, false, true),
            (31, false, false),
            (0, true, false),
        ] {
            let status = GuardStatus {
                helpless: true,
                ..GuardStatus::default()
            };
            let seen = GuardSeen {
                status,
                age,
                has_ended,
            };
            assert_eq!(
                (seen.runs(), seen.is_helpless()),
                (runs, runs),
                "{age} {has_ended}"
            );
        }
    }

    #[test]
    fn classes_that_this_program_does_not_know_are_passed_over() {
        let ended = [("close", 5), ("other", 7)];
        let ended = ended.map(|(class, flows)| (class.to_owned(), flows));
        let status = GuardStatus {
            ended: ended.into(),
            ..GuardStatus::default()
        };
        let seen = GuardSeen {
            status,
            age: 0,
            has_ended: false,
        };
        assert_eq!(seen.ended_flows(), 5);
        assert_eq!(seen.ended().next(), Some((Class::Close, 5)));
    }
}
