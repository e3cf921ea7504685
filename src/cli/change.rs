//! What the commands that change something share: where they act, what they tell, how they end.

use std::time::Duration;

use super::args::{DesiredOptions, Global, Named, Planning};
use super::failure::{DIFFERS, FAILED, Failure, LEFT};
use super::out::Out;
use super::terminal::wait_time;
use super::{expire, place};
use crate::change::{
    ChangeError, Done, Effect, Ending, Here, Lock, Outcome, Record, Signal, undo_rest,
};
use crate::diagnostic::Place;
use crate::diagnostic::plain::Shown;
use crate::files::Root;
use crate::plan::{Plan, Step};
use crate::profile;
use crate::render::outcome::{self, Told};

/// Where the global options say that a command acts.
pub(super) fn here(global: &Global) -> anyhow::Result<Here> {
    Ok(Here::read(place::root(global)?, global.netns.clone()))
}

/// What an earlier apply asked for.
pub(super) fn planning_of(record: &Record) -> Planning {
    let set = record.overrides.iter();
    let set = set.map(|(key, value)| format!("{key}={value}"));
    let adopts = |step: &Step| matches!(step, Step::EditLine { .. });
    Planning {
        named: Named::default(),
        desired: DesiredOptions {
            profile: Some(record.profile.clone()),
            no_profile: false,
            set: set.collect(),
        },
        only: None,
        expire: None,
        adopt: record.steps.iter().any(adopts),
        allow_overridden: record.allow_overridden,
        allow_max_below_count: false,
        replace: false,
    }
}

/// Names the files that the plan edits and that other users may write: they can undo the change.
pub(super) fn note_open_files(plan: &Plan, root: &Root, out: Out) {
    let files = plan.steps.iter().filter_map(Step::file);
    for change in files {
        if let Some(who) = root.writers(change.path) {
            let path = root.outside(change.path);
            out.note(&format!("note: {}: {who}", path.shown()));
        }
    }
}

/// Takes the lock, or waits for it as long as `--wait` says.
pub(super) fn lock(
    here: &Here,
    wait: Option<&str>,
    stop: &dyn Fn() -> Option<Signal>,
) -> anyhow::Result<Lock> {
    let taken = Lock::take_within(here.root(), wait_time(wait)?, &|| stop().is_some());
    taken.map_err(|error| match stop() {
        Some(signal) => stopped(signal).into(),
        None => failure(error.into()).into(),
    })
}

pub(super) fn stopped(signal: Signal) -> Failure {
    failure(ChangeError::stopped(signal))
}

/// A time of the command line.
pub(super) fn duration(option: &str, text: &str) -> Result<Duration, Failure> {
    let seconds = profile::parse_duration(text).map_err(|wrong| {
        Failure::usage(format!("{option} {text}: {wrong}")).hint("write 90s, 2m or 1h30m")
    })?;
    Ok(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// A time of the command line that people think of in minutes: a bare number is refused.
pub(super) fn long_duration(option: &str, text: &str) -> Result<Duration, Failure> {
    let time = duration(option, text)?;
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let message = format!("{option} {text}: seconds or minutes?");
        return Err(Failure::usage(message).hint(format!("write {text}s or {text}m")));
    }
    Ok(time)
}

/// The error of a session with its exit code. Any other error came before the first change.
pub(super) fn told(error: anyhow::Error) -> anyhow::Error {
    let failure = match error.downcast::<ChangeError>() {
        Ok(error) => failure(error),
        Err(error) => match Failure::from_error(FAILED, error) {
            failure if failure.code == FAILED => failure.unchanged(),
            failure => failure,
        },
    };
    failure.into()
}

pub(super) fn failure(error: ChangeError) -> Failure {
    let code = match (error.effect, error.signal) {
        (Effect::Remaining, _) => LEFT,
        (_, Some(signal)) => signal.exit_code(),
        _ => FAILED,
    };
    Failure {
        messages: error.messages,
        effect: error.effect,
        ..Failure::new(code, "").maybe_hint(error.hint)
    }
}

fn view(done: &Done) -> Told<'_> {
    Told {
        plan: &done.plan,
        reports: &done.outcome.reports,
        changed: done.outcome.changed(),
        id: done.id,
        pending: None,
        flows: expire::told(done.flows.as_ref()),
    }
}

/// Prints what was done, where it was done as `applied` says. Gives the exit code.
pub(super) fn show(
    done: &Done,
    applied: impl Fn(Told<'_>, &Place) -> String,
    place: &Place,
    detailed: bool,
    out: Out,
) -> anyhow::Result<u8> {
    out.result(
        || match &done.outcome.ending {
            // The error lists what remains.
            Ending::Failed(..) => String::new(),
            Ending::Undone(_) => outcome::undone(),
            Ending::Complete | Ending::Partial(_) => applied(view(done), place),
        },
        || outcome::json(view(done)),
    );
    end(&done.outcome, done.again, detailed)
}

/// The exit code of what was done; a failure becomes an error. `again` is the change to roll back for the
/// rest.
pub(super) fn end(outcome: &Outcome, again: u64, detailed: bool) -> anyhow::Result<u8> {
    let error = match &outcome.ending {
        Ending::Complete if detailed && outcome.changed() => return Ok(DIFFERS),
        Ending::Complete => return Ok(0),
        Ending::Partial(message) => {
            let message = format!("{message}; the other steps were applied");
            return Err(Failure::new(LEFT, message)
                .hint("try again when more memory is free, or with a smaller table")
                .into());
        }
        Ending::Undone(cause) => cause.clone().effect(Effect::Undone),
        Ending::Failed(cause, remaining) => {
            let mut error = cause.clone().effect(Effect::Remaining);
            error.messages.extend(remaining.iter().cloned());
            error.hint(undo_rest(again))
        }
    };
    Err(failure(error).into())
}
