//! `cttune history`: the changes that the journal holds.

use serde_json::{Value, json};

use super::outcome::step_line;
use super::plan::step_json;
use super::style::{FAINT, GOOD, HEAD, WARN};
use crate::plan::{Origin, Record, Report, Standing, StepResult};

/// As machines read it, each change with whether everything of it holds now: null where that
/// cannot be seen from here.
pub(crate) fn json(changes: &[(Record, Option<bool>)]) -> Value {
    let changes: Vec<Value> = changes
        .iter()
        .map(|(record, holds)| change(record, *holds))
        .collect();
    json!({ "schema": super::SCHEMA, "changes": changes })
}

fn change(record: &Record, holds: Option<bool>) -> Value {
    let steps: Vec<Value> = record
        .steps
        .iter()
        .zip(record.progress.chars())
        .map(|(step, letter)| {
            let mut object = step_json(step);
            object.insert("result".to_owned(), json!(result(letter)));
            Value::Object(object)
        })
        .collect();
    json!({
        "id": record.id.to_string(),
        "time": record.occasion.time,
        "origin": record.origin,
        "undoes": record.undoes.map(|id| id.to_string()),
        "profile": record.profile,
        "overrides": record.overrides,
        "netns": record.occasion.netns,
        "standing": record.standing.name(),
        "in_force": holds,
        "steps": steps,
        "left": record.left,
    })
}

fn result(letter: char) -> Option<StepResult> {
    match letter {
        'd' => Some(StepResult::Done),
        's' => Some(StepResult::Skipped),
        'f' => Some(StepResult::Failed),
        _ => None,
    }
}

/// As people read it, a line a change.
pub(crate) fn table(changes: &[(Record, Option<bool>)]) -> String {
    if changes.is_empty() {
        return "nothing was changed yet\n".to_owned();
    }
    let header = format!(
        "{HEAD}{:>4}  {:<20}  {:<12}  {:<22}  what{HEAD:#}\n",
        "id", "time", "stands", "in force"
    );
    let lines = changes.iter().map(|(record, holds)| line(record, *holds));
    std::iter::once(header).chain(lines).collect()
}

fn line(record: &Record, holds: Option<bool>) -> String {
    let what = match (record.origin, record.undoes) {
        (Origin::Rollback, Some(id)) => format!("rollback of {id}"),
        _ => format!("apply {}", record.profile),
    };
    let netns = record.occasion.netns.as_ref();
    let netns = netns
        .map(|netns| format!(" in {netns}"))
        .unwrap_or_default();
    let live = record
        .steps
        .iter()
        .filter(|step| step.file().is_none())
        .count();
    let files = record.steps.len() - live;
    let (style, force) = in_force(record, holds);
    format!(
        "{:>4}  {:<20}  {:<12}  {style}{force:<22}{style:#}  {what}{netns}: {live} live, {files} in files\n",
        record.id,
        record.occasion.time,
        record.standing.name(),
    )
}

fn in_force(record: &Record, holds: Option<bool>) -> (anstyle::Style, &'static str) {
    match (record.standing, holds) {
        (standing, _) if !standing.can_be_rolled_back() => (FAINT, "no"),
        (_, Some(true)) => (GOOD, "yes"),
        (_, None) => (FAINT, "in another namespace"),
        (Standing::Begun, _) => (WARN, "interrupted"),
        _ => (WARN, "no, something changed"),
    }
}

/// One change with all its steps.
pub(crate) fn one(record: &Record, holds: Option<bool>) -> String {
    let mut text = line(record, holds);
    let (host, kernel) = (&record.occasion.host, &record.occasion.kernel);
    text.push_str(&format!("      on {host}, kernel {kernel}\n"));
    for (step, letter) in record.steps.iter().zip(record.progress.chars()) {
        text.push_str(&match result(letter) {
            Some(result) => format!("{}\n", step_line(step, &Report { result, note: None })),
            None => format!("{FAINT}      –{FAINT:#} {}\n", step.summary()),
        });
    }
    text.extend(
        record
            .left
            .iter()
            .map(|left| format!("{WARN}left{WARN:#}: {left}\n")),
    );
    text
}
