//! A directory tree that stands for the machine: `/`, or an image or chroot.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::FileError;
use super::place;

/// Links that may follow one another before a path counts as a loop, as in the kernel.
const MOST_LINKS: usize = 40;

/// The tree in which files are read and written; paths are absolute as seen from inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Root {
    base: PathBuf,
}

impl Root {
    /// The running machine.
    pub(crate) fn machine() -> Self {
        Root {
            base: PathBuf::from("/"),
        }
    }

    /// An image or chroot.
    ///
    /// # Errors
    /// If it is not a directory that can be entered.
    pub(crate) fn at(base: &Path) -> Result<Self, FileError> {
        let failed = |source| FileError::Io {
            doing: "enter",
            path: base.to_owned(),
            source,
        };
        let base = fs::canonicalize(base).map_err(failed)?;
        if !fs::metadata(&base).map_err(failed)?.is_dir() {
            return Err(failed(io::Error::from(io::ErrorKind::NotADirectory)));
        }
        Ok(Root { base })
    }

    /// Whether this is the running machine.
    pub(crate) fn is_machine(&self) -> bool {
        self.base == Path::new("/")
    }

    /// Where the tree stands on the running machine.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// The path on the running machine of a path inside, no link followed.
    pub(crate) fn outside(&self, inside: &Path) -> PathBuf {
        self.base.join(inside.strip_prefix("/").unwrap_or(inside))
    }

    /// The path inside with every symlink followed, none out of the root; the last part need not
    /// exist.
    ///
    /// # Errors
    /// For a loop of links, or a part that cannot be looked at.
    pub(crate) fn resolve(&self, inside: &Path) -> io::Result<PathBuf> {
        let mut rest: Vec<OsString> = parts(inside);
        rest.reverse();
        let mut resolved = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = rest.pop() {
            if part == ".." {
                resolved.pop();
                continue;
            }
            let next = resolved.join(&part);
            let Ok(target) = fs::read_link(self.outside(&next)) else {
                // It is no link. Whether it is there at all is the caller's to find out.
                resolved = next;
                continue;
            };
            links += 1;
            if links > MOST_LINKS {
                return Err(io::Error::from_raw_os_error(nix::libc::ELOOP));
            }
            if target.is_absolute() {
                resolved = PathBuf::from("/");
            }
            rest.extend(parts(&target).into_iter().rev());
        }
        Ok(resolved)
    }

    /// The bytes of a regular file, links followed inside the root; `None` if there is none.
    ///
    /// # Errors
    /// For what is not a regular file, and for what the kernel refuses.
    pub(crate) fn read(&self, inside: &Path) -> Result<Option<Vec<u8>>, FileError> {
        let failed = |source| FileError::Io {
            doing: "read",
            path: self.outside(inside),
            source,
        };
        let real = self.outside(&self.resolve(inside).map_err(failed)?);
        match fs::metadata(&real) {
            Ok(metadata) if metadata.is_file() => fs::read(&real).map(Some).map_err(failed),
            Ok(metadata) => Err(FileError::NotAFile {
                path: self.outside(inside),
                what: if metadata.is_dir() {
                    "a directory"
                } else {
                    "a device or a pipe"
                },
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Whether something is there, links followed inside the root.
    pub(crate) fn exists(&self, inside: &Path) -> bool {
        self.resolve(inside)
            .is_ok_and(|real| self.outside(&real).exists())
    }

    /// Finds out whether [`Root::replace`] would work, space included: writes the bytes to a file
    /// without a name in the target's folder, or in the first above it that exists.
    ///
    /// # Errors
    /// What replacing would answer.
    pub(crate) fn rehearse(&self, inside: &Path, bytes: &[u8]) -> Result<(), FileError> {
        place::rehearse(&self.base, inside, bytes)
    }

    /// Puts a whole file in place in one step, mode and owner kept; folders are made as needed.
    /// It and its folder are synced. No part of the path may be a symlink.
    ///
    /// # Errors
    /// After an error the old file stands untouched, unless it was the syncing that failed: compare
    /// before you believe either.
    pub(crate) fn replace(&self, inside: &Path, bytes: &[u8]) -> Result<(), FileError> {
        place::replace(&self.base, inside, bytes)
    }

    /// The folders on the way to a file that do not exist, outermost first.
    pub(crate) fn missing_folders(&self, inside: &Path) -> Vec<PathBuf> {
        let above: Vec<&Path> = inside.ancestors().skip(1).collect();
        let missing = |folder: &&&Path| !self.outside(folder).exists();
        above
            .iter()
            .rev()
            .filter(missing)
            .map(|folder| folder.to_path_buf())
            .collect()
    }

    /// Writes over the bytes of a file where they stand: not in one step, but without the space
    /// for a second copy. For putting a shorter text back on a full disk.
    ///
    /// # Errors
    /// If the bytes do not stand there now.
    pub(crate) fn overwrite(&self, inside: &Path, bytes: &[u8]) -> Result<(), FileError> {
        place::overwrite(&self.base, inside, bytes)
    }

    /// Removes a file. A missing one is no error.
    ///
    /// # Errors
    /// If the file is still there.
    pub(crate) fn remove(&self, inside: &Path) -> Result<(), FileError> {
        place::remove(&self.base, inside)
    }

    /// Removes what a killed cttune left beside a file.
    pub(crate) fn sweep(&self, inside: &Path) {
        place::sweep(&self.base, inside);
    }

    /// Removes those of `folders` that are empty, innermost first; they are given outermost first.
    pub(crate) fn remove_empty(&self, folders: &[PathBuf]) {
        for folder in folders.iter().rev() {
            let _ = fs::remove_dir(self.outside(folder));
        }
    }
}

/// The parts of a path, without the root, `.` and prefixes.
pub(super) fn parts(path: &Path) -> Vec<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(part) => Some(part.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn tree() -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::at(directory.path()).unwrap();
        fs::create_dir_all(directory.path().join("etc/sysctl.d")).unwrap();
        (directory, root)
    }

    #[test]
    fn links_never_lead_out_of_the_root() {
        let (directory, root) = tree();
        fs::write(directory.path().join("etc/sysctl.conf"), "inside").unwrap();
        symlink(
            "/etc/sysctl.conf",
            directory.path().join("etc/sysctl.d/99-a.conf"),
        )
        .unwrap();
        symlink(
            "../../../../etc/sysctl.conf",
            directory.path().join("etc/sysctl.d/99-b.conf"),
        )
        .unwrap();
        symlink("loop", directory.path().join("etc/loop")).unwrap();
        for name in ["99-a.conf", "99-b.conf"] {
            let path = Path::new("/etc/sysctl.d").join(name);
            assert_eq!(root.read(&path).unwrap().unwrap(), b"inside");
            assert_eq!(root.resolve(&path).unwrap(), Path::new("/etc/sysctl.conf"));
        }
        assert!(root.read(Path::new("/etc/loop")).is_err());
        assert!(root.read(Path::new("/etc/none")).unwrap().is_none());
        assert!(matches!(
            root.read(Path::new("/etc")),
            Err(FileError::NotAFile { .. })
        ));
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
        assert_eq!(
            fs::metadata(&target).unwrap().permissions().mode() & 0o7777,
            0o640
        );
        assert_eq!(
            fs::read_dir(directory.path().join("etc")).unwrap().count(),
            2
        );
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
    fn what_a_killed_run_left_beside_a_file_goes_with_the_next_write() {
        let (directory, root) = tree();
        let path = Path::new("/etc/sysctl.d/90-cttune.conf");
        let names = || {
            let entries = fs::read_dir(directory.path().join("etc/sysctl.d")).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let litter = ["90-cttune.conf", "90-other.conf"].map(|name| {
            directory
                .path()
                .join(format!("etc/sysctl.d/.{name}.cttune-7~"))
        });
        for sweep in [true, false] {
            for path in &litter {
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
    fn a_text_is_put_back_where_it_stands_and_keeps_its_file() {
        use std::os::unix::fs::MetadataExt;
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
            assert!(matches!(
                root.rehearse(path, b"x"),
                Err(FileError::Symlink { .. })
            ));
            assert!(matches!(
                root.replace(path, b"x"),
                Err(FileError::Symlink { .. })
            ));
        }
        assert_eq!(
            fs::read(directory.path().join("elsewhere/file")).unwrap(),
            b"old"
        );
    }

    #[test]
    fn a_folder_in_our_place_is_named() {
        let (directory, root) = tree();
        fs::create_dir(directory.path().join("etc/sysctl.d/90-cttune.conf")).unwrap();
        let error = root
            .rehearse(Path::new("/etc/sysctl.d/90-cttune.conf"), b"x")
            .unwrap_err();
        assert!(error.to_string().contains("is a directory"), "{error}");
    }
}
