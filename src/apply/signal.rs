//! SIGINT, SIGTERM and SIGHUP as a question that is asked between two steps.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::plan::Signal;

/// Remembers the last of these signals instead of dying from it.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    caught: Arc<AtomicUsize>,
}

impl Signals {
    /// From now on signals are remembered. A system call that waits, such as a prompt's, returns.
    ///
    /// # Errors
    /// If the kernel refuses a handler.
    pub fn catch() -> io::Result<Self> {
        let signals = Signals::default();
        for (number, slot) in [(SIGINT, 1), (SIGTERM, 2), (SIGHUP, 3)] {
            signal_hook::flag::register_usize(number, Arc::clone(&signals.caught), slot)?;
        }
        Ok(signals)
    }

    /// The signal that was caught, if any.
    pub fn caught(&self) -> Option<Signal> {
        match self.caught.load(Ordering::SeqCst) {
            1 => Some(Signal::Interrupt),
            2 => Some(Signal::Terminate),
            3 => Some(Signal::HangUp),
            _ => None,
        }
    }
}
