//! The state directory, in which cttune keeps its lock and its journal.
//!
//! In: the root that the directory is in. Out: the directory as a root of its own, so that
//! everything in it is reached from its descriptor.
//! Rule: root restores what the journal says, file contents included. A directory that somebody
//! else may write is refused.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

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
    /// What to do about a folder that somebody else may write.
    pub(crate) fn untrusted(folder: &Path) -> Hint {
        let folder = quoted(&folder.display().to_string());
        Hint::on_host(format!("chown -R root {folder} && chmod -R go-w {folder}"))
            .to("look at what is in it, then")
            .and(Hint::say("or move it away"))
    }
}

/// Opens the state directory, or a directory in it; nothing where there is none yet.
pub(crate) fn open(root: &Root, folder: &Path) -> Result<Option<Root>, StateError> {
    match root.below(folder).map_err(FileError::from) {
        Ok(Some(folder)) => checked(folder).map(Some),
        Ok(None) => Ok(None),
        Err(error) => Err(StateError::Io(error.into())),
    }
}

/// [`open`], and makes it where it is missing, for its owner alone.
pub(crate) fn create(root: &Root, folder: &Path) -> Result<Root, StateError> {
    let made = root.clone().private().make_folder(folder);
    checked(made.map_err(io::Error::from)?)
}

fn checked(folder: Root) -> Result<Root, StateError> {
    match owner::stranger(&folder.stat()?) {
        None => Ok(folder.private()),
        Some(why) => Err(StateError::Untrusted(why)),
    }
}

/// Makes sure that nobody but root and the caller may write a file of the state directory.
pub(crate) fn check_file(file: &File) -> Result<(), StateError> {
    let stat = nix::sys::stat::fstat(file).map_err(io::Error::from)?;
    match owner::stranger(&stat) {
        None => Ok(()),
        Some(why) => Err(StateError::Untrusted(why)),
    }
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
