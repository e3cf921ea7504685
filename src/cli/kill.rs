//! `cttune kill`: shows the flows that are named, asks, and ends them.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::args::{Global, Kill as Args};
use super::expire::{
    answered, end, past, rate, refuse_blind, refuse_more_than, say_pace, untouched, watching,
    with_progress,
};
use super::failure::{FAILED, Failure};
use super::out::Out;
use super::{change, place, select};
use crate::change::kill::Kill;
use crate::change::{Signal, Signals};
use crate::diagnostic::said;
use crate::flow::Selection;
use crate::flow::expire::Preview;
use crate::kernel::sysctl;
use crate::render::kill::{self as render, Parts};

/// Below so many flows, that all of them match may well be meant.
const FEW: u64 = 100;

pub(super) fn run(args: &Args, global: &Global, out: Out) -> anyhow::Result<u8> {
    let selection = Selection {
        matching: select::watched_terms("--match", &args.matching)?,
        keep: select::watched_terms("--keep", &args.keep)?,
    };
    let limit = args.rate.as_deref().map(rate).transpose()?;
    let limit = limit.and_then(|rate| u32::try_from(rate).ok());
    refuse_blind("kill", global, !args.yes && !args.dry_run)?;
    if selection.covers_everything() && !args.all_flows {
        return Err(every_flow("these terms match every flow").into());
    }
    let root = place::root(global)?;
    let signals = Signals::catch()?;
    let stop = || signals.caught();
    let _lock = if args.dry_run {
        None
    } else {
        Some(change::lock(
            &change::here(global)?,
            args.wait.as_deref(),
            &stop,
        )?)
    };
    let past = past(&root);
    let mut kill = Kill::new(selection, past.sessions, limit, past.log);
    watch(&mut kill, &stop, out)?;
    let preview = with_progress("counting", &stop, out, |hands| kill.preview(hands));
    let preview = preview.map_err(untouched)?;
    if let Some(code) = settled(args, &preview, out)? {
        return Ok(code);
    }
    if !args.yes {
        out.question(&render::preview(&preview));
        say_pace(kill.pace(), Some(preview.tally.selected()), out);
        answered("End them? [y/N]", &signals)?;
    }
    let mut file = args.save.as_deref().map(create).transpose()?;
    let save = file.as_mut().map(|file| file as &mut dyn Write);
    let killed = with_progress("kill", &stop, out, |hands| kill.run(save, hands));
    if let Some(file) = &file {
        file.sync_all()?;
    }
    let parts = Parts {
        tally: &killed.tally,
        recreated: killed.recreated,
        dry_run: false,
        saved: args.save.as_deref(),
        preview: &preview,
        count: sysctl::read_count().ok().flatten(),
    };
    out.result(|| render::text(parts), || render::json(parts));
    end(&killed.tally, killed.broken_off.as_ref())
}

/// Watches the flows, where a term is about idle time.
fn watch(kill: &mut Kill, stop: &dyn Fn() -> Option<Signal>, out: Out) -> Result<(), Failure> {
    let Some(time) = kill.time_to_watch() else {
        return Ok(());
    };
    out.note(&crate::render::expire::watching(time));
    with_progress("first look", stop, out, |hands| kill.look(hands)).map_err(untouched)?;
    watching(time, out, |passed| kill.watch(stop, passed)).map_err(untouched)
}

/// The exit code where nothing is to be ended, or only counted; an error where it is refused.
fn settled(args: &Args, preview: &Preview, out: Out) -> anyhow::Result<Option<u8>> {
    let tally = &preview.tally;
    let count = sysctl::read_count().ok().flatten();
    if args.dry_run || tally.selected() == 0 {
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
    if args.dry_run {
        return Ok(Some(0));
    }
    if tally.examined() == 0 {
        return Err(Failure::new(FAILED, "no flow matches --match")
            .unchanged()
            .into());
    }
    if tally.selected() == 0 {
        return Ok(Some(0));
    }
    let entries = count
        .and_then(|count| u64::try_from(count).ok())
        .unwrap_or(0);
    if !args.all_flows && tally.examined() >= FEW && tally.examined() >= entries {
        return Err(every_flow("every flow of the table matches").into());
    }
    refuse_more_than(args.max_flows.map(i64::from), tally)?;
    Ok(None)
}

fn every_flow(message: &str) -> Failure {
    Failure::new(FAILED, message)
        .unchanged()
        .hint("--all-flows ends them all, and cuts every connection")
}

/// Creates the file that flows are saved to; nobody else may read it.
fn create(path: &Path) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    file.map_err(|error| {
        let message = format!("cannot create {}: {}", path.display(), said(&error));
        Failure::new(FAILED, message).unchanged()
    })
}
