//! What became of one step.

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum StepResult {
    Done,
    /// It was not tried, or was undone.
    Skipped,
    Failed,
}

/// What became of one step, and why, where that differs from the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) result: StepResult,
    /// What went wrong, or was adjusted.
    pub(crate) note: Option<String>,
}

impl Report {
    pub(crate) const DONE: Report = Report {
        result: StepResult::Done,
        note: None,
    };

    /// A step that was not tried, with the reason.
    pub(crate) fn skipped(note: Option<String>) -> Self {
        Report {
            result: StepResult::Skipped,
            note,
        }
    }

    pub(crate) fn failed(note: String) -> Self {
        Report {
            result: StepResult::Failed,
            note: Some(note),
        }
    }
}
