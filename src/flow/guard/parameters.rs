//! What the operator asks of the guard.

use std::fmt;
use std::time::Duration;

use super::Class;
use crate::flow::Terms;

/// A mark: a share of the table, or a number of flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Tenths of a percent.
    Share(u32),
    Flows(u64),
}

impl Mark {
    /// `85%`, `62.5%`, or a number of flows.
    pub(crate) fn parse(text: &str) -> Option<Mark> {
        let Some(percent) = text.strip_suffix('%') else {
            let flows = text.parse().ok().filter(|flows| *flows > 0);
            return flows.map(Mark::Flows);
        };
        let (whole, part) = percent.split_once('.').unwrap_or((percent, "0"));
        let part: u8 = part.parse().ok().filter(|part| *part < 10)?;
        let tenths = whole.parse::<u32>().ok()?.checked_mul(10)? + u32::from(part);
        (1..=1000).contains(&tenths).then_some(Mark::Share(tenths))
    }

    /// The flows of the mark in a table of this size.
    pub(crate) fn of(self, max: u64) -> u64 {
        match self {
            Mark::Share(tenths) => max.saturating_mul(tenths.into()) / 1000,
            Mark::Flows(flows) => flows,
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mark::Share(tenths) => write!(formatter, "{}%", f64::from(*tenths) / 10.0),
            Mark::Flows(flows) => write!(formatter, "{flows}"),
        }
    }
}

/// The milliseconds for which a flow of each class has to be silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MinIdle([u32; Class::ALL.len()]);

/// RFC 5382, REQ-5: what an idle established connection is left at least, in seconds.
pub(crate) const ESTABLISHED_FLOOR: u32 = 7440;

impl Default for MinIdle {
    /// A close, a lost SYN or an unanswered packet costs its sender a retransmission at most. An
    /// idle established connection is left until keepalive probes of the usual two hours, nine of
    /// them 75 s apart, would have found it dead.
    fn default() -> Self {
        MinIdle([1, 1, 3, 10, 10, 120, 7200 + 9 * 75].map(|seconds| seconds * 1000))
    }
}

impl MinIdle {
    /// Milliseconds.
    pub(crate) fn of(&self, class: Class) -> u32 {
        self.0.get(class as usize).copied().unwrap_or(u32::MAX)
    }

    pub(crate) fn set(&mut self, class: Class, seconds: u32) {
        if let Some(place) = self.0.get_mut(class as usize) {
            *place = seconds.saturating_mul(1000);
        }
    }

    /// Milliseconds.
    pub(crate) fn smallest(&self) -> u32 {
        self.0.into_iter().min().unwrap_or(0)
    }
}

/// Every parameter of the guard, defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GuardParameters {
    /// From here on flows end.
    pub(crate) high: Mark,
    /// Down to here.
    pub(crate) low: Mark,
    pub(crate) min_idle: MinIdle,
    /// Flows that never end; any of these.
    pub(crate) keep: Vec<Terms>,
    /// Flows that end in a second at most.
    pub(crate) rate: Option<u32>,
    /// Between two readings of the count at most.
    pub(crate) poll: Duration,
    /// The classes that may end, the first one first.
    pub(crate) order: Vec<Class>,
    /// Bytes that the watched flows take at most.
    pub(crate) memory: u64,
    /// Whether flows count as idle that the history of the timeout tells to be.
    pub(crate) trust_history: bool,
}

/// What a watched flow takes.
const FLOW_BYTES: u64 = 24;

impl GuardParameters {
    /// Flows that are watched at most.
    pub(crate) fn most(&self) -> usize {
        usize::try_from(self.memory / FLOW_BYTES).unwrap_or(usize::MAX)
    }
}

impl Default for GuardParameters {
    fn default() -> Self {
        GuardParameters {
            high: Mark::Share(850),
            low: Mark::Share(750),
            min_idle: MinIdle::default(),
            keep: Vec::new(),
            rate: None,
            poll: Duration::from_secs(5),
            order: Class::ALL.to_vec(),
            memory: 128 << 20,
            trust_history: false,
        }
    }
}
