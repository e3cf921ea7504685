//! `cttune profile diff`, `copy` and `edit`: a profile of one's own, which is saved only without
//! mistakes.

use std::fs;
use std::path::PathBuf;

use super::args::{ExportTo, Global};
use super::failure::{DIFFERS, DONE, FAILED, Failure};
use super::mistaken;
use super::out::{self, Out};
use super::profile_edit::{own_file, read, write};
use super::{load, place};
use crate::diagnostic::{Hint, quoted, said};
use crate::files::{editor, profiles};
use crate::kernel::host;
use crate::profile::{self, Source, Values, derive, edit as text_edit};
use crate::render::{self, export::Target, layout::command};

/// `profile diff`.
pub(super) fn diff(
    first: &str,
    second: Option<&str>,
    global: &Global,
    out: Out,
) -> anyhow::Result<u8> {
    let first = load::named(first)?;
    let second = match second {
        Some(name) => load::named(name)?,
        None => load::active(&place::root(global)?)?.ok_or_else(|| {
            Failure::new(FAILED, "no profile is active")
                .hint(Hint::cttune(format!("profile diff {} OTHER", first.name)).to("name another"))
        })?,
    };
    let differences = render::profile::differences(&first, &second);
    out.result(
        || render::profile::diff(&first, &second, &differences),
        || render::profile::diff_json(&first, &second, &differences),
    );
    Ok(if differences.is_empty() {
        DONE
    } else {
        DIFFERS
    })
}

/// `profile export`.
pub(super) fn export(
    name: Option<&str>,
    to: ExportTo,
    global: &Global,
    out: Out,
) -> anyhow::Result<u8> {
    let desired = match name {
        Some(name) => load::named(name)?,
        None => load::active(&place::root(global)?)?.ok_or_else(|| {
            Failure::usage("no profile is named, and none is active")
                .hint(mistaken::name_a_profile())
        })?,
    };
    let host = host::read_host()?;
    let numbers = derive(&desired, &host, &|_| Values::default());
    let to = match to {
        ExportTo::SysctlD => Target::SysctlD,
        ExportTo::KubeProxy => Target::KubeProxy,
        ExportTo::OpenshiftTuned => Target::OpenshiftTuned,
        ExportTo::Talos => Target::Talos,
        ExportTo::AnsibleVars => Target::AnsibleVars,
    };
    let exported = render::export::export(
        &desired,
        &numbers.map_err(mistaken::underivable)?,
        &host,
        to,
    );
    if out.is_json() {
        out.result(String::new, || &exported);
        return Ok(DONE);
    }
    for unsaid in &exported.cannot_say {
        out.note(&format!("note: not said there: {unsaid}"));
    }
    out::raw(&exported.text);
    Ok(DONE)
}

/// `profile copy`.
pub(super) fn copy(from: &str, to: &str, out: Out) -> anyhow::Result<u8> {
    let found = load::find(from)?;
    let path = if profiles::is_path(to) {
        PathBuf::from(to)
    } else {
        profiles::own(to)
    };
    if path.symlink_metadata().is_ok() {
        let message = format!("{} is there already", path.display());
        return Err(Failure::new(FAILED, message)
            .unchanged()
            .hint("name a new file, or remove that one first")
            .into());
    }
    let (own, _) = profile::read(&found.source);
    let mut text = found.source.text.clone();
    // A parent that is named by its path from the old folder is named from the root.
    if let Some(parent) = own.extends.filter(|parent| profiles::is_path(&parent.name)) {
        let real = profiles::find_parent(&parent.name, &found).map_err(mistaken::not_found)?;
        text = text_edit::set(&found.source, "extends", &real.name).map_err(mistaken::edit)?;
    }
    if let Some(shelf) = path.parent().filter(|_| !profiles::is_path(to)) {
        fs::create_dir_all(shelf).map_err(|error| {
            let message = format!("cannot make {}: {}", shelf.display(), said(&error));
            Failure::new(FAILED, message).hint("run it as root, or name a file")
        })?;
    }
    write(&path, None, &text, out)?;
    let line = format!("profile edit {}", quoted(to));
    out.note(&format!("next: to change it: cttune {}", command(&line)));
    Ok(DONE)
}

/// `profile edit`.
pub(super) fn edit(name: &str, out: Out) -> anyhow::Result<u8> {
    let path = own_file(name)?;
    let before = read(&path)?;
    let mut chosen = ["VISUAL", "EDITOR"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok());
    let chosen = chosen.find(|editor| !editor.trim().is_empty());
    if chosen.is_none() && !out::is_interactive() {
        let file = path.display().to_string();
        let line = format!("profile set {} KEY=VALUE", quoted(&file));
        return Err(Failure::new(FAILED, "no terminal to edit on")
            .hint(Hint::cttune(line).to("set one key"))
            .into());
    }
    let edited = editor::edit(chosen.as_deref().unwrap_or("vi"), &before.text)?;
    let source = Source::new(path.display().to_string(), edited.text);
    if let Err(mistakes) = profile::parse(&source) {
        let kept = edited.file.keep()?.1;
        let hint = format!("what you wrote is kept in {}", kept.display());
        return Err(mistaken::profile(mistakes).hint(hint).into());
    }
    write(&path, Some(&before.text), &source.text, out)?;
    Ok(DONE)
}
