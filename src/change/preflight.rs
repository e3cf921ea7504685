//! Checks everything that can be checked before the first write.

use std::path::PathBuf;

use super::target::{Target, TargetError};
use crate::diagnostic::{Advise, Hint};
use crate::plan::{FileChange, Plan, Step};
use crate::tunable::Key;

#[derive(Debug, thiserror::Error)]
pub(crate) enum PreflightError {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("{key} changed from {planned} to {now} since the plan was made")]
    ValueMoved { key: Key, planned: i64, now: i64 },
    #[error("{} changed since the plan was made", .0.display())]
    FileMoved(PathBuf),
}

impl PreflightError {
    /// Whether the machine is no longer as the plan found it.
    pub(super) fn is_change(&self) -> bool {
        !matches!(self, PreflightError::Target(_))
    }
}

impl Advise for PreflightError {
    fn hint(&self) -> Option<Hint> {
        match self {
            PreflightError::Target(error) => error.hint(),
            PreflightError::ValueMoved { .. } | PreflightError::FileMoved(_) => {
                Some(Hint::say("run it again: it plans anew"))
            }
        }
    }
}

/// Checks permissions, paths and space for every step, and that everything is still as it was read.
/// Temporary files are created and removed; nothing else is touched.
pub(crate) fn preflight(plan: &Plan, target: &mut dyn Target) -> Result<(), PreflightError> {
    let loads = plan
        .steps
        .iter()
        .any(|step| matches!(step, Step::LoadModule { .. }));
    let mut seen = Vec::new();
    for step in &plan.steps {
        match step {
            // Flows are read when their step is applied: the plan counted them already.
            Step::LoadModule { .. } | Step::UnloadModule { .. } | Step::Expire { .. } => {}
            // Before the module is loaded there is no key to open.
            Step::WriteLive { .. } if loads => {}
            Step::WriteLive { key, from, .. } => {
                // A key may be written twice; its later `from` is not there yet.
                if !seen.contains(key) {
                    seen.push(*key);
                    check_value(*key, *from, target)?;
                }
                target.rehearse_write(*key)?;
            }
            Step::WriteFile { .. } | Step::EditLine { .. } => check_file(step, target)?,
        }
    }
    Ok(())
}

fn check_value(
    key: Key,
    planned: Option<i64>,
    target: &mut dyn Target,
) -> Result<(), PreflightError> {
    match (planned, target.read(key)?) {
        (Some(planned), Some(now)) if planned != now => {
            Err(PreflightError::ValueMoved { key, planned, now })
        }
        _ => Ok(()),
    }
}

fn check_file(step: &Step, target: &mut dyn Target) -> Result<(), PreflightError> {
    let Some(FileChange { path, from, to }) = step.file() else {
        return Ok(());
    };
    target.rehearse_file(path, to.unwrap_or_default())?;
    if target.read_file(path)?.as_deref() != from {
        return Err(PreflightError::FileMoved(path.to_owned()));
    }
    Ok(())
}
