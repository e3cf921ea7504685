//! From what was typed to what is desired: finds the profile, its parents and the overrides.

use std::path::{Path, PathBuf};

use super::args::DesiredOptions;
use super::failure::{FAILED, Failure};
use super::{mistaken, saved, services};
use crate::diagnostic::{Hint, quoted};
use crate::files::Root;
use crate::files::profiles::{self, Found, ProfileError};
use crate::plan::{ACTIVE, Blocked, Comparison, Machine, Scope, plan};
use crate::profile::{self, Desired, Goal, NoParent, Profile, inherit};
use crate::tunable::nearest_name;

/// Parents that a profile may have in a row.
const MOST_PARENTS: usize = 16;

/// The profile that sets nothing: `--set` without any other is beside this one.
const NOTHING: &str = "kernel-defaults";

/// What the command line asks for: the profile it names, or the active one, which apply last
/// applied, or `--set` alone; `None` if there is none of these.
pub(super) fn desired(options: &DesiredOptions, root: &Root) -> anyhow::Result<Option<Desired>> {
    let overrides = mistaken::overrides(&options.set)?;
    let desired = match &options.profile {
        Some(name) if !is_active(name, root) => Some(named(name)?),
        None if options.no_profile => None,
        _ => active(root)?,
    };
    let desired = match desired {
        None if !overrides.is_empty() => Some(named(NOTHING)?),
        desired => desired,
    };
    Ok(desired.map(|desired| desired.with_overrides(&overrides)))
}

/// The plan for what was named. The active profile is not named: a plan for the bare profile would
/// leave out what was set beside it.
pub(super) fn plan_hint(options: &DesiredOptions) -> Hint {
    let mut plan = "plan".to_owned();
    if let Some(profile) = &options.profile {
        plan.push_str(&format!(" --profile {}", quoted(profile)));
    }
    if options.no_profile {
        plan.push_str(" --no-profile");
    }
    for set in &options.set {
        plan.push_str(&format!(" --set {}", quoted(set)));
    }
    Hint::cttune(plan).to("see the changes")
}

/// How the machine differs from what is desired, as far as it can have it.
pub(super) fn comparison(desired: &Desired, machine: &Machine<'_>) -> anyhow::Result<Comparison> {
    let mut comparison = Comparison::new(desired, machine).map_err(mistaken::underivable)?;
    services::demand(&mut comparison, machine);
    Ok(comparison)
}

/// How the machine differs from the profile, and what blocks persisting it. Only for services that
/// the last apply left out nft is asked whether they can be had: that takes longer than all the rest.
pub(super) fn compare(
    desired: Option<&Desired>,
    options: &DesiredOptions,
    machine: &Machine<'_>,
) -> anyhow::Result<(Comparison, Vec<Blocked>)> {
    let Some(desired) = desired else {
        return Ok((Comparison::without_profile(machine), Vec::new()));
    };
    let scope = Scope {
        live: false,
        persist: true,
        adopt: false,
        replace: false,
    };
    let mut comparison = Comparison::new(desired, machine).map_err(mistaken::underivable)?;
    if options.profile.is_none() && comparison.services.is_new() {
        services::demand(&mut comparison, machine);
    }
    let plan = plan(desired, &comparison, machine, scope);
    Ok((comparison, plan.blocked))
}

/// Whether `plan` would have something to show.
pub(super) fn has_plan(desired: &Desired, comparison: &Comparison, machine: &Machine<'_>) -> bool {
    let scope = Scope {
        live: true,
        persist: true,
        adopt: false,
        replace: false,
    };
    let plan = plan(desired, comparison, machine, scope);
    !plan.steps.is_empty() || !plan.blocked.is_empty()
}

/// A profile by name or path, with its parents.
pub(super) fn named(name: &str) -> anyhow::Result<Desired> {
    let found = find(name)?;
    Ok(Desired {
        name: found.name.clone(),
        ..inherit(&chain(found)?)
    })
}

/// A profile's own text, by name or path from the current folder.
pub(super) fn find(name: &str) -> anyhow::Result<Found> {
    saved::refuse(name)?;
    let here = match std::env::current_dir() {
        Ok(here) => here,
        Err(_) if profiles::is_path(name) && !Path::new(name).is_absolute() => {
            let message = format!("cannot read {name}: the current folder was removed");
            return Err(Failure::new(FAILED, message)
                .hint("name the profile by its full path, or cd to another folder")
                .into());
        }
        // Only a path from here needs it.
        Err(_) => PathBuf::from("/"),
    };
    profiles::find(name, &here).map_err(mistaken::not_found)
}

/// Whether the active profile's file is named. It means the profile in it: remembered as a profile
/// of its own it would extend itself.
fn is_active(name: &str, root: &Root) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    let active = root.outside(Path::new(ACTIVE));
    profiles::is_path(name) && real(Path::new(name)).is_some_and(|path| real(&active) == Some(path))
}

/// What apply last applied, under the name of the profile that it was.
pub(super) fn active(root: &Root) -> anyhow::Result<Option<Desired>> {
    let read = || {
        let found = profiles::read_below(root, Path::new(ACTIVE)).map_err(mistaken::not_found)?;
        let Some(found) = found else {
            return Ok(None);
        };
        let chain = chain(found)?;
        let (own, parents) = chain
            .split_first()
            .map(|(own, parents)| (own.clone(), parents))
            .filter(|(own, _)| own.extends.is_some())
            .ok_or_else(|| {
                let path = root.outside(Path::new(ACTIVE));
                let message = format!("{} names no profile in `extends`", path.display());
                Failure::new(FAILED, message)
            })?;
        Ok(Some(of_active(own, parents)))
    };
    read().map_err(mistaken::active)
}

/// The values in it are overrides, as `--set` is; whatever else somebody added by hand counts as in
/// any profile.
fn of_active(own: Profile, parents: &[Profile]) -> Desired {
    let (overrides, _) = profile::active::set_beside(&own.source.text);
    let name = own.extends.as_ref().map(|extends| extends.name.clone());
    let parents_alone = inherit(parents);
    let mut chain = vec![own];
    if let Some(own) = chain.first_mut() {
        let is_bound = |goal: &Goal| matches!(goal, Goal::Bounds(_));
        own.desired
            .settings
            .retain(|_, setting| is_bound(&setting.goal));
    }
    chain.extend(parents.iter().cloned());
    let whole = inherit(&chain);
    let desired = Desired {
        name: name.unwrap_or_default(),
        is_active: true,
        description: whole.description.clone().or(parents_alone.description),
        ..whole
    };
    desired.with_overrides(&overrides)
}

/// A profile and its parents, child first. The error has the mistakes of all of them.
fn chain(mut found: Found) -> anyhow::Result<Vec<Profile>> {
    let mut names = vec![found.name.clone()];
    let mut chain: Vec<Profile> = Vec::new();
    let mut mistakes = Vec::new();
    loop {
        let (profile, its) = profile::read(&found.source);
        mistakes.extend(its);
        let extends = profile.extends.clone();
        chain.push(profile);
        let (Some(extends), Some(child)) = (extends, chain.last()) else {
            break;
        };
        let parent = match profiles::find_parent(&extends.name, &found) {
            Ok(parent) => parent,
            Err(ProfileError::NotFound { name, known }) => {
                let nearest = nearest_name(&name, known.into_iter());
                mistakes.extend(child.mistaken_parent(&NoParent::NotFound { nearest }));
                break;
            }
            Err(error) if mistakes.is_empty() => return Err(mistaken::not_found(error)),
            Err(_) => break,
        };
        let is_known = names.contains(&parent.name);
        names.push(parent.name.clone());
        if is_known || names.len() > MOST_PARENTS + 1 {
            mistakes.extend(child.mistaken_parent(&NoParent::Cycle(names)));
            break;
        }
        found = parent;
    }
    if mistakes.is_empty() {
        mistakes = profile::service_mistakes(&chain);
    }
    if mistakes.is_empty() {
        Ok(chain)
    } else {
        Err(mistaken::profile(mistakes).into())
    }
}
