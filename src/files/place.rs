//! Writing one file: every folder of its path opened without following a symlink, the bytes put
//! beside it and renamed over it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat};

use super::FileError;
use super::root::parts;

/// The folder of a target, open, and the target's name in it.
struct Place<'a> {
    base: &'a Path,
    inside: &'a Path,
    folder: OwnedFd,
    name: OsString,
    made: Vec<PathBuf>,
}

pub(super) fn rehearse(base: &Path, inside: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let (place, missing) = Place::walk(base, inside, Missing::Stop)?;
    let old = if missing { None } else { place.check_target()? };
    if old.is_some() {
        place.check_writable()?;
    }
    place.write_nameless(bytes, old.as_ref())
}

pub(super) fn replace(base: &Path, inside: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let place = Place::open(base, inside)?;
    place.sweep();
    let replaced = place.check_target().and_then(|old| {
        let beside = place.write_beside(bytes, old.as_ref())?;
        place.rename_over(&beside)?;
        // The new file is seen by now. If it is not sure to last, the caller puts the old one back.
        place.sync_folder()
    });
    if replaced.is_err() {
        place.remove_made();
    }
    replaced
}

/// Writes over the bytes of a file where they stand, for want of the space beside it.
pub(super) fn overwrite(base: &Path, inside: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let place = Place::open_existing(base, inside)?;
    place.check_target()?;
    let open = OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let file = openat(&place.folder, place.name.as_os_str(), open, Mode::empty())
        .map(File::from)
        .map_err(|errno| place.failed("write", errno))?;
    let written = file
        .write_all_at(bytes, 0)
        .and_then(|()| file.set_len(bytes.len() as u64))
        .and_then(|()| file.sync_all());
    written.map_err(|source| FileError::Io {
        doing: "write",
        path: place.outside(inside),
        source,
    })
}

pub(super) fn remove(base: &Path, inside: &Path) -> Result<(), FileError> {
    let Some(place) = Place::find(base, inside)? else {
        return Ok(());
    };
    match unlinkat(
        &place.folder,
        place.name.as_os_str(),
        UnlinkatFlags::NoRemoveDir,
    ) {
        Ok(()) | Err(Errno::ENOENT) => place.sync_folder(),
        Err(errno) => Err(place.failed("remove", errno)),
    }
}

/// Removes what a killed cttune left beside a file.
pub(super) fn sweep(base: &Path, inside: &Path) {
    if let Ok(Some(place)) = Place::find(base, inside) {
        place.sweep();
    }
}

/// What to do about a folder that is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// Make it.
    Make,
    /// Stay in the one above it.
    Stop,
    /// Give up.
    Fail,
}

impl<'a> Place<'a> {
    fn open(base: &'a Path, inside: &'a Path) -> Result<Self, FileError> {
        Self::walk(base, inside, Missing::Make).map(|(place, _)| place)
    }

    fn open_existing(base: &'a Path, inside: &'a Path) -> Result<Self, FileError> {
        Self::walk(base, inside, Missing::Fail).map(|(place, _)| place)
    }

    /// As [`Place::open_existing`], and nothing where the folder does not exist.
    fn find(base: &'a Path, inside: &'a Path) -> Result<Option<Self>, FileError> {
        match Place::open_existing(base, inside) {
            Ok(place) => Ok(Some(place)),
            Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens every folder of the path in turn; says also whether one was missing.
    fn walk(base: &'a Path, inside: &'a Path, missing: Missing) -> Result<(Self, bool), FileError> {
        let mut folders = parts(inside);
        let outside = base.join(inside.strip_prefix("/").unwrap_or(inside));
        let Some(name) = folders.pop().filter(|name| name != "..") else {
            return Err(FileError::NotAFile {
                path: outside,
                what: "a directory",
            });
        };
        let open = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder =
            nix::fcntl::open(base, open, Mode::empty()).map_err(|errno| FileError::Io {
                doing: "enter",
                path: base.to_owned(),
                source: errno.into(),
            })?;
        let mut place = Place {
            base,
            inside,
            folder,
            name,
            made: Vec::new(),
        };
        let mut reached = PathBuf::from("/");
        for part in folders {
            reached.push(&part);
            match place.enter(&part, &reached, missing == Missing::Make) {
                Ok(folder) => place.folder = folder,
                Err(FileError::Io { source, .. })
                    if missing == Missing::Stop && source.kind() == io::ErrorKind::NotFound =>
                {
                    return Ok((place, true));
                }
                Err(error) => {
                    place.remove_made();
                    return Err(error);
                }
            }
        }
        Ok((place, false))
    }

    fn enter(&mut self, part: &OsStr, reached: &Path, make: bool) -> Result<OwnedFd, FileError> {
        let open = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let entered = match openat(&self.folder, part, open, Mode::empty()) {
            Err(Errno::ENOENT) if make => {
                mkdirat(&self.folder, part, Mode::from_bits_truncate(0o755))
                    .map_err(|errno| self.failed_at("create", reached, errno))?;
                self.made.push(reached.to_owned());
                // Whatever the umask is: readers who are not root need to pass.
                openat(&self.folder, part, open, Mode::empty()).inspect(|folder| {
                    let _ = fchmod(folder, Mode::from_bits_truncate(0o755));
                })
            }
            other => other,
        };
        entered.map_err(|errno| match errno {
            // O_DIRECTORY with O_NOFOLLOW answers ENOTDIR for a link as well.
            Errno::ELOOP | Errno::ENOTDIR if self.is_link(part) => FileError::Symlink {
                path: self.outside(self.inside),
                link: self.outside(reached),
            },
            errno => self.failed_at("enter", reached, errno),
        })
    }

    fn is_link(&self, part: &OsStr) -> bool {
        fstatat(&self.folder, part, AtFlags::AT_SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| file_type(&stat) == SFlag::S_IFLNK)
    }

    /// What stands at the target now: nothing or a regular file, else an error.
    fn check_target(&self) -> Result<Option<FileStat>, FileError> {
        let path = || self.outside(self.inside);
        let stat = match fstatat(
            &self.folder,
            self.name.as_os_str(),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        ) {
            Ok(stat) => stat,
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(self.failed("look at", errno)),
        };
        match file_type(&stat) {
            SFlag::S_IFREG => Ok(Some(stat)),
            SFlag::S_IFLNK => Err(FileError::Symlink {
                path: path(),
                link: path(),
            }),
            SFlag::S_IFDIR => Err(FileError::NotAFile {
                path: path(),
                what: "a directory",
            }),
            _ => Err(FileError::NotAFile {
                path: path(),
                what: "a device or a pipe",
            }),
        }
    }

    /// An immutable file (chattr +i) lets itself neither be opened for writing nor renamed over.
    fn check_writable(&self) -> Result<(), FileError> {
        let open = OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        openat(&self.folder, self.name.as_os_str(), open, Mode::empty())
            .map(drop)
            .map_err(|errno| self.failed("write", errno))
    }

    /// Writes the bytes to a file that has no name, so that nothing of it is left however we end.
    fn write_nameless(&self, bytes: &[u8], old: Option<&FileStat>) -> Result<(), FileError> {
        let nameless = OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(0o600);
        match openat(&self.folder, ".", nameless, mode) {
            Ok(file) => fill(file, bytes, old).map_err(|source| self.not_written(source)),
            // NFS and a few others have no such files (open(2)).
            Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::ENOENT) => {
                let beside = self.write_beside(bytes, old)?;
                self.unlink(&beside)
            }
            Err(errno) => Err(self.failed("write", errno)),
        }
    }

    /// What the names of new files beside the target begin with. No reader takes one for its own:
    /// it begins with a dot, and ends in neither `.conf` nor `.rules`.
    fn beside(&self) -> OsString {
        let mut beside = OsString::from(".");
        beside.push(&self.name);
        beside.push(".cttune-");
        beside
    }

    /// Removes the files beside the target that somebody left who was killed. One that somebody is
    /// just writing may be among them: he is told so when he renames it, and changes nothing.
    fn sweep(&self) {
        let beside = self.beside();
        let Ok(mut folder) = Dir::openat(&self.folder, ".", OFlag::O_RDONLY, Mode::empty()) else {
            return;
        };
        for entry in folder.iter().flatten() {
            let name = entry.file_name().to_bytes();
            if name.starts_with(beside.as_bytes()) && name.ends_with(b"~") {
                let _ = self.unlink(OsStr::from_bytes(name));
            }
        }
    }

    /// Writes the bytes to a new file in the same folder, with the owner and mode that the target
    /// has or should have, and syncs it.
    fn write_beside(&self, bytes: &[u8], old: Option<&FileStat>) -> Result<OsString, FileError> {
        let mut beside = self.beside();
        beside.push(format!("{}~", std::process::id()));
        let create =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(
            &self.folder,
            beside.as_os_str(),
            create,
            Mode::from_bits_truncate(0o600),
        )
        .map_err(|errno| self.failed("write", errno))?;
        match fill(file, bytes, old) {
            Ok(()) => Ok(beside),
            Err(source) => {
                let _ = self.unlink(&beside);
                Err(self.not_written(source))
            }
        }
    }

    fn rename_over(&self, beside: &OsStr) -> Result<(), FileError> {
        if let Err(errno) = renameat(&self.folder, beside, &self.folder, self.name.as_os_str()) {
            let _ = self.unlink(beside);
            return Err(self.failed("replace", errno));
        }
        Ok(())
    }

    fn unlink(&self, name: &OsStr) -> Result<(), FileError> {
        unlinkat(&self.folder, name, UnlinkatFlags::NoRemoveDir)
            .map_err(|errno| self.failed_at("remove", &self.inside.with_file_name(name), errno))
    }

    fn sync_folder(&self) -> Result<(), FileError> {
        nix::unistd::fsync(self.folder.as_fd()).map_err(|errno| self.failed("sync", errno))
    }

    /// Removes the folders that were made, innermost first; one that is in use by now stays.
    fn remove_made(&self) {
        for folder in self.made.iter().rev() {
            let _ = std::fs::remove_dir(self.outside(folder));
        }
    }

    fn outside(&self, inside: &Path) -> PathBuf {
        self.base.join(inside.strip_prefix("/").unwrap_or(inside))
    }

    fn not_written(&self, source: io::Error) -> FileError {
        FileError::Io {
            doing: "write",
            path: self.outside(self.inside),
            source,
        }
    }

    fn failed(&self, doing: &'static str, errno: Errno) -> FileError {
        self.failed_at(doing, self.inside, errno)
    }

    fn failed_at(&self, doing: &'static str, inside: &Path, errno: Errno) -> FileError {
        FileError::Io {
            doing,
            path: self.outside(inside),
            source: errno.into(),
        }
    }
}

/// Fills a new file and gives it the old one's owner and mode, or 0644.
fn fill(file: OwnedFd, bytes: &[u8], old: Option<&FileStat>) -> io::Result<()> {
    let mut file = File::from(file);
    file.write_all(bytes)?;
    let descriptor: BorrowedFd<'_> = file.as_fd();
    let mode = old.map_or(0o644, |stat| stat.st_mode & 0o7777);
    if let Some(stat) = old {
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (stat.st_uid, stat.st_gid) {
            fchown(
                descriptor,
                Some(Uid::from_raw(stat.st_uid)),
                Some(Gid::from_raw(stat.st_gid)),
            )?;
        }
    }
    fchmod(descriptor, Mode::from_bits_truncate(mode))?;
    file.sync_all()
}

fn file_type(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}
