//! What the sandbox's root may see and write.
//!
//! Root in a user namespace is still the owner of what the host's uid 0 owns when root started it,
//! so the disk, and whatever of /proc and /sys acts on the whole machine, is made read-only. /run,
//! /var/log and the state directory are empty and private. This is against accidents: CMD could
//! unmount it all.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use super::{disk, refusal};

/// Where the sandbox keeps what it is made of, on its private /run.
pub(super) const HOME: &str = "/run/cttune-sandbox";
/// The first directory of PATH.
pub(super) const PROGRAMS: &str = "/run/cttune-sandbox/bin";
/// The state directory, which cttune gets as `CTTUNE_STATE_DIR`.
pub(super) const STATE: &str = "/run/cttune-sandbox/state";

/// The state directory of a cttune outside any sandbox.
const HOST_STATE: &str = "/var/lib/cttune";
/// The host's kernel log tells nothing of the sandbox; one can be written in its place.
const LOG: &str = "/var/log";
/// Where programs write what they need for themselves.
const SCRATCH: [&str; 2] = ["/var/tmp", "/dev/shm"];

/// What of /proc acts on the whole machine when uid 0 writes to it. Not all kernels have all.
const MACHINE_WIDE: [&str; 8] = [
    "/proc/sys",
    "/proc/sysrq-trigger",
    "/proc/irq",
    "/proc/bus",
    "/proc/fs",
    "/proc/acpi",
    "/proc/scsi",
    "/proc/mtrr",
];

const NOTHING: Option<&str> = None;
const SAFE: MsFlags = MsFlags::MS_NOSUID
    .union(MsFlags::MS_NODEV)
    .union(MsFlags::MS_NOEXEC);

/// Mounts all but /etc.
pub(super) fn set_up(started_in: Option<&Path>) -> anyhow::Result<()> {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(NOTHING, "/", NOTHING, private, NOTHING)
        .map_err(|errno| refusal::because("making the sandbox's mounts private", errno))?;
    disk::protect(started_in)?;
    tmpfs("/run", "0755")?;
    for directory in [HOME, PROGRAMS, STATE] {
        fs::create_dir(directory).with_context(|| format!("making {directory}"))?;
    }
    for directory in [HOST_STATE, LOG] {
        if Path::new(directory).exists() {
            tmpfs(directory, "0755")?;
        }
    }
    for directory in SCRATCH {
        let is_used = started_in.is_some_and(|path| path.starts_with(directory));
        if Path::new(directory).exists() && !is_used {
            tmpfs(directory, "1777")?;
        }
    }
    disk::copy_configuration()?;
    copy_program()?;
    mount_proc()?;
    mount_new("sysfs", "/sys", SAFE | MsFlags::MS_RDONLY, NOTHING)
        .map_err(|errno| refusal::because("mounting a read-only /sys", errno))
}

/// Mounts a new file system of this type.
pub(super) fn mount_new(
    kind: &str,
    target: &str,
    flags: MsFlags,
    options: Option<&str>,
) -> Result<(), Errno> {
    mount(Some(kind), target, Some(kind), flags, options)
}

pub(super) fn remount_read_only(path: &Path, flags: MsFlags) -> Result<(), Errno> {
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | flags;
    mount(NOTHING, path, NOTHING, read_only, NOTHING)
}

/// Puts the file `source` over the file `target`, or one directory over another.
pub(super) fn bind(source: impl AsRef<Path>, target: impl AsRef<Path>) -> anyhow::Result<()> {
    let (source, target) = (source.as_ref(), target.as_ref());
    mount(Some(source), target, NOTHING, MsFlags::MS_BIND, NOTHING)
        .map_err(|errno| refusal::because(&format!("mounting over {}", target.display()), errno))
}

fn tmpfs(target: &str, mode: &str) -> anyhow::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount_new("tmpfs", target, flags, Some(&format!("mode={mode}")))
        .map_err(|errno| refusal::because(&format!("mounting a tmpfs over {target}"), errno))
}

/// Copies the running program: its file may be replaced, deleted or hidden while the sandbox is
/// up, and a bind cannot come from the caller's mount namespace.
fn copy_program() -> anyhow::Result<()> {
    let program = format!("{PROGRAMS}/cttune");
    fs::copy("/proc/self/exe", &program)
        .and_then(|_| fs::set_permissions(&program, fs::Permissions::from_mode(0o755)))
        .context("copying the running program into the sandbox")
}

/// A /proc that shows the sandbox's processes, and lets only /proc/sys/net and the processes'
/// own files be written.
fn mount_proc() -> anyhow::Result<()> {
    mount_new("proc", "/proc", SAFE, NOTHING)
        .map_err(|errno| refusal::because("mounting a fresh /proc", errno))?;
    for path in MACHINE_WIDE {
        if !Path::new(path).exists() {
            continue;
        }
        bind(path, path)?;
        if path == "/proc/sys" {
            // A mount of its own on top, so that it stays writable.
            bind("/proc/sys/net", "/proc/sys/net")?;
        }
        remount_read_only(Path::new(path), SAFE)
            .map_err(|errno| refusal::because(&format!("making {path} read-only"), errno))?;
    }
    Ok(())
}
