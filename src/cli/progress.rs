//! A progress bar on stderr, for what takes longer than a second, on a terminal alone.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::tunable::format_seconds;

use super::out::Out;

/// What is done sooner needs no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// How far something is. The bar goes away when this is dropped.
pub(super) struct Progress {
    what: &'static str,
    total: u64,
    start: Instant,
    wanted: bool,
    bar: OnceCell<ProgressBar>,
}

impl Progress {
    /// Progress of `what` towards `total`, which may turn out to be a little off.
    pub(super) fn new(out: Out, what: &'static str, total: u64) -> Self {
        Progress {
            what,
            total,
            start: Instant::now(),
            wanted: out.shows_progress(),
            bar: OnceCell::new(),
        }
    }

    /// Progress of watching for `time`. Where no bar can be shown, a line says how long it takes.
    pub(super) fn watching(out: Out, what: &'static str, time: Duration) -> Self {
        if !out.shows_progress() && time > PATIENCE {
            let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
            out.note(&format!("{what} for {}", format_seconds(seconds)));
        }
        Self::new(out, what, millis(time))
    }

    /// Shows how much of the time has passed.
    pub(super) fn watched(&self, time: Duration) {
        self.at(millis(time));
    }

    /// Shows how far it is, once it takes long.
    pub(super) fn at(&self, done: u64) {
        if self.wanted && self.start.elapsed() > PATIENCE {
            let bar = self.bar.get_or_init(|| self.draw());
            bar.set_position(done.min(self.total));
        }
    }

    fn draw(&self) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(Some(self.total), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {percent:>3} % {eta:>4}") {
            bar.set_style(style);
        }
        bar.set_message(self.what);
        bar
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
