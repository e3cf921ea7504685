//! What became of a plan as a whole.

use super::error::ChangeError;
use crate::plan::{Report, StepResult};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    Complete,
    /// The hash table could not be resized; the rest was applied, max as far as the table allows.
    Partial(String),
    /// It failed or was stopped, and everything is as it was.
    Undone(ChangeError),
    /// It failed or was stopped, and this could not be undone.
    Failed(ChangeError, Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// One for each step, in order.
    pub(crate) reports: Vec<Report>,
    pub(crate) ending: Ending,
}

impl Outcome {
    pub(crate) fn nothing() -> Self {
        Outcome {
            reports: Vec::new(),
            ending: Ending::Complete,
        }
    }

    /// Whether anything on the machine is different now.
    pub(crate) fn changed(&self) -> bool {
        let done = |report: &Report| report.result == StepResult::Done;
        match self.ending {
            Ending::Complete | Ending::Partial(_) => self.reports.iter().any(done),
            Ending::Undone(_) => false,
            Ending::Failed(..) => true,
        }
    }
}
