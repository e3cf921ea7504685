//! `cttune plan`: what apply would do.

use super::args::{Global, Plan, Planning};
use super::current::{self, Current};
use super::failure::{DIFFERS, Failure};
use super::out::Out;
use super::{expire, forecast, load, mistaken, place, saved, services};
use crate::diagnostic::plain::Shown;
use crate::files::Root;
use crate::plan;
use crate::profile::Desired;
use crate::render;

pub(super) fn run(args: &Plan, global: &Global, out: Out) -> anyhow::Result<u8> {
    let root = place::root(global)?;
    let planning = &args.planning;
    if let Some(file) = &args.out {
        saved::demand_ending(file)?;
    }
    let (mut plan, current) = make(planning, global, &root)?;
    services::try_lifeline(&mut plan, out);
    if let Some(file) = &args.out {
        saved::write(file, planning, &plan, global)?;
    }
    let code = show(&plan, &current, global, out);
    note_open_files(&plan, &root, out);
    saved::note_next(args, &plan, global, out);
    Ok(code)
}

/// Prints a plan. Gives the exit code: whether something is to be done, or blocked.
pub(super) fn show(plan: &plan::Plan, current: &Current, global: &Global, out: Out) -> u8 {
    let foreseen = forecast::foreseen(plan, global, out);
    let place = place::of(global);
    out.result(
        || render::plan::text(plan, &current.name, &foreseen.text(), &place),
        || render::plan::json(plan, &place).foreseen(&foreseen),
    );
    if plan.steps.is_empty() && plan.blocked.is_empty() {
        0
    } else {
        DIFFERS
    }
}

/// Names the files that the plan edits and that other users may write: they can undo the change.
pub(super) fn note_open_files(plan: &plan::Plan, root: &Root, out: Out) {
    let files = plan.steps.iter().filter_map(plan::Step::file);
    for change in files {
        if let Some(who) = root.writers(change.path) {
            let path = root.outside(change.path);
            out.note(&format!("note: {}: {who}", path.shown()));
        }
    }
}

/// Reads the machine and works the plan out.
pub(super) fn make(
    planning: &Planning,
    global: &Global,
    root: &Root,
) -> anyhow::Result<(plan::Plan, Current)> {
    // Before the profile is looked for.
    place::scope(global, planning)?;
    let Some(desired) = load::desired(&planning.desired, root)? else {
        let message = if planning.desired.no_profile {
            "--no-profile leaves nothing to plan without --set"
        } else {
            "no profile is named, and none is active"
        };
        return Err(Failure::usage(message)
            .hint(mistaken::name_a_profile())
            .into());
    };
    make_for(&desired, planning, global, root)
}

/// The plan for what is desired, whichever profile the planning names.
pub(super) fn make_for(
    desired: &Desired,
    planning: &Planning,
    global: &Global,
    root: &Root,
) -> anyhow::Result<(plan::Plan, Current)> {
    let scope = place::scope(global, planning)?;
    let current = Current::with_table(global, root)?;
    let machine = current.machine();
    let comparison = load::comparison(desired, &machine)?;
    current::demand_readings(&comparison)?;
    let mut plan = plan::plan(desired, &comparison, &machine, scope);
    if let Some(mode) = planning.expire {
        let step = expire::step(mode, desired.expire.clone(), scope, &current, &plan, root)?;
        plan.steps.extend(step);
    }
    Ok((plan, current))
}
