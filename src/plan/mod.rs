//! The difference between a machine and a profile, and the steps that end it: a plan is data.
//!
//! In: what the profile asks for ([`Desired`]) and what was read of the machine ([`Machine`]). Out:
//! every key's state ([`Comparison`]), and the [`Plan`]: ordered steps, each with what was there
//! before, so that undo is computed from the same value.
//! Rule: pure, and one plan for all: `plan` prints the very value that `apply` applies. What keeps
//! it from being applied is part of it, as [`Blocked`]; nothing here decides to ignore that.

mod blocked;
mod changed;
mod compare;
mod order;
mod persist;
mod report;
mod services;
mod step;

pub(crate) use blocked::{Blocked, Permission};
pub(crate) use changed::Made;
pub(crate) use compare::{Compared, Comparison, State};
pub(crate) use order::ENTRIES_PER_BUCKET;
pub(crate) use persist::{ACTIVE, DROP_IN, Files, MODULES_LOAD, UDEV_RULE};
pub(crate) use report::{Report, StepResult};
pub(crate) use services::{NO_NFT, SERVICE_FILES, Services};
pub(crate) use step::{FileChange, Step, lowest_safe_max};

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::boot::storage::Volatile;
use crate::profile::Desired;
use crate::service::Found;
use crate::tunable::{Host, Key, Snapshot};

/// What was read of the machine, all of it before anything is decided.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine<'a> {
    pub(crate) host: &'a Host,
    /// The kernel's values; `None` for an image that does not run.
    pub(crate) live: Option<&'a Snapshot>,
    /// What the next boot will read; `None` for another network namespace, which has no files.
    pub(crate) files: Option<&'a Files>,
    /// nft's table of cttune; `None` where it was not asked for, or may not be read.
    pub(crate) table: Option<&'a Found>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // each is an option
pub(crate) struct Scope {
    /// Change the running kernel.
    pub(crate) live: bool,
    /// Change what the next boot reads.
    pub(crate) persist: bool,
    /// Comment out the lines of others that would override our drop-in.
    pub(crate) adopt: bool,
    /// Let no flow keep timeouts that its service does not have any more.
    pub(crate) replace: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Skip {
    Missing,
    /// It can be written in the initial network namespace alone, or nowhere here.
    ReadOnly,
}

/// A value that a plan makes smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Lowered {
    pub(crate) key: Key,
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// Of the next boot, and not of the running kernel.
    pub(crate) at_boot: bool,
}

/// What the readers of sysctl.d, and in the end the boot, set keys to; none where nothing does.
pub(crate) type BootValues = BTreeMap<Key, BTreeSet<i64>>;

/// The steps that make a machine what a profile asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Plan {
    /// The profile, as `extends` would name it.
    pub(crate) profile: String,
    pub(crate) overrides: BTreeMap<Key, i64>,
    /// What an earlier apply set beside it, and what this plan does not keep.
    pub(crate) dropped: Vec<Key>,
    pub(crate) steps: Vec<Step>,
    pub(crate) skipped: Vec<(Key, Skip)>,
    pub(crate) blocked: Vec<Blocked>,
    pub(crate) lowered: Vec<Lowered>,
    /// What the next boot has of the keys of the profile as the files are, and with the plan.
    pub(crate) boot: [BootValues; 2],
    /// Why the services and the lifeline are not part of it, if so.
    pub(crate) left_out: Option<String>,
    /// Why what it writes to /etc does not last, if so.
    pub(crate) volatile: Option<Volatile>,
    /// Why the values that it persists are not there after the next boot, if so.
    pub(crate) lost_at_boot: Option<String>,
}

impl Plan {
    pub(crate) fn of(profile: impl Into<String>, steps: Vec<Step>) -> Plan {
        Plan {
            profile: profile.into(),
            steps,
            ..Plan::default()
        }
    }

    /// The plan with only the steps that were chosen, by index. Of two writes to one key the later
    /// starts from where the chosen ones before it lead.
    #[must_use]
    pub(crate) fn choose(&self, chosen: &[usize]) -> Plan {
        let mut current: BTreeMap<Key, Option<i64>> = BTreeMap::new();
        let mut steps = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            let mut step = step.clone();
            if let Step::WriteLive { key, from, to, .. } = &mut step {
                *from = *current.entry(*key).or_insert(*from);
                if chosen.contains(&index) {
                    current.insert(*key, Some(*to));
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

pub(crate) fn plan(
    desired: &Desired,
    comparison: &Comparison,
    machine: &Machine<'_>,
    scope: Scope,
) -> Plan {
    let mut plan = Plan {
        profile: desired.name.clone(),
        overrides: desired.overrides.clone(),
        skipped: comparison.skipped(),
        blocked: comparison.required_missing(),
        left_out: comparison.services.left_out.clone(),
        ..Plan::default()
    };
    if let (true, Some(live)) = (scope.live, machine.live) {
        let (steps, blocked) = order::live_steps(comparison, live);
        plan.lowered.extend(steps.iter().filter_map(lowered));
        plan.steps.extend(steps);
        plan.blocked.extend(comparison.read_only());
        plan.blocked.extend(blocked);
        plan.steps.extend(comparison.services.step(scope.replace));
        plan.blocked.extend(comparison.services.blocked());
    }
    if let (true, Some(files)) = (scope.persist, machine.files) {
        persist::add_steps(&mut plan, desired, comparison, files, scope.adopt);
    }
    plan
}

fn lowered(step: &Step) -> Option<Lowered> {
    let Step::WriteLive { key, from, to, .. } = step else {
        return None;
    };
    let (key, from, to) = (*key, (*from)?, *to);
    let is_lower = from != to && !order::is_raise(key, Some(from), to);
    is_lower.then_some(Lowered {
        key,
        from,
        to,
        at_boot: false,
    })
}

#[cfg(test)]
pub(crate) mod fake;
