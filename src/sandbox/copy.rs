//! Copies a folder of the machine into the sandbox.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

/// Copies files, links and directories with their rights and, as far as they exist in the
/// sandbox, their owners. What may not be read is left out, and so is what is none of the three.
pub(super) fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    let mut left: Vec<(PathBuf, PathBuf)> = vec![(from.into(), to.into())];
    while let Some((from, to)) = left.pop() {
        let metadata = fs::symlink_metadata(&from)?;
        let kind = metadata.file_type();
        if kind.is_symlink() {
            symlink(fs::read_link(&from)?, &to)?;
        } else if kind.is_dir() {
            let Ok(entries) = fs::read_dir(&from) else {
                continue;
            };
            fs::create_dir(&to)?;
            for entry in entries {
                let name = entry?.file_name();
                left.push((from.join(&name), to.join(&name)));
            }
        } else if !kind.is_file() || !copied(&from, &to)? {
            continue;
        }
        // EINVAL and EPERM: the owner is not mapped. Everything is the caller's then.
        let _ = lchown(&to, Some(metadata.uid()), Some(metadata.gid()));
        if !kind.is_symlink() {
            fs::set_permissions(&to, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
        }
    }
    Ok(())
}

/// Copies a file, unless it may not be read.
fn copied(from: &Path, to: &Path) -> io::Result<bool> {
    match fs::copy(from, to) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
        Err(error) => Err(error),
    }
}
