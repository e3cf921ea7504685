//! What a guard says of itself, in /run/cttune/guard-INODE.json, and its lock.

use std::path::{Path, PathBuf};

use crate::files::{FileError, Root};
use crate::flow::guard::GuardStatus;
use crate::kernel::host;

const FOLDER: &str = "/run/cttune";

/// The lock that a guard holds in this network namespace.
pub(crate) fn lock_name() -> String {
    format!("guard-{}.lock", host::read_netns_inode().unwrap_or(0))
}

fn path() -> PathBuf {
    let inode = host::read_netns_inode().unwrap_or(0);
    Path::new(FOLDER).join(format!("guard-{inode}.json"))
}

/// Writes it for others.
pub(crate) fn write_status(status: &GuardStatus) -> Result<(), FileError> {
    let root = Root::machine();
    root.make_folder(Path::new(FOLDER))?;
    let text = serde_json::to_vec_pretty(status).unwrap_or_default();
    root.replace(&path(), &text)
}

/// The guard ends. What cannot be removed is replaced by the next one.
pub(crate) fn remove_status() {
    let _ = Root::machine().remove(&path());
}
