//! What is wrong with a profile, a `--set` or an edit, as the command fails with it.

use std::collections::BTreeMap;

use super::failure::{FAILED, Failure};
use super::out::Out;
use crate::assess::unknown_id;
use crate::diagnostic::{Advise, Hint, quoted};
use crate::files::profiles::{self, ProfileError};
use crate::profile::edit::EditError;
use crate::profile::{DeriveError, Desired, Mistake, parse_override};
use crate::tunable::{Key, UnknownKey, nearest_name, plural};

/// Notes of one kind that are printed.
const MOST_NOTES: usize = 10;

/// The failure that shows every mistake in its place.
pub(super) fn profile(mistakes: Vec<Mistake>) -> Failure {
    let name = mistakes.first().map(|mistake| mistake.source.name.clone());
    let name = name.unwrap_or_default();
    let number = plural(mistakes.len(), "mistake");
    let mut failure = Failure::new(FAILED, format!("the profile {name} has {number}")).unchanged();
    failure.mistakes = mistakes;
    failure
}

/// An active profile that cannot be read, with what to do about it.
pub(super) fn active(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Failure>() {
        Ok(failure) if failure.hint.is_none() => failure
            .hint(
                Hint::say("name the profile: apply then remembers it again")
                    .and(Hint::cttune("check --no-profile").to("ignore what is remembered")),
            )
            .into(),
        Ok(failure) => failure.into(),
        Err(error) => error,
    }
}

/// What to do where a profile is needed and none is named.
pub(super) fn name_a_profile() -> Hint {
    Hint::say("name one behind the command: campus-fw, or ./mine.toml")
        .and(Hint::cttune("profile list").to("see all profiles"))
}

/// A profile that was not read.
pub(super) fn not_found(error: ProfileError) -> anyhow::Error {
    let message = error.to_string();
    let hint = match error {
        ProfileError::NotFound { name, .. } if profiles::is_path(&name) => {
            return Failure::new(FAILED, format!("cannot read {name}: no such file"))
                .hint(Hint::cttune("profile list").to("see the profiles that have a name"))
                .into();
        }
        ProfileError::NotFound { name, .. } if name.contains('=') => Some(Hint::say(format!(
            "a key is set with --set {}",
            quoted(&name)
        ))),
        ProfileError::NotFound { name, known } => {
            Some(match nearest_name(&name, known.iter().cloned()) {
                Some(nearest) => Hint::say(format!("did you mean `{nearest}`?"))
                    .and(Hint::cttune("profile list").to("see all")),
                None => Hint::say(format!(
                    "there are: {}; a path has a slash or ends in .toml",
                    known.join(", ")
                )),
            })
        }
        ProfileError::File(error) => error
            .hint()
            .or_else(|| Some(Hint::cttune("profile list").to("see the profiles that have a name"))),
        ProfileError::Unsafe { open, .. } => {
            let open = quoted(&open.display().to_string());
            let command = format!("chown root {open} && chmod go-w {open}");
            Some(Hint::on_host(command).to("if it is yours"))
        }
        ProfileError::NotText { what, .. } if what != "profile" => None,
        ProfileError::NotText { .. } => {
            Some(Hint::cttune("profile show campus-fw").to("see how a profile is written"))
        }
    };
    Failure::new(FAILED, message).maybe_hint(hint).into()
}

/// The overrides of the command line; the error lists every wrong one.
pub(super) fn overrides(set: &[String]) -> anyhow::Result<BTreeMap<Key, i64>> {
    let mut overrides = BTreeMap::new();
    let mut messages = Vec::new();
    let mut hint = None;
    for text in set {
        match parse_override(text) {
            Ok((key, value)) => drop(overrides.insert(key, value)),
            Err(wrong) => {
                messages.push(format!("--set {text}: {wrong}"));
                hint = hint.or(wrong.help.map(Hint::say));
            }
        }
    }
    if messages.is_empty() {
        return Ok(overrides);
    }
    let failure = Failure::usage("").maybe_hint(hint);
    Err(Failure {
        messages,
        ..failure
    }
    .into())
}

/// A profile that a machine of this size cannot meet.
pub(super) fn underivable(error: DeriveError) -> anyhow::Error {
    Failure::new(FAILED, error.to_string())
        .unchanged()
        .hint("set the key to a value: --set KEY=VALUE")
        .into()
}

/// A `--set` key that the catalog does not have.
pub(super) fn unknown_key(error: UnknownKey) -> anyhow::Error {
    Failure::usage(error.to_string()).hint(error.help()).into()
}

/// An edit of a profile that cannot be made.
pub(super) fn edit(error: EditError) -> anyhow::Error {
    let message = error.to_string();
    match error {
        EditError::Mistakes(mistakes) => profile(mistakes).into(),
        EditError::Key(error) => unknown_key(error),
        EditError::Value(_, wrong) => Failure::usage(message)
            .maybe_hint(wrong.help.map(Hint::say))
            .into(),
        EditError::NoSuchField(_) => Failure::usage(message).into(),
        _ => Failure::new(FAILED, message).unchanged().into(),
    }
}

/// Notes names in the profile's `[accept]` that no finding has.
pub(super) fn note_unknown_ids(desired: &Desired, out: Out) {
    let accepted = desired.accept.iter();
    let mut unknown = accepted.filter_map(|(id, accepted)| Some((unknown_id(id)?, accepted)));
    for (said, accepted) in unknown.by_ref().take(MOST_NOTES) {
        let origin = &accepted.origin;
        out.note(&format!("note: the accept table of {origin}: {said}"));
    }
    if unknown.next().is_some() {
        out.note("note: more of its findings do not exist; these are not shown");
    }
}
