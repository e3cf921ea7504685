//! Checks everything that can be checked before the first write.

use super::system::{System, SystemError};
use crate::diagnostic::plain::Shown;
use crate::diagnostic::{Advise, Hint};
use crate::plan::{Plan, Step};
use crate::service::{Found, Table};

#[derive(Debug, thiserror::Error)]
pub(crate) enum PreflightError {
    #[error(transparent)]
    System(#[from] SystemError),
    /// Something is no longer as the plan found it.
    #[error("{0} when the plan was made")]
    Moved(String),
}

impl Advise for PreflightError {
    fn hint(&self) -> Option<Hint> {
        match self {
            PreflightError::System(error) => error.hint(),
            PreflightError::Moved(_) => Some(Hint::say("run it again: it plans anew")),
        }
    }
}

/// Checks permissions, paths and space for every step, and that everything is still as it was read.
/// Temporary files are created and removed; nothing else is touched.
pub(crate) fn preflight(plan: &Plan, system: &mut dyn System) -> Result<(), PreflightError> {
    let is_load = |step: &Step| matches!(step, Step::LoadModule { .. });
    let loads = plan.steps.iter().any(is_load);
    let mut seen = Vec::new();
    for step in &plan.steps {
        match step {
            // Before the module is loaded there is no key to open.
            Step::WriteLive { key, from, .. } if !loads => {
                // A key may be written twice; its later `from` is not there yet.
                let is_first = !seen.contains(key);
                seen.push(*key);
                if let (true, Some(planned)) = (is_first, from)
                    && let Some(now) = system.read(*key)?.filter(|now| now != planned)
                {
                    let moved = format!("{key} is {now} now, and was {planned}");
                    return Err(PreflightError::Moved(moved));
                }
                system.rehearse_write(*key)?;
            }
            Step::Service { from, .. } => check_table(step, from.as_ref(), loads, system)?,
            // Flows are read when their step is applied: the plan counted them already.
            _ => check_file(step, system)?,
        }
    }
    Ok(())
}

fn check_table(
    step: &Step,
    from: Option<&Table>,
    loads: bool,
    system: &mut dyn System,
) -> Result<(), PreflightError> {
    let planned = from.cloned().unwrap_or_default();
    if system.read_table()? != Found::Ours(planned) {
        let moved = "nft table inet cttune differs from what it was".to_owned();
        return Err(PreflightError::Moved(moved));
    }
    // nft would load the module.
    let transaction = step.transaction().filter(|_| !loads);
    Ok(transaction.map_or(Ok(()), |text| system.rehearse_table(&text))?)
}

fn check_file(step: &Step, system: &mut dyn System) -> Result<(), PreflightError> {
    let Some(change) = step.file() else {
        return Ok(());
    };
    system.rehearse_file(change.path, change.to.unwrap_or_default())?;
    if system.read_file(change.path)?.as_deref() == change.from {
        return Ok(());
    }
    let moved = format!("{} differs from what it was", change.path.shown());
    Err(PreflightError::Moved(moved))
}
