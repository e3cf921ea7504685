//! `cttune kill`: shows the flows that are named, asks, and ends them.

mod refuse;

use std::io::Write;

use self::refuse::{create, every_flow, settled};
use super::args::{Global, Kill as Args};
use super::expire::{
    answered, end, past, rate, refuse_blind, say_pace, untouched, watching, with_progress,
};
use super::failure::Failure;
use super::out::Out;
use super::{change, place, select};
use crate::change::kill::Kill;
use crate::change::{Signal, Signals};
use crate::flow::Selection;
use crate::kernel::sysctl;
use crate::render::kill::{self as render, Parts};

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
    let preview = with_progress("counting", &stop, out, |context| kill.preview(context));
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
    let killed = with_progress("kill", &stop, out, |context| kill.run(save, context));
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
    with_progress("first look", stop, out, |context| kill.look(context)).map_err(untouched)?;
    watching(time, out, |passed| kill.watch(stop, passed)).map_err(untouched)
}
