//! `cttune plan`: what apply would do.

use super::args::{Global, Plan, Planning};
use super::current::{self, Current};
use super::failure::{DIFFERS, Failure};
use super::out::Out;
use super::{expire, load};
use crate::files::Root;
use crate::plan::{self, Comparison};
use crate::render;

/// Runs it.
pub(super) fn run(args: &Plan, global: &Global, out: Out) -> anyhow::Result<u8> {
    let root = current::root(global)?;
    let (plan, current) = make(&args.planning, global, &root)?;
    Ok(show(&plan, &current, out))
}

/// Prints a plan. Gives the exit code: whether there is something to do.
pub(super) fn show(plan: &plan::Plan, current: &Current, out: Out) -> u8 {
    out.result(
        || render::plan::text(plan, &current.name),
        || render::plan::json(plan),
    );
    if plan.steps.is_empty() { 0 } else { DIFFERS }
}

/// Reads the machine and works the plan out.
pub(super) fn make(
    planning: &Planning,
    global: &Global,
    root: &Root,
) -> anyhow::Result<(plan::Plan, Current)> {
    let scope = current::scope(global, planning.only, planning.adopt)?;
    let Some(desired) = load::desired(&planning.desired, root)? else {
        return Err(
            Failure::usage("no profile is named, and none is in force yet")
                .hint(load::name_a_profile())
                .into(),
        );
    };
    let current = Current::take(global, root)?;
    let machine = current.machine();
    current::demand_readings(&Comparison::new(&desired, &machine).map_err(load::underivable)?)?;
    let mut plan = plan::plan(&desired, &machine, scope).map_err(load::underivable)?;
    if let Some(mode) = planning.expire {
        let step = expire::step(mode, desired.expire, scope, &current, &plan, root)?;
        plan.steps.extend(step);
    }
    Ok((plan, current))
}
