//! One change at a time: an advisory lock, with the name of its holder in the file.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::diagnostic::plain::{Shown, one_line};
use crate::diagnostic::{Advise, Hint};
use crate::files::Root;
use crate::files::state::{self, StateError};

const NAME: &str = "lock";
const PAUSE: Duration = Duration::from_millis(20);
/// How long it is tried although nobody asked to wait: a reader that looks whether it is held holds
/// it for an instant, and a holder needs one to write who it is.
const GRACE: Duration = Duration::from_millis(60);

/// The lock, held until it is dropped. The kernel releases it when the process ends in any way, so
/// that it cannot go stale.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    #[error("another cttune is at work: {holder}")]
    Held {
        /// Its pid and command, as it wrote them.
        holder: String,
    },
    #[error("cannot lock {}: {source}", path.shown())]
    File { path: PathBuf, source: StateError },
}

impl Advise for LockError {
    fn hint(&self) -> Option<Hint> {
        Some(match self {
            LockError::Held { .. } => Hint::say("to wait until it is done: --wait 30s"),
            LockError::File { path, source } => source.hint(path.parent().unwrap_or(path)),
        })
    }
}

impl Lock {
    /// Takes the lock, or waits for it: at most so long, and no longer than `stop` allows.
    pub(crate) fn take_within(
        root: &Root,
        patience: Duration,
        stop: &dyn Fn() -> bool,
    ) -> Result<Self, LockError> {
        let since = Instant::now();
        let patience = patience.max(GRACE);
        loop {
            match Lock::take(root) {
                Err(LockError::Held { .. }) if since.elapsed() < patience && !stop() => {
                    std::thread::sleep(PAUSE);
                }
                taken => return taken,
            }
        }
    }

    /// Whether somebody holds it. It is opened for reading only; if that fails, nobody does.
    pub(crate) fn is_held(root: &Root) -> bool {
        Lock::look(root, NAME) == Some(false)
    }

    /// Whether it exists, may be opened, and nobody holds it.
    pub(crate) fn is_free_named(root: &Root, name: &str) -> bool {
        Lock::look(root, name) == Some(true)
    }

    /// Whether it is free; none where it cannot be opened.
    fn look(root: &Root, name: &str) -> Option<bool> {
        let state = state::open(root, &state::inside(root)).ok().flatten();
        let file = state?.open(Path::new(name)).ok()??;
        match file.try_lock_shared() {
            Ok(()) => Some(true),
            Err(TryLockError::WouldBlock) => Some(false),
            Err(TryLockError::Error(_)) => None,
        }
    }

    /// Takes the lock in the state directory of a root, which is created if need be. Nothing waits.
    pub(crate) fn take(root: &Root) -> Result<Self, LockError> {
        Lock::take_named(root, NAME)
    }

    /// The same for another lock of the state directory.
    pub(crate) fn take_named(root: &Root, name: &str) -> Result<Self, LockError> {
        let failed = |source| LockError::File {
            path: state::directory(root).join(name),
            source,
        };
        let state = state::create(root, &state::inside(root)).map_err(failed)?;
        let lock = state.open_or_create(Path::new(name));
        let mut file = lock.map_err(|error| failed(error.into()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = read_holder(&mut file);
                return Err(LockError::Held { holder });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error.into())),
        }
        // Only for the message of others: on a full disk the lock is held without it.
        let _ = write_holder(&mut file);
        Ok(Lock { _file: file })
    }
}

fn read_holder(file: &mut File) -> String {
    let mut holder = String::new();
    match file.take(4096).read_to_string(&mut holder) {
        Ok(_) if !holder.trim().is_empty() => one_line(holder.trim()),
        _ => "it has not said which".to_owned(),
    }
}

fn write_holder(file: &mut File) -> io::Result<()> {
    let command: Vec<String> = std::env::args_os()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "pid {}, `{}`", std::process::id(), command.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::at(directory.path()).unwrap();
        (directory, root)
    }

    #[test]
    fn a_second_taker_is_told_who_holds_it() {
        let (_directory, root) = root();
        let lock = Lock::take(&root).unwrap();
        assert!(Lock::is_held(&root));
        let error = Lock::take(&root).unwrap_err().to_string();
        assert!(
            error.contains(&format!("pid {}", std::process::id())),
            "{error}"
        );
        drop(lock);
        assert!(!Lock::is_held(&root));
        Lock::take(&root).unwrap();
    }

    #[test]
    fn looking_whether_it_is_held_keeps_nobody_out() {
        let (_directory, root) = root();
        drop(Lock::take(&root).unwrap());
        let looker = File::open(state::directory(&root).join(NAME)).unwrap();
        looker.try_lock_shared().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(5));
                drop(looker);
            });
            Lock::take_within(&root, Duration::ZERO, &|| false).unwrap();
        });
    }

    #[test]
    fn nothing_but_a_regular_file_is_a_lock_and_nothing_waits_for_it() {
        let (_directory, root) = root();
        drop(Lock::take(&root).unwrap());
        let path = state::directory(&root).join(NAME);
        std::fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = Lock::take(&root).unwrap_err().to_string();
        assert!(error.contains("is a FIFO, not a file"), "{error}");
        assert!(!Lock::is_held(&root));
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert!(Lock::take(&root).is_err());
    }
}
