//! `cttune fleet`: many hosts' checks in one table.

mod collected;

use std::io;
use std::path::Path;

use super::args::{Fleet as Args, Global};
use super::failure::{DIFFERS, DONE, FAILED, Failure};
use super::forecast::{rehearse, write};
use super::out::Out;
use super::writer;
use crate::diagnostic::plain::Shown;
use crate::fleet::{Fleet, Summary};
use crate::render;
use crate::tunable::format_count;

/// Records that are named on stderr.
const MOST_NAMED: usize = 10;

pub(super) fn run(args: &Args, global: &Global, out: Out) -> anyhow::Result<u8> {
    if global.root.is_some() || global.netns.is_some() {
        let failure = Failure::usage("--root and --netns cannot go with fleet");
        return Err(failure
            .hint("it reads what other hosts said, and no host")
            .into());
    }
    if args.html.is_some() && args.html == args.csv {
        let failure = Failure::usage("--html and --csv name the same file");
        return Err(failure.hint("give each a file of its own").into());
    }
    let files = || args.html.iter().chain(&args.csv);
    let prints = files().any(|file| is_stdout(file));
    if prints && out.is_json() {
        let failure = Failure::usage("--html - and --csv - cannot go with --json");
        return Err(failure.hint("both are printed: name a file").into());
    }
    for file in files().filter(|file| !is_stdout(file)) {
        rehearse(file)?;
    }
    let mut fleet = Fleet::default();
    let from = if args.from == Path::new("-") {
        collected::read_stream(io::stdin().lock(), "line", &mut fleet)?;
        "standard input".to_owned()
    } else {
        collected::read_folder(&args.from, &mut fleet)?;
        args.from.shown()
    };
    if fleet.hosts.is_empty() && fleet.unread.is_empty() {
        let message = format!("{from} has no check of any host");
        let hint = "collect them: cttune check --json > DIR/HOST.json";
        return Err(Failure::new(FAILED, message).hint(hint).into());
    }
    let summary = Summary::of(&fleet);
    if let Some(file) = &args.html {
        let time = jiff::Timestamp::now().strftime("%FT%TZ");
        let footer = format!("cttune {}, {time}", env!("CARGO_PKG_VERSION"));
        give(file, &render::fleet::html(&fleet, &summary, &footer))?;
    }
    if let Some(file) = &args.csv {
        give(file, &render::fleet::csv(&fleet))?;
    }
    if !prints {
        out.result(
            || render::fleet::text(&fleet, &summary, out.verbose),
            || render::fleet::json(&fleet, &summary),
        );
    }
    note_unread(&fleet, out);
    Ok(match (fleet.unread.is_empty(), summary.work.is_empty()) {
        (false, _) => FAILED,
        (true, false) => DIFFERS,
        (true, true) => DONE,
    })
}

fn is_stdout(file: &Path) -> bool {
    file == Path::new("-")
}

fn give(file: &Path, text: &str) -> anyhow::Result<()> {
    if is_stdout(file) {
        writer::raw(text);
        return Ok(());
    }
    write(file, text)
}

fn note_unread(fleet: &Fleet, out: Out) {
    for one in fleet.unread.iter().take(MOST_NAMED) {
        out.note(&format!("note: not read: {} ({})", one.source, one.why));
    }
    let more = fleet.unread.len().saturating_sub(MOST_NAMED);
    if more > 0 {
        let more = format_count(i64::try_from(more).unwrap_or(i64::MAX));
        out.note(&format!("note: and {more} more were not read"));
    }
}
