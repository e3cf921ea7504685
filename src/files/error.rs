//! What can be wrong with a path.
//!
//! Rule: an absent file is never an error here. Reading answers `Ok(None)` for it, and a
//! [`ReadError`] for a file that is there and cannot be read.

use std::fmt;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::stat::{FileStat, SFlag, makedev};

use crate::diagnostic::plain::Shown;
use crate::diagnostic::{Advise, Hint, said};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Link,
    /// `/dev/null`, with which a file of the same name is masked.
    Null,
    Device,
    Fifo,
    Socket,
}

impl Kind {
    pub(super) fn of(stat: &FileStat) -> Self {
        match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
            SFlag::S_IFREG => Kind::File,
            SFlag::S_IFDIR => Kind::Directory,
            SFlag::S_IFLNK => Kind::Link,
            SFlag::S_IFCHR if stat.st_rdev == makedev(1, 3) => Kind::Null,
            SFlag::S_IFIFO => Kind::Fifo,
            SFlag::S_IFSOCK => Kind::Socket,
            _ => Kind::Device,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::File => "a file",
            Kind::Directory => "a directory",
            Kind::Link => "a symbolic link",
            Kind::Null | Kind::Device => "a device",
            Kind::Fifo => "a FIFO",
            Kind::Socket => "a socket",
        })
    }
}

/// Why a file or a directory that is there was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{} is {kind}, not a file", path.shown())]
    NotAFile { path: PathBuf, kind: Kind },
    #[error("{} is {kind}, not a directory", path.shown())]
    NotADirectory { path: PathBuf, kind: Kind },
    #[error("cannot read {}: it is larger than {limit} MiB", path.shown(), limit = limit >> 20)]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("cannot read {}: permission denied", path.shown())]
    Denied { path: PathBuf },
    #[error("cannot read {}: {}", path.shown(), said(source))]
    Io { path: PathBuf, source: io::Error },
}

impl ReadError {
    pub(super) fn new(path: PathBuf, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::PermissionDenied => ReadError::Denied { path },
            _ => ReadError::Io { path, source },
        }
    }
}

impl Advise for ReadError {
    fn hint(&self) -> Option<Hint> {
        matches!(self, ReadError::Denied { .. }).then(|| Hint::say(AS_ROOT))
    }
}

pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

const AS_ROOT: &str =
    "run it as root; where root is refused too, look for an immutable file (lsattr)";

/// Why a file was not written, or was not read first.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("refusing to write {}: {} is a symbolic link", path.shown(), link.shown())]
    Symlink {
        path: PathBuf,
        /// The part of the path that is a link.
        link: PathBuf,
    },
    #[error("cannot {doing} {}: {}", path.shown(), said(source))]
    Io {
        /// `write`, `create`, `enter`, …
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

impl FileError {
    pub(crate) fn io(doing: &'static str, path: PathBuf, source: impl Into<io::Error>) -> Self {
        FileError::Io {
            doing,
            path,
            source: source.into(),
        }
    }
}

impl Advise for FileError {
    fn hint(&self) -> Option<Hint> {
        let sentence = match self {
            FileError::Symlink { .. } => "put a real file or folder there, then try again",
            FileError::Read(error) => return error.hint(),
            FileError::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => AS_ROOT,
                io::ErrorKind::ReadOnlyFilesystem => "remount it writable",
                _ if is_full(source) => "free some space there",
                io::ErrorKind::FileTooLarge => "raise the limit: ulimit -f unlimited",
                _ => return None,
            },
        };
        Some(Hint::say(sentence))
    }
}

/// For callers whose message names the path already.
impl From<FileError> for io::Error {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Io { source, .. } | FileError::Read(ReadError::Io { source, .. }) => source,
            FileError::Read(ReadError::Denied { .. }) => Errno::EACCES.into(),
            error => io::Error::other(error),
        }
    }
}
