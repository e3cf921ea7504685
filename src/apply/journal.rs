//! Every change, written down and synced before it is made: one JSON file each, mode 0600.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::plan::Record;

/// What goes wrong with the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be written or read.
    #[error("cannot {doing} the journal {}: {source}", path.display())]
    Io {
        /// `write`, `read`, …
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
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
    /// What the operator can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            JournalError::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Some("free some space there, or name another folder in CTTUNE_STATE_DIR")
                }
                _ => Some("run it as root, or name another folder in CTTUNE_STATE_DIR"),
            },
            JournalError::Damaged { .. } => Some("move that file out of the way"),
        }
    }
}

/// Where a change is written down while it is made.
pub trait Journal {
    /// Writes the progress of a record down.
    fn progress(&mut self, record: &Record) -> Result<(), JournalError>;
    /// Writes down how it ended.
    fn end(&mut self, record: &Record) -> Result<(), JournalError>;
}

/// The journal in the state directory. Whoever writes to it holds the lock.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

/// One record of the journal, open while its change is made.
#[derive(Debug)]
pub struct Page {
    folder: PathBuf,
    path: PathBuf,
    file: File,
}

impl Folder {
    /// The journal below a state directory. Nothing is made or read yet.
    pub fn new(state: &Path) -> Self {
        Folder {
            path: state.join("journal"),
        }
    }

    /// Writes a record down under the next number, synced with its folder, before anything of it
    /// is done. The whole file is written at once, so that a full disk is found out here.
    ///
    /// # Errors
    /// If it cannot be written; nothing is left then.
    pub fn begin(&self, record: &mut Record) -> Result<Page, JournalError> {
        let failed = |source| JournalError::Io {
            doing: "write",
            path: self.path.clone(),
            source,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .map_err(failed)?;
        record.id = self.numbers()?.last().map_or(1, |last| last + 1);
        let path = self.path_of(record.id);
        self.put(&path, record)?;
        let file = OpenOptions::new()
            .write(true)
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(&path)
            .map_err(failed)?;
        Ok(Page {
            folder: self.path.clone(),
            path,
            file,
        })
    }

    /// Opens a record again, to carry the rest of it out or to change how it stands.
    ///
    /// # Errors
    /// If it is not there.
    pub fn page(&self, id: u64) -> Result<Page, JournalError> {
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
    pub fn read(&self) -> Result<Vec<Record>, JournalError> {
        self.numbers()?
            .into_iter()
            .map(|id| self.read_one(id))
            .collect()
    }

    /// The newest record, if there is one.
    ///
    /// # Errors
    /// As [`Folder::read`].
    pub fn newest(&self) -> Result<Option<Record>, JournalError> {
        self.numbers()?
            .last()
            .map(|id| self.read_one(*id))
            .transpose()
    }

    /// One record.
    ///
    /// # Errors
    /// As [`Folder::read`].
    pub fn read_one(&self, id: u64) -> Result<Record, JournalError> {
        let path = self.path_of(id);
        let text = fs::read_to_string(&path).map_err(|source| JournalError::Io {
            doing: "read",
            path: path.clone(),
            source,
        })?;
        serde_json::from_str(&text).map_err(|source| JournalError::Damaged { path, source })
    }

    /// Brings a whole record up to date, for what does not fit in place.
    ///
    /// # Errors
    /// If it cannot be written; the old one stands then.
    pub fn rewrite(&self, record: &Record) -> Result<(), JournalError> {
        self.put(&self.path_of(record.id), record)
    }

    fn path_of(&self, id: u64) -> PathBuf {
        self.path.join(format!("{id:06}.json"))
    }

    fn numbers(&self) -> Result<Vec<u64>, JournalError> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => {
                return Err(JournalError::Io {
                    doing: "read",
                    path: self.path.clone(),
                    source,
                });
            }
        };
        let mut numbers: Vec<u64> = entries
            .flatten()
            .filter_map(|entry| {
                entry
                    .file_name()
                    .to_str()?
                    .strip_suffix(".json")?
                    .parse()
                    .ok()
            })
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
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
        .prefix(".record-")
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
