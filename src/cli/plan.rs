//! `cttune plan`: what apply would do.

use super::args::{Global, Plan, Planning};
use super::failure::{DIFFERS, Failure};
use super::out::Out;
use super::survey::{self, Survey};
use super::{expire, load};
use crate::files::Root;
use crate::plan::{self, Comparison};
use crate::render;

/// Runs it.
pub(super) fn run(args: &Plan, global: &Global, out: Out) -> anyhow::Result<u8> {
    let root = survey::root(global)?;
    let (plan, survey) = make(&args.planning, global, &root)?;
    Ok(show(&plan, &survey, out))
}

/// Prints a plan. Gives the exit code: whether there is something to do.
pub(super) fn show(plan: &plan::Plan, survey: &Survey, out: Out) -> u8 {
    out.result(
        || render::plan::text(plan, &survey.name),
        || render::plan::json(plan),
    );
    if plan.steps.is_empty() { 0 } else { DIFFERS }
}

/// Reads the machine and works the plan out.
pub(super) fn make(
    planning: &Planning,
    global: &Global,
    root: &Root,
) -> anyhow::Result<(plan::Plan, Survey)> {
    let scope = survey::scope(global, planning.only, planning.adopt)?;
    let Some(wanted) = load::wanted(&planning.wish, root)? else {
        return Err(
            Failure::usage("no profile is named, and none is in force yet")
                .hint("name one with --profile; `cttune profile list` shows them")
                .into(),
        );
    };
    let survey = Survey::take(global, root)?;
    let machine = survey.machine();
    survey::demand_readings(&Comparison::new(&wanted, &machine).map_err(load::underivable)?)?;
    let mut plan = plan::plan(&wanted, &machine, scope).map_err(load::underivable)?;
    if let Some(mode) = planning.expire {
        let step = expire::step(mode, wanted.expire, scope, &survey, &plan, root)?;
        plan.steps.extend(step);
    }
    Ok((plan, survey))
}
