//! The journal: every change, written and synced before it is made.
//!
//! In: an [`Entry`]. `NNNNNN.json` is its record, written once; beside it is the state, a few bytes
//! that are overwritten in place: `NNNNNN.open` until the change is finished, `NNNNNN.state` after
//! that, so that the names alone say which changes are unfinished; `NNNNNN.remaining` lists what
//! could not be done. Rule: the writer holds the lock; readers need none. The newest 1,000 records
//! stay as far as they fit into 64 MiB, and all that are unfinished.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::record::{Entry, Record, SCHEMA};
use super::state::{FirstState, State};
use crate::diagnostic::{Advise, Hint, said};
use crate::files::state::{self, StateError};
use crate::files::{FileError, ReadError, Root};

const MOST_RECORDS: usize = 1000;
const MOST_BYTES: u64 = 64 << 20;
/// Bytes of one record: more would not be read.
const LARGEST: usize = 16 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    #[error("cannot {doing} the journal {}: {}", path.display(), said(source))]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("cannot {doing} the journal {}: {why}", path.display())]
    Untrusted {
        doing: &'static str,
        path: PathBuf,
        why: StateError,
    },
    #[error("the journal has no change {0}")]
    Missing(u64),
    #[error("the journal {} is damaged: {why}", path.display())]
    Damaged { path: PathBuf, why: String },
    #[error("the record of this change has {} MiB, and the journal takes {} MiB", bytes >> 20, LARGEST >> 20)]
    TooLarge { bytes: usize },
    #[error("the journal {} has a record with the last number there is", .0.display())]
    NoNumber(PathBuf),
}

impl JournalError {
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, JournalError::Io { source, .. } if matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        ))
    }
}

impl Advise for JournalError {
    fn hint(&self) -> Option<Hint> {
        Some(match self {
            JournalError::Untrusted { path, .. } => StateError::untrusted(path),
            JournalError::Io { source, .. } => Hint::say(match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "free some space there, or name another folder in CTTUNE_STATE_DIR"
                }
                io::ErrorKind::ReadOnlyFilesystem => {
                    "remount it writable, or name another folder in CTTUNE_STATE_DIR"
                }
                io::ErrorKind::FileTooLarge => "raise the limit: ulimit -f unlimited",
                _ => "run it as root, or name another folder in CTTUNE_STATE_DIR",
            }),
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
    /// Its folder; `None` where there is no journal yet.
    folder: Option<Root>,
    /// Whether it is that of an image, which has no kernel.
    is_image: bool,
}

/// Which files there are of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Files {
    record: bool,
    open: bool,
    state: bool,
}

const ENDINGS: [&str; 4] = ["json", "open", "state", "remaining"];

impl Files {
    fn note(&mut self, ending: &str) {
        match ending {
            "json" => self.record = true,
            "open" => self.open = true,
            "state" => self.state = true,
            _ => {}
        }
    }

    /// Whether the names alone say that the change is finished.
    fn is_finished(self) -> bool {
        self.state && !self.open
    }
}

impl Journal {
    /// Opens the journal of a root, which need not exist.
    pub(crate) fn open(root: &Root) -> Result<Self, JournalError> {
        let path = state::directory(root).join("journal");
        let opened = state::open(root, &state::inside(root)).and_then(|state| {
            state.map_or(Ok(None), |state| state::open(&state, Path::new("/journal")))
        });
        let folder = opened.map_err(|error| refused("read", &path, error))?;
        let is_image = !root.is_machine();
        Ok(Journal {
            path,
            folder,
            is_image,
        })
    }

    /// The same, created where it does not exist.
    pub(crate) fn create(root: &Root) -> Result<Self, JournalError> {
        let path = state::directory(root).join("journal");
        let created = state::create(root, &state::inside(root))
            .and_then(|state| state::create(&state, Path::new("/journal")));
        let folder = created.map_err(|error| refused("write", &path, error))?;
        Ok(Journal {
            path,
            folder: Some(folder),
            is_image: !root.is_machine(),
        })
    }

    /// Writes an entry under the next number, synced, before anything of the change is done: a full
    /// disk is found here. After an error nothing of it is there. The lock is held.
    pub(crate) fn begin(&self, entry: &mut Entry) -> Result<(), JournalError> {
        let listed = self.list()?;
        let orphans = listed.iter().filter(|(_, files)| !files.record);
        orphans.for_each(|(id, _)| self.remove(*id));
        self.add_states(&listed);
        let last = listed.iter().rfind(|(_, files)| files.record);
        let next = last.map_or(0, |(id, _)| *id).checked_add(1);
        entry.record.id = next.ok_or_else(|| JournalError::NoNumber(self.path.clone()))?;
        let written = self.write(entry);
        match written {
            Ok(()) => self.prune(&listed),
            // In place but perhaps not synced: an entry of a change that was never started.
            Err(_) => self.remove(entry.record.id),
        }
        written
    }

    fn write(&self, entry: &Entry) -> Result<(), JournalError> {
        let id = entry.record.id;
        let mut text = serde_json::to_vec_pretty(&entry.record)
            .map_err(|error| self.failed("write", &self.path, io::Error::from(error)))?;
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
        let file = |ending| {
            folder
                .kind(&name(id, ending))
                .is_ok_and(|kind| kind.is_some())
        };
        let Some(ending) = ["open", "state"].into_iter().find(|ending| file(ending)) else {
            // A record of version 0.1.0 gets its state file now.
            return self.put_state(entry);
        };
        self.put_remaining(entry);
        let path = name(id, ending);
        folder
            .overwrite(&path, entry.state.text().as_bytes())
            .map_err(|error| self.failed("write", &path, error.into()))?;
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
            if files.is_finished() {
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
        let record: Record =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        self.judge(id, &record).map_err(damaged)?;
        let steps = record.steps.len();
        let state = match (self.state(id, steps)?, record.schema) {
            (Some(state), _) => state,
            (None, 1) => serde_json::from_slice::<FirstState>(&bytes)
                .map_err(|error| damaged(error.to_string()))?
                .state(steps)
                .map_err(|error| damaged(error.to_string()))?,
            (None, _) => return Err(damaged("the file with its state is missing".to_owned())),
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
        match kernel_steps.next() {
            Some(step) if self.is_image => Err(format!(
                "it has a step for a running kernel, which an image has not: {}",
                step.summary()
            )),
            _ => self.judge_owner(id),
        }
    }

    /// Whether somebody else may have written a record.
    fn judge_owner(&self, id: u64) -> Result<(), String> {
        let file = self
            .folder
            .as_ref()
            .map(|folder| folder.open(&name(id, "json")));
        match file {
            Some(Ok(Some(file))) => state::check_file(&file).map_err(|why| why.to_string()),
            _ => Ok(()),
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
            let mut state = parsed.map_err(|error| self.damaged(&file, error.to_string()))?;
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

    /// The bytes of a file. Anything but a regular file is damage, and nothing is waited for.
    fn bytes(&self, id: u64, file: &Path) -> Result<Option<Vec<u8>>, JournalError> {
        match self.folder(id)?.read(file) {
            Ok(bytes) => Ok(bytes),
            Err(ReadError::Io { source, .. }) => Err(self.failed("read", file, source)),
            Err(ReadError::Denied { .. }) => {
                let source = io::Error::from_raw_os_error(nix::libc::EACCES);
                Err(self.failed("read", file, source))
            }
            Err(error) => Err(self.damaged(file, error.to_string())),
        }
    }

    /// The files of every number, by their names.
    fn list(&self) -> Result<BTreeMap<u64, Files>, JournalError> {
        let Some(folder) = &self.folder else {
            return Ok(BTreeMap::new());
        };
        let names = folder
            .list(Path::new("/"))
            .map_err(|error| self.failed("read", Path::new(""), FileError::from(error).into()))?;
        let mut listed: BTreeMap<u64, Files> = BTreeMap::new();
        for file in names.unwrap_or_default() {
            let Some((number, ending)) = file.to_str().and_then(|file| file.split_once('.')) else {
                continue;
            };
            if let Ok(id) = number.parse()
                && ENDINGS.contains(&ending)
                && name(id, ending).file_name() == Some(&file)
            {
                listed.entry(id).or_default().note(ending);
            }
        }
        Ok(listed)
    }

    fn records(&self) -> Result<BTreeMap<u64, Files>, JournalError> {
        let mut listed = self.list()?;
        listed.retain(|_, files| files.record);
        Ok(listed)
    }

    /// Gives records of version 0.1.0 a state file, so that from now on the names tell.
    fn add_states(&self, listed: &BTreeMap<u64, Files>) {
        for (id, files) in listed {
            if files.record
                && !files.open
                && !files.state
                && let Ok(entry) = self.entry(*id)
            {
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
        self.put(
            &name(entry.record.id, ending),
            entry.state.text().as_bytes(),
        )
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
    fn prune(&self, listed: &BTreeMap<u64, Files>) {
        let (mut records, mut bytes) = (0, 0u64);
        for (id, files) in listed.iter().rev().filter(|(_, files)| files.record) {
            records += 1;
            bytes = bytes.saturating_add(self.size(*id));
            // The entry that was just written is one of them.
            let fits = records < MOST_RECORDS && bytes <= MOST_BYTES;
            if !fits && files.is_finished() {
                self.remove(*id);
            }
        }
    }

    fn size(&self, id: u64) -> u64 {
        let folder = self.folder.as_ref();
        let file = folder.and_then(|folder| folder.open(&name(id, "json")).ok()?);
        let metadata = file.and_then(|file| file.metadata().ok());
        metadata.map_or(0, |metadata| metadata.len())
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
        let missing = || self.failed("write", file, io::ErrorKind::NotFound.into());
        let folder = self.folder.as_ref().ok_or_else(missing)?;
        let put = folder.replace(file, bytes);
        put.map_err(|error| self.failed("write", file, error.into()))
    }

    fn damaged(&self, file: &Path, why: String) -> JournalError {
        let path = self.outside(file);
        JournalError::Damaged { path, why }
    }

    fn failed(&self, doing: &'static str, file: &Path, source: io::Error) -> JournalError {
        let path = self.outside(file);
        JournalError::Io {
            doing,
            path,
            source,
        }
    }

    fn outside(&self, file: &Path) -> PathBuf {
        self.path.join(file.strip_prefix("/").unwrap_or(file))
    }
}

/// A file of a record, from inside the journal.
fn name(id: u64, ending: &str) -> PathBuf {
    PathBuf::from(format!("/{id:06}.{ending}"))
}

fn refused(doing: &'static str, path: &Path, error: StateError) -> JournalError {
    let path = path.to_owned();
    match error {
        StateError::Io(source) => JournalError::Io {
            doing,
            path,
            source,
        },
        why @ StateError::Untrusted(_) => JournalError::Untrusted { doing, path, why },
    }
}

#[cfg(test)]
mod tests;
