//! The state directory, in which cttune keeps its lock and its journal.
//!
//! In: the root that the directory is in. Out: the directory as a root of its own, so that
//! everything in it is reached from its descriptor.
//! Rule: root restores what the journal says, file contents included. A directory that somebody
//! else may write is refused.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{FileStat, fstat};

use super::error::is_full;
use super::{FileError, Root, owner};
use crate::diagnostic::{Hint, quoted, said};

const USUAL: &str = "/var/lib/cttune";
/// The variable that names another directory; it is ignored with `--root`.
pub(crate) const VARIABLE: &str = "CTTUNE_STATE_DIR";

#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error("{}", said(.0))]
    Io(#[from] io::Error),
    #[error("{0}, and could have written what root would restore")]
    Untrusted(String),
}

impl StateError {
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, StateError::Io(error) if is_full(error))
    }

    /// What to do where this was said of a folder, or of a file in it.
    pub(crate) fn hint(&self, folder: &Path) -> Hint {
        let StateError::Io(error) = self else {
            let folder = quoted(&folder.display().to_string());
            return Hint::on_host(format!("chown -R root {folder} && chmod -R go-w {folder}"))
                .to("look at what is in it, then")
                .and(Hint::say("or move it away"));
        };
        Hint::say(match error.kind() {
            _ if is_full(error) => {
                "free some space there, or name another folder in CTTUNE_STATE_DIR"
            }
            io::ErrorKind::ReadOnlyFilesystem => {
                "remount it writable, or name another folder in CTTUNE_STATE_DIR"
            }
            io::ErrorKind::FileTooLarge => "raise the limit: ulimit -f unlimited",
            _ if error.raw_os_error() == Some(Errno::EMFILE as i32) => {
                "raise the limit: ulimit -n 1024"
            }
            _ => "run it as root, or name another folder in CTTUNE_STATE_DIR",
        })
    }
}

impl From<FileError> for StateError {
    fn from(error: FileError) -> Self {
        StateError::Io(error.into())
    }
}

/// Opens the state directory, or a directory in it; nothing where there is none yet.
pub(crate) fn open(root: &Root, folder: &Path) -> Result<Option<Root>, StateError> {
    let folder = root.below(folder).map_err(FileError::from)?;
    folder.map(checked).transpose()
}

/// [`open`], and makes it where it is missing, for its owner alone.
pub(crate) fn create(root: &Root, folder: &Path) -> Result<Root, StateError> {
    checked(root.clone().private().make_folder(folder)?)
}

fn checked(folder: Root) -> Result<Root, StateError> {
    demand_own(&folder.stat()?)?;
    Ok(folder.private())
}

fn demand_own(stat: &FileStat) -> Result<(), StateError> {
    owner::stranger(stat).map_or(Ok(()), |why| Err(StateError::Untrusted(why)))
}

/// Makes sure that nobody but root and the caller may write a file of the state directory.
pub(crate) fn check_file(file: &File) -> Result<(), StateError> {
    demand_own(&fstat(file).map_err(io::Error::from)?)
}

/// Where the state directory is, as seen from inside the root.
pub(crate) fn inside(root: &Root) -> PathBuf {
    match std::env::var_os(VARIABLE) {
        Some(directory) if root.is_machine() && !directory.is_empty() => {
            let directory = PathBuf::from(directory);
            std::path::absolute(&directory).unwrap_or(directory)
        }
        _ => PathBuf::from(USUAL),
    }
}

/// The state directory as seen on the running machine, for messages and for the watcher.
pub(crate) fn directory(root: &Root) -> PathBuf {
    let inside = inside(root);
    root.outside(root.resolve(&inside).as_ref().unwrap_or(&inside))
}
