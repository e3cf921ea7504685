//! A private /etc, as the story's admin left it.
//!
//! An overlay keeps the host's owners and rights below and takes what is written on top. In a user
//! namespace it can neither write into a directory whose owner is not mapped nor rename its files
//! (EOVERFLOW), so the directories that cttune writes to are copied on top first. Where the kernel
//! refuses the overlay (before 5.11, or three of them stacked) /etc is a copy.
//! Follows the kernel's Documentation/filesystems/overlayfs.rst.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::Context;
use nix::mount::MsFlags;

use super::copy::copy_tree;
use super::mounts::{HOME, bind, mount_new};
use super::refusal;
use crate::diagnostic::told;

/// What cttune reads and writes below /etc. None need exist on the host.
const FOLDERS: [&str; 5] = [
    "sysctl.d",
    "modules-load.d",
    "udev/rules.d",
    "systemd/system",
    "cttune",
];

/// What the story's admin appended by hand.
const BY_HAND: &str = "net.netfilter.nf_conntrack_max=131072\n";

/// Covers /etc with a private one.
pub(super) fn set_up() -> anyhow::Result<()> {
    let upper = Path::new(HOME).join("etc");
    let work = Path::new(HOME).join("etc-work");
    make_directory(&work)?;
    for directory in FOLDERS {
        upper
            .join(directory)
            .parent()
            .map_or(Ok(()), make_directory)?;
        copy_directory(&Path::new("/etc").join(directory), &upper.join(directory))
            .with_context(|| format!("copying /etc/{directory} into the sandbox"))?;
    }
    write_story(&upper)?;
    let layers = format!(
        "lowerdir=/etc,upperdir={},workdir={},userxattr",
        upper.display(),
        work.display()
    );
    let laid = mount_new("overlay", "/etc", MsFlags::empty(), Some(&layers));
    laid.or_else(|refused| {
        instead_of_overlay().map_err(|error| {
            let doing = format!("laying an overlay over /etc ({})", told(&error));
            refusal::because(&doing, refused)
        })
    })
}

/// Covers /etc with a copy of what of it can be read.
fn instead_of_overlay() -> anyhow::Result<()> {
    let copy = Path::new(HOME).join("etc-copy");
    copy_tree(Path::new("/etc"), &copy).context("copying it instead")?;
    write_story(&copy)?;
    bind(&copy, "/etc")
}

/// The story: a larger max, appended to sysctl.conf, which sysctl.d has a link to.
fn write_story(etc: &Path) -> anyhow::Result<()> {
    for directory in FOLDERS {
        make_directory(&etc.join(directory))?;
    }
    // A file that may not be read counts as none.
    let mut text = fs::read_to_string("/etc/sysctl.conf").unwrap_or_default();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(BY_HAND);
    let conf = etc.join("sysctl.conf");
    let link = etc.join("sysctl.d/99-sysctl.conf");
    for path in [&conf, &link] {
        remove(path).with_context(|| format!("removing {}", path.display()))?;
    }
    fs::write(&conf, text).with_context(|| format!("writing {}", conf.display()))?;
    symlink("../sysctl.conf", &link).with_context(|| format!("linking {}", link.display()))
}

fn make_directory(path: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Copies a directory and what is in it, if it exists. A host may keep it elsewhere and have a
/// link in /etc: the copy is a directory all the same, or writing to it would reach the host's.
fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    match fs::canonicalize(from) {
        Ok(from) => copy_tree(&from, to),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
