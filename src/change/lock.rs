//! One change at a time: an advisory lock with the name of its holder.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::diagnostic::{Advise, Hint, said};
use crate::files::Root;
use crate::files::state::{self, StateError};

/// How often a lock that is waited for is tried.
const PAUSE: Duration = Duration::from_millis(20);
/// How long it is tried though nobody asked to wait: a reader that looks whether somebody has it
/// has it himself for an instant, and a holder needs one to write down who he is.
const GRACE: Duration = Duration::from_millis(60);

/// The lock, held until it is dropped. The kernel lets go of it when the process ends, however it
/// ends, so that it cannot go stale.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// The lock was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Somebody else has it.
    #[error("another cttune is at work: {holder}")]
    Held {
        /// Its pid and command, as it wrote them.
        holder: String,
    },
    /// The lock file cannot be made.
    #[error("cannot lock {}: {}", path.display(), said(source))]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Somebody else may write the state directory.
    #[error("cannot lock {}: {why}", path.display())]
    Untrusted {
        /// The lock file.
        path: PathBuf,
        /// Who may.
        why: StateError,
    },
}

impl Advise for LockError {
    fn hint(&self) -> Option<Hint> {
        Some(match self {
            LockError::Held { .. } => Hint::say("--wait 30s waits until it is done"),
            LockError::Untrusted { path, .. } => {
                StateError::untrusted(path.parent().unwrap_or(path))
            }
            LockError::Io { .. } => Hint::say(format!(
                "run it as root, or name another folder in {}",
                state::VARIABLE
            )),
        })
    }
}

impl Lock {
    /// Takes the lock, or waits for it: at most so long, and no longer than `stop` allows.
    ///
    /// # Errors
    /// As [`Lock::take`], once the time is over.
    pub(crate) fn take_within(
        directory: &Path,
        patience: Duration,
        stop: &dyn Fn() -> bool,
    ) -> Result<Self, LockError> {
        let since = Instant::now();
        let patience = patience.max(GRACE);
        loop {
            match Lock::take(directory) {
                Err(LockError::Held { .. }) if since.elapsed() < patience && !stop() => {
                    std::thread::sleep(PAUSE);
                }
                taken => return taken,
            }
        }
    }

    /// Whether somebody has it. Needs no right to write; where it cannot be told, nobody has.
    pub(crate) fn is_held(directory: &Path) -> bool {
        let lock = Root::machine().open(&directory.join("lock"));
        lock.ok()
            .flatten()
            .is_some_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Takes the lock in the state directory, which is made if need be.
    ///
    /// # Errors
    /// [`LockError::Held`] at once if somebody has it: nothing waits.
    pub(crate) fn take(directory: &Path) -> Result<Self, LockError> {
        let path = directory.join("lock");
        let failed = |source| LockError::Io {
            path: path.clone(),
            source,
        };
        let state = state::make(directory).map_err(|error| match error {
            StateError::Io(source) => failed(source),
            why @ StateError::Untrusted(_) => LockError::Untrusted {
                path: path.clone(),
                why,
            },
        })?;
        let lock = state.open_or_create(Path::new("lock"));
        let mut file = lock.map_err(|error| failed(error.into()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held {
                    holder: read_holder(&mut file),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // Only a courtesy: on a full disk the lock holds without it.
        let _ = write_holder(&mut file);
        Ok(Lock { _file: file })
    }
}

fn read_holder(file: &mut File) -> String {
    let mut holder = String::new();
    match file.take(4096).read_to_string(&mut holder) {
        Ok(_) if !holder.trim().is_empty() => holder.trim().to_owned(),
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

    #[test]
    fn a_second_taker_is_told_who_holds_it() {
        let directory = tempfile::tempdir().unwrap();
        let lock = Lock::take(directory.path()).unwrap();
        let error = Lock::take(directory.path()).unwrap_err().to_string();
        assert!(
            error.contains(&format!("pid {}", std::process::id())),
            "{error}"
        );
        drop(lock);
        Lock::take(directory.path()).unwrap();
    }

    #[test]
    fn whoever_only_looks_whether_it_is_held_keeps_nobody_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        drop(Lock::take(path).unwrap());
        let looker = File::open(path.join("lock")).unwrap();
        looker.try_lock_shared().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(5));
                drop(looker);
            });
            Lock::take_within(path, Duration::ZERO, &|| false).unwrap();
        });
    }
}
