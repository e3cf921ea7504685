//! Where cttune keeps what it must remember between runs: its lock and its journal.
//!
//! What the journal says is put back by root, file contents included: a state directory that
//! somebody else may write is refused.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::{Root, owner};
use crate::diagnostic::{Hint, quoted, said};

/// The usual place, as seen from inside a root.
const USUAL: &str = "/var/lib/cttune";
/// The variable that names another place; it does not hold for `--root`.
pub(crate) const VARIABLE: &str = "CTTUNE_STATE_DIR";

/// The state directory of a root, as seen on the running machine. It may not exist yet. A relative
/// path is taken from where we are; a link inside a root is followed inside it alone.
pub(crate) fn directory(root: &Root) -> PathBuf {
    match std::env::var_os(VARIABLE) {
        Some(directory) if root.is_machine() && !directory.is_empty() => {
            let directory = PathBuf::from(directory);
            std::path::absolute(&directory).unwrap_or(directory)
        }
        _ => {
            let usual = Path::new(USUAL);
            let resolved = root.resolve(usual);
            root.outside(resolved.as_deref().unwrap_or(usual))
        }
    }
}

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// What the kernel said.
    #[error("{}", said(.0))]
    Io(#[from] io::Error),
    /// Somebody else may write it.
    #[error("{0}, and could have made up what root would restore")]
    Untrusted(String),
}

impl StateError {
    /// What to do about a folder that somebody else may write.
    pub(crate) fn untrusted(folder: &Path) -> Hint {
        let folder = quoted(&folder.display().to_string());
        Hint::on_host(format!("chown -R root {folder} && chmod -R go-w {folder}"))
            .to("look at what is in it, then")
            .and(Hint::say("or move it away"))
    }
}

/// Makes a folder of the state directory, for its owner alone, and makes sure of it as
/// [`check`] does.
///
/// # Errors
/// As [`check`], and if it cannot be made.
pub(crate) fn make(folder: &Path) -> Result<(), StateError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    check(folder)
}

/// Makes sure that nobody but root and the caller may write in a folder.
///
/// # Errors
/// If somebody may; if it does not exist.
pub(crate) fn check(folder: &Path) -> Result<(), StateError> {
    match owner::stranger(&fs::metadata(folder)?) {
        None => Ok(()),
        Some(why) => Err(StateError::Untrusted(why)),
    }
}
