//! `cttune kill`: shows the flows that are named, asks, and ends them.

mod refuse;

use std::io::Write;

use self::refuse::{create, every_flow, settled};
use super::args::{Global, Kill as Args};
use super::flows::{self, answered, end, no_match, rate, say_pace, untouched, with_progress};
use super::out::Out;
use super::select;
use crate::change::kill::{Kill, Killed};
use crate::flow::Selection;
use crate::kernel::sysctl;
use crate::render::expire::Counts;
use crate::render::kill::{self as render, Parts};

pub(super) fn run(args: &Args, global: &Global, out: Out) -> anyhow::Result<u8> {
    let options = &args.changing;
    let selection = Selection {
        matching: select::watched_terms("--match", &args.matching)?,
        keep: select::watched_terms("--keep", &options.keep)?,
    };
    let limit = rate(options)?;
    if selection.covers_everything() && !args.all_flows {
        return Err(every_flow("these terms match every flow").into());
    }
    let is_wide = selection.is_wide();
    let held = flows::hold("kill", options, global)?;
    let stop = || held.signals.caught();
    let mut kill = Kill::new(selection, held.past.sessions, limit, held.past.log);
    let watched = kill.time_to_watch();
    if let Some(time) = watched
        && !flows::is_lent(out, |lent, clock| kill.borrow(lent, clock))
    {
        flows::watch(
            &mut kill,
            (time, Counts::Watched),
            &stop,
            out,
            Kill::look,
            Kill::watch,
        )?;
    }
    // A count takes as long as the work: with --yes only what needs it is counted first.
    let is_counted =
        !options.yes || options.max_flows.is_some() || args.save.is_some() || watched.is_some();
    if is_counted {
        let preview = with_progress("counting", &stop, out, |context| kill.preview(context));
        let preview = preview.map_err(untouched)?;
        if let Some(code) = settled(args, is_wide, &preview, global, out)? {
            return Ok(code);
        }
        if !options.yes {
            out.question(&render::preview(&preview));
            say_pace(kill.pace(), Some(preview.tally.selected()), out);
            answered("End them? [y/N]", &held.signals)?;
        }
    } else {
        refuse::every_by_accident(args, is_wide, &kill)?;
    }
    let mut file = args.save.as_deref().map(create).transpose()?;
    let save = file.as_mut().map(|file| file as &mut dyn Write);
    if out.is_json() {
        kill.gather_groups();
    }
    let killed = with_progress("kill", &stop, out, |context| kill.run(save, context));
    if let Some(file) = &file {
        file.sync_all()?;
    }
    told(args, &killed, out)
}

/// Tells what was done. That no flow matched is said by the error alone.
fn told(args: &Args, killed: &Killed, out: Out) -> anyhow::Result<u8> {
    let tally = &killed.ended.tally;
    let parts = Parts {
        tally,
        recreated: killed.recreated,
        dry_run: false,
        saved: args.save.as_deref(),
        preview: &killed.ended,
        count: sysctl::read_count().ok().flatten(),
    };
    if tally.examined() > 0 || out.is_json() {
        out.result(|| render::text(parts), || render::json(parts));
    }
    let code = end(tally, killed.broken_off.as_ref())?;
    match tally.examined() {
        0 => Err(no_match(&args.matching).into()),
        _ => Ok(code),
    }
}
