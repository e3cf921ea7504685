//! SIGINT, SIGTERM and SIGHUP as a question that is asked between two steps.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// A signal that asks cttune to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Interrupt,
    Terminate,
    /// The terminal is gone.
    HangUp,
}

impl Signal {
    /// The exit code by which a shell knows it: 128 and its number.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Signal::HangUp => 129,
            Signal::Interrupt => 130,
            Signal::Terminate => 143,
        }
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
const SIGNALS: [(i32, Signal); 3] = [
    (SIGTERM, Signal::Terminate),
    (SIGHUP, Signal::HangUp),
    (SIGINT, Signal::Interrupt),
];

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
        for ((number, _), caught) in SIGNALS.into_iter().zip(&signals.caught) {
            if ignored & 1 << (number - 1) == 0 {
                signal_hook::flag::register(number, Arc::clone(caught))?;
            }
        }
        Ok(signals)
    }

    pub(crate) fn caught(&self) -> Option<Signal> {
        let mut signals = SIGNALS.into_iter().zip(&self.caught);
        let ((_, signal), _) = signals.find(|(_, caught)| caught.load(Ordering::SeqCst))?;
        Some(signal)
    }

    /// Whether this signal was caught; it is forgotten.
    pub(crate) fn take(&self, signal: Signal) -> bool {
        let mut signals = SIGNALS.into_iter().zip(&self.caught);
        signals.any(|((_, one), caught)| one == signal && caught.swap(false, Ordering::SeqCst))
    }

    /// Whether this signal was caught, whatever others were.
    pub(crate) fn has(&self, signal: Signal) -> bool {
        let mut signals = SIGNALS.into_iter().zip(&self.caught);
        signals.any(|((_, one), caught)| one == signal && caught.load(Ordering::SeqCst))
    }
}

/// The signals that are ignored, a bit each, as in proc_pid_status(5); none where /proc does not
/// show this process.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
