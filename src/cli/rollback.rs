//! `cttune rollback`: undoes what the journal holds, without profile or network.

use super::args::{Global, Rollback};
use super::change;
use super::flows::answered;
use super::out::{self, Out};
use super::place;
use super::terminal::Terminal;
use crate::change::{Conflict, Entry, Revert, Session, Which};
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
    if args.dry_run {
        let reverts = session.reverts(which).map_err(change::told)?;
        show(&reverts, args.overwrite_changed, out);
        return Ok(0);
    }
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

/// Gives `tell` how each change would be undone.
fn with_previews<T>(reverts: &[(Entry, Revert)], tell: impl FnOnce(&[Preview<'_>]) -> T) -> T {
    let conflicts = |revert: &Revert| revert.conflicts.iter().map(Conflict::to_string).collect();
    let conflicts: Vec<Vec<String>> = reverts.iter().map(|(_, one)| conflicts(one)).collect();
    let previews = reverts.iter().zip(&conflicts);
    let previews = previews.map(|((entry, revert), conflicts)| Preview {
        id: entry.record.id,
        time: &entry.record.origin.time,
        profile: &entry.record.profile,
        steps: &revert.plan.steps,
        kept: &revert.kept,
        conflicts,
    });
    tell(&previews.collect::<Vec<_>>())
}

/// What a rollback would do.
fn show(reverts: &[(Entry, Revert)], overwrites: bool, out: Out) {
    with_previews(reverts, |previews| {
        let json = || render::outcome::preview_json(previews);
        out.result(|| render::outcome::previews(previews), json);
        if !overwrites && previews.iter().any(|one| !one.conflicts.is_empty()) {
            out.note("note: rollback refuses this without --overwrite-changed");
        }
    });
}

fn ask(reverts: &[(Entry, Revert)], session: &Session<'_>, out: Out) -> anyhow::Result<()> {
    out.question(&with_previews(reverts, render::outcome::previews));
    answered("Undo it? [y/N]", session.signals())
}
