//! `cttune confirm`, and the watcher of a change that is not confirmed.

use super::args::{Confirm, Global, WatchPending};
use super::change;
use super::failure::LEFT;
use super::out::{self, Out};
use super::terminal::Terminal;
use super::{place, plan as plan_command};
use crate::change::{Done, READY, Record, close_stdout, leave_session, watch as wait_for_deadline};
use crate::diagnostic::Place;
use crate::plan::Plan;
use crate::render;

pub(super) fn run(args: &Confirm, global: &Global, out: Out) -> anyhow::Result<u8> {
    let here = change::here(global)?;
    let terminal = Terminal::new(&here, out);
    let session = terminal.session(args.wait.as_deref())?;
    let done = session.confirm(None, &mut |record| replan(record, global));
    tell(&done.map_err(change::told)?, &place::of(global), out)
}

/// The plan of a pending change, from what is current now.
pub(super) fn replan(record: &Record, global: &Global) -> anyhow::Result<Plan> {
    let planning = change::planning_of(record);
    let (plan, _) = plan_command::make(&planning, global, &place::root(global)?)?;
    Ok(plan)
}

/// Tells how a confirmation ended. Gives the exit code.
pub(super) fn tell(done: &Done, place: &Place, out: Out) -> anyhow::Result<u8> {
    change::show(done, render::outcome::confirmed, place, false, out)
}

/// Runs the watcher: waits for the deadline of a change, and undoes it unless it was confirmed.
pub(super) fn watch(args: &WatchPending) -> anyhow::Result<u8> {
    if args.detach {
        leave_session();
        out::raw(READY);
        close_stdout()?;
    }
    let complete = wait_for_deadline(args.id)?;
    Ok(if complete { 0 } else { LEFT })
}
