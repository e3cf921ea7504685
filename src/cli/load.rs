//! From what was typed to what is wanted: finds the profile, its parents and the overrides.

use std::path::{Path, PathBuf};

use super::args::DesiredOptions;
use super::failure::{Effect, FAILED, Failure, USAGE};
use super::out::Out;
use crate::assess::unknown_id;
use crate::diagnostic::{Advise, Hint, quoted};
use crate::files::Root;
use crate::files::profiles::{self, Found, ProfileError};
use crate::plan::ACTIVE;
use crate::profile::edit::EditError;
use crate::profile::{
    self, DeriveError, Desired, Goal, Mistake, NoParent, Override, Profile, Source,
};
use crate::tunable::{UnknownKey, nearest_name};

/// Parents that a profile may have in a row.
const MOST_PARENTS: usize = 16;

/// What the command line wants: the profile it names, or the one that apply last put in force;
/// `None` if there is neither.
pub(super) fn desired(desired: &DesiredOptions, root: &Root) -> anyhow::Result<Option<Desired>> {
    let overrides = parse_overrides(&desired.set)?;
    let Some(desired) = (match &desired.profile {
        Some(name) if !is_active(name, root) => Some(named(name)?),
        _ => active(root)?,
    }) else {
        if overrides.is_empty() {
            return Ok(None);
        }
        return Err(
            Failure::usage("--set needs a profile, and none is in force")
                .hint(name_a_profile())
                .into(),
        );
    };
    Ok(Some(desired.with_overrides(&overrides)))
}

/// What to do where a profile is needed and none is named.
pub(super) fn name_a_profile() -> Hint {
    Hint::say("name one with --profile").and(Hint::cttune("profile list").to("see all profiles"))
}

/// A profile by name or path, with its parents.
pub(super) fn named(name: &str) -> anyhow::Result<Desired> {
    let found = find(name)?;
    let extends_as = found.name.clone();
    let chain = chain(found)?;
    Ok(Desired {
        name: extends_as,
        ..profile::inherit(&chain)
    })
}

/// A profile's own text, by name or path from the folder we are in.
pub(super) fn find(name: &str) -> anyhow::Result<Found> {
    let here = match std::env::current_dir() {
        Ok(here) => here,
        Err(_) if profiles::is_path(name) && !Path::new(name).is_absolute() => {
            let message = format!("cannot read {name}: the folder that we are in is gone");
            return Err(Failure::new(FAILED, message)
                .hint("name the profile by its full path, or cd to another folder")
                .into());
        }
        // Only a path from here needs it.
        Err(_) => PathBuf::from("/"),
    };
    profiles::find(name, &here).map_err(not_found)
}

/// Whether the file is named in which apply remembers what it put in force. It stands for the
/// profile in it: remembered as a profile of its own it would extend itself.
fn is_active(name: &str, root: &Root) -> bool {
    let same = || {
        let named = std::fs::canonicalize(name).ok()?;
        let active = std::fs::canonicalize(root.outside(Path::new(ACTIVE))).ok()?;
        Some(named == active)
    };
    profiles::is_path(name) && same().unwrap_or(false)
}

/// What apply last put in force, under the name of the profile that it was.
fn active(root: &Root) -> anyhow::Result<Option<Desired>> {
    read_active(root).map_err(|error| match error.downcast::<Failure>() {
        Ok(failure) if failure.hint.is_none() => failure
            .hint(
                Hint::say("name the profile with --profile: apply then remembers it again")
                    .and(Hint::cttune("check --no-profile").to("ignore what is remembered")),
            )
            .into(),
        Ok(failure) => failure.into(),
        Err(error) => error,
    })
}

fn read_active(root: &Root) -> anyhow::Result<Option<Desired>> {
    let Some(found) = profiles::read_below(root, Path::new(ACTIVE)).map_err(not_found)? else {
        return Ok(None);
    };
    let path = root.outside(Path::new(ACTIVE));
    let chain = chain(found)?;
    let Some(own) = chain.first() else {
        return Ok(None);
    };
    let overrides = own
        .settings
        .iter()
        .filter_map(|setting| match setting.goal {
            Goal::Exact(value) => Some(Override {
                key: setting.key,
                value,
            }),
            Goal::Bounds(_) => None,
        });
    let overrides: Vec<Override> = overrides.collect();
    let Some(extends) = &own.extends else {
        let message = format!("{} names no profile in `extends`", path.display());
        return Err(Failure::new(FAILED, message).into());
    };
    let name = extends.name.clone();
    let parents = profile::inherit(chain.get(1..).unwrap_or_default());
    // What apply wrote are values, which are overrides as `--set` is; what somebody added by hand
    // counts as in any profile.
    let mut chain = chain.clone();
    if let Some(own) = chain.first_mut() {
        own.settings
            .retain(|setting| matches!(setting.goal, Goal::Bounds(_)));
    }
    let whole = profile::inherit(&chain);
    let desired = Desired {
        name,
        description: whole.description.or(parents.description),
        ..whole
    };
    Ok(Some(desired.with_overrides(&overrides)))
}

/// A profile and its parents, child first.
fn chain(found: Found) -> anyhow::Result<Vec<Profile>> {
    let mut names = vec![found.name.clone()];
    let mut folder = found.folder.clone().unwrap_or_else(|| PathBuf::from("/"));
    let mut chain = vec![parse(&found.source)?];
    while let Some((child, extends)) = chain
        .last()
        .and_then(|child| Some((child, child.extends.as_ref()?)))
    {
        let parent = match profiles::find(&extends.name, &folder) {
            Ok(parent) => parent,
            Err(ProfileError::NotFound { name, known }) => {
                let nearest = nearest_name(&name, known.into_iter(), 0.8);
                return Err(mistaken(child, &NoParent::NotFound { nearest }));
            }
            Err(error) => return Err(not_found(error)),
        };
        if names.contains(&parent.name) || names.len() > MOST_PARENTS {
            names.push(parent.name);
            return Err(mistaken(child, &NoParent::Cycle(names)));
        }
        names.push(parent.name.clone());
        folder = parent.folder.clone().unwrap_or_else(|| PathBuf::from("/"));
        chain.push(parse(&parent.source)?);
    }
    Ok(chain)
}

fn parse(source: &Source) -> anyhow::Result<Profile> {
    profile::parse(source).map_err(|mistakes| mistakes_failure(mistakes).into())
}

fn mistaken(child: &Profile, trouble: &NoParent) -> anyhow::Error {
    mistakes_failure(child.mistaken_parent(trouble).into_iter().collect()).into()
}

/// The failure that shows every mistake in its place.
fn mistakes_failure(mistakes: Vec<Mistake>) -> Failure {
    let name = mistakes
        .first()
        .map(|mistake| mistake.source.name.clone())
        .unwrap_or_default();
    let number = match mistakes.len() {
        1 => "1 mistake".to_owned(),
        number => format!("{number} mistakes"),
    };
    let mut failure = Failure::new(FAILED, format!("the profile {name} has {number}")).unchanged();
    failure.mistakes = mistakes;
    failure
}

fn not_found(error: ProfileError) -> anyhow::Error {
    let failure = Failure::new(FAILED, error.to_string());
    match error {
        ProfileError::NotFound { name, .. } if profiles::is_path(&name) => {
            Failure::new(FAILED, format!("cannot read {name}: no such file"))
                .hint(Hint::cttune("profile list").to("see the profiles that have a name"))
                .into()
        }
        ProfileError::NotFound { name, known } => {
            let hint = match nearest_name(&name, known.iter().cloned(), 0.8) {
                Some(nearest) => Hint::say(format!("did you mean `{nearest}`?"))
                    .and(Hint::cttune("profile list").to("see all")),
                None => Hint::say(format!(
                    "there are: {}; a path has a slash or ends in .toml",
                    known.join(", ")
                )),
            };
            failure.hint(hint).into()
        }
        ProfileError::File(error) => failure.maybe_hint(error.hint()).into(),
        ProfileError::Unsafe { path, .. } => failure
            .hint({
                let path = quoted(&path.display().to_string());
                Hint::on_host(format!("chown root {path} && chmod 644 {path}")).to("if it is yours")
            })
            .into(),
        ProfileError::NotText { .. } => failure.into(),
    }
}

/// The overrides of the command line; every wrong one is told.
pub(super) fn parse_overrides(set: &[String]) -> anyhow::Result<Vec<Override>> {
    let mut overrides = Vec::new();
    let mut wrong = Vec::new();
    let mut hint = None;
    for text in set {
        match text.parse::<Override>() {
            Ok(one) => overrides.push(one),
            Err(error) => {
                wrong.push(format!("--set {text}: {}", error.problem));
                hint = hint.or(error.help.map(Hint::say));
            }
        }
    }
    if wrong.is_empty() {
        return Ok(overrides);
    }
    Err(Failure {
        code: USAGE,
        messages: wrong,
        hint,
        mistakes: Vec::new(),
        effect: Effect::Untold,
    }
    .into())
}

/// A profile that a machine of this size cannot meet.
pub(super) fn underivable(error: DeriveError) -> anyhow::Error {
    Failure::new(FAILED, error.to_string())
        .unchanged()
        .hint("set the key outright: --set KEY=VALUE")
        .into()
}

/// Notes names in the profile's `[accept]` that no finding has.
pub(super) fn note_unknown_ids(desired: &Desired, out: Out) {
    for (id, accepted) in &desired.accept {
        if let Some(said) = unknown_id(id) {
            let origin = &accepted.origin;
            out.note(&format!("note: the accept table of {origin}: {said}"));
        }
    }
}

/// A key on the command line that is none.
pub(super) fn unknown_key(error: UnknownKey) -> anyhow::Error {
    let hint = error
        .nearest()
        .map(|nearest| Hint::say(format!("did you mean `{nearest}`?")));
    Failure::usage(error.to_string()).maybe_hint(hint).into()
}

/// An edit of a profile that cannot be made.
pub(super) fn edit_failure(error: EditError) -> anyhow::Error {
    match error {
        EditError::Mistakes(mistakes) => mistakes_failure(mistakes).into(),
        EditError::Key(error) => unknown_key(error),
        EditError::Value(error) => Failure::usage(error.to_string())
            .maybe_hint(error.help.map(Hint::say))
            .into(),
        EditError::NoSuchField(_) => Failure::usage(error.to_string()).into(),
        error => Failure::new(FAILED, error.to_string()).unchanged().into(),
    }
}
