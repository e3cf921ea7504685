//! What a guard says of itself, in /run/cttune/guard-INODE.json, and its lock.

use std::path::{Path, PathBuf};

use crate::files::{FileError, Root};
use crate::flow::guard::GuardStatus;
use crate::kernel::host;

pub(super) const FOLDER: &str = "/run/cttune";

/// The lock that a guard holds in this network namespace.
pub(crate) fn lock_name() -> String {
    format!("guard-{}.lock", host::read_netns_inode().unwrap_or(0))
}

/// A file of the guard of this network namespace.
pub(super) fn path(kind: &str) -> PathBuf {
    let inode = host::read_netns_inode().unwrap_or(0);
    Path::new(FOLDER).join(format!("guard-{inode}.{kind}"))
}

/// Writes it for others.
pub(crate) fn write_status(status: &GuardStatus) -> Result<(), FileError> {
    let root = Root::machine();
    root.make_folder(Path::new(FOLDER))?;
    let text = serde_json::to_vec_pretty(status).unwrap_or_default();
    root.replace(&path("json"), &text)
}

/// The guard ends. What cannot be removed is replaced by the next one.
pub(crate) fn remove_status() {
    for kind in ["json", "sock"] {
        let _ = Root::machine().remove(&path(kind));
    }
}
