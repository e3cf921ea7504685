//! The journal: every change, written and synced before it is made.
//!
//! In: an [`Entry`]. `NNNNNN.json` is its record, written once; beside it is the state, a few bytes
//! that are overwritten in place: `NNNNNN.open` until the change is finished, `NNNNNN.state` after
//! that, so that the names alone say which changes are unfinished; `NNNNNN.remaining` lists what
//! could not be done. Rule: the writer holds the lock; readers need none. The newest 1,000 records
//! stay as far as they fit into 64 MiB, and all that are unfinished.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::record::{Entry, Record, SCHEMA};
use super::state::{FirstState, State};
use crate::diagnostic::plain::{Shown, one_line};
use crate::diagnostic::{Advise, Hint};
use crate::files::state::{self, StateError};
use crate::files::{FileError, ReadError, Root};

const MOST_RECORDS: usize = 1000;
const MOST_BYTES: u64 = 64 << 20;
/// Bytes of one record: more would not be read.
const LARGEST: usize = 16 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    #[error("cannot {doing} the journal {}: {source}", path.shown())]
    File {
        doing: &'static str,
        path: PathBuf,
        source: StateError,
    },
    #[error("the journal has no change {0}")]
    Missing(u64),
    #[error("the journal {} is damaged: {why}", path.shown())]
    Damaged { path: PathBuf, why: String },
    #[error("the record of this change has {} MiB, and the journal takes {} MiB", bytes >> 20, LARGEST >> 20)]
    TooLarge { bytes: usize },
    #[error("the journal {} has a record with the last number there is", .0.shown())]
    NoNumber(PathBuf),
}

impl JournalError {
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, JournalError::File { source, .. } if source.is_full())
    }
}

impl Advise for JournalError {
    fn hint(&self) -> Option<Hint> {
        Some(match self {
            JournalError::File { path, source, .. } => source.hint(path),
            JournalError::Missing(_) => Hint::cttune("history").to("see all changes"),
            JournalError::Damaged { .. } | JournalError::NoNumber(_) => {
                Hint::say("move that file away")
            }
            JournalError::TooLarge { .. } => {
                Hint::say("make the files that the change edits smaller")
            }
        })
    }
}

/// The number of a record that is damaged, and what is wrong with it.
pub(crate) type Damage = (u64, JournalError);

/// The journal in the state directory of a root.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    /// What to call its folder.
    path: PathBuf,
    /// `None` where there is no journal yet.
    folder: Option<Root>,
    /// Whether it is that of an image, which has no kernel.
    is_image: bool,
}

/// The files of each record, by what their names end in.
type Index = BTreeMap<u64, BTreeSet<&'static str>>;

const ENDINGS: [&str; 4] = ["json", "open", "state", "remaining"];

/// Whether the names alone say that the change is finished.
fn is_finished(files: &BTreeSet<&str>) -> bool {
    files.contains("state") && !files.contains("open")
}

impl Journal {
    /// Opens the journal of a root, which need not exist.
    pub(crate) fn open(root: &Root) -> Result<Self, JournalError> {
        let state = state::open(root, &state::inside(root));
        let folder = state.and_then(|state| match state {
            Some(state) => state::open(&state, Path::new("/journal")),
            None => Ok(None),
        });
        Journal::of(root, "read", folder)
    }

    /// The same, created where it does not exist.
    pub(crate) fn create(root: &Root) -> Result<Self, JournalError> {
        let state = state::create(root, &state::inside(root));
        let folder = state.and_then(|state| state::create(&state, Path::new("/journal")));
        Journal::of(root, "write", folder.map(Some))
    }

    fn of(
        root: &Root,
        doing: &'static str,
        folder: Result<Option<Root>, StateError>,
    ) -> Result<Self, JournalError> {
        let mut journal = Journal {
            path: state::directory(root).join("journal"),
            folder: None,
            is_image: !root.is_machine(),
        };
        journal.folder = folder.map_err(|error| journal.failed(doing, Path::new(""), error))?;
        Ok(journal)
    }

    /// Writes an entry under the next number, synced, before anything of the change is done: a full
    /// disk is found here. After an error nothing of it is there. The lock is held.
    pub(crate) fn begin(&self, entry: &mut Entry) -> Result<(), JournalError> {
        let mut listed = self.list()?;
        listed.retain(|id, files| {
            let is_record = files.contains("json");
            if !is_record {
                self.remove(*id);
            }
            is_record
        });
        self.add_states(&listed);
        let last = listed.last_key_value().map_or(0, |(id, _)| *id);
        let next = last.checked_add(1);
        entry.record.id = next.ok_or_else(|| JournalError::NoNumber(self.path.clone()))?;
        let written = self.write(entry);
        match written {
            Ok(()) => self.prune(&listed, entry.record.id),
            // In place but perhaps not synced: an entry of a change that was never started.
            Err(_) => self.remove(entry.record.id),
        }
        written
    }

    fn write(&self, entry: &Entry) -> Result<(), JournalError> {
        let id = entry.record.id;
        let mut text = serde_json::to_vec_pretty(&entry.record)
            .map_err(|error| self.failed("write", Path::new(""), io::Error::from(error)))?;
        text.push(b'\n');
        if text.len() > LARGEST {
            return Err(JournalError::TooLarge { bytes: text.len() });
        }
        // The state first: a record without one is damaged, a state without a record is removed.
        self.put(&name(id, "open"), entry.state.text().as_bytes())?;
        self.put(&name(id, "json"), &text)
    }

    /// Updates the state in place. The name follows when the change is finished.
    pub(crate) fn save(&self, entry: &Entry) -> Result<(), JournalError> {
        let id = entry.record.id;
        let folder = self.folder(id)?;
        let is_there = |ending: &&str| matches!(folder.kind(&name(id, ending)), Ok(Some(_)));
        let Some(ending) = ["open", "state"].into_iter().find(is_there) else {
            // A record of version 0.1.0 gets its state file now.
            return self.put_state(entry);
        };
        self.put_remaining(entry);
        let path = name(id, ending);
        folder
            .overwrite(&path, entry.state.text().as_bytes())
            .map_err(|error| self.failed("write", &path, error))?;
        if ending == "open" && !entry.state.status().is_unfinished() {
            // Without it the state is only read once more than needed.
            let _ = folder.rename(&path, &name(id, "state"));
        }
        Ok(())
    }

    /// The unfinished entries, oldest first. Of the finished ones nothing is read.
    pub(crate) fn unfinished(&self) -> Result<Vec<Entry>, JournalError> {
        let mut unfinished = Vec::new();
        for (id, files) in self.records()? {
            if is_finished(&files) {
                continue;
            }
            let entry = self.entry(id)?;
            if entry.state.status().is_unfinished() {
                unfinished.push(entry);
            }
        }
        Ok(unfinished)
    }

    /// Every entry that can be read, oldest first, and beside them the damaged ones.
    pub(crate) fn read(&self) -> Result<(Vec<Entry>, Vec<Damage>), JournalError> {
        let (mut entries, mut damaged) = (Vec::new(), Vec::new());
        for id in self.records()?.into_keys() {
            match self.entry(id) {
                Ok(entry) => entries.push(entry),
                Err(error @ JournalError::Damaged { .. }) => damaged.push((id, error)),
                // Removed since the folder was listed.
                Err(JournalError::Missing(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok((entries, damaged))
    }

    /// The newest entry that `fits`; those before it are not read.
    pub(crate) fn find_newest(
        &self,
        fits: impl Fn(&Entry) -> bool,
    ) -> Result<Option<Entry>, JournalError> {
        for id in self.records()?.into_keys().rev() {
            let entry = self.entry(id)?;
            if fits(&entry) {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    pub(crate) fn entry(&self, id: u64) -> Result<Entry, JournalError> {
        let file = name(id, "json");
        let damaged = |why: String| self.damaged(&file, why);
        let Some(bytes) = self.bytes(id, &file)? else {
            if self.records()?.contains_key(&id) {
                return Err(damaged("it is a link that leads nowhere".to_owned()));
            }
            return Err(JournalError::Missing(id));
        };
        let mut record: Record =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        self.judge(id, &record).map_err(damaged)?;
        // Whoever made an image chose them.
        for shown in [
            &mut record.profile,
            &mut record.origin.host,
            &mut record.origin.time,
        ] {
            *shown = one_line(shown);
        }
        let steps = record.steps.len();
        let state = match self.state(id, steps)? {
            Some(state) => state,
            None if record.schema == 1 => serde_json::from_slice(&bytes)
                .map_err(|error| error.to_string())
                .and_then(|first: FirstState| first.state(steps))
                .map_err(damaged)?,
            None => return Err(damaged("the file with its state is missing".to_owned())),
        };
        Ok(Entry { record, state })
    }

    /// What is wrong with a record that can be read.
    fn judge(&self, id: u64, record: &Record) -> Result<(), String> {
        if record.id != id {
            return Err(format!("it says that its id is {}", record.id));
        }
        if record.schema == 0 || record.schema > SCHEMA {
            let schema = record.schema;
            return Err(format!("format {schema} is not known to this version"));
        }
        if let Some(undone) = record.undoes.filter(|undone| *undone >= id) {
            return Err(format!("it says that it undid change {undone}"));
        }
        let mut kernel_steps = record.steps.iter().filter(|step| step.file().is_none());
        if let (true, Some(step)) = (self.is_image, kernel_steps.next()) {
            return Err(format!(
                "it has a step for a running kernel, which an image has not: {}",
                step.summary()
            ));
        }
        match self.file(id, "json") {
            Some(file) => state::check_file(&file).map_err(|why| why.to_string()),
            None => Ok(()),
        }
    }

    /// The state of an entry; `None` where it has no file of its own.
    fn state(&self, id: u64, steps: usize) -> Result<Option<State>, JournalError> {
        // The file of a finished one is renamed, perhaps just now.
        for ending in ["open", "state", "open"] {
            let file = name(id, ending);
            let Some(bytes) = self.bytes(id, &file)? else {
                continue;
            };
            let parsed = State::parse(&String::from_utf8_lossy(&bytes), steps);
            let mut state = parsed.map_err(|why| self.damaged(&file, why))?;
            state.remaining = self.remaining(id);
            return Ok(Some(state));
        }
        Ok(None)
    }

    /// What could not be done of a change; nothing where that was not written.
    fn remaining(&self, id: u64) -> Vec<String> {
        let bytes = self.bytes(id, &name(id, "remaining")).ok().flatten();
        serde_json::from_slice(&bytes.unwrap_or_default()).unwrap_or_default()
    }

    fn folder(&self, id: u64) -> Result<&Root, JournalError> {
        self.folder.as_ref().ok_or(JournalError::Missing(id))
    }

    fn file(&self, id: u64, ending: &str) -> Option<std::fs::File> {
        let folder = self.folder.as_ref()?;
        folder.open(&name(id, ending)).ok()?
    }

    /// The bytes of a file. Anything but a regular file is damage, and nothing is waited for.
    fn bytes(&self, id: u64, file: &Path) -> Result<Option<Vec<u8>>, JournalError> {
        self.folder(id)?.read(file).map_err(|error| match error {
            ReadError::Io { .. } | ReadError::Denied { .. } => {
                self.failed("read", file, FileError::from(error))
            }
            error => self.damaged(file, error.to_string()),
        })
    }

    fn list(&self) -> Result<Index, JournalError> {
        let mut listed = Index::new();
        let Some(folder) = &self.folder else {
            return Ok(listed);
        };
        let names = folder.list(Path::new("/"));
        let names = names
            .map_err(|error| self.failed("read", Path::new(""), FileError::from(error)))?
            .unwrap_or_default();
        for file in names {
            let Some((number, ending)) = file.to_str().and_then(|file| file.split_once('.')) else {
                continue;
            };
            if let Ok(id) = number.parse()
                && let Some(ending) = ENDINGS.into_iter().find(|known| *known == ending)
                && name(id, ending).file_name() == Some(&file)
            {
                listed.entry(id).or_default().insert(ending);
            }
        }
        Ok(listed)
    }

    fn records(&self) -> Result<Index, JournalError> {
        let mut listed = self.list()?;
        listed.retain(|_, files| files.contains("json"));
        Ok(listed)
    }

    /// Gives records of version 0.1.0 a state file, so that from now on the names tell.
    fn add_states(&self, records: &Index) {
        for (id, files) in records {
            let has_state = files.contains("open") || files.contains("state");
            if !has_state && let Ok(entry) = self.entry(*id) {
                // Without it the record is read again the next time.
                let _ = self.put_state(&entry);
            }
        }
    }

    fn put_state(&self, entry: &Entry) -> Result<(), JournalError> {
        self.put_remaining(entry);
        let ending = if entry.state.status().is_unfinished() {
            "open"
        } else {
            "state"
        };
        let file = name(entry.record.id, ending);
        self.put(&file, entry.state.text().as_bytes())
    }

    /// Lists what could not be done. On a full disk the status alone says that there is something.
    fn put_remaining(&self, entry: &Entry) {
        let remaining = &entry.state.remaining;
        if !remaining.is_empty()
            && let Ok(text) = serde_json::to_vec_pretty(remaining)
        {
            let _ = self.put(&name(entry.record.id, "remaining"), &text);
        }
    }

    /// Removes the oldest finished records that are too many or too large.
    fn prune(&self, records: &Index, newest: u64) {
        let size = |id| {
            let metadata = self.file(id, "json").and_then(|file| file.metadata().ok());
            metadata.map_or(0, |metadata| metadata.len())
        };
        // The entry that was just written is one of them.
        let (mut number, mut bytes) = (1, size(newest));
        for (id, files) in records.iter().rev() {
            number += 1;
            bytes = bytes.saturating_add(size(*id));
            if (number > MOST_RECORDS || bytes > MOST_BYTES) && is_finished(files) {
                self.remove(*id);
            }
        }
    }

    /// Removes an entry, its record first: a state without a record is removed by the next writer.
    fn remove(&self, id: u64) {
        for ending in ENDINGS {
            if let Some(folder) = &self.folder {
                let _ = folder.remove(&name(id, ending));
            }
        }
    }

    /// Writes a file of the journal whole, synced, in one step.
    fn put(&self, file: &Path, bytes: &[u8]) -> Result<(), JournalError> {
        let missing = || self.failed("write", file, io::Error::from(io::ErrorKind::NotFound));
        let folder = self.folder.as_ref().ok_or_else(missing)?;
        let put = folder.replace(file, bytes);
        put.map_err(|error| self.failed("write", file, error))
    }

    fn damaged(&self, file: &Path, why: String) -> JournalError {
        let path = self.outside(file);
        JournalError::Damaged { path, why }
    }

    fn failed(
        &self,
        doing: &'static str,
        file: &Path,
        source: impl Into<StateError>,
    ) -> JournalError {
        JournalError::File {
            doing,
            path: self.outside(file),
            source: source.into(),
        }
    }

    fn outside(&self, file: &Path) -> PathBuf {
        match file.strip_prefix("/") {
            Ok(file) => self.path.join(file),
            Err(_) => self.path.clone(),
        }
    }
}

/// A file of a record, from inside the journal.
fn name(id: u64, ending: &str) -> PathBuf {
    PathBuf::from(format!("/{id:06}.{ending}"))
}

#[cfg(test)]
mod tests;
