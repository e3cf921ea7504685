//! The difference between a machine and a profile, and the way there: a plan is data.
//!
//! In: what the profile wants ([`Desired`]) and what was read of the machine
//! ([`Machine`]). Out: every key's state ([`Comparison`]), and the [`Plan`]: ordered steps, each
//! with what was there before, so that undo is computed from the same value.
//! Rule: pure, and one plan for all: `plan` prints the very value that `apply` carries out. What
//! stands in the way is part of it, as [`Blocked`]s; nothing here decides to ignore one.

mod blocked;
mod compare;
mod held;
mod order;
mod outcome;
mod persist;
mod record;
mod step;
mod undo;

pub(crate) use blocked::{Blocked, Permission};
pub(crate) use compare::{Comparison, Persisted, Setting, State};
pub(crate) use held::changes_of;
pub(crate) use order::ENTRIES_PER_BUCKET;
pub(crate) use outcome::{Cause, Ending, Outcome, Report, Signal, StepResult};
pub(crate) use persist::{ACTIVE, DROP_IN, Files, MODULES_LOAD, UDEV_RULE};
pub(crate) use record::{Deadline, Occasion, Origin, Record, Standing};
pub(crate) use step::{FileChange, Step, lowest_safe_max};
pub(crate) use undo::{Present, WayBack, cuts_flows_off, way_back};

use std::collections::BTreeMap;

use crate::profile::{DeriveError, Desired};
use crate::tunable::{Host, Key, Snapshot};

/// What was read of the machine, all of it before anything is decided.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine<'a> {
    /// CPUs, memory, module.
    pub(crate) host: &'a Host,
    /// The kernel's values; `None` for an image that does not run.
    pub(crate) live: Option<&'a Snapshot>,
    /// What the next boot will read; `None` for another network namespace, which has no files.
    pub(crate) files: Option<&'a Files>,
}

/// How much of a plan is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scope {
    /// Change the running kernel.
    pub(crate) live: bool,
    /// Change what the next boot reads.
    pub(crate) persist: bool,
    /// Comment out the lines of others that would beat ours.
    pub(crate) adopt: bool,
}

/// A key that the plan leaves alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skip {
    /// This kernel does not have it.
    Missing,
    /// It can be written in the initial network namespace alone, or nowhere here.
    ReadOnly,
}

/// The steps that bring a machine in line with a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The profile, as `extends` would name it.
    pub(crate) profile: String,
    /// What was set beside the profile.
    pub(crate) overrides: BTreeMap<Key, i64>,
    /// What to do, in this order.
    pub(crate) steps: Vec<Step>,
    /// What would be done and cannot be.
    pub(crate) skipped: Vec<(Key, Skip)>,
    /// What stands in the way.
    pub(crate) blocked: Vec<Blocked>,
}

impl Plan {
    /// A plan of these steps alone.
    pub(crate) fn of(profile: impl Into<String>, steps: Vec<Step>) -> Plan {
        Plan {
            profile: profile.into(),
            overrides: BTreeMap::new(),
            steps,
            skipped: Vec::new(),
            blocked: Vec::new(),
        }
    }

    /// The plan with only the steps that were chosen, by index. Of two writes to one key the later
    /// starts from where the chosen ones before it lead.
    #[must_use]
    pub(crate) fn choose(&self, chosen: &[usize]) -> Plan {
        let mut holds: BTreeMap<Key, Option<i64>> = BTreeMap::new();
        let mut steps = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            let mut step = step.clone();
            if let Step::WriteLive { key, from, to, .. } = &mut step {
                *from = *holds.entry(*key).or_insert(*from);
                if chosen.contains(&index) {
                    holds.insert(*key, Some(*to));
                }
            }
            if chosen.contains(&index) {
                steps.push(step);
            }
        }
        Plan {
            steps,
            ..self.clone()
        }
    }
}

/// Works out the steps from what is to what is wanted.
///
/// # Errors
/// If the profile cannot be met by a machine of this size.
pub(crate) fn plan(
    desired: &Desired,
    machine: &Machine<'_>,
    scope: Scope,
) -> Result<Plan, DeriveError> {
    let comparison = Comparison::new(desired, machine)?;
    let mut plan = Plan {
        profile: desired.name.clone(),
        overrides: desired
            .overrides
            .iter()
            .map(|one| (one.key, one.value))
            .collect(),
        steps: Vec::new(),
        skipped: comparison.skipped(),
        blocked: comparison.required_missing(),
    };
    if let (true, Some(live)) = (scope.live, machine.live) {
        let (steps, blocked) = order::live_steps(&comparison, live);
        plan.steps.extend(steps);
        plan.blocked.extend(comparison.read_only());
        plan.blocked.extend(blocked);
    }
    if let (true, Some(files)) = (scope.persist, machine.files) {
        let (steps, blocked) = persist::file_steps(desired, &comparison, files, scope.adopt);
        plan.steps.extend(steps);
        plan.blocked.extend(blocked);
    }
    Ok(plan)
}
