//! Door to files: rooted reading, atomic replacement, ownership.
//!
//! In: a [`Root`] (`/`, or what `--root` names) and absolute paths as they look from inside it.
//! Out: bytes, or a [`FileError`] that says which path and what was wrong with it.
//! Rule: reading follows symlinks, but never out of the root; writing follows none, replaces a
//! file whole or not at all, and keeps its mode and owner. It decides nothing.

pub(crate) mod agents;
pub(crate) mod boot_files;
mod conf_folders;
mod owner;
mod place;
pub(crate) mod profiles;
mod root;
pub(crate) mod state;
pub(crate) mod sysctl_tree;

pub(crate) use root::Root;

use std::io;
use std::path::PathBuf;

use crate::diagnostic::{Advise, Hint, said};

/// What went wrong with one path.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// A part of the path is a symlink, and we would write there.
    #[error("refusing to write {}: {} is a symbolic link", path.display(), link.display())]
    Symlink {
        /// Where we would have written.
        path: PathBuf,
        /// The part that is a link.
        link: PathBuf,
    },
    /// Something that is not a file stands where a file should be.
    #[error("{} is {what}, not a file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The kernel said no.
    #[error("cannot {doing} {}: {}", path.display(), said(source))]
    Io {
        /// What was being done: `read`, `write`, `create`, …
        doing: &'static str,
        /// To which path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Advise for FileError {
    fn hint(&self) -> Option<Hint> {
        let sentence = match self {
            FileError::Symlink { .. } => "put a real file or folder there, then try again",
            FileError::NotAFile { .. } => return None,
            FileError::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => {
                    "run it as root; where root is refused too, look for an immutable file (lsattr)"
                }
                io::ErrorKind::ReadOnlyFilesystem => "remount it writable",
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "free some space there"
                }
                _ => return None,
            },
        };
        Some(Hint::say(sentence))
    }
}
