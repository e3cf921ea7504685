//! SIGINT, SIGTERM and SIGHUP as a question that is asked between two steps.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::kernel::host;

/// A signal that asks cttune to stop, with its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// The terminal is gone.
    HangUp = 1,
    Interrupt = 2,
    Terminate = 15,
}

impl Signal {
    /// The exit code by which a shell knows it: 128 and its number.
    pub(crate) fn exit_code(self) -> u8 {
        128 + self as u8
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Signal::Interrupt => "SIGINT",
            Signal::Terminate => "SIGTERM",
            Signal::HangUp => "SIGHUP",
        }
    }
}

/// SIGINT comes last: `console` raises it in our own process for any signal that interrupts a
/// prompt, and would hide the one that came.
const SIGNALS: [Signal; 3] = [Signal::Terminate, Signal::HangUp, Signal::Interrupt];

/// Remembers these signals instead of dying from them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals {
    caught: [Arc<AtomicBool>; 3],
}

impl Signals {
    /// Remembers signals from now on. A system call that waits, such as a prompt's, returns.
    /// Signals that were ignored when cttune started stay ignored: nohup(1) works.
    pub(crate) fn catch() -> io::Result<Self> {
        let signals = Signals::default();
        let ignored = ignored();
        for (signal, caught) in SIGNALS.into_iter().zip(&signals.caught) {
            let number = signal as i32;
            if ignored & 1 << (number - 1) == 0 {
                signal_hook::flag::register(number, Arc::clone(caught))?;
            }
        }
        Ok(signals)
    }

    pub(crate) fn caught(&self) -> Option<Signal> {
        SIGNALS.into_iter().find(|signal| self.has(*signal))
    }

    /// Whether this signal was caught; it is forgotten.
    pub(crate) fn take(&self, signal: Signal) -> bool {
        let mut signals = SIGNALS.into_iter().zip(&self.caught);
        signals.any(|(one, caught)| one == signal && caught.swap(false, Ordering::SeqCst))
    }

    /// Whether this signal was caught, whatever others were.
    pub(crate) fn has(&self, signal: Signal) -> bool {
        let mut signals = SIGNALS.into_iter().zip(&self.caught);
        signals.any(|(one, caught)| one == signal && caught.load(Ordering::SeqCst))
    }
}

/// The signals that are ignored, a bit each; none where /proc does not show this process.
fn ignored() -> u64 {
    let mask = host::read_own_status("SigIgn").unwrap_or_default();
    u64::from_str_radix(&mask, 16).unwrap_or(0)
}
