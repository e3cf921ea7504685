//! `cttune forecast`: what other timeouts would do, and how the table ages.

mod foreseen;
mod parse;
pub(in crate::cli) mod read;

pub(in crate::cli) use foreseen::foreseen;
pub(in crate::cli) use parse::usual;

use std::path::Path;

use super::args::{Forecast, Global};
use super::failure::{FAILED, Failure};
use super::out::Out;
use super::{change, profile_edit};
use crate::assess::demands;
use crate::files::Root;
use crate::flow::Selection;
use crate::render::forecast::{self as render, Shown};

pub(super) fn run(args: &Forecast, global: &Global, out: Out) -> anyhow::Result<u8> {
    if global.root.is_some() {
        return Err(Failure::usage("--root cannot go with forecast")
            .hint("an image has no running kernel, and so no table")
            .into());
    }
    let live = profile_edit::loaded("forecast")?;
    let asked = parse::asked(args, &live)?;
    let observe = args.observe.as_deref();
    let observe = observe.map(|text| change::duration("--observe", text));
    let observe = observe.transpose()?;
    for file in [&args.svg, &args.csv].into_iter().flatten() {
        rehearse(file)?;
    }
    let forecast = read::forecast(&asked, &live, observe, global, out)?;
    let shown = Shown {
        forecast: &forecast,
        demands: &demands(forecast.key),
        is_selection: asked.question.selection != Selection::default(),
        draws: out.verbose,
    };
    if let Some(file) = &args.svg {
        write(file, &render::svg(&shown))?;
    }
    if let Some(file) = &args.csv {
        write(file, &render::csv(&shown))?;
    }
    out.result(|| render::text(&shown), || render::json(&shown));
    Ok(0)
}

/// Makes sure that a file can be written, before a long wait.
pub(in crate::cli) fn rehearse(file: &Path) -> anyhow::Result<()> {
    let path = std::path::absolute(file)?;
    if let Some(folder) = Root::machine().missing_folders(&path).first() {
        let (file, folder) = (path.display(), folder.display());
        let message = format!("cannot write {file}: {folder} does not exist");
        return Err(Failure::new(FAILED, message).into());
    }
    let rehearsed = Root::machine().rehearse(&path, &[]);
    rehearsed.map_err(|error| Failure::of(FAILED, &error).into())
}

/// Replaces a file in one step. No link is followed, and only a regular file is replaced.
pub(in crate::cli) fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let path = std::path::absolute(file)?;
    let replaced = Root::machine().replace(&path, text.as_bytes());
    replaced.map_err(|error| Failure::of(FAILED, &error).into())
}
