//! A question on a terminal that a signal ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::pthread::{Pthread, pthread_kill, pthread_self};

use super::failure::{FAILED, Failure};
use crate::change::{Signal, Signals};
use crate::diagnostic::told;

/// Asks, while a second thread repeats a caught signal for this thread until the answer is there.
/// A single signal would be lost if it came just before the read, or to another thread.
pub(super) fn interruptible<T>(signals: &Signals, ask: impl FnOnce() -> T) -> anyhow::Result<T> {
    const PAUSE: Duration = Duration::from_millis(20);
    // A number in glibc, a pointer in musl, which no other thread may have.
    #[allow(clippy::cast_possible_truncation)] // it is as wide as a pointer everywhere
    let asker = pthread_self() as usize;
    let answered = AtomicBool::new(false);
    thread::scope(|scope| {
        let pass_on = || {
            while !answered.load(Ordering::SeqCst) {
                let caught = signals.caught().map(Signal::name);
                if let Some(Ok(signal)) = caught.map(str::parse::<nix::sys::signal::Signal>) {
                    let _ = pthread_kill(asker as Pthread, signal);
                }
                thread::park_timeout(PAUSE);
            }
        };
        let watcher = thread::Builder::new()
            .name("signals".into())
            .spawn_scoped(scope, pass_on)
            .map_err(cannot_ask)?;
        let answer = ask();
        answered.store(true, Ordering::SeqCst);
        watcher.thread().unpark();
        Ok(answer)
    })
}

pub(super) fn cannot_ask(error: impl Into<anyhow::Error>) -> Failure {
    let message = told(&error.into().context("cannot ask"));
    Failure::new(FAILED, message).unchanged()
}
