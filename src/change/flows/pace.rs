//! How fast flows are changed, and waits that a signal ends.

use std::time::{Duration, Instant};

use super::FlowError;
use crate::change::signal::Signal;

/// Flows in a second, where a program listens to the events of the changes.
const LISTENED_RATE: u32 = 20_000;

/// How long a wait goes on without asking for signals.
const NAP: Duration = Duration::from_millis(50);

/// A limit of flows in a second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    rate: Option<u32>,
    is_listened_to: bool,
}

/// A pace from its first change on.
#[derive(Debug)]
pub(crate) struct Run {
    rate: Option<u32>,
    begun: Instant,
    sent: u32,
}

impl Pace {
    /// What the operator asks for; otherwise no limit, but where a program listens.
    pub(crate) fn new(asked: Option<u32>, is_listened_to: bool) -> Self {
        Pace {
            rate: asked.or(is_listened_to.then_some(LISTENED_RATE)),
            is_listened_to,
        }
    }

    /// The limit, where a listener is slowed down for.
    pub(crate) fn for_listener(self) -> Option<u32> {
        self.rate.filter(|_| self.is_listened_to)
    }

    /// How many changes that allows in so many seconds; none where it sets no limit.
    pub(crate) fn most_in(self, seconds: u32) -> Option<u64> {
        Some(u64::from(self.rate?) * u64::from(seconds))
    }

    pub(crate) fn start(self) -> Run {
        Run {
            rate: self.rate,
            begun: Instant::now(),
            sent: 0,
        }
    }
}

impl Run {
    /// So many changes were sent: waits until more may be.
    pub(crate) fn sent(
        &mut self,
        changes: u32,
        stop: &dyn Fn() -> Option<Signal>,
    ) -> Result<(), FlowError> {
        self.sent = self.sent.saturating_add(changes);
        let Some(rate) = self.rate.filter(|_| changes > 0) else {
            return Ok(());
        };
        let due = Duration::from_secs_f64(f64::from(self.sent) / f64::from(rate.max(1)));
        wait(due.saturating_sub(self.begun.elapsed()), stop, |_| Ok(()))
    }
}

/// Waits, unless a signal comes; `meanwhile` is called all the time with how long it has been.
pub(crate) fn wait(
    time: Duration,
    stop: &dyn Fn() -> Option<Signal>,
    mut meanwhile: impl FnMut(Duration) -> Result<(), FlowError>,
) -> Result<(), FlowError> {
    let begun = Instant::now();
    loop {
        if let Some(signal) = stop() {
            return Err(FlowError::Stopped(signal));
        }
        meanwhile(begun.elapsed())?;
        let left = time.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(NAP));
    }
}
