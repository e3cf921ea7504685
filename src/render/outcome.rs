//! `cttune apply`: what became of each step, and of the whole.

use serde_json::{Value, json};

use super::plan::step_json;
use super::style::{BAD, FAINT, GOOD, WARN};
use crate::plan::{Ending, Outcome, Plan, Report, Step, StepResult};

/// As machines read it. `id` is null where nothing was to be done.
pub fn json(plan: &Plan, outcome: &Outcome, id: Option<&str>) -> Value {
    let steps: Vec<Value> = plan
        .steps
        .iter()
        .zip(&outcome.reports)
        .map(|(step, report)| {
            let mut object = step_json(step);
            object.insert("result".to_owned(), json!(report.result));
            object.insert("note".to_owned(), json!(report.note));
            Value::Object(object)
        })
        .collect();
    json!({
        "schema": super::SCHEMA,
        "profile": plan.profile,
        "changed": outcome.changed(),
        "id": id,
        "steps": steps,
        "flows": Value::Null,
    })
}

/// One step as it is done.
pub fn step_line(step: &Step, report: &Report) -> String {
    let (style, word) = match report.result {
        StepResult::Done => (GOOD, "done"),
        StepResult::Skipped => (FAINT, "skipped"),
        StepResult::Failed => (BAD, "failed"),
    };
    let note = report
        .note
        .as_deref()
        .map(|note| format!(" ({note})"))
        .unwrap_or_default();
    format!("{style}{word:>7}{style:#} {}{note}", step.summary())
}

/// The last lines, where the plan was carried out.
pub fn text(plan: &Plan, outcome: &Outcome) -> String {
    match &outcome.ending {
        Ending::Complete if plan.steps.is_empty() => String::new(),
        Ending::Complete | Ending::Partly(_) => {
            let done = outcome
                .reports
                .iter()
                .filter(|report| report.result == StepResult::Done)
                .count();
            let changes = if done == 1 {
                "1 change".to_owned()
            } else {
                format!("{done} changes")
            };
            // Not "it holds": steps may have been left out, or lines that beat ours let stand.
            format!(
                "{GOOD}{changes}{GOOD:#} made for {}, each read back\n",
                plan.profile
            )
        }
        Ending::Undone(_) => "everything is as it was\n".to_owned(),
        Ending::Left(_, left) => {
            let lines: String = left.iter().map(|line| format!("  {line}\n")).collect();
            format!("{WARN}left{WARN:#}: this could not be put back:\n{lines}")
        }
    }
}
