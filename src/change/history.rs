//! The changes that the journal lists, and whether each is still as it was applied.

use std::time::Duration;

use super::error::{ChangeError, Effect};
use super::here::Here;
use super::journal::{Damage, JournalError};
use super::pending::is_overdue;
use super::present;
use super::record::Entry;
use super::status::Status;
use super::system::Running;

/// How long after its deadline a pending change counts as forgotten by its watcher.
const GRACE: Duration = Duration::from_secs(5);

/// A change, and whether everything that it changed is as it left it: `None` where that cannot be
/// seen from here.
pub(crate) type Listed = (Entry, Option<bool>);

/// Every change, oldest first, and the records that are damaged; with an id that one alone.
pub(crate) fn list(
    here: &Here,
    id: Option<u64>,
) -> Result<(Vec<Listed>, Vec<Damage>), ChangeError> {
    let journal = here.journal().map_err(of_reader)?;
    let (entries, damaged) = match id {
        Some(id) => (vec![journal.entry(id).map_err(of_reader)?], Vec::new()),
        None => journal.read().map_err(of_reader)?,
    };
    let entries: Vec<Entry> = entries
        .into_iter()
        .map(|entry| here.in_boot(entry))
        .collect();
    let of_here = entries.iter().filter(|entry| here.is_of(&entry.record));
    let mut system = Running::new(here.root().clone());
    let present = present::read(of_here, &mut system);
    let listed = entries.into_iter().map(|entry| {
        let effective = here
            .is_of(&entry.record)
            .then(|| entry.is_effective(&present));
        (entry, effective)
    });
    Ok((listed.collect(), damaged))
}

fn of_reader(error: JournalError) -> ChangeError {
    ChangeError::from(error).effect(Effect::ReadOnly)
}

/// The newest change here that needs the operator. Nothing while another cttune is at work, and
/// nothing where the journal cannot be read.
pub(crate) fn unfinished(here: &Here) -> Option<Entry> {
    let entry = here.unfinished().unwrap_or_default().pop()?;
    let is_forgotten = || entry.state.status() == Status::Started || is_overdue(&entry, GRACE);
    (!here.is_locked() && is_forgotten()).then_some(entry)
}
