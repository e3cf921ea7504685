//! The conntrack sysctls of the calling thread's network namespace.
//!
//! The only user of the `sysctl` crate. That crate folds every failure to open a key into
//! NotFound and writes without truncating, so each file is opened here first, to classify the
//! errno and to see whether it is procfs at all: the sandbox binds plain files over the keys that
//! only the initial namespace may write.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ::sysctl::{Ctl, CtlValue, Sysctl, SysctlError};
use nix::errno::Errno;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::sys::statvfs::{FsFlags, statvfs};

use crate::diagnostic::{Advise, Hint, said};
use crate::tunable::{Access, Key, Reading, Snapshot, as_held};

const DIRECTORY: &str = "/proc/sys/net/netfilter";

/// A sysctl that exists and could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {name}: {}", said(source))]
pub(crate) struct ReadError {
    name: String,
    source: io::Error,
}

/// A sysctl that was not changed, or does not hold what was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// The file does not exist.
    #[error("{0} does not exist on this kernel")]
    Missing(Key),
    /// The conntrack module is not loaded, so that no key exists.
    #[error("{0} does not exist: the module nf_conntrack is not loaded")]
    NotLoaded(Key),
    /// EACCES or EPERM.
    #[error(
        "cannot write {0}: permission denied: needs root (CAP_NET_ADMIN in this network namespace)"
    )]
    Denied(Key),
    /// The key can be written in the initial network namespace alone.
    #[error("{0} is read-only in this network namespace: the initial one sets it")]
    OtherNamespace(Key),
    /// EROFS: a container, or a hardened unit.
    #[error("{0} cannot be written: /proc/sys is mounted read-only here")]
    ReadOnlyMount(Key),
    /// EINVAL.
    #[error("the kernel refused {value} for {key}: Invalid argument")]
    Refused {
        /// The key.
        key: Key,
        /// The number that was written.
        value: i64,
    },
    /// ENOMEM: a hash table that large could not be allocated.
    #[error("the kernel found no memory for {key} = {value}")]
    NoMemory {
        /// The key.
        key: Key,
        /// The number that was written.
        value: i64,
    },
    /// The write was accepted and another number holds.
    #[error("wrote {wrote} to {key} and read {held} back")]
    NotHeld {
        /// The key.
        key: Key,
        /// What should hold.
        wrote: i64,
        /// What holds.
        held: i64,
    },
    /// Anything else.
    #[error("cannot write {key}: {}", said(source))]
    Other {
        /// The key.
        key: Key,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Advise for WriteError {
    fn hint(&self) -> Option<Hint> {
        Some(match self {
            WriteError::Denied(_) => Hint::say("run it as root, for example with sudo"),
            WriteError::ReadOnlyMount(_) => Hint::say(
                "in a container, run it on the host, or with the container's /proc/sys writable",
            ),
            WriteError::OtherNamespace(_) => Hint::say("run it in the host's network namespace"),
            WriteError::Refused { .. } => Hint::say(
                "the kernel's limit for it is lower, or another key's value does not allow it",
            ),
            WriteError::NoMemory { .. } => {
                Hint::say("try a smaller number, or again when more memory is free")
            }
            WriteError::NotLoaded(_) => Hint::on_host("modprobe nf_conntrack").to("load it"),
            WriteError::NotHeld { .. } => {
                Hint::say("another program writes this key too: find it and change it there")
            }
            WriteError::Missing(_) | WriteError::Other { .. } => return None,
        })
    }
}

/// Reads every key of the catalog, and the number of entries.
///
/// # Errors
/// Only for a key that exists and gives no number; a missing or denied one is a reading.
pub(crate) fn read_snapshot() -> Result<Snapshot, ReadError> {
    let Some(count) = read_count()? else {
        return Ok(Snapshot::not_loaded());
    };
    let mount = mount_access();
    let mut readings = Vec::with_capacity(Key::ALL.len());
    for key in Key::ALL.iter().copied() {
        readings.push((key, read_on(key, mount)?));
    }
    Ok(Snapshot::new(readings, Some(count)))
}

/// Reads one key.
///
/// # Errors
/// As [`read_snapshot`].
pub(crate) fn read(key: Key) -> Result<Reading, ReadError> {
    match read_on(key, mount_access())? {
        Reading::Missing if read_count()?.is_none() => Ok(Reading::NotLoaded),
        reading => Ok(reading),
    }
}

/// The number of entries in this namespace's table, expired ones that were not collected yet
/// included; `None` where conntrack is not loaded. A few microseconds: the table is not walked.
///
/// # Errors
/// Where the number exists and cannot be read.
pub(crate) fn read_count() -> Result<Option<i64>, ReadError> {
    const COUNT: &str = "net.netfilter.nf_conntrack_count";
    match read_number(COUNT) {
        Ok((count, _)) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ReadError {
            name: COUNT.to_owned(),
            source,
        }),
    }
}

/// Checks whether this process could write `key`, without writing it.
///
/// # Errors
/// What a write would answer, as far as opening the file shows.
pub(crate) fn rehearse(key: Key) -> Result<(), WriteError> {
    open_for_writing(key).map(drop)
}

/// Writes one decimal number in one write, reads it back and compares.
///
/// # Errors
/// The kernel's refusal; [`WriteError::NotHeld`] if another number is read back. After an error the
/// key may have either number: the caller restores the old one.
pub(crate) fn write(key: Key, value: i64) -> Result<(), WriteError> {
    let mut file = open_for_writing(key)?;
    let written = if is_procfs(&file) {
        write_sysctl(&key.name(), value)
    } else {
        file.set_len(0).and_then(|()| writeln!(file, "{value}"))
    };
    drop(file);
    written.map_err(|source| classify(key, value, source))?;
    let wrote = as_held(key, value);
    match read(key) {
        Ok(Reading::Value { value: held, .. }) if held == wrote => Ok(()),
        Ok(Reading::Value { value: held, .. }) => Err(WriteError::NotHeld { key, wrote, held }),
        Ok(Reading::Missing) => Err(WriteError::Missing(key)),
        Ok(Reading::NotLoaded) => Err(WriteError::NotLoaded(key)),
        Ok(Reading::Denied) => Err(WriteError::Denied(key)),
        Err(ReadError { source, .. }) => Err(WriteError::Other { key, source }),
    }
}

fn path(key: Key) -> PathBuf {
    Path::new(DIRECTORY).join(key.file_name())
}

/// Whether `/proc/sys` is mounted writable.
fn mount_access() -> Access {
    match statvfs(DIRECTORY) {
        Ok(stat) if stat.flags().contains(FsFlags::ST_RDONLY) => Access::ReadOnly,
        _ => Access::Writable,
    }
}

fn read_on(key: Key, mount: Access) -> Result<Reading, ReadError> {
    match read_number(&key.name()) {
        Ok((value, mode)) => {
            let access = if mount == Access::Writable && mode & 0o222 != 0 {
                Access::Writable
            } else {
                Access::ReadOnly
            };
            Ok(Reading::Value { value, access })
        }
        Err(error) => unread(key, error),
    }
}

fn unread(key: Key, error: io::Error) -> Result<Reading, ReadError> {
    match error.kind() {
        io::ErrorKind::NotFound => Ok(Reading::Missing),
        io::ErrorKind::PermissionDenied => Ok(Reading::Denied),
        _ => Err(ReadError {
            name: key.name(),
            source: error,
        }),
    }
}

/// Reads one number and the mode of its file, which is opened once: a check reads every key.
fn read_number(name: &str) -> io::Result<(i64, u32)> {
    let mut file = File::open(format!("/proc/sys/{}", name.replace('.', "/")))?;
    let mode = file.metadata()?.permissions().mode();
    // The kernel gives a number whole to one read, and no number is longer.
    let mut text = [0; 64];
    let length = file.read(&mut text)?;
    let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default());
    let text = text.trim();
    let number = text.parse().map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("`{text}` is not a number"),
        )
    });
    Ok((number?, mode))
}

fn write_sysctl(name: &str, value: i64) -> io::Result<()> {
    let ctl = Ctl::new(name).map_err(into_io)?;
    ctl.set_value(CtlValue::String(value.to_string()))
        .map_err(into_io)?;
    Ok(())
}

fn into_io(error: SysctlError) -> io::Error {
    match error {
        SysctlError::IoError(error) => error,
        other => io::Error::other(other.to_string()),
    }
}

fn open_for_writing(key: Key) -> Result<File, WriteError> {
    let path = path(key);
    OpenOptions::new().write(true).open(&path).map_err(|error| {
        let no_write_bit = std::fs::metadata(&path)
            .is_ok_and(|metadata| metadata.permissions().mode() & 0o222 == 0);
        match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
            Errno::ENOENT if matches!(read_count(), Ok(None)) => WriteError::NotLoaded(key),
            Errno::ENOENT => WriteError::Missing(key),
            Errno::EROFS => WriteError::ReadOnlyMount(key),
            Errno::EACCES | Errno::EPERM if no_write_bit => WriteError::OtherNamespace(key),
            Errno::EACCES | Errno::EPERM => WriteError::Denied(key),
            _ => WriteError::Other { key, source: error },
        }
    })
}

fn classify(key: Key, value: i64, error: io::Error) -> WriteError {
    match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
        Errno::EINVAL => WriteError::Refused { key, value },
        Errno::ENOMEM => WriteError::NoMemory { key, value },
        Errno::EACCES | Errno::EPERM => WriteError::Denied(key),
        Errno::EROFS => WriteError::ReadOnlyMount(key),
        _ => WriteError::Other { key, source: error },
    }
}

fn is_procfs(file: &File) -> bool {
    fstatfs(file).is_ok_and(|stat| stat.filesystem_type() == PROC_SUPER_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_is_read_without_writing() {
        let snapshot = read_snapshot().unwrap();
        assert!(snapshot.is_loaded());
        assert!(snapshot.count.is_some());
        assert!(snapshot.value(Key::TcpTimeoutEstablished).is_some());
        assert_eq!(
            snapshot.reading(Key::DccpLoose),
            read(Key::DccpLoose).unwrap()
        );
    }
}
