//! When `kill` ends no flow: a count, no match, or more than was allowed. And the file for flows.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::change::kill::Kill;
use crate::cli::args::{Global, Kill as Args};
use crate::cli::failure::{FAILED, Failure};
use crate::cli::flows::{no_match, note_uncounted, refuse_more_than, untouched};
use crate::cli::out::Out;
use crate::diagnostic::said;
use crate::flow::expire::Preview;
use crate::kernel::sysctl;
use crate::render::kill::{self as render, Parts};

/// Below so many flows, that all of them match may well be meant.
const FEW: u64 = 100;

/// The exit code where nothing is to be ended, or only counted; an error where it is refused.
/// `is_wide` where the terms name no flows, so that even of a few flows not all are ended.
pub(super) fn settled(
    args: &Args,
    is_wide: bool,
    preview: &Preview,
    global: &Global,
    out: Out,
) -> anyhow::Result<Option<u8>> {
    let tally = &preview.tally;
    let count = sysctl::read_count().ok().flatten();
    if args.changing.dry_run || tally.selected() == 0 {
        let parts = Parts {
            tally,
            recreated: 0,
            dry_run: true,
            saved: None,
            preview,
            count,
        };
        out.result(|| render::text(parts), || render::json(parts));
    }
    if args.changing.dry_run {
        if tally.examined() == 0 {
            note_uncounted(&args.matching, global, out);
        }
        return Ok(Some(0));
    }
    if tally.examined() == 0 {
        return Err(no_match(&args.matching).into());
    }
    if tally.selected() == 0 {
        return Ok(Some(0));
    }
    // Flows come and go while they are counted.
    let is_every = tally.examined() * 100 >= number(count) * 99;
    if !args.all_flows && is_every && (is_wide || tally.examined() >= FEW) {
        return Err(every_flow("every flow of the table matches").into());
    }
    refuse_more_than(args.changing.max_flows.map(i64::from), tally)?;
    Ok(None)
}

/// Refuses to end a whole table that nobody asked for.
pub(super) fn every_by_accident(args: &Args, is_wide: bool, kill: &Kill) -> Result<(), Failure> {
    let may_be_every = || is_wide || number(sysctl::read_count().ok().flatten()) >= FEW;
    if !args.all_flows && may_be_every() && kill.covers_all().map_err(untouched)? {
        return Err(every_flow("every flow of the table matches"));
    }
    Ok(())
}

fn number(count: Option<i64>) -> u64 {
    count
        .and_then(|count| u64::try_from(count).ok())
        .unwrap_or(0)
}

pub(super) fn every_flow(message: &str) -> Failure {
    Failure::new(FAILED, message)
        .unchanged()
        .hint("--all-flows ends them all, and cuts every connection")
}

/// Creates the file that flows are saved to; nobody else may read it.
pub(super) fn create(path: &Path) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    file.map_err(|error| {
        let message = format!("cannot create {}: {}", path.display(), said(&error));
        Failure::new(FAILED, message).unchanged()
    })
}
