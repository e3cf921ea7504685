//! The machine's disk as the sandbox shows it.
//!
//! Rule: nothing that belongs to the system can be written, by no user. The configuration that
//! cttune may edit below /usr is a private copy, so that `apply --adopt` works as on the machine;
//! the rest is read-only. What the caller works on stays the caller's own and is written for real:
//! the home folder, /tmp, and the folder that the sandbox is started in, unless that one belongs to
//! the system.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use super::copy::copy_tree;
use super::mounts::{HOME, bind, remount_read_only};
use super::refusal;
use crate::boot::Tree;
use crate::boot::modules::{MODPROBE_FOLDERS, MODULES_LOAD_FOLDERS, UDEV_FOLDERS};
use crate::kernel::mounts::{Mount, read_mounts};

/// What belongs to the system, even if HOME or the current folder is in it.
const SYSTEM: [&str; 17] = [
    "/bin", "/boot", "/dev", "/efi", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/nix", "/opt",
    "/proc", "/run", "/sbin", "/sys", "/usr", "/var",
];

/// What is covered by a mount of the sandbox's own, or holds nothing but terminals.
const COVERED: [&str; 3] = ["/proc", "/sys", "/dev/pts"];

const NOTHING: Option<&str> = None;

/// Makes the whole disk read-only but for the caller's own folders. Comes first: what is mounted
/// after it can be written.
pub(super) fn protect(started_in: Option<&Path>) -> anyhow::Result<()> {
    let own = own_folders(&[
        env::var_os("HOME").map(PathBuf::from),
        env::var_os("TMPDIR").map(PathBuf::from),
        Some(PathBuf::from("/tmp")),
        started_in.map(Path::to_owned),
    ]);
    let whole = MsFlags::MS_BIND | MsFlags::MS_REC;
    for folder in &own {
        let doing = format!("keeping {} writable", folder.display());
        mount(Some(folder), folder, NOTHING, whole, NOTHING)
            .map_err(|errno| refusal::because(&doing, errno))?;
    }
    let mounts = read_mounts().context("reading the mounts of the machine")?;
    // Of several at one place, as a sandbox makes them, a path leads to the last one, and its flags
    // alone count.
    let top: BTreeMap<&Path, &Mount> = mounts.iter().map(|one| (&*one.point, one)).collect();
    for mount in top.into_values() {
        if !is_below(&mount.point, &own) && !is_below(&mount.point, &COVERED) {
            make_read_only(mount)?;
        }
    }
    Ok(())
}

/// Covers the configuration below /usr and /lib with a copy.
pub(super) fn copy_configuration() -> anyhow::Result<()> {
    let folders = Tree::DIRECTORIES.iter();
    let folders = folders
        .chain(&MODULES_LOAD_FOLDERS)
        .chain(&MODPROBE_FOLDERS)
        .chain(&UDEV_FOLDERS)
        .filter(|folder| is_below(Path::new(folder), &["/usr", "/lib"]));
    // /lib is often a link to /usr/lib.
    let folders: BTreeSet<PathBuf> = folders
        .filter_map(|folder| fs::canonicalize(folder).ok())
        .collect();
    for (number, folder) in folders.iter().enumerate() {
        let copy = Path::new(HOME).join(format!("copy-{number}"));
        copy_tree(folder, &copy)
            .with_context(|| format!("copying {} into the sandbox", folder.display()))?;
        bind(&copy, folder)?;
    }
    Ok(())
}

/// Those of the folders that exist and do not belong to the system, none inside another.
fn own_folders(named: &[Option<PathBuf>]) -> Vec<PathBuf> {
    let named = named.iter().flatten();
    let real = named.filter_map(|folder| fs::canonicalize(folder).ok());
    let real = real.filter(|folder| folder.is_dir() && !is_system(folder));
    let real: BTreeSet<PathBuf> = real.collect();
    let mut own: Vec<PathBuf> = Vec::new();
    // The set gives a folder before those inside it.
    for folder in real {
        if !is_below(&folder, &own) {
            own.push(folder);
        }
    }
    own
}

fn is_system(folder: &Path) -> bool {
    folder == Path::new("/") || is_below(folder, &SYSTEM)
}

fn is_below(path: &Path, folders: &[impl AsRef<Path>]) -> bool {
    folders.iter().any(|folder| path.starts_with(folder))
}

fn make_read_only(one: &Mount) -> anyhow::Result<()> {
    let mut flags = MsFlags::empty();
    // In a user namespace these cannot be taken away from a mount.
    for (option, flag) in [
        ("nosuid", MsFlags::MS_NOSUID),
        ("nodev", MsFlags::MS_NODEV),
        ("noexec", MsFlags::MS_NOEXEC),
    ] {
        if one.options.iter().any(|set| set == option) {
            flags |= flag;
        }
    }
    match remount_read_only(&one.point, flags) {
        // Another mount hides it, or the caller cannot get there.
        Ok(()) | Err(Errno::ENOENT | Errno::EINVAL | Errno::EACCES | Errno::ENOTDIR) => Ok(()),
        Err(errno) => {
            let doing = format!("making {} read-only", one.point.display());
            Err(refusal::because(&doing, errno))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_the_system_is_never_the_callers_own() {
        for folder in [
            "/",
            "/etc",
            "/usr/local/src",
            "/var/lib/x",
            "/run/user/0",
            "/dev/shm",
        ] {
            assert!(is_system(Path::new(folder)), "{folder}");
        }
        for folder in ["/root", "/home/a", "/tmp", "/srv/www", "/work", "/variety"] {
            assert!(!is_system(Path::new(folder)), "{folder}");
        }
    }

    #[test]
    fn a_folder_inside_another_is_named_once() {
        let place = tempfile::tempdir().unwrap();
        let inner = place.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        let outer = fs::canonicalize(place.path()).unwrap();
        let named = [
            Some(inner),
            None,
            Some(place.path().to_owned()),
            Some("/usr".into()),
            Some(place.path().join("none")),
        ];
        assert_eq!(own_folders(&named), [outer]);
    }
}
