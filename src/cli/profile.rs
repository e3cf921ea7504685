//! `cttune profile`: lists, shows and checks profiles.

use super::args::{Global, ProfileCommand};
use super::failure::{FAILED, Failure};
use super::out::{self, Out};
use super::{load, mistaken, profile_edit, profile_own, suggest};
use crate::files::profiles;
use crate::render;
use crate::tunable::plural;

pub(super) fn run(command: &ProfileCommand, global: &Global, out: Out) -> anyhow::Result<u8> {
    match command {
        ProfileCommand::List => Ok(list(out)),
        ProfileCommand::Show { name } => show(name, out),
        ProfileCommand::Check { files } => check(files, out),
        ProfileCommand::Diff { first, second } => {
            profile_own::diff(first, second.as_deref(), global, out)
        }
        ProfileCommand::Copy { from, to } => profile_own::copy(from, to, out),
        ProfileCommand::Edit { name } => profile_own::edit(name, out),
        ProfileCommand::Capture { keys, file } => profile_edit::capture(keys, file.as_deref(), out),
        ProfileCommand::Suggest {
            headroom,
            observe,
            file,
        } => suggest::run(*headroom, observe, file.as_deref(), global, out),
        ProfileCommand::Export { name, to } => {
            profile_own::export(name.as_deref(), *to, global, out)
        }
        ProfileCommand::Set { file, settings } => profile_edit::set(file, settings, out),
    }
}

fn list(out: Out) -> u8 {
    let listed = profiles::list().into_iter();
    let listed = listed.map(|(name, path)| render::profile::Row {
        description: match load::named(&name) {
            Ok(desired) => desired.description.unwrap_or_default(),
            Err(_) => format!("has mistakes: cttune profile check {name}"),
        },
        place: path.map_or_else(|| "built-in".to_owned(), |path| path.display().to_string()),
        name,
    });
    let listed: Vec<render::profile::Row> = listed.collect();
    out.result(
        || render::profile::list(&listed),
        || render::profile::list_json(&listed),
    );
    if out.is_watched() {
        out.note("next: to compare with one: cttune check NAME");
    }
    0
}

fn show(name: &str, out: Out) -> anyhow::Result<u8> {
    let found = load::find(name)?;
    if out.is_json() {
        let desired = load::named(name)?;
        out.result(String::new, || render::profile::desired_json(&desired));
    } else {
        out::raw(&found.source.text);
    }
    Ok(0)
}

fn check(files: &[String], out: Out) -> anyhow::Result<u8> {
    let mut failures = Vec::new();
    for file in files {
        match load::named(file) {
            Ok(desired) => mistaken::note_unknown_ids(&desired, out),
            Err(error) => failures.push(error.downcast::<Failure>()?),
        }
    }
    if failures.is_empty() {
        let files = files.len();
        out.result(
            || format!("no mistake in {}\n", plural(files, "profile")),
            || render::profile::checked_json(files),
        );
        return Ok(0);
    }
    let mut all = Failure {
        messages: Vec::new(),
        ..Failure::new(FAILED, "").unchanged()
    };
    for failure in failures {
        all.messages.extend(failure.messages);
        all.mistakes.extend(failure.mistakes);
        all.hint = all.hint.or(failure.hint);
    }
    Err(all.into())
}
