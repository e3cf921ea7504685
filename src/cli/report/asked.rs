//! What a report asks of check and plan.

use serde_json::Value;

use crate::cli::args::{Check, DesiredOptions, Global, Named, Planning, Report};
use crate::cli::{place, plan};
use crate::render;

/// What machines read of the plan.
pub(super) fn plan(args: &Report, global: &Global) -> anyhow::Result<Value> {
    let (plan, _) = plan::make(&planning_of(args), global, &place::root(global)?)?;
    Ok(render::shape::value(&render::plan::json(
        &plan,
        &place::of(global),
    )))
}

/// A check of everything that needs no second look.
pub(in crate::cli) fn check_of(desired: &DesiredOptions) -> Check {
    Check {
        named: Named::default(),
        desired: desired.clone(),
        keys: false,
        bundle: None,
        prefix: None,
        explain: None,
        interval: None,
        deep: false,
        all_netns: false,
        fail_on: None,
        warn: None,
        crit: None,
    }
}

fn planning_of(args: &Report) -> Planning {
    Planning {
        named: Named::default(),
        desired: args.desired.clone(),
        only: None,
        expire: None,
        replace: false,
        adopt: false,
        allow_overridden: false,
        allow_max_below_count: false,
    }
}
