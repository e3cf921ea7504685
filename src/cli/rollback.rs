//! `cttune rollback`: undoes what the journal holds, without profile or network.

use super::args::{Global, Rollback};
use super::change;
use super::failure::declined;
use super::out::{self, Out};
use super::place;
use super::prompt::{self, Answer};
use super::terminal::Terminal;
use crate::change::{ChangeError, Conflict, Entry, Revert, Session, Which};
use crate::render::{self, outcome::Preview};

pub(super) fn run(args: &Rollback, global: &Global, out: Out) -> anyhow::Result<u8> {
    let here = change::here(global)?;
    let terminal = Terminal::new(&here, out);
    let session = terminal.session(args.wait.as_deref())?;
    let which = match (args.id, args.to) {
        (_, Some(id)) => Which::After(id),
        (Some(id), None) => Which::One(id),
        (None, None) => Which::Last,
    };
    let asks = !args.yes && out::is_interactive();
    let mut ask = |reverts: &[(Entry, Revert)]| {
        if asks {
            ask(reverts, &session, out)
        } else {
            Ok(())
        }
    };
    let done = session
        .rollback(which, args.overwrite_changed, &mut ask)
        .map_err(change::told)?;
    let place = place::of(global);
    change::show(&done, render::outcome::rolled_back, &place, false, out)
}

fn ask(reverts: &[(Entry, Revert)], session: &Session<'_>, out: Out) -> anyhow::Result<()> {
    for (entry, revert) in reverts {
        let conflicts: Vec<String> = revert.conflicts.iter().map(Conflict::to_string).collect();
        out.question(&render::outcome::preview(Preview {
            id: entry.record.id,
            time: &entry.record.origin.time,
            profile: &entry.record.profile,
            steps: &revert.plan.steps,
            kept: &revert.kept,
            conflicts: &conflicts,
        }));
    }
    match prompt::ask_plainly("Undo it? [y/N]", session.signals())? {
        Answer::Yes => Ok(()),
        Answer::Stopped(signal) => Err(ChangeError::stopped(signal).into()),
        Answer::No | Answer::Steps(_) => Err(declined().into()),
    }
}
