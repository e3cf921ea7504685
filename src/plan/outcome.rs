//! What became of a plan: of each step, and of the whole.

use crate::diagnostic::Hint;

/// What became of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StepResult {
    /// It holds.
    Done,
    /// It was not tried, or was undone.
    Skipped,
    /// It was tried and does not hold.
    Failed,
}

/// What became of one step, and why, where it does not hold as planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// What became of it.
    pub(crate) result: StepResult,
    /// What went wrong, or was adjusted.
    pub(crate) note: Option<String>,
}

/// A signal that asks cttune to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// `kill`.
    Terminate,
    /// The terminal is gone.
    HangUp,
}

impl Signal {
    /// The exit code by which a shell knows it: 128 and its number.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Signal::HangUp => 129,
            Signal::Interrupt => 130,
            Signal::Terminate => 143,
        }
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Signal::Interrupt => "SIGINT",
            Signal::Terminate => "SIGTERM",
            Signal::HangUp => "SIGHUP",
        }
    }
}

/// Why a plan was broken off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A step failed.
    Failed {
        /// What went wrong.
        message: String,
        /// What the operator can do about it.
        hint: Option<Hint>,
    },
    /// The operator, or the machine going down, asked to stop.
    Signal(Signal),
}

/// How carrying out a plan ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Every step holds.
    Complete,
    /// The hash table could not be resized; the rest holds, max as far as the table can bear it.
    Partly(String),
    /// It was broken off, and everything is as it was.
    Undone(Cause),
    /// It was broken off, and this much could not be put back.
    Left(Cause, Vec<String>),
}

/// What became of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// One for each step, in order.
    pub(crate) reports: Vec<Report>,
    /// How it ended.
    pub(crate) ending: Ending,
}

impl Outcome {
    /// Whether anything on the machine is different now.
    pub(crate) fn changed(&self) -> bool {
        let done = self
            .reports
            .iter()
            .any(|report| report.result == StepResult::Done);
        match self.ending {
            Ending::Complete | Ending::Partly(_) => done,
            Ending::Undone(_) => false,
            Ending::Left(..) => true,
        }
    }
}
