//! `cttune plan`: the steps, the files as unified diffs, what stands in the way.

use std::path::Path;

use serde_json::{Map, Value, json};
use similar::TextDiff;

use super::style::{BAD, FAINT, GONE, GOOD, HEAD, HINT};
use crate::plan::{Blocked, FileChange, Plan, Skip, Step};

/// Lines of context around a change.
const CONTEXT: usize = 3;

/// As machines read it.
pub(crate) fn json(plan: &Plan) -> Value {
    let steps: Vec<Value> = plan
        .steps
        .iter()
        .map(|step| Value::Object(step_json(step)))
        .collect();
    let skipped: Vec<Value> = plan
        .skipped
        .iter()
        .map(|(key, skip)| json!({ "key": key, "reason": skip_name(*skip) }))
        .collect();
    let blocked: Vec<Value> = plan
        .blocked
        .iter()
        .map(|blocked| json!({ "message": blocked.to_string(), "hint": blocked.hint() }))
        .collect();
    json!({
        "schema": super::SCHEMA,
        "profile": plan.profile,
        "changes": plan.steps.len(),
        "steps": steps,
        "skipped": skipped,
        "obstacles": blocked,
    })
}

/// One step, without what became of it.
pub(super) fn step_json(step: &Step) -> Map<String, Value> {
    let text =
        |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let mut object = Map::new();
    object.insert("kind".to_owned(), json!(step.kind()));
    match step {
        Step::LoadModule { .. } | Step::UnloadModule { .. } => {
            object.insert("from".to_owned(), Value::Null);
            object.insert("to".to_owned(), json!("nf_conntrack"));
        }
        Step::WriteLive { key, from, to, .. } => {
            object.insert("key".to_owned(), json!(key));
            object.insert("from".to_owned(), json!(from));
            object.insert("to".to_owned(), json!(to));
        }
        Step::Expire {
            parameters, flows, ..
        } => {
            object.insert("from".to_owned(), Value::Null);
            object.insert("to".to_owned(), Value::Null);
            object.insert("mode".to_owned(), json!(parameters.mode));
            object.insert("flows".to_owned(), json!(flows));
        }
        Step::WriteFile { .. } | Step::EditLine { .. } => {
            if let Some(FileChange { path, from, to }) = step.file() {
                object.insert("path".to_owned(), json!(path.display().to_string()));
                object.insert("from".to_owned(), json!(text(from)));
                object.insert("to".to_owned(), json!(text(to)));
            }
        }
    }
    if let Step::EditLine { lines, .. } = step {
        object.insert("lines".to_owned(), json!(lines));
    }
    object.insert("why".to_owned(), json!(step.why()));
    object
}

/// As people read it.
pub(crate) fn text(plan: &Plan, host: &str) -> String {
    let steps = plan.steps.len();
    let number = if steps == 1 {
        "1 step".to_owned()
    } else {
        format!("{steps} steps")
    };
    let mut text = match steps {
        // It need not be in line: --only leaves a half of it out.
        0 if plan.blocked.is_empty() => format!(
            "{HEAD}{host}{HEAD:#}: nothing to do for {HEAD}{}{HEAD:#}\n",
            plan.profile
        ),
        _ => format!(
            "{HEAD}{}{HEAD:#} on {HEAD}{host}{HEAD:#}: {number}\n",
            plan.profile
        ),
    };
    for (index, step) in plan.steps.iter().enumerate() {
        text.push_str(&step_text(index + 1, step));
    }
    text.push_str(&skipped_text(plan));
    text.push_str(&obstacles_text(&plan.blocked));
    text
}

fn step_text(number: usize, step: &Step) -> String {
    let mut text = format!("{number:>3}. {}", summary(step));
    if !step.why().is_empty() {
        text.push_str(&format!("  {FAINT}{}{FAINT:#}", step.why()));
    }
    text.push('\n');
    if let Some(FileChange { path, from, to }) = step.file() {
        text.push_str(&diff(path, from, to));
    }
    text
}

/// A live write with both numbers as people say them; any other step as it names itself.
fn summary(step: &Step) -> String {
    let Step::WriteLive { key, from, to, .. } = step else {
        return step.summary();
    };
    let said = |value: i64| match key.spoken(value) {
        Some(spoken) => format!("{value} ({spoken})"),
        None => value.to_string(),
    };
    let from = from.map_or_else(|| "not loaded".to_owned(), said);
    format!("{key}: {from} → {}", said(*to))
}

/// A file before and after, as a unified diff.
pub(crate) fn diff(path: &Path, from: Option<&[u8]>, to: Option<&[u8]>) -> String {
    let shown =
        |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    let name = |bytes: Option<&[u8]>| match bytes {
        Some(_) => path.display().to_string(),
        None => "/dev/null".to_owned(),
    };
    let (old, new) = (shown(from), shown(to));
    let diff = TextDiff::from_lines(&old, &new);
    let unified = diff
        .unified_diff()
        .context_radius(CONTEXT)
        .header(&name(from), &name(to))
        .to_string();
    let colored = |line: &str| match line.as_bytes().first() {
        Some(b'+') => format!("     {GOOD}{line}{GOOD:#}\n"),
        Some(b'-') => format!("     {GONE}{line}{GONE:#}\n"),
        _ => format!("     {line}\n"),
    };
    unified.lines().map(colored).collect()
}

fn skip_name(skip: Skip) -> &'static str {
    match skip {
        Skip::Missing => "missing",
        Skip::ReadOnly => "read-only",
    }
}

fn skipped_text(plan: &Plan) -> String {
    let line = |(key, skip): &(crate::tunable::Key, Skip)| {
        let why = match skip {
            Skip::Missing => "this kernel does not have it",
            Skip::ReadOnly => "it is read-only here",
        };
        format!("  {FAINT}skipped{FAINT:#} {key}: {why}\n")
    };
    plan.skipped.iter().map(line).collect()
}

/// What stands in the way, with what to do about it.
pub(crate) fn obstacles_text(blocked: &[Blocked]) -> String {
    let line = |blocked: &Blocked| {
        format!(
            "{BAD}in the way{BAD:#}: {blocked}\n  {HINT}hint{HINT:#}: {}\n",
            blocked.hint()
        )
    };
    blocked.iter().map(line).collect()
}
