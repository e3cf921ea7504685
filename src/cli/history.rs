//! `cttune history`: what apply and rollback changed, and whether it still holds.

use super::args::{Global, History};
use super::change;
use super::failure::{FAILED, Failure};
use super::out::Out;
use super::place;
use crate::change::journal::JournalError;
use crate::change::{Running, present};
use crate::diagnostic::Hint;
use crate::kernel::host;
use crate::plan::Record;
use crate::render;

/// Runs it.
pub(super) fn run(args: &History, global: &Global, out: Out) -> anyhow::Result<u8> {
    let root = place::root(global)?;
    let failed = |error: JournalError| Failure::of(FAILED, &error);
    let (mut records, damaged) = change::journal(&root).read_whole_ones().map_err(failed)?;
    for (id, error) in damaged {
        if args.id == Some(id) {
            return Err(failed(error).into());
        }
        out.note(&format!("note: change {id} is not shown: {error}"));
    }
    if let Some(id) = args.id {
        records.retain(|record| record.id == id);
        if records.is_empty() {
            return Err(
                Failure::new(FAILED, format!("the journal has no change {id}"))
                    .hint(Hint::cttune("history").to("see all changes"))
                    .into(),
            );
        }
    }
    let mut target = Running::new(root.clone());
    let boot_id = host::read_boot_id().unwrap_or_default();
    let changes: Vec<(Record, Option<bool>)> = records
        .into_iter()
        .map(|record| {
            let record = record.in_boot(&boot_id);
            // What holds in another namespace cannot be seen from here.
            let holds = change::is_of(&record, global, &root)
                .then(|| record.holds(&present(&record, &mut target)));
            (record, holds)
        })
        .collect();
    out.result(
        || match (args.id, changes.first()) {
            (Some(_), Some((record, holds))) => render::history::one(record, *holds),
            _ => render::history::table(&changes),
        },
        || render::history::json(&changes),
    );
    Ok(0)
}
