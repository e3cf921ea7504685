//! Owner, mode, ACL and extended attributes of a file that is about to be replaced.
//!
//! Rule: the owner, the mode and the ACL decide who may read and write, so that a file that cannot
//! have them is not put in place. Other attributes (a SELinux label, user.*) are kept where they
//! may be set. Signatures of the content (IMA, EVM) are not kept: they would be wrong.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fchmod, fstatat};
use nix::unistd::{Gid, Uid, fchown};
use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr};

const ACL: &str = "system.posix_acl_access";
const OF_THE_CONTENT: [&str; 2] = ["security.ima", "security.evm"];
/// The kernel's limits of one value and of the list of names (xattr(7)).
const MAX_VALUE: usize = 64 << 10;

pub(super) struct Attributes {
    stat: FileStat,
    extended: Vec<Extended>,
}

type Extended = (Vec<u8>, Vec<u8>);

impl Attributes {
    /// Reads them from a regular file in a folder.
    pub(super) fn read(folder: BorrowedFd<'_>, name: &OsStr) -> Result<Self, Errno> {
        let stat = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let extended = match openat(folder, name, flags, Mode::empty()) {
            Ok(file) => read_extended(&File::from(file))?,
            // A caller who may write the folder but not read the file keeps only owner and mode.
            Err(Errno::EACCES) => Vec::new(),
            Err(errno) => return Err(errno),
        };
        Ok(Attributes { stat, extended })
    }

    pub(super) fn give_to(&self, file: &File) -> io::Result<()> {
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (self.stat.st_uid, self.stat.st_gid) {
            let owner = Uid::from_raw(self.stat.st_uid);
            fchown(file, Some(owner), Some(Gid::from_raw(self.stat.st_gid)))?;
        }
        let mut has_acl = false;
        for (name, value) in &self.extended {
            let is_acl = name == ACL.as_bytes();
            has_acl |= is_acl;
            let kept = fsetxattr(file, name.as_slice(), value, XattrFlags::empty());
            if is_acl {
                kept?;
            }
        }
        if !has_acl {
            // The folder's default ACL has given the new file one. It has none where this fails.
            let _ = fremovexattr(file, ACL);
        }
        fchmod(file, Mode::from_bits_truncate(self.stat.st_mode & 0o7777))?;
        Ok(())
    }
}

fn read_extended(file: &File) -> Result<Vec<Extended>, Errno> {
    let mut buffer = vec![0; MAX_VALUE];
    let Ok(length) = flistxattr(file, buffer.as_mut_slice()) else {
        // A file system without them.
        return Ok(Vec::new());
    };
    let names = buffer.get(..length).unwrap_or_default().to_vec();
    let mut extended = Vec::new();
    for name in names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        if OF_THE_CONTENT
            .iter()
            .any(|signed| signed.as_bytes() == name)
        {
            continue;
        }
        match fgetxattr(file, OsStr::from_bytes(name), buffer.as_mut_slice()) {
            Ok(length) => {
                let value = buffer.get(..length).unwrap_or_default().to_vec();
                extended.push((name.to_vec(), value));
            }
            Err(error) if name == ACL.as_bytes() => {
                return Err(Errno::from_raw(error.raw_os_error()));
            }
            Err(_) => {}
        }
    }
    Ok(extended)
}
