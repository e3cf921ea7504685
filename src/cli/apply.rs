//! `cttune apply`: the plan, a prompt, the same plan carried out.

use super::args::{Apply, Global, Planning};
use super::failure::{DIFFERS, FAILED, Failure, LEFT};
use super::out::{self, Out};
use super::prompt::{self, Answer};
use super::{plan as plan_command, survey};
use crate::apply::{Lock, LockError, Running, Signals, Target, carry_out, preflight};
use crate::files::state;
use crate::plan::{Cause, Ending, Outcome, Permission, Plan};
use crate::render;

/// Runs it.
pub(super) fn run(args: &Apply, global: &Global, out: Out) -> anyhow::Result<u8> {
    let root = survey::root(global)?;
    if args.dry_run {
        let (plan, survey) = plan_command::make(&args.planning, global, &root)?;
        return Ok(plan_command::show(&plan, &survey, out));
    }
    let signals = Signals::catch()?;
    let (plan, survey) = plan_command::make(&args.planning, global, &root)?;
    refuse_obstacles(&plan, &args.planning)?;
    if plan.steps.is_empty() {
        let outcome = Outcome {
            reports: Vec::new(),
            ending: Ending::Complete,
        };
        out.result(
            || render::plan::text(&plan, &survey.name),
            || render::outcome::json(&plan, &outcome, None),
        );
        return Ok(0);
    }
    if !args.yes && !out::is_interactive() {
        return Err(Failure::new(
            FAILED,
            "there is no terminal to ask on; nothing was changed",
        )
        .hint("--yes carries the plan out without asking; --dry-run shows it")
        .into());
    }
    let mut target = Running::new(root.clone());
    let rehearse = |plan: &Plan, target: &mut dyn Target| {
        preflight(plan, target).map_err(|error| {
            Failure::new(FAILED, format!("{error}; nothing was changed")).maybe_hint(error.hint())
        })
    };
    rehearse(&plan, &mut target)?;
    let _lock = Lock::take(&state::directory(&root)).map_err(locked)?;
    let plan = if args.yes {
        plan
    } else {
        out.question(&render::plan::text(&plan, &survey.name));
        match prompt::ask(&plan, &signals)? {
            Answer::Yes => plan,
            Answer::Steps(chosen) => plan.choose(&chosen),
            Answer::No => return Err(Failure::new(FAILED, "nothing was changed").into()),
            Answer::Stopped(signal) => {
                let message = format!("stopped by {}; nothing was changed", signal.name());
                return Err(Failure::new(signal.exit_code(), message).into());
            }
        }
    };
    // Whatever happened while the lock and the answer were waited for is found out here.
    rehearse(&plan, &mut target)?;
    let outcome = carry_out(
        &plan,
        &mut target,
        &|| signals.caught(),
        &mut |step, report| {
            out.progress(&render::outcome::step_line(step, report));
        },
    );
    out.result(
        || render::outcome::text(&plan, &outcome),
        || render::outcome::json(&plan, &outcome, None),
    );
    end(&outcome, args, out)
}

fn refuse_obstacles(plan: &Plan, planning: &Planning) -> anyhow::Result<()> {
    let permission = Permission {
        overridden: planning.allow_overridden,
        max_below_count: planning.allow_max_below_count,
    };
    let mut standing = plan
        .obstacles
        .iter()
        .filter(|obstacle| !obstacle.is_permitted(permission));
    let Some(first) = standing.next() else {
        return Ok(());
    };
    let mut failure = Failure::new(FAILED, first.to_string()).hint(first.hint());
    failure.messages.extend(standing.map(ToString::to_string));
    if let Some(last) = failure.messages.last_mut() {
        last.push_str("; nothing was changed");
    }
    Err(failure.into())
}

fn locked(error: LockError) -> Failure {
    let failure = Failure::new(FAILED, format!("{error}; nothing was changed"));
    match error {
        LockError::Held { .. } => failure.hint("wait until it is done, then try again"),
        LockError::Io { .. } => failure.hint(format!(
            "run it as root, or name another folder in {}",
            state::VARIABLE
        )),
    }
}

/// Turns the ending into an exit code; what went wrong is said on the way.
fn end(outcome: &Outcome, args: &Apply, out: Out) -> anyhow::Result<u8> {
    let (cause, code) = match &outcome.ending {
        Ending::Complete if args.detailed_exitcode && outcome.changed() => return Ok(DIFFERS),
        Ending::Complete => return Ok(0),
        Ending::Partly(message) => {
            return Err(
                Failure::new(LEFT, format!("{message}; the rest of the plan holds"))
                    .hint("try again when more memory is free, or with a smaller table")
                    .into(),
            );
        }
        Ending::Undone(cause) => (cause, FAILED),
        Ending::Left(cause, _) => (cause, LEFT),
    };
    let tail = match code {
        FAILED => "; everything is as it was".to_owned(),
        _ => format!("; {} things could not be put back", left(outcome)),
    };
    match cause {
        Cause::Failed { message, hint } => Err(Failure::new(code, format!("{message}{tail}"))
            .maybe_hint(*hint)
            .into()),
        Cause::Signal(signal) => {
            let failure = Failure::new(code, format!("stopped by {}{tail}", signal.name()));
            if code == LEFT {
                return Err(failure.into());
            }
            out.failure(&failure);
            Ok(signal.exit_code())
        }
    }
}

fn left(outcome: &Outcome) -> usize {
    match &outcome.ending {
        Ending::Left(_, left) => left.len(),
        _ => 0,
    }
}
