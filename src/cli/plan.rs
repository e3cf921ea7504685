//! `cttune plan`: what apply would do.

use super::args::{Format, Global, Plan, Planning};
use super::current::{self, Current};
use super::failure::{DIFFERS, DONE, Failure};
use super::out::Out;
use super::{change, expire, forecast, load, mistaken, place, saved, services};
use crate::change::refuse_blocked;
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
    let code = show(&plan, &current, planning, global, out)?;
    change::note_open_files(&plan, &root, out);
    saved::note_next(args, &plan, global, out);
    Ok(code)
}

/// Prints a plan. Gives the exit code: whether something is to be done, or blocked. Salt's test mode
/// has only worked or failed for that: blocked is failed, as it is of apply.
pub(super) fn show(
    plan: &plan::Plan,
    current: &Current,
    planning: &Planning,
    global: &Global,
    out: Out,
) -> anyhow::Result<u8> {
    let place = place::of(global);
    if out.format == Format::Salt {
        refuse_blocked(plan, place::permission(planning)).map_err(change::failure)?;
        let text = || render::plan::brief(plan, &current.name, &place);
        out.result(text, || render::plan::json(plan, &place));
        return Ok(DONE);
    }
    let foreseen = forecast::foreseen(plan, global, out);
    out.result(
        || render::plan::text(plan, &current.name, &foreseen.text(), &place),
        || render::plan::json(plan, &place).foreseen(&foreseen),
    );
    if plan.steps.is_empty() && plan.blocked.is_empty() {
        Ok(DONE)
    } else {
        Ok(DIFFERS)
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
