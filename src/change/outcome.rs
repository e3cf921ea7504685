//! What became of a plan as a whole.

use super::signal::Signal;
use crate::diagnostic::Hint;
use crate::plan::{Report, StepResult};

/// Why a plan was not applied to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    Failed {
        message: String,
        hint: Option<Hint>,
    },
    /// The operator, or the machine going down, asked to stop.
    Signal(Signal),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    Complete,
    /// The hash table could not be resized; the rest was applied, max as far as the table allows.
    Partial(String),
    /// It failed or was stopped, and everything is as it was.
    Undone(Cause),
    /// It failed or was stopped, and this could not be undone.
    Failed(Cause, Vec<String>),
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
