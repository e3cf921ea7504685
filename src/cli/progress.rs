//! How far a long walk over the table has come: one line on the terminal, beyond a second.

use std::cell::Cell;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use dialoguer::console::Term;

use crate::render;

/// Work that is done sooner shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);
/// Time between two updates of the line.
const PERIOD: Duration = Duration::from_millis(100);

/// The line. It is taken away again when this is dropped.
#[derive(Debug)]
pub(super) struct Progress {
    term: Option<Term>,
    what: &'static str,
    /// Flows in the table, as far as they are known.
    total: Option<u64>,
    begun: Instant,
    shown: Cell<Option<Instant>>,
}

impl Progress {
    /// Of work on so many flows. Nothing is shown where stderr is no terminal.
    pub(super) fn new(what: &'static str, total: Option<i64>) -> Self {
        Progress {
            term: io::stderr().is_terminal().then(Term::stderr),
            what,
            total: total.and_then(|total| u64::try_from(total).ok()),
            begun: Instant::now(),
            shown: Cell::new(None),
        }
    }

    /// So many flows were looked at.
    pub(super) fn tell(&self, looked_at: u64) {
        let is_early = self.begun.elapsed() < PATIENCE;
        let is_recent = self.shown.get().is_some_and(|at| at.elapsed() < PERIOD);
        let Some(term) = self.term.as_ref().filter(|_| !is_early && !is_recent) else {
            return;
        };
        self.shown.set(Some(Instant::now()));
        let line = render::expire::progress(self.what, looked_at, self.total);
        // A terminal that is gone is no reason to stop.
        let _ = term.clear_line().and_then(|()| term.write_str(&line));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let (Some(term), Some(_)) = (&self.term, self.shown.get()) {
            let _ = term.clear_line();
        }
    }
}
