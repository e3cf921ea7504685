//! Every change, written down and synced before it is made: one JSON file each, mode 0600.
//!
//! In: a [`Record`]. Out: a [`Page`], through which the record is brought up to date while its
//! change is made, in place and so without any need for space.
//! Rule: whoever writes holds the lock; readers need none, and find every file whole at every
//! moment. The newest 1,000 records stay, and all that are not done with.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::diagnostic::{Advise, Hint, said};
use crate::files::state::{self, StateError};
use crate::plan::{Record, Standing};

/// Records that are kept.
const KEPT: usize = 1000;
/// What the names of records begin with that are not in place yet.
const BESIDE: &str = ".record-";
/// Bytes at the beginning of a record that tell how it stands.
const HEAD: usize = 64;

/// What goes wrong with the journal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// It cannot be written or read.
    #[error("cannot {doing} the journal {}: {}", path.display(), said(source))]
    Io {
        /// `write`, `read`, …
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Somebody else may write the state directory.
    #[error("cannot {doing} the journal {}: {why}", path.display())]
    Untrusted {
        /// `write` or `read`.
        doing: &'static str,
        /// The folder.
        path: PathBuf,
        /// Who may.
        why: StateError,
    },
    /// A file of it does not hold what cttune writes.
    #[error("the journal {} is damaged: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl JournalError {
    /// Whether there was no space left.
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
                _ => "run it as root, or name another folder in CTTUNE_STATE_DIR",
            }),
            JournalError::Damaged { .. } => Hint::say("move that file away"),
        })
    }
}

/// The number of a record that is damaged, and what is wrong with it.
pub(crate) type Damage = (u64, JournalError);

/// Where a change is written down while it is made.
pub(crate) trait Journal {
    /// Writes the progress of a record down.
    fn progress(&mut self, record: &Record) -> Result<(), JournalError>;
    /// Writes down how it ended.
    fn end(&mut self, record: &Record) -> Result<(), JournalError>;
}

/// The journal in the state directory. Whoever writes to it holds the lock.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// One record of the journal, open while its change is made.
#[derive(Debug)]
pub(crate) struct Page {
    folder: PathBuf,
    path: PathBuf,
    file: File,
}

impl Folder {
    /// The journal below a state directory. Nothing is made or read yet.
    pub(crate) fn new(state: &Path) -> Self {
        Folder {
            path: state.join("journal"),
        }
    }

    /// Writes a record down under the next number, synced with its folder, before anything of it
    /// is done. The whole file is written at once, so that a full disk is found out here.
    ///
    /// # Errors
    /// If it cannot be written; nothing is left then.
    pub(crate) fn begin(&self, record: &mut Record) -> Result<Page, JournalError> {
        state::make(&self.path).map_err(|error| self.refused("write", error))?;
        self.sweep();
        let numbers = self.numbers()?;
        record.id = numbers.last().map_or(1, |last| last + 1);
        let path = self.path_of(record.id);
        self.put(&path, record)
            .and_then(|()| self.page(record.id))
            .inspect(|_| self.prune(&numbers))
            // In place but perhaps not synced: a record of what was never begun.
            .inspect_err(|_| drop(fs::remove_file(&path)))
    }

    /// Removes what a killed run left of a record that was not in place yet.
    fn sweep(&self) {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        for entry in entries {
            if entry.file_name().as_bytes().starts_with(BESIDE.as_bytes()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Removes the oldest records, but for those that are not done with.
    fn prune(&self, numbers: &[u64]) {
        let number = (numbers.len() + 1).saturating_sub(KEPT);
        for id in numbers.iter().take(number) {
            if self
                .standing(*id)
                .is_some_and(|standing| !standing.is_unfinished())
            {
                let _ = fs::remove_file(self.path_of(*id));
            }
        }
    }

    /// How a record stands, from its first bytes; `None` where they do not tell.
    fn standing(&self, id: u64) -> Option<Standing> {
        let mut head = [0; HEAD];
        let file = File::open(self.path_of(id)).ok()?;
        let read = file.read_at(&mut head, 0).ok()?;
        Standing::from_head(head.get(..read)?)
    }

    /// The records of changes that are under way, were interrupted, or wait to be confirmed,
    /// oldest first. Of the others only the first bytes are read.
    ///
    /// # Errors
    /// As [`Folder::read`].
    pub(crate) fn unfinished(&self) -> Result<Vec<Record>, JournalError> {
        let mut records = Vec::new();
        for id in self.numbers()? {
            // One that does not tell is read whole, so that what is wrong with it is told.
            if self.standing(id).is_none_or(Standing::is_unfinished) {
                records.push(self.read_one(id)?);
            }
        }
        Ok(records)
    }

    /// Brings a record's standing up to date, in place; the rest too where something is left.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn mark(&self, record: &Record) -> Result<(), JournalError> {
        self.page(record.id)?.end(record)
    }

    /// Opens a record again, to carry the rest of it out or to change how it stands.
    ///
    /// # Errors
    /// If it is not there.
    pub(crate) fn page(&self, id: u64) -> Result<Page, JournalError> {
        let path = self.path_of(id);
        let file = OpenOptions::new()
            .write(true)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(&path)
            .map_err(|source| JournalError::Io {
                doing: "write",
                path: path.clone(),
                source,
            })?;
        Ok(Page {
            folder: self.path.clone(),
            path,
            file,
        })
    }

    /// Every record, oldest first; none where there is no journal yet.
    ///
    /// # Errors
    /// If the journal may not be read, or a record is damaged.
    pub(crate) fn read(&self) -> Result<Vec<Record>, JournalError> {
        self.numbers()?
            .into_iter()
            .map(|id| self.read_one(id))
            .collect()
    }

    /// Every record that can be read, oldest first, and beside them the number of each that is
    /// damaged.
    ///
    /// # Errors
    /// If the journal may not be read.
    pub(crate) fn read_whole_ones(&self) -> Result<(Vec<Record>, Vec<Damage>), JournalError> {
        let (mut records, mut damaged) = (Vec::new(), Vec::new());
        for id in self.numbers()? {
            match self.read_one(id) {
                Ok(record) => records.push(record),
                Err(error @ JournalError::Damaged { .. }) => damaged.push((id, error)),
                Err(error) => return Err(error),
            }
        }
        Ok((records, damaged))
    }

    /// The newest record that `fits`; those before it are not read.
    ///
    /// # Errors
    /// As [`Folder::read`].
    pub(crate) fn find_newest(
        &self,
        fits: impl Fn(&Record) -> bool,
    ) -> Result<Option<Record>, JournalError> {
        for id in self.numbers()?.into_iter().rev() {
            let record = self.read_one(id)?;
            if fits(&record) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// One record.
    ///
    /// # Errors
    /// As [`Folder::read`].
    pub(crate) fn read_one(&self, id: u64) -> Result<Record, JournalError> {
        let path = self.path_of(id);
        let parsed = || {
            let text = fs::read_to_string(&path).map_err(|source| JournalError::Io {
                doing: "read",
                path: path.clone(),
                source,
            })?;
            serde_json::from_str(&text).map_err(|source| JournalError::Damaged {
                path: path.clone(),
                source,
            })
        };
        match parsed() {
            // Perhaps only its first bytes, which somebody was just bringing up to date.
            Err(JournalError::Damaged { .. }) => parsed(),
            parsed => parsed,
        }
    }

    /// Brings a whole record up to date, for what does not fit in place.
    ///
    /// # Errors
    /// If it cannot be written; the old one stands then.
    pub(crate) fn rewrite(&self, record: &Record) -> Result<(), JournalError> {
        self.put(&self.path_of(record.id), record)
    }

    fn path_of(&self, id: u64) -> PathBuf {
        self.path.join(format!("{id:06}.json"))
    }

    fn numbers(&self) -> Result<Vec<u64>, JournalError> {
        let checked = self.path.parent().map_or(Ok(()), state::check);
        let entries = checked
            .and_then(|()| state::check(&self.path))
            .and_then(|()| Ok(fs::read_dir(&self.path)?));
        let entries = match entries {
            Ok(entries) => entries,
            Err(StateError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(self.refused("read", error)),
        };
        let mut numbers: Vec<u64> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name();
                let id = name.to_str()?.strip_suffix(".json")?.parse().ok()?;
                (self.path_of(id).file_name() == Some(&name)).then_some(id)
            })
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn refused(&self, doing: &'static str, error: StateError) -> JournalError {
        let path = self.path.clone();
        match error {
            StateError::Io(source) => JournalError::Io {
                doing,
                path,
                source,
            },
            why @ StateError::Untrusted(_) => JournalError::Untrusted { doing, path, why },
        }
    }

    fn put(&self, path: &Path, record: &Record) -> Result<(), JournalError> {
        put(&self.path, path, record).map_err(|source| JournalError::Io {
            doing: "write",
            path: path.to_owned(),
            source,
        })
    }
}

/// Writes a record to a new file and renames it into place, all synced.
fn put(folder: &Path, path: &Path, record: &Record) -> io::Result<()> {
    let mut beside = tempfile::Builder::new()
        .prefix(BESIDE)
        .tempfile_in(folder)?;
    // One write: a writer of JSON makes one for every token.
    let mut text = serde_json::to_vec_pretty(record)?;
    text.push(b'\n');
    beside.write_all(&text)?;
    beside.as_file().sync_all()?;
    beside.persist(path)?;
    File::open(folder)?.sync_all()
}

impl Page {
    /// Brings the first bytes up to date: standing and progress, which keep their length.
    fn mark(&self, record: &Record) -> io::Result<()> {
        self.file.write_all_at(record.head().as_bytes(), 0)?;
        self.file.sync_data()
    }
}

impl Journal for Page {
    fn progress(&mut self, record: &Record) -> Result<(), JournalError> {
        self.mark(record).map_err(|source| JournalError::Io {
            doing: "write",
            path: self.path.clone(),
            source,
        })
    }

    fn end(&mut self, record: &Record) -> Result<(), JournalError> {
        self.progress(record)?;
        if record.left.is_empty() {
            return Ok(());
        }
        put(&self.folder, &self.path, record).map_err(|source| JournalError::Io {
            doing: "write",
            path: self.path.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Occasion, Plan};

    fn record() -> Record {
        let occasion = Occasion {
            time: "2026-11-23T12:00:00Z".into(),
            boot_id: "boot".into(),
            host: "host".into(),
            kernel: "6.18".into(),
            netns: None,
            netns_inode: Some(1),
            root: "/".into(),
        };
        Record::new(&Plan::of("p", Vec::new()), occasion, None)
    }

    #[test]
    fn only_the_newest_records_stay_and_those_not_done_with() {
        let state = tempfile::tempdir().unwrap();
        let folder = Folder::new(state.path());
        let pending = [3, 900];
        for id in 1..=KEPT as u64 + 20 {
            let mut record = record();
            let mut page = folder.begin(&mut record).unwrap();
            assert_eq!(record.id, id);
            record.standing = if pending.contains(&id) {
                Standing::Pending
            } else {
                Standing::Complete
            };
            page.end(&record).unwrap();
        }
        let numbers = folder.numbers().unwrap();
        assert_eq!(numbers[0], 3);
        assert_eq!(numbers[1], 21);
        assert_eq!(numbers.len(), KEPT + 1);
        let unfinished = folder.unfinished().unwrap();
        let unfinished: Vec<u64> = unfinished.iter().map(|record| record.id).collect();
        assert_eq!(unfinished, pending);
    }

    #[test]
    fn a_record_is_its_owners_alone_and_what_is_half_made_is_swept() {
        use std::os::unix::fs::PermissionsExt;
        let state = tempfile::tempdir().unwrap();
        let folder = Folder::new(state.path());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        folder.begin(&mut record()).unwrap();
        fs::write(folder.path.join(".record-x"), "half").unwrap();
        fs::write(folder.path.join("7.json"), "not ours").unwrap();
        folder.begin(&mut record()).unwrap();
        assert_eq!(folder.numbers().unwrap(), [1, 2]);
        assert!(!folder.path.join(".record-x").exists());
        assert_eq!(mode(&folder.path), 0o700);
        assert_eq!(mode(&folder.path_of(1)), 0o600);
        folder
            .mark(&record_standing(&folder, 1, Standing::Rebooted))
            .unwrap();
        assert_eq!(folder.read_one(1).unwrap().standing, Standing::Rebooted);
    }

    fn record_standing(folder: &Folder, id: u64, standing: Standing) -> Record {
        Record {
            standing,
            ..folder.read_one(id).unwrap()
        }
    }
}
