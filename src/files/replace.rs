//! Writes below a root: a file is replaced whole or not at all.
//!
//! The bytes go to a new file in the target's folder, which gets the owner, mode, ACL and extended
//! attributes of the old one, is synced and renamed over it. Then the folder is synced.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::attributes::Attributes;
use super::error::FileError;
use super::location::{Location, Missing, NEW_FILE};
use super::root::Root;

impl Root {
    /// Checks whether [`Root::replace`] would work, space included: writes the bytes to a file
    /// without a name in the target's folder, or in the first above it that exists.
    pub(crate) fn rehearse(&self, inside: &Path, bytes: &[u8]) -> Result<(), FileError> {
        let location = Location::reach(self, inside, Missing::Stop)?;
        let old = (!location.is_cut)
            .then(|| location.attributes())
            .transpose()?;
        let old = old.flatten();
        if old.is_some() {
            // An immutable file (chattr +i) can neither be opened for writing nor renamed over.
            location.open(OFlag::O_WRONLY)?;
        }
        location.write_nameless(bytes, old.as_ref())
    }

    /// Puts a whole file in place in one step. Folders are made as needed. No part of the path may
    /// be a symlink. After an error the old file is untouched, unless the syncing failed: then it
    /// can be either.
    pub(crate) fn replace(&self, inside: &Path, bytes: &[u8]) -> Result<(), FileError> {
        let location = Location::reach(self, inside, Missing::Make)?;
        location.sweep();
        let replaced = location.attributes().and_then(|old| {
            let beside = location.write_beside(bytes, old.as_ref())?;
            location.rename_over(&beside)?;
            // The new file is visible by now. If it is not sure to last, the caller puts the old
            // one back.
            location.sync_folder()
        });
        if replaced.is_err() {
            location.remove_made();
        }
        replaced
    }

    /// Writes over the bytes of a file that exists: not in one step, but without the space for a
    /// second copy. For putting a shorter text back on a full disk.
    pub(crate) fn overwrite(&self, inside: &Path, bytes: &[u8]) -> Result<(), FileError> {
        let location = Location::reach(self, inside, Missing::Fail)?;
        location.has_file()?;
        let file = File::from(location.open(OFlag::O_WRONLY)?);
        file.write_all_at(bytes, 0)
            .and_then(|()| file.set_len(bytes.len() as u64))
            .and_then(|()| file.sync_all())
            .map_err(|error| location.failed("write", error))
    }

    /// Opens a file for reading and writing in place, and makes an empty one where there is none.
    /// Its folder must exist.
    pub(crate) fn open_or_create(&self, inside: &Path) -> Result<File, FileError> {
        let location = Location::reach(self, inside, Missing::Fail)?;
        // Only a regular file is opened: opening a device can have an effect.
        location.has_file()?;
        let flags = OFlag::O_RDWR | OFlag::O_CREAT;
        location.open(flags).map(File::from)
    }

    /// Gives a file another name in its folder, in place of a file that has it.
    pub(crate) fn rename(&self, inside: &Path, name: &Path) -> Result<(), FileError> {
        let location = Location::reach(self, inside, Missing::Fail)?;
        let name = name.file_name().unwrap_or_default();
        renameat(
            &location.folder,
            location.name.as_os_str(),
            &location.folder,
            name,
        )
        .map_err(|errno| location.failed("rename", errno))
    }

    /// Removes a file, or the link in its place. A missing one is no error.
    pub(crate) fn remove(&self, inside: &Path) -> Result<(), FileError> {
        let Some(location) = Location::find(self, inside)? else {
            return Ok(());
        };
        let name = location.name.as_os_str();
        match unlinkat(&location.folder, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => location.sync_folder(),
            Err(errno) => Err(location.failed("remove", errno)),
        }
    }

    /// Removes what a killed cttune left beside a file.
    pub(crate) fn sweep(&self, inside: &Path) {
        if let Ok(Some(location)) = Location::find(self, inside) {
            location.sweep();
        }
    }

    /// Opens a directory as a root of its own and makes it where it is missing. Links are followed
    /// inside the root, as in reading.
    pub(crate) fn make_folder(&self, inside: &Path) -> Result<Self, FileError> {
        let real = self.resolve(inside)?.join("new");
        let location = Location::reach(self, &real, Missing::Make)?;
        Ok(self.with_folder(inside, location.folder))
    }

    /// The folders on the way to a file that do not exist, outermost first.
    pub(crate) fn missing_folders(&self, inside: &Path) -> Vec<PathBuf> {
        let folders = inside.ancestors().skip(1);
        let missing = folders.filter(|folder| matches!(self.kind(folder), Ok(None)));
        let mut missing: Vec<PathBuf> = missing.map(Path::to_path_buf).collect();
        missing.reverse();
        missing
    }

    /// Removes those of `folders` that are empty, innermost first; they are given outermost first.
    pub(crate) fn remove_empty(&self, folders: &[PathBuf]) {
        for folder in folders.iter().rev() {
            if let Ok(Some(location)) = Location::find(self, folder) {
                let name = location.name.as_os_str();
                let _ = unlinkat(&location.folder, name, UnlinkatFlags::RemoveDir);
            }
        }
    }
}

impl Location<'_> {
    /// The attributes of the file that is at the target; nothing where there is none.
    fn attributes(&self) -> Result<Option<Attributes>, FileError> {
        if !self.has_file()? {
            return Ok(None);
        }
        Attributes::read(self.folder.as_fd(), &self.name)
            .map(Some)
            .map_err(|errno| self.failed("look at", errno))
    }

    /// Writes the bytes to a file without a name, so that nothing of it is left however we end.
    fn write_nameless(&self, bytes: &[u8], old: Option<&Attributes>) -> Result<(), FileError> {
        let nameless = OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        match openat(&self.folder, ".", nameless, NOBODY_ELSE) {
            Ok(file) => self
                .fill(file, bytes, old)
                .map_err(|error| self.failed("write", error)),
            // NFS and a few others have no such files (open(2)).
            Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::ENOENT) => {
                let beside = self.write_beside(bytes, old)?;
                self.unlink(&beside)
            }
            Err(errno) => Err(self.failed("write", errno)),
        }
    }

    /// Writes the bytes to a new file in the same folder and syncs it.
    fn write_beside(&self, bytes: &[u8], old: Option<&Attributes>) -> Result<OsString, FileError> {
        let mut beside = self.beside();
        beside.push(format!("{}~", std::process::id()));
        let create =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&self.folder, beside.as_os_str(), create, NOBODY_ELSE)
            .map_err(|errno| self.failed("write", errno))?;
        match self.fill(file, bytes, old) {
            Ok(()) => Ok(beside),
            Err(source) => {
                let _ = self.unlink(&beside);
                Err(self.failed("write", source))
            }
        }
    }

    /// Fills a new file and gives it the old one's attributes, or the mode of new files.
    fn fill(&self, file: OwnedFd, bytes: &[u8], old: Option<&Attributes>) -> io::Result<()> {
        let mut file = File::from(file);
        file.write_all(bytes)?;
        match old {
            Some(old) => old.give_to(&file)?,
            None => fchmod(&file, self.root.mode(NEW_FILE))?,
        }
        file.sync_all()
    }

    fn rename_over(&self, beside: &OsStr) -> Result<(), FileError> {
        let name = self.name.as_os_str();
        renameat(&self.folder, beside, &self.folder, name).map_err(|errno| {
            let _ = self.unlink(beside);
            self.failed("replace", errno)
        })
    }

    /// What the names of new files beside the target begin with. No reader takes one for its own:
    /// it begins with a dot, and ends in neither `.conf` nor `.rules`.
    fn beside(&self) -> OsString {
        let mut beside = OsString::from(".");
        beside.push(&self.name);
        beside.push(".cttune-");
        beside
    }

    /// Removes the files beside the target that a killed cttune left. One that another cttune is
    /// just writing may be among them: its rename fails then, and it changes nothing.
    fn sweep(&self) {
        let beside = self.beside();
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let Ok(mut folder) = Dir::openat(&self.folder, ".", flags, Mode::empty()) else {
            return;
        };
        for entry in folder.iter().flatten() {
            let name = entry.file_name().to_bytes();
            if name.starts_with(beside.as_bytes()) && name.ends_with(b"~") {
                let _ = self.unlink(OsStr::from_bytes(name));
            }
        }
    }
}

/// A new file is its owner's alone until it has the attributes of the old one.
const NOBODY_ELSE: Mode = Mode::from_bits_truncate(0o600);

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use nix::unistd::mkfifo;

    use super::*;

    fn tree() -> (tempfile::TempDir, Root) {
        // Not in /tmp, which may have no extended attributes.
        let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let root = Root::at(directory.path()).unwrap();
        fs::create_dir_all(directory.path().join("etc/sysctl.d")).unwrap();
        (directory, root)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_replaced_file_keeps_its_mode_and_leaves_nothing_beside_it() {
        let (directory, root) = tree();
        let target = directory.path().join("etc/sysctl.conf");
        fs::write(&target, "old").unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
        root.rehearse(Path::new("/etc/sysctl.conf"), b"new")
            .unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        root.replace(Path::new("/etc/sysctl.conf"), b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(mode(&target), 0o640);
        let entries = fs::read_dir(directory.path().join("etc")).unwrap();
        assert_eq!(entries.count(), 2);
    }

    /// `user::rw-, user:4242:r--, group::r--, mask::r--, other::---` as the kernel keeps it.
    const ACL_VALUE: [u8; 44] = [
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 146, 16, 0, 0, 4, 0, 4, 0, 255,
        255, 255, 255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
    ];

    #[test]
    fn a_replaced_file_keeps_its_acl_and_extended_attributes() {
        use rustix::fs::{XattrFlags, getxattr, setxattr};
        let (directory, root) = tree();
        let target = directory.path().join("etc/sysctl.conf");
        fs::write(&target, "old").unwrap();
        let attributes = [
            ("user.origin", b"ticket".as_slice()),
            ("system.posix_acl_access", ACL_VALUE.as_slice()),
        ];
        for (name, value) in attributes {
            setxattr(&target, name, value, XattrFlags::empty()).unwrap();
        }
        let before = mode(&target);
        root.replace(Path::new("/etc/sysctl.conf"), b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        for (name, value) in attributes {
            let mut buffer = [0; 64];
            let length = getxattr(&target, name, &mut buffer[..]).unwrap();
            assert_eq!(&buffer[..length], value, "{name}");
        }
        assert_eq!(mode(&target), before);
    }

    #[test]
    fn folders_come_and_go_with_their_file() {
        let (directory, root) = tree();
        let path = Path::new("/etc/udev/rules.d/90-cttune.rules");
        root.rehearse(path, b"x").unwrap();
        assert!(!directory.path().join("etc/udev").exists());
        let folders = root.missing_folders(path);
        assert_eq!(
            folders,
            [Path::new("/etc/udev"), Path::new("/etc/udev/rules.d")]
        );
        root.replace(path, b"x").unwrap();
        assert!(root.missing_folders(path).is_empty());
        root.remove_empty(&folders);
        assert!(directory.path().join("etc/udev/rules.d").exists());
        root.remove(path).unwrap();
        root.remove_empty(&folders);
        assert!(!directory.path().join("etc/udev").exists());
        root.remove(path).unwrap();
    }

    #[test]
    fn the_next_write_removes_what_a_killed_run_left_beside_a_file() {
        let (directory, root) = tree();
        let path = Path::new("/etc/sysctl.d/90-cttune.conf");
        let names = || root.list(Path::new("/etc/sysctl.d")).unwrap().unwrap();
        let left = ["90-cttune.conf", "90-other.conf"].map(|name| {
            directory
                .path()
                .join(format!("etc/sysctl.d/.{name}.cttune-7~"))
        });
        for sweep in [true, false] {
            for path in &left {
                fs::write(path, "half").unwrap();
            }
            if sweep {
                root.sweep(path);
                assert_eq!(names(), [".90-other.conf.cttune-7~"]);
            } else {
                root.replace(path, b"whole").unwrap();
                assert_eq!(names(), [".90-other.conf.cttune-7~", "90-cttune.conf"]);
            }
        }
    }

    #[test]
    fn a_text_that_is_overwritten_keeps_its_file() {
        let (directory, root) = tree();
        let target = directory.path().join("etc/sysctl.conf");
        fs::write(&target, "a longer text").unwrap();
        let inode = fs::metadata(&target).unwrap().ino();
        root.overwrite(Path::new("/etc/sysctl.conf"), b"short")
            .unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"short");
        assert_eq!(fs::metadata(&target).unwrap().ino(), inode);
        assert!(root.overwrite(Path::new("/etc/none"), b"x").is_err());
    }

    #[test]
    fn no_part_of_a_written_path_may_be_a_link() {
        let (directory, root) = tree();
        fs::create_dir(directory.path().join("elsewhere")).unwrap();
        fs::write(directory.path().join("elsewhere/file"), "old").unwrap();
        symlink("../elsewhere", directory.path().join("etc/cttune")).unwrap();
        symlink(
            "../../elsewhere/file",
            directory.path().join("etc/sysctl.d/90-cttune.conf"),
        )
        .unwrap();
        for path in ["/etc/cttune/file", "/etc/sysctl.d/90-cttune.conf"] {
            let path = Path::new(path);
            for result in [root.rehearse(path, b"x"), root.replace(path, b"x")] {
                assert!(matches!(result, Err(FileError::Symlink { .. })));
            }
            assert!(root.open_or_create(path).is_err());
        }
        assert_eq!(
            fs::read(directory.path().join("elsewhere/file")).unwrap(),
            b"old"
        );
    }

    #[test]
    fn dots_in_a_written_path_stay_below_the_root() {
        let outer = tempfile::tempdir().unwrap();
        let base = outer.path().join("image");
        fs::create_dir_all(outer.path().join("victim")).unwrap();
        fs::create_dir(&base).unwrap();
        let root = Root::at(&base).unwrap();
        root.replace(Path::new("/../victim/evil.conf"), b"x")
            .unwrap();
        root.remove_empty(&["/../victim".into()]);
        root.remove(Path::new("/a/../../victim/evil.conf")).unwrap();
        assert!(outer.path().join("victim").exists());
        assert!(!outer.path().join("victim/evil.conf").exists());
        assert!(!base.join("victim/evil.conf").exists());
    }

    #[test]
    fn what_is_in_the_place_of_a_file_is_named() {
        let (directory, root) = tree();
        let folder = directory.path().join("etc/sysctl.d");
        fs::create_dir(folder.join("90-cttune.conf")).unwrap();
        mkfifo(&folder.join("lock"), Mode::S_IRWXU).unwrap();
        for (name, kind) in [("90-cttune.conf", "a directory"), ("lock", "a FIFO")] {
            let path = Path::new("/etc/sysctl.d").join(name);
            let errors = [
                root.rehearse(&path, b"x").unwrap_err(),
                root.replace(&path, b"x").unwrap_err(),
                root.overwrite(&path, b"x").unwrap_err(),
                root.open_or_create(&path).unwrap_err(),
            ];
            for error in errors.map(|error| error.to_string()) {
                assert!(error.contains(&format!("is {kind}")), "{error}");
            }
        }
    }

    #[test]
    fn what_a_private_root_makes_is_its_owners_alone() {
        let (directory, root) = tree();
        let state = root
            .private()
            .make_folder(Path::new("/var/cttune"))
            .unwrap();
        drop(state.open_or_create(Path::new("lock")).unwrap());
        state.replace(Path::new("1.json"), b"{}").unwrap();
        let base = directory.path().join("var/cttune");
        for (name, expected) in [("", 0o700), ("lock", 0o600), ("1.json", 0o600)] {
            assert_eq!(mode(&base.join(name)), expected, "{name}");
        }
    }
}
