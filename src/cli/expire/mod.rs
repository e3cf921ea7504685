//! `cttune expire`: counts, asks, and shortens existing flows to the current timeouts.

mod parse;
mod steps;

pub(super) use parse::rate;
pub(super) use steps::{
    FlowProgress, end, past, past_of, refuse_blind, refuse_more_than, say_pace, step, tell_pace,
    told, untouched, watching, with_progress,
};

use super::args::{Expire, Global};
use super::failure::{FAILED, Failure, declined};
use super::out::Out;
use super::prompt::{self, Answer};
use super::{change, place};
use crate::change::expire::{Expiry, Past};
use crate::change::{Signal, Signals};
use crate::flow::expire::{KeptWhy, Tally};
use crate::kernel::sysctl;
use crate::profile::ExpireMode;
use crate::render::{self, expire::Parts};

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
        let tally = with_progress("counting", &stop, out, |hands| expiry.count(hands))
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
    let expired = with_progress(mode.name(), &stop, out, |hands| expiry.run(hands));
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
    out.note(&render::expire::watching(time));
    with_progress("first look", stop, out, |hands| expiry.look(hands)).map_err(untouched)?;
    watching(time, out, |passed| expiry.watch(stop, passed)).map_err(untouched)
}

/// The exit code where no flow was changed.
fn nothing_done(args: &Expire, tally: &Tally, is_proven: bool) -> anyhow::Result<u8> {
    if args.dry_run {
        return Ok(0);
    }
    if !args.matching.is_empty() && tally.examined() == 0 {
        return Err(Failure::new(FAILED, "no flow matches --match")
            .unchanged()
            .into());
    }
    // Watching could prove nothing of the other flows.
    if !is_proven && tally.kept.contains_key(&KeptWhy::NotProven) {
        return Err(Failure::new(FAILED, "nothing proves that a flow is idle")
            .unchanged()
            .hint(
                "--observe 10m watches the flows first; --trust-history infers idle time \
                 (cttune expire --help says what it assumes)",
            )
            .into());
    }
    Ok(0)
}

/// Asks; a no, or a signal, is a failure that changed nothing.
fn ask(
    expiry: &Expiry,
    mode: ExpireMode,
    tally: &Tally,
    signals: &Signals,
    out: Out,
) -> anyhow::Result<()> {
    out.question(&render::expire::foresight(mode, tally));
    say_pace(expiry.pace(), Some(tally.selected()), out);
    let question = match mode {
        ExpireMode::Clamp => "Clamp them? [y/N]",
        ExpireMode::ReAge => "Re-age them? [y/N]",
        ExpireMode::Delete => "Delete them? [y/N]",
    };
    answered(question, signals)
}

/// Goes on after a yes.
pub(super) fn answered(question: &str, signals: &Signals) -> anyhow::Result<()> {
    match prompt::ask_plainly(question, signals)? {
        Answer::Yes => Ok(()),
        Answer::No | Answer::Steps(_) => Err(declined().into()),
        Answer::Stopped(signal) => Err(change::stopped(signal).into()),
    }
}

fn show(mode: ExpireMode, tally: &Tally, dry_run: bool, out: Out) {
    let parts = Parts {
        mode,
        tally,
        dry_run,
        count: sysctl::read_count().ok().flatten(),
    };
    let text = || match (out.verbose, dry_run) {
        (true, false) => render::expire::text(parts) + &render::expire::breakdown(tally),
        _ => render::expire::text(parts),
    };
    out.result(text, || render::expire::json(parts));
}
