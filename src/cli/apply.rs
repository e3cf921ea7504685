//! `cttune apply`: the plan, a prompt, the same plan carried out.

use super::args::{Apply, Global, Planning};
use super::confirm;
use super::current::Current;
use super::expire::FlowProgress;
use super::failure::{FAILED, Failure, declined};
use super::out::{self, Out};
use super::place;
use super::prompt::{self, Answer};
use super::{change, expire, plan as plan_command};
use crate::change::{Crew, Lock, Running, Signals, Target, carry_out, folders_to_make, preflight};
use crate::files::{Root, state};
use crate::plan::{Ending, Origin, Outcome, Permission, Plan, Record, Standing, Step};
use crate::render;

/// Runs it.
pub(super) fn run(args: &Apply, global: &Global, out: Out) -> anyhow::Result<u8> {
    let root = place::root(global)?;
    let planning = finishing(&args.planning, global, &root);
    let (plan, current) = plan_command::make(&planning, global, &root)?;
    if args.dry_run {
        return Ok(plan_command::show(&plan, &current, out));
    }
    let within = args.confirm_within.as_deref();
    let within = within
        .map(|text| change::duration("--confirm-within", text))
        .transpose()?;
    if within.is_some() && global.root.is_some() {
        return Err(Failure::usage("--confirm-within cannot go with --root").into());
    }
    // Before the first rehearsal, whose temporary files a signal must not leave behind.
    let signals = Signals::catch()?;
    // Who may not read the journal may not change anything either, and is told so further down.
    let waits = change::unfinished(&root, global).is_ok_and(|records| !records.is_empty());
    let mut target = Running::new(root.clone());
    // What somebody else is changing right now is looked at when he is done.
    if !Lock::is_held(&state::directory(&root)) {
        refuse_obstacles(&plan, &planning)?;
        if plan.steps.is_empty() && !waits {
            return Ok(nothing_to_do(&plan, &current, out));
        }
        refuse_without_terminal(args)?;
        rehearse(&plan, &mut target)?;
    }
    refuse_without_terminal(args)?;
    let lock = change::lock(&root, args.wait.as_deref(), &|| signals.caught())?;
    // Somebody may have been at work before the lock was ours.
    let (plan, current) = plan_command::make(&planning, global, &root)?;
    if let Some(pending) = confirm::pending(&root, global)? {
        return confirm::extend(pending, &plan, within, &root, out);
    }
    refuse_obstacles(&plan, &planning)?;
    if plan.steps.is_empty() {
        change::settle(&root, global, None);
        return Ok(nothing_to_do(&plan, &current, out));
    }
    expire::tell_pace(&plan, out);
    let plan = chosen(plan, args, &current, &signals, out)?;
    // Whatever happened while the answer was waited for is found out here.
    rehearse(&plan, &mut target)?;

    let mut target = target.with_past(expire::past_of(&plan, &root)?);
    let journal = change::journal(&root);
    let mut record = Record::new(
        &plan,
        place::occasion(global, &root)?,
        current.live.as_ref(),
    );
    record.folders = folders_to_make(&plan, &mut target);
    if let Some(within) = within {
        return confirm::apply(
            record,
            within,
            args,
            global,
            &mut target,
            &signals,
            lock,
            &root,
            out,
        );
    }
    let mut page = journal
        .begin(&mut record)
        .map_err(change::journal_failure)?;
    let flows = FlowProgress::new(out);
    let mut crew = Crew {
        target: &mut target,
        journal: &mut page,
        stop: &|| signals.caught(),
        progress: &mut |step, report| flows.step(step, report),
        looked_at: &mut |number| flows.at(number),
    };
    let outcome = carry_out(&mut record, &mut crew);
    drop(flows);
    if matches!(outcome.ending, Ending::Complete | Ending::Partly(_)) {
        change::settle(&root, global, Some(record.id));
    }
    let id = outcome.changed().then_some(record.id);
    let flows = expire::told(&target);
    out.result(
        || {
            render::outcome::text(&plan, &outcome, id, &place::of(global))
                + &render::expire::maybe_text(flows)
        },
        || render::outcome::json(&plan, &outcome, id, flows),
    );
    change::end(&outcome, &record, args.detailed_exitcode)
}

/// What is asked for. Where no profile is named and an apply was interrupted, that one is: it may
/// have come before the profile was remembered.
fn finishing(planning: &Planning, global: &Global, root: &Root) -> Planning {
    let mut planning = planning.clone();
    let desired = &mut planning.desired;
    let unfinished = change::unfinished(root, global).unwrap_or_default();
    let interrupted = unfinished
        .into_iter()
        .rfind(|record| record.standing == Standing::Begun && record.origin == Origin::Apply);
    if let (None, true, Some(record)) = (&desired.profile, desired.set.is_empty(), interrupted) {
        let overrides = record.overrides.iter();
        desired.set = overrides
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        desired.profile = Some(record.profile);
        let adopts = |step: &Step| matches!(step, Step::EditLine { .. });
        planning.adopt |= record.steps.iter().any(adopts);
    }
    planning
}

fn refuse_without_terminal(args: &Apply) -> Result<(), Failure> {
    if args.yes || out::is_interactive() {
        return Ok(());
    }
    Err(Failure::new(FAILED, "there is no terminal to ask on")
        .unchanged()
        .hint("--yes applies without asking; --dry-run shows the plan"))
}

fn rehearse(plan: &Plan, target: &mut dyn Target) -> Result<(), Failure> {
    preflight(plan, target).map_err(|error| Failure::of(FAILED, &error).unchanged())
}

fn nothing_to_do(plan: &Plan, current: &Current, out: Out) -> u8 {
    let outcome = Outcome {
        reports: Vec::new(),
        ending: Ending::Complete,
    };
    out.result(
        || render::plan::text(plan, &current.name),
        || render::outcome::json(plan, &outcome, None, None),
    );
    0
}

/// The plan that the operator wants; a no, or a signal, is a failure that changed nothing.
fn chosen(
    plan: Plan,
    args: &Apply,
    current: &Current,
    signals: &Signals,
    out: Out,
) -> anyhow::Result<Plan> {
    if args.yes {
        return Ok(plan);
    }
    out.question(&render::plan::text(&plan, &current.name));
    match prompt::ask(&plan, signals)? {
        Answer::Yes => Ok(plan),
        Answer::Steps(chosen) => Ok(plan.choose(&chosen)),
        Answer::No => Err(declined().into()),
        Answer::Stopped(signal) => Err(change::stopped(signal).into()),
    }
}

fn refuse_obstacles(plan: &Plan, planning: &Planning) -> anyhow::Result<()> {
    let permission = Permission {
        overridden: planning.allow_overridden,
        max_below_count: planning.allow_max_below_count,
    };
    let mut standing = plan
        .blocked
        .iter()
        .filter(|blocked| !blocked.is_permitted(permission));
    let Some(first) = standing.next() else {
        return Ok(());
    };
    let mut failure = Failure::new(FAILED, first.to_string()).hint(first.hint());
    failure.messages.extend(standing.map(ToString::to_string));
    Err(failure.unchanged().into())
}
