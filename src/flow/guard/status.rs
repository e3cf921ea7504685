//! What a guard says of itself to `check` and `metrics`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Event, What};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct GuardStatus {
    pub(crate) pid: u32,
    /// RFC 3339, in UTC.
    pub(crate) since: String,
    /// When established flows were watched for their minimum; none where the history is trusted.
    pub(crate) watches_until: Option<String>,
    pub(crate) count: u64,
    pub(crate) max: u64,
    /// Flows.
    pub(crate) high: u64,
    pub(crate) low: u64,
    pub(crate) observed: u64,
    /// The mark is reached, and no flow may end.
    pub(crate) helpless: bool,
    /// Flows that ended since then, by class.
    pub(crate) ended: BTreeMap<String, u64>,
    pub(crate) passes: u64,
    pub(crate) last: Option<LastPass>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LastPass {
    pub(crate) time: String,
    pub(crate) flows: u64,
}

impl GuardStatus {
    /// Of a guard that begins.
    pub(crate) fn new(pid: u32, since: String, watches_until: Option<String>) -> Self {
        GuardStatus {
            pid,
            since,
            watches_until,
            count: 0,
            max: 0,
            high: 0,
            low: 0,
            observed: 0,
            helpless: false,
            ended: BTreeMap::new(),
            passes: 0,
            last: None,
        }
    }

    /// Notes a step that ended now.
    pub(crate) fn note(&mut self, event: &Event, now: String) {
        self.count = event.fill.count;
        self.max = event.fill.max;
        self.high = event.high;
        self.low = event.low;
        self.observed = event.observed as u64;
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
