//! Where cttune keeps what it must remember between runs: its lock and its journal.

use std::path::{Path, PathBuf};

use super::Root;

/// The usual place, as seen from inside a root.
const USUAL: &str = "/var/lib/cttune";
/// The variable that names another place; it does not hold for `--root`.
pub const VARIABLE: &str = "CTTUNE_STATE_DIR";

/// The state directory of a root, as seen on the running machine. It may not exist yet.
pub fn directory(root: &Root) -> PathBuf {
    match std::env::var_os(VARIABLE) {
        Some(directory) if root.is_machine() && !directory.is_empty() => PathBuf::from(directory),
        _ => root.outside(Path::new(USUAL)),
    }
}
