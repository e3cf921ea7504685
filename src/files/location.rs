//! The place of a file that is to be written: its folder, open, and its name in it.
//!
//! Rule: every folder of the path is opened from the one above it, and none through a link. `..`
//! removes the part before it from the text of the path: that means the same where no part is a
//! link, and never leads out of the root.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fchmod, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::error::{FileError, Kind};
use super::lookup::look_at;
use super::root::Root;

/// The mode of new files.
pub(crate) const NEW_FILE: u32 = 0o644;

/// What to do about a folder that does not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Make,
    /// Stay in the one above it.
    Stop,
    Fail,
}

pub(super) struct Location<'a> {
    pub(super) root: &'a Root,
    pub(super) inside: &'a Path,
    pub(super) folder: OwnedFd,
    pub(super) name: OsString,
    /// Whether a folder on the way is missing; `folder` is then the last that exists.
    pub(super) is_cut: bool,
    /// Folders that were made on the way: the one above, and the name.
    made: Vec<(OwnedFd, OsString)>,
}

impl<'a> Location<'a> {
    /// Opens every folder of the path in turn.
    pub(super) fn reach(
        root: &'a Root,
        inside: &'a Path,
        missing: Missing,
    ) -> Result<Self, FileError> {
        let mut folders = parts(inside);
        let Some(name) = folders.pop() else {
            let kind = Kind::Directory;
            return Err(root.not_a_file(inside, kind).into());
        };
        let failed = |errno: Errno| FileError::io("enter", root.base().to_owned(), errno);
        let folder = root.folder().and_then(|folder| open_folder(folder, "."));
        let mut location = Location {
            root,
            inside,
            folder: folder.map_err(failed)?,
            name,
            is_cut: false,
            made: Vec::new(),
        };
        let mut reached = PathBuf::from("/");
        for part in folders {
            reached.push(&part);
            match location.enter(&part, &reached, missing) {
                Ok(folder) => location.folder = folder,
                Err(error) if missing == Missing::Stop && is_absent(&error) => {
                    location.is_cut = true;
                    break;
                }
                Err(error) => {
                    location.remove_made();
                    return Err(error);
                }
            }
        }
        Ok(location)
    }

    /// [`Location::reach`] for what exists; nothing where a folder does not.
    pub(super) fn find(root: &'a Root, inside: &'a Path) -> Result<Option<Self>, FileError> {
        match Location::reach(root, inside, Missing::Fail) {
            Ok(location) => Ok(Some(location)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn enter(
        &mut self,
        part: &OsStr,
        reached: &Path,
        missing: Missing,
    ) -> Result<OwnedFd, FileError> {
        match open_folder(&self.folder, part) {
            Err(Errno::ENOENT) if missing == Missing::Make => self.make_folder(part, reached),
            entered => entered.map_err(|errno| self.not_entered(part, reached, errno)),
        }
    }

    fn make_folder(&mut self, part: &OsStr, reached: &Path) -> Result<OwnedFd, FileError> {
        let mode = self.root.mode(0o755);
        match mkdirat(&self.folder, part, mode) {
            Ok(()) => {
                let failed = |error| FileError::io("create", self.root.outside(reached), error);
                let above = self.folder.try_clone().map_err(failed)?;
                self.made.push((above, part.to_owned()));
            }
            // Another command made it meanwhile.
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(self.failed_at("create", reached, errno)),
        }
        let folder = open_folder(&self.folder, part)
            .map_err(|errno| self.not_entered(part, reached, errno))?;
        // The umask does not count: others need to pass through /etc/sysctl.d.
        let _ = fchmod(&folder, mode);
        Ok(folder)
    }

    fn not_entered(&self, part: &OsStr, reached: &Path, errno: Errno) -> FileError {
        let is_link = || matches!(self.look(part), Ok(Some(Kind::Link)));
        match errno {
            // O_DIRECTORY with O_NOFOLLOW answers ENOTDIR for a link as well.
            Errno::ELOOP | Errno::ENOTDIR if is_link() => self.is_link(reached),
            errno => self.failed_at("enter", reached, errno),
        }
    }

    fn is_link(&self, part: &Path) -> FileError {
        FileError::Symlink {
            path: self.root.outside(self.inside),
            link: self.root.outside(part),
        }
    }

    /// What a name in the folder is, no link followed.
    fn look(&self, name: &OsStr) -> Result<Option<Kind>, Errno> {
        let looked = look_at(self.folder.as_fd(), name)?;
        Ok(looked.map(|(_, kind)| kind))
    }

    /// Whether a regular file is at the target. Anything else in its place is an error.
    pub(super) fn has_file(&self) -> Result<bool, FileError> {
        match self.look(&self.name) {
            Ok(None) => Ok(false),
            Ok(Some(Kind::File)) => Ok(true),
            Ok(Some(Kind::Link)) => Err(self.is_link(self.inside)),
            Ok(Some(kind)) => Err(self.root.not_a_file(self.inside, kind).into()),
            Err(errno) => Err(self.failed("look at", errno)),
        }
    }

    /// Opens the target itself, no link followed, and makes sure that it is a regular file.
    pub(super) fn open(&self, flags: OFlag) -> Result<OwnedFd, FileError> {
        let flags =
            flags | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let name = self.name.as_os_str();
        let opened = openat(&self.folder, name, flags, self.root.mode(NEW_FILE))
            .and_then(|opened| Ok((Kind::of(&fstat(&opened)?), opened)));
        match opened.map_err(|errno| self.failed("open", errno))? {
            (Kind::File, opened) => Ok(opened),
            (kind, _) => Err(self.root.not_a_file(self.inside, kind).into()),
        }
    }

    pub(super) fn unlink(&self, name: &OsStr) -> Result<(), FileError> {
        unlinkat(&self.folder, name, UnlinkatFlags::NoRemoveDir)
            .map_err(|errno| self.failed_at("remove", &self.inside.with_file_name(name), errno))
    }

    pub(super) fn sync_folder(&self) -> Result<(), FileError> {
        nix::unistd::fsync(self.folder.as_fd()).map_err(|errno| self.failed("sync", errno))
    }

    /// Removes the folders that were made, innermost first. One that is in use by now stays.
    pub(super) fn remove_made(&self) {
        for (above, name) in self.made.iter().rev() {
            let _ = unlinkat(above, name.as_os_str(), UnlinkatFlags::RemoveDir);
        }
    }

    pub(super) fn failed(&self, doing: &'static str, error: impl Into<io::Error>) -> FileError {
        self.failed_at(doing, self.inside, error)
    }

    fn failed_at(
        &self,
        doing: &'static str,
        inside: &Path,
        error: impl Into<io::Error>,
    ) -> FileError {
        FileError::io(doing, self.root.outside(inside), error)
    }
}

fn open_folder<P: ?Sized + nix::NixPath>(above: &OwnedFd, name: &P) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    openat(above, name, flags, Mode::empty())
}

fn is_absent(error: &FileError) -> bool {
    matches!(error, FileError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// The names of a path from the root on.
fn parts(path: &Path) -> Vec<OsString> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_owned()),
            Component::ParentDir => drop(parts.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    parts
}
