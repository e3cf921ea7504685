//! What a guard says of itself, in /run/cttune/guard-INODE.json, and its lock.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::change::Lock;
use crate::diagnostic::plain::Shown;
use crate::files::state::{self, StateError};
use crate::files::{FileError, Root};
use crate::flow::guard::{GuardSeen, GuardStatus};
use crate::kernel::host;

pub(super) const FOLDER: &str = "/run/cttune";

/// A status is a few hundred bytes.
const LARGEST: u64 = 64 * 1024;

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
    let status = GuardStatus {
        written: now(),
        ..status.clone()
    };
    let text = serde_json::to_vec_pretty(&status).unwrap_or_default();
    root.replace(&path("json"), &text)
}

/// What the guard of this network namespace said last; none where none runs. A file that another
/// user could have written is not believed.
///
/// # Errors
/// What is wrong with the file.
pub(crate) fn read_status() -> Result<Option<GuardSeen>, String> {
    let path = path("json");
    let wrong = |why: String| format!("{}: {why}", path.shown());
    let opened = Root::machine().open(&path);
    let Some(file) = opened.map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    state::check_file(&file).map_err(|error| match error {
        StateError::Untrusted(why) => wrong(format!("{why}: it is not believed")),
        StateError::Io(error) => wrong(error.to_string()),
    })?;
    let status = parse(file).ok_or_else(|| wrong("it is not what a guard writes".to_owned()))?;
    Ok(Some(GuardSeen {
        age: now().saturating_sub(status.written) / 1000,
        has_ended: Lock::is_free_named(&Root::machine(), &lock_name()),
        status,
    }))
}

fn parse(file: File) -> Option<GuardStatus> {
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Milliseconds of the clock that nobody sets, and that stands still while the machine sleeps.
fn now() -> u64 {
    u64::try_from(host::read_monotonic().as_millis()).unwrap_or(u64::MAX)
}

/// The guard ends. What cannot be removed is replaced by the next one.
pub(crate) fn remove_status() {
    for kind in ["json", "sock"] {
        let _ = Root::machine().remove(&path(kind));
    }
}
