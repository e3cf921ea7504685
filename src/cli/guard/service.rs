//! What a running guard tells: lines, systemd, and the file that `check` and `metrics` read.

use std::io::{IsTerminal, stdin};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use super::journal;
use crate::change::{Signal, Signals};
use crate::cli::args::Guard as Args;
use crate::cli::out::Out;
use crate::flow::guard::{Class, Event, GuardStatus, What};
use crate::guard::{Guard, Lender, remove_status, write_status};
use crate::render::guard as render;

/// systemd hears, and the file is written, so often at least.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// How long a wait goes on without asking for signals.
const NAP: Duration = Duration::from_millis(200);

pub(super) struct Service {
    out: Out,
    status: GuardStatus,
    /// A dry run writes no file.
    is_real: bool,
    dry_run: bool,
    begun: Instant,
    /// For how long established flows have to be watched from then on, if they have to be.
    to_watch: Option<Duration>,
    reported: Option<Instant>,
    lender: Option<Lender>,
}

impl Service {
    pub(super) fn start(guard: &Guard, args: &Args, out: Out) -> Self {
        out.note(&begins(guard, args.dry_run));
        let is_real = !args.dry_run && !args.once;
        let lender = is_real.then(Lender::open);
        if let Some(Err(error)) = &lender {
            out.note(&format!("note: what is watched cannot be lent: {error}"));
        }
        Service {
            out,
            status: GuardStatus::new(std::process::id(), time_in(Duration::ZERO)),
            is_real,
            dry_run: args.dry_run,
            begun: Instant::now(),
            to_watch: to_watch(guard),
            reported: None,
            lender: lender.and_then(Result::ok),
        }
    }

    /// Tells what a step did; of the last one too that it did nothing.
    pub(super) fn tell(&mut self, event: &Event, is_last: bool) {
        let is_news = !matches!(event.what, What::Rested | What::Observed);
        self.status.note(event, time_in(Duration::ZERO));
        let line = || render::line(event, self.dry_run);
        if (is_news || is_last) && !(self.is_real && journal::write(event)) {
            self.out.event(line, || render::json(event));
        }
        if self.reported.is_none() {
            notify(&[NotifyState::Ready]);
        }
        if is_news || self.is_due() {
            notify(&[NotifyState::Status(&render::status(event))]);
            self.report();
        }
    }

    /// Shows that the guard is alive, however long a step or a wait takes.
    pub(super) fn show_life(&mut self) {
        if self.reported.is_some() && self.is_due() {
            self.report();
        }
    }

    fn is_due(&self) -> bool {
        let last = self.reported;
        last.is_none_or(|last| last.elapsed() >= REPORT_EVERY)
    }

    fn report(&mut self) {
        self.reported = Some(Instant::now());
        notify(&[NotifyState::Watchdog]);
        if !self.is_real {
            return;
        }
        // By the clock of now, which may have been set, or have run on while the machine slept.
        let left = self
            .to_watch
            .map(|time| time.saturating_sub(self.begun.elapsed()));
        self.status.watches_until = left.filter(|left| !left.is_zero()).map(time_in);
        if let Err(error) = write_status(&self.status) {
            self.out.note(&format!("note: {error}"));
        }
    }

    /// Other parameters hold.
    pub(super) fn reloads(&mut self, guard: &Guard) {
        self.out.note(&begins(guard, !self.is_real));
        self.to_watch = to_watch(guard);
        self.reported = None;
    }

    /// Waits, or until SIGHUP, and lends what was watched; whether the guard goes on.
    pub(super) fn wait(&mut self, time: Duration, signals: &Signals, guard: &Guard) -> bool {
        let begun = Instant::now();
        loop {
            if ended_by(signals).is_some() {
                return false;
            }
            self.show_life();
            if let Some(lender) = &self.lender {
                lender.serve(&guard.lend());
            }
            let left = time.saturating_sub(begun.elapsed());
            if left.is_zero() || signals.has(Signal::HangUp) {
                return true;
            }
            std::thread::sleep(left.min(NAP));
        }
    }

    /// The guard ends.
    pub(super) fn end(&self) {
        notify(&[NotifyState::Stopping]);
        if self.is_real {
            remove_status();
        }
    }
}

/// RFC 3339, in UTC.
fn time_in(time: Duration) -> String {
    let time = jiff::SignedDuration::try_from(time).unwrap_or_default();
    let time = jiff::Timestamp::now().saturating_add(time);
    time.map_or_else(
        |_| String::new(),
        |time| time.strftime("%FT%TZ").to_string(),
    )
}

fn begins(guard: &Guard, dry_run: bool) -> String {
    render::begins(guard.parameters(), guard.is_history_known(), dry_run)
}

fn to_watch(guard: &Guard) -> Option<Duration> {
    let millis = guard.parameters().min_idle.of(Class::Established);
    let is_known = guard.parameters().trust_history && guard.is_history_known();
    (!is_known).then(|| Duration::from_millis(millis.into()))
}

/// Nobody has to listen.
fn notify(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}

/// The signal that ends a guard. SIGHUP makes a service read its profile again; in a terminal it
/// says that the terminal is gone.
pub(super) fn ended_by(signals: &Signals) -> Option<Signal> {
    let ends = [Signal::Terminate, Signal::Interrupt];
    let hang_up = stdin().is_terminal().then_some(Signal::HangUp);
    ends.into_iter()
        .chain(hang_up)
        .find(|signal| signals.has(*signal))
}
