//! `cttune profile copy` and `edit`: a profile of one's own, which is saved only without mistakes.

use std::path::PathBuf;

use super::failure::{DONE, FAILED, Failure};
use super::load;
use super::mistaken;
use super::out::{self, Out};
use super::profile_edit::{read, write};
use crate::diagnostic::{Hint, quoted};
use crate::files::{editor, profiles};
use crate::profile::{self, Source, edit as text_edit};

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
    write(&path, None, &text, out)?;
    Ok(DONE)
}

/// `profile edit`.
pub(super) fn edit(name: &str, out: Out) -> anyhow::Result<u8> {
    let found = load::find(name)?;
    let Some(path) = found.file() else {
        let line = format!("profile copy {} ./mine.toml", quoted(name));
        return Err(
            Failure::new(FAILED, format!("the profile {name} is built in"))
                .hint(Hint::cttune(line).to("edit a copy of it"))
                .into(),
        );
    };
    let before = read(&path)?;
    let chosen = ["VISUAL", "EDITOR"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok());
    let chosen = chosen.filter(|editor| !editor.trim().is_empty()).next();
    if chosen.is_none() && !out::is_interactive() {
        let line = format!("profile set {} KEY=VALUE", quoted(name));
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
