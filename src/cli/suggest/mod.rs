//! `cttune profile suggest`: watches the host and writes a profile for what it does.

mod watch;

use std::path::Path;

use super::args::Global;
use super::change;
use super::failure::{FAILED, Failure};
use super::out::Out;
use super::{place, profile_edit};
use crate::profile::suggest::suggest;

/// Runs it.
pub(super) fn run(
    headroom: f64,
    observe: &str,
    file: Option<&Path>,
    global: &Global,
    out: Out,
) -> anyhow::Result<u8> {
    if global.root.is_some() {
        let failure = Failure::usage("--root cannot go with profile suggest");
        return Err(failure.hint("an image has no traffic to watch").into());
    }
    let time = change::long_duration("--observe", observe)?;
    // Before the wait, not after it.
    if let Some(file) = file.filter(|file| file.symlink_metadata().is_ok()) {
        let failure = Failure::new(FAILED, format!("{} exists already", file.display()));
        return Err(failure.hint("name another file, or remove it first").into());
    }
    if let Some(file) = file {
        profile_edit::rehearse(file)?;
    }
    let seen = watch::watch(time, headroom, &place::root(global)?, out)?;
    let text = suggest(&seen);
    match file {
        None => profile_edit::print(&text, out),
        Some(file) => profile_edit::write(file, None, &text, out)?,
    }
    Ok(0)
}
