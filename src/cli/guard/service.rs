//! What a running guard tells: lines, systemd, and the file that `check` and `metrics` read.

use std::io::{IsTerminal, stdin};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::change::{Signal, Signals};
use crate::cli::args::Guard as Args;
use crate::cli::out::Out;
use crate::flow::guard::{Class, Event, GuardParameters, GuardStatus, What};
use crate::guard::{Guard, Lender, remove_status, write_status};
use crate::render::guard as render;

/// systemd hears, and the file is written, so often at least.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// How long a wait goes on without asking for signals.
const NAP: Duration = Duration::from_millis(50);

pub(super) struct Service {
    out: Out,
    status: GuardStatus,
    /// A dry run writes no file.
    is_real: bool,
    once: bool,
    reported: Option<Instant>,
    lender: Option<Lender>,
}

impl Service {
    pub(super) fn start(parameters: &GuardParameters, args: &Args, out: Out) -> Self {
        out.note(&render::begins(parameters, args.dry_run));
        let is_real = !args.dry_run && !args.once;
        let lender = is_real.then(Lender::open);
        if let Some(Err(error)) = &lender {
            out.note(&format!("note: what is watched cannot be lent: {error}"));
        }
        Service {
            out,
            status: GuardStatus::new(std::process::id(), time_in(0), watches_until(parameters)),
            is_real,
            once: args.once,
            reported: None,
            lender: lender.and_then(Result::ok),
        }
    }

    /// Tells what a step did.
    pub(super) fn tell(&mut self, event: &Event) {
        let is_news = !matches!(event.what, What::Rested | What::Observed);
        self.status.note(event, time_in(0));
        if is_news || self.once && event.what == What::Rested {
            self.out
                .event(|| render::line(event), || render::json(event));
        }
        let is_due = self
            .reported
            .is_none_or(|last| last.elapsed() >= REPORT_EVERY);
        if !is_due && !is_news {
            return;
        }
        if self.reported.is_none() {
            notify(&[NotifyState::Ready]);
        }
        self.reported = Some(Instant::now());
        notify(&[
            NotifyState::Watchdog,
            NotifyState::Status(&render::status(event)),
        ]);
        if self.is_real
            && let Err(error) = write_status(&self.status)
        {
            self.out.note(&format!("note: {error}"));
        }
    }

    /// Other parameters hold.
    pub(super) fn reloads(&mut self, parameters: &GuardParameters) {
        self.out.note(&render::begins(parameters, !self.is_real));
        self.status.watches_until = watches_until(parameters);
        self.reported = None;
    }

    /// Waits, or until SIGHUP, and lends what was watched; whether the guard goes on.
    pub(super) fn wait(&self, time: Duration, signals: &Signals, guard: &Guard) -> bool {
        let begun = Instant::now();
        loop {
            if ended_by(signals).is_some() {
                return false;
            }
            if let Some(lender) = &self.lender {
                lender.serve(|| guard.lend());
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
fn time_in(seconds: u32) -> String {
    let time = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds.into());
    time.strftime("%FT%TZ").to_string()
}

/// When established flows were watched for long enough, if they have to be.
fn watches_until(parameters: &GuardParameters) -> Option<String> {
    let seconds = parameters.min_idle.of(Class::Established) / 1000;
    (!parameters.trust_history).then(|| time_in(seconds))
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
