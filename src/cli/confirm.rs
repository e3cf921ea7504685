//! `cttune confirm`, and the watcher of a change that is not confirmed.

use std::collections::BTreeMap;
use std::path::Path;

use super::args::{Confirm, Global, WatchPending};
use super::change;
use super::failure::LEFT;
use super::out::{self, Out};
use super::terminal::Terminal;
use super::{place, plan as plan_command};
use crate::boot;
use crate::change::{Done, READY, Record, close_stdout, leave_session, watch as wait_for_deadline};
use crate::diagnostic::Place;
use crate::files::Root;
use crate::plan::{DROP_IN, Plan, Step};
use crate::profile::Desired;
use crate::render;

pub(super) fn run(args: &Confirm, global: &Global, out: Out) -> anyhow::Result<u8> {
    let here = change::here(global)?;
    let terminal = Terminal::new(&here, out);
    let session = terminal.session(args.wait.as_deref())?;
    let done = session.confirm(None, &mut |record| replan(record, global));
    tell(&done.map_err(change::told)?, &place::of(global), out)
}

/// The plan of a pending change, from what is current now. Its values are those of the journal: the
/// profile may have been removed since, or ask for others.
pub(super) fn replan(record: &Record, global: &Global) -> anyhow::Result<Plan> {
    let root = place::root(global)?;
    let planning = change::planning_of(record);
    let desired = desired(record, &root)?;
    let (plan, _) = plan_command::make_for(&desired, &planning, global, &root)?;
    Ok(plan)
}

/// What a change makes the machine have: the values that it set, and those of the drop-in once the
/// change is confirmed.
fn desired(record: &Record, root: &Root) -> anyhow::Result<Desired> {
    let mut values = BTreeMap::new();
    let mut drop_in = root.read(Path::new(DROP_IN))?;
    for step in &record.steps {
        if let Step::WriteLive { key, to, .. } = step {
            values.insert(*key, *to);
        }
        if let Some(change) = step.file().filter(|file| file.path == Path::new(DROP_IN)) {
            drop_in = change.to.map(<[u8]>::to_vec);
        }
    }
    if let Some(Ok(persisted)) = drop_in.map(|bytes| boot::drop_in::parse(&bytes)) {
        values.extend(persisted.values);
    }
    Ok(Desired {
        name: record.profile.clone(),
        ..Desired::default().with_overrides(&values)
    })
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
