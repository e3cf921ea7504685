//! `cttune apply`: what became of each step, and of the whole.

use std::time::Duration;

use serde_json::{Value, json};

use super::plan::step_json;
use super::style::{BAD, FAINT, GOOD, WARN};
use crate::diagnostic::Place;
use crate::plan::{Ending, Outcome, Plan, Record, Report, Step, StepResult, WayBack};
use crate::tunable::format_seconds;

/// As machines read it. `id` is null where nothing was to be done.
pub(crate) fn json(
    plan: &Plan,
    outcome: &Outcome,
    id: Option<u64>,
    flows: Option<super::expire::Parts<'_>>,
) -> Value {
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
        "id": id.map(|id| id.to_string()),
        "steps": steps,
        "flows": flows.map(super::expire::flows_json),
    })
}

/// One step as it is done.
pub(crate) fn step_line(step: &Step, report: &Report) -> String {
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

/// The last lines, where the plan was carried out; `place` is what a command needs to speak of the
/// same place.
pub(crate) fn text(plan: &Plan, outcome: &Outcome, id: Option<u64>, place: &Place) -> String {
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
            let undo = id
                .map(|id| format!("; undo: {}", place.cttune(&format!("rollback {id}"))))
                .unwrap_or_default();
            // Not "it holds": steps may have been left out, or lines that beat ours let stand.
            format!(
                "{GOOD}{changes}{GOOD:#} made for {}, each read back{undo}\n",
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

/// The last lines, where changes were put back; `place` as in [`text`].
pub(crate) fn put_back(outcome: &Outcome, id: Option<u64>, place: &Place) -> String {
    let done = outcome
        .reports
        .iter()
        .filter(|report| report.result == StepResult::Done)
        .count();
    match (&outcome.ending, id) {
        (Ending::Complete, None) if done == 0 => {
            "everything is as it was before already\n".to_owned()
        }
        (Ending::Complete, None) => format!("{GOOD}put back{GOOD:#}\n"),
        (Ending::Complete, Some(id)) => {
            let things = if done == 1 {
                "1 thing"
            } else {
                &format!("{done} things")
            };
            let redo = place.cttune(&format!("rollback {id}"));
            format!("{GOOD}put back{GOOD:#}: {things}; redo: {redo}\n")
        }
        _ => String::new(),
    }
}

/// A change that holds and waits to be confirmed.
pub(crate) fn pending(record: &Record, within: Duration) -> String {
    let files = record.steps.iter().filter_map(Step::file).count();
    let rest = match files {
        0 => String::new(),
        1 => "; 1 file is written then".to_owned(),
        files => format!("; {files} files are written then"),
    };
    format!(
        "{WARN}{} holds for {}{WARN:#}, then it is taken back: `cttune confirm` keeps it{rest}\n",
        record.profile,
        format_seconds(i64::try_from(within.as_secs()).unwrap_or(i64::MAX))
    )
}

/// What putting a change back would do.
pub(crate) fn way_back(record: &Record, back: &WayBack) -> String {
    let mut text = format!(
        "change {} of {} ({}), back to what was before:\n",
        record.id, record.occasion.time, record.profile
    );
    text.extend(
        back.plan
            .steps
            .iter()
            .map(|step| format!("  {}\n", step.summary())),
    );
    text.extend(
        back.kept
            .iter()
            .map(|kept| format!("  {WARN}stays{WARN:#} {kept}\n")),
    );
    text.extend(
        back.conflicts
            .iter()
            .map(|one| format!("  {BAD}in the way{BAD:#}: {one}\n")),
    );
    text
}
