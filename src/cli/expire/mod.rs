//! `cttune expire`: counts, asks, and shortens existing flows to the current timeouts.

mod dialog;
mod parse;
mod steps;

pub(super) use parse::was;
pub(super) use steps::{FlowProgress, past_of, step, tell_pace, told};

use super::args::{Expire, Global};
use super::flows::{self, end, refuse_more_than, say_pace, untouched, with_progress};
use super::out::Out;
use crate::change::expire::Expiry;
use crate::change::flows::Past;
use crate::profile::ExpireMode;
use crate::render::expire::Counts;

use self::dialog::{ask, nothing_done, show};

pub(super) fn run(args: &Expire, global: &Global, out: Out) -> anyhow::Result<u8> {
    let parameters = parse::parameters(args)?;
    let was = args.was.as_deref().map(parse::was).transpose()?;
    let options = &args.changing;
    let held = flows::hold("expire", options, global)?;
    let stop = || held.signals.caught();
    let past = Past { was, ..held.past };
    let mut expiry = Expiry::prepare(&parameters, &past).map_err(untouched)?;
    let mode = parameters.mode;
    let is_proven = mode == ExpireMode::Clamp || expiry.needs_sample();
    if expiry.needs_sample() && !flows::is_lent(out, |lent, clock| expiry.borrow(lent, clock)) {
        let counts = if parameters.trust_history {
            Counts::Inferred
        } else {
            Counts::Watched
        };
        let time = (expiry.time_to_watch(), counts);
        flows::watch(&mut expiry, time, &stop, out, Expiry::look, Expiry::watch)?;
    }
    if options.dry_run || !options.yes || parameters.max_flows.is_some() || !is_proven {
        let tally = with_progress("counting", &stop, out, |context| expiry.count(context))
            .map_err(untouched)?;
        if options.dry_run || tally.selected() == 0 {
            show(mode, &tally, options.dry_run, out);
            if tally.examined() == 0 && options.dry_run {
                flows::note_uncounted(&args.matching, global, out);
            }
            return nothing_done(args, &tally, is_proven);
        }
        refuse_more_than(parameters.max_flows, &tally)?;
        if !options.yes {
            ask(&expiry, mode, &tally, &held.signals, out)?;
        }
    }
    if options.yes {
        say_pace(expiry.pace(), None, out);
    }
    let expired = with_progress(mode.name(), &stop, out, |context| expiry.run(context));
    // That no flow matched is said by the error alone.
    if expired.tally.examined() > 0 || out.is_json() {
        show(mode, &expired.tally, false, out);
    }
    let code = end(&expired.tally, expired.broken_off.as_ref())?;
    match expired.tally.examined() {
        0 => nothing_done(args, &expired.tally, is_proven),
        _ => Ok(code),
    }
}
