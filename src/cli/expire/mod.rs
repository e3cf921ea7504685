//! `cttune expire`: counts, asks, and shortens existing flows to the current timeouts.

mod dialog;
mod parse;
mod steps;

pub(super) use dialog::answered;
pub(super) use parse::{rate, was};
pub(super) use steps::{
    FlowProgress, end, past, past_of, refuse_blind, refuse_more_than, say_pace, step, tell_pace,
    told, untouched, watching, with_progress,
};

use super::args::{Expire, Global};
use super::failure::Failure;
use super::out::Out;
use super::{change, place};
use crate::change::expire::{Expiry, Past};
use crate::change::{Signal, Signals};
use crate::guard;
use crate::profile::ExpireMode;
use crate::render;

use self::dialog::{ask, nothing_done, show};

pub(super) fn run(args: &Expire, global: &Global, out: Out) -> anyhow::Result<u8> {
    let parameters = parse::parameters(args)?;
    let was = args.was.as_deref().map(parse::was).transpose()?;
    refuse_blind("expire", global, !args.yes && !args.dry_run)?;
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
    let past = Past { was, ..past(&root) };
    let mut expiry = Expiry::prepare(&parameters, &past).map_err(untouched)?;
    let mode = parameters.mode;
    let is_proven = mode == ExpireMode::Clamp || expiry.needs_sample();
    if expiry.needs_sample() {
        watch(&mut expiry, &stop, out)?;
    }
    if args.dry_run || !args.yes || parameters.max_flows.is_some() || !is_proven {
        let tally = with_progress("counting", &stop, out, |context| expiry.count(context))
            .map_err(untouched)?;
        if args.dry_run || tally.selected() == 0 {
            show(mode, &tally, args.dry_run, out);
            return nothing_done(args, &tally, is_proven);
        }
        refuse_more_than(parameters.max_flows, &tally)?;
        if !args.yes {
            ask(&expiry, mode, &tally, &signals, out)?;
        }
    }
    if args.yes {
        say_pace(expiry.pace(), None, out);
    }
    let expired = with_progress(mode.name(), &stop, out, |context| expiry.run(context));
    show(mode, &expired.tally, false, out);
    let code = end(&expired.tally, expired.broken_off.as_ref())?;
    match expired.tally.examined() {
        0 => nothing_done(args, &expired.tally, is_proven),
        _ => Ok(code),
    }
}

/// Takes the first look and waits until a second one proves something.
fn watch(expiry: &mut Expiry, stop: &dyn Fn() -> Option<Signal>, out: Out) -> Result<(), Failure> {
    let time = expiry.time_to_watch();
    if let Some(lent) = guard::borrow()
        && expiry.borrow(lent)
    {
        out.note("the guard has watched the flows for long enough");
        return Ok(());
    }
    out.note(&render::expire::watching(time));
    with_progress("first look", stop, out, |context| expiry.look(context)).map_err(untouched)?;
    watching(time, out, |passed| expiry.watch(stop, passed)).map_err(untouched)
}
