//! SIGINT, SIGTERM and SIGHUP as a question that is asked between two steps.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::plan::Signal;

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
    /// From now on signals are remembered. A system call that waits, such as a prompt's, returns.
    /// What whoever started us ignores stays ignored: nohup(1) works.
    ///
    /// # Errors
    /// If the kernel refuses a handler.
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

    /// The signal that was caught, if any.
    pub(crate) fn caught(&self) -> Option<Signal> {
        let mut signals = SIGNALS.into_iter().zip(&self.caught);
        let ((_, signal), _) = signals.find(|(_, caught)| caught.load(Ordering::SeqCst))?;
        Some(signal)
    }
}

/// The signals that are ignored, a bit each, as proc_pid_status(5) has them; none where /proc does
/// not show us.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
